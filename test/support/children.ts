// A program that a test starts beside itself, reads the output of, and signals: for what only a process of its own can
// show.
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';

/** How a child program ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildProgram extends AsyncDisposable {
  readonly pid: number;
  /** Everything that it has written so far, standard output and standard error as they came. */
  output(): string;
  /**
   * Resolves with the match in the first line, past or future, that matches; rejects with the output so far when none
   * comes.
   */
  waitForLine(pattern: RegExp, options?: { readonly withinMs?: number }): Promise<RegExpMatchArray>;
  signal(signal: NodeJS.Signals): void;
  /** Closes its standard input. */
  closeInput(): void;
  /** Resolves when it has ended and its output has been read. */
  readonly exited: Promise<Exit>;
  /** Kills it if it still runs. */
  stop(): Promise<void>;
}

/** How long a line is waited for, unless said otherwise. */
const LINE_WITHIN_MS = 15_000;

/** Starts a program. Its standard input is a pipe that closes when this process ends. */
export function startChild(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): ChildProgram {
  const child = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
  const lines: string[] = [];
  const changes = new EventEmitter().setMaxListeners(0);
  for (const input of [child.stdout, child.stderr]) {
    createInterface({ input }).on('line', (line) => {
      lines.push(line);
      changes.emit('line');
    });
  }
  child.stdin.on('error', () => {});
  let exit: Exit | undefined;
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      exit = { code, signal };
      changes.emit('line');
      resolve(exit);
    });
  });
  // A program that could not be started fails whoever waits for it.
  exited.catch(() => {});
  const output = () => lines.join('\n');

  const waitForLine = async (pattern: RegExp, { withinMs = LINE_WITHIN_MS } = {}) => {
    const signal = AbortSignal.timeout(withinMs);
    for (let seen = 0; ;) {
      for (; seen < lines.length; seen++) {
        const match = lines[seen]?.match(pattern);
        if (match) return match;
      }
      if (exit)
        throw new Error(`${command} ended (${exit.signal ?? exit.code}) without a line like ${pattern}:\n${output()}`);
      await once(changes, 'line', { signal }).catch((error: unknown) => {
        if (!signal.aborted) throw error;
        throw new Error(`No line like ${pattern} within ${withinMs} ms:\n${output()}`, { cause: error });
      });
    }
  };
  const stop = async () => {
    if (!exit) child.kill('SIGKILL');
    await exited.catch(() => {});
  };
  return {
    pid: child.pid ?? 0,
    output,
    waitForLine,
    signal: (signal) => void child.kill(signal),
    closeInput: () => void child.stdin.end(),
    exited,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
