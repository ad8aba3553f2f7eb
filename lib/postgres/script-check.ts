/**
 * Looks into a text of several statements for one that would leave those behind it without their tenant.
 *
 * Between statements of one text nothing can be put: what undoes the binding of a lease, or ends its transaction, can't
 * be followed by a new binding there. Sent one by one the same statements are fine.
 */
import type { TenantSetting } from './isolation.js';

/** What can't hold the start of a command: literals, quoted names, bodies of functions, comments. */
const QUOTED = new RegExp(
  [
    String.raw`\be'(?:[^'\\]|\\[\s\S]|'')*'`,
    String.raw`'(?:[^']|'')*'`,
    String.raw`"(?:[^"]|"")*"`,
    String.raw`(\$(?:[a-z_]\w*)?\$)[\s\S]*?\1`,
    String.raw`--[^\n]*`,
    String.raw`/\*[\s\S]*?\*/`,
  ].join('|'),
  'gi',
);

const ENDS_TRANSACTION =
  /^(?:commit|end|abort|prepare\s+transaction)\b|^rollback\b(?!\s+(?:(?:work|transaction)\s+)?to\b)/i;

/** Commands that give back every setting. */
const RESETS_ALL = ['reset\\s+all', 'discard\\s+all'];

/** Those that give a setting another value: more than one name leads to some of them. */
const ALIASES: Readonly<Record<string, readonly string[]>> = {
  role: ['role', 'session\\s+authorization'],
  search_path: ['search_path', 'schema'],
};

/** Where the lease stands. */
export interface ScriptBounds {
  /** What the lease is bound by. */
  readonly setting: TenantSetting | undefined;
  readonly isTransaction: boolean;
}

/** @returns the first statement of `text` that must not be followed by another one in the same text. */
export function unboundBehind(text: string, { setting, isTransaction }: ScriptBounds): string | undefined {
  if (setting === undefined && !isTransaction) return undefined;
  const statements = text
    .replaceAll(QUOTED, ' ')
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
  const undoing = setting === undefined ? undefined : undoes(setting);
  return statements
    .slice(0, -1)
    .find((statement) => (isTransaction && ENDS_TRANSACTION.test(statement)) || undoing?.test(statement) === true);
}

function undoes({ name }: TenantSetting): RegExp {
  const own = Object.hasOwn(ALIASES, name) ? (ALIASES[name] ?? []) : [name.replaceAll(/[^\w]/g, '\\$&')];
  const names = own.join('|');
  return new RegExp(`^(?:${RESETS_ALL.join('|')})\\b|^(?:reset|set(?:\\s+(?:local|session))?)\\s+(?:${names})\\b`, 'i');
}
