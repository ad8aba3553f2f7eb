/**
 * What a Redis command does to the connection that carries it.
 *
 * Promise: every command that changes or stalls its connection is known here by name (and arguments, where they
 * decide); everything else is ordinary. Pure: looks at names and arguments only.
 */

/** What a command leaves behind, or how it delays the next commands. */
export type CommandEffect =
  /** Nothing that outlives its reply. */
  | 'ordinary'
  /** Its reply may take as long as the caller asked for, and everything behind it waits. */
  | 'blocking'
  | 'watch'
  | 'unwatch'
  | 'multi'
  /** EXEC and DISCARD: the transaction and every WATCH are over. */
  | 'end of transaction'
  | 'select'
  | 'subscribe'
  | 'psubscribe'
  | 'ssubscribe'
  | 'unsubscribe'
  /** Changes the connection in a way that only a new connection undoes. */
  | 'lasting'
  /** Ends the connection, or the server. */
  | 'ending';

type EffectOf = CommandEffect | ((args: readonly unknown[]) => CommandEffect);

const EFFECTS: ReadonlyMap<string, EffectOf> = new Map<string, EffectOf>([
  ['blpop', 'blocking'],
  ['brpop', 'blocking'],
  ['brpoplpush', 'blocking'],
  ['blmove', 'blocking'],
  ['blmovem', 'blocking'],
  ['blmpop', 'blocking'],
  ['bzpopmin', 'blocking'],
  ['bzpopmax', 'blocking'],
  ['bzmpop', 'blocking'],
  ['wait', 'blocking'],
  ['waitaof', 'blocking'],
  ['xread', (args) => (blockOption(args, 0) === undefined ? 'ordinary' : 'blocking')],
  ['xreadgroup', (args) => (blockOption(args, 3) === undefined ? 'ordinary' : 'blocking')],
  ['watch', 'watch'],
  ['unwatch', 'unwatch'],
  ['multi', 'multi'],
  ['exec', 'end of transaction'],
  ['discard', 'end of transaction'],
  ['select', 'select'],
  ['subscribe', 'subscribe'],
  ['psubscribe', 'psubscribe'],
  ['ssubscribe', 'ssubscribe'],
  ['unsubscribe', 'unsubscribe'],
  ['punsubscribe', 'unsubscribe'],
  ['sunsubscribe', 'unsubscribe'],
  ['auth', 'lasting'],
  ['hello', 'lasting'],
  ['reset', 'lasting'],
  ['monitor', 'lasting'],
  ['sync', 'lasting'],
  ['psync', 'lasting'],
  ['replconf', 'lasting'],
  ['readonly', 'lasting'],
  ['readwrite', 'lasting'],
  ['asking', 'lasting'],
  ['client', (args) => (CLIENT_ORDINARY.has(word(args[0])) ? 'ordinary' : 'lasting')],
  ['script', (args) => (word(args[0]) === 'debug' ? 'lasting' : 'ordinary')],
  // The field sets that HIMPORT SET refers to belong to the connection.
  ['himport', (args) => (word(args[0]) === 'set' ? 'ordinary' : 'lasting')],
  ['quit', 'ending'],
  ['shutdown', 'ending'],
]);

/** Subcommands of CLIENT that look, or that act on other connections. What isn't known here counts as a change. */
const CLIENT_ORDINARY: ReadonlySet<string> = new Set([
  'getname',
  'getredir',
  'help',
  'id',
  'info',
  'kill',
  'list',
  'pause',
  'trackinginfo',
  'unblock',
  'unpause',
]);

/** Every command that is not always ordinary, in lower case. */
export const DELICATE_COMMANDS: readonly string[] = [...EFFECTS.keys()];

/** What `name` with these arguments does to its connection; the name's case doesn't matter. */
export function effectOf(name: string, args: readonly unknown[]): CommandEffect {
  const effect = EFFECTS.get(name) ?? EFFECTS.get(name.toLowerCase()) ?? 'ordinary';
  return typeof effect === 'function' ? effect(args.flat()) : effect;
}

/**
 * How long a blocking command asked to wait, in milliseconds: `Infinity` when without end, 0 when it doesn't block.
 */
export function blockingMs(name: string, args: readonly unknown[]): number {
  const flat = args.flat();
  switch (name.toLowerCase()) {
    case 'blpop':
    case 'brpop':
    case 'brpoplpush':
    case 'blmove':
    case 'bzpopmin':
    case 'bzpopmax':
      return orForever(Number(word(flat.at(-1))) * 1_000);
    case 'blmovem':
      return orForever(Number(word(flat[4])) * 1_000);
    case 'blmpop':
    case 'bzmpop':
      return orForever(Number(word(flat[0])) * 1_000);
    case 'wait':
    case 'waitaof':
      return orForever(Number(word(flat.at(-1))));
    case 'xread':
      return blockOption(flat, 0) ?? 0;
    case 'xreadgroup':
      return blockOption(flat, 3) ?? 0;
    default:
      return 0;
  }
}

/** The value of BLOCK among the options that begin at `start` and end at STREAMS. */
function blockOption(args: readonly unknown[], start: number): number | undefined {
  for (let index = start; index < args.length; index++) {
    switch (word(args[index])) {
      case 'block':
        return orForever(Number(word(args[index + 1])));
      case 'count':
        index++;
        break;
      case 'streams':
        return undefined;
    }
  }
  return undefined;
}

/** Redis takes 0 for "without end"; so do we for what it will refuse anyway. */
function orForever(durationMs: number): number {
  return durationMs > 0 ? durationMs : Infinity;
}

function word(arg: unknown): string {
  return typeof arg === 'string'
    ? arg.toLowerCase()
    : typeof arg === 'number' || Buffer.isBuffer(arg)
      ? arg.toString().toLowerCase()
      : '';
}
