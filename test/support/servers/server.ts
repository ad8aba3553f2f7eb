// What the servers of the tests have in common, whether they are ours or were running already.

/**
 * A server that can be made to fail. All of it but `stop` throws {@link ServerNotOwnedError} on a server that was
 * running already.
 */
export interface TestServer extends AsyncDisposable {
  /** Whether we started it; false for the server of DATABASE_URL or REDIS_URL. */
  readonly own: boolean;
  readonly host: string;
  readonly port: number;
  /** The server's main process; 0 while it is down. */
  readonly pid: number;
  /** Starts it again, on the same port, after `halt`. */
  start(): Promise<void>;
  /** Stops all its processes where they are (SIGSTOP): connections stay open, nothing answers. */
  pause(): Promise<void>;
  /** Undoes `pause`. */
  resume(): Promise<void>;
  /** The last lines that it printed. */
  log(): string;
  /**
   * Ends it for good: its processes and its directory are gone afterwards. Idempotent; leaves a server that isn't ours
   * alone.
   */
  stop(): Promise<void>;
}

/** A fault was to be injected into a server that we did not start. */
export class ServerNotOwnedError extends Error {
  override readonly name = 'ServerNotOwnedError';

  constructor(what: string, variable: string) {
    super(
      `Won't ${what} the server of ${variable}: it was running before us. ` +
        `Start one of our own for faults, or unset ${variable}.`,
    );
  }
}

/** The fault functions of a server that was running already: each refuses. */
export function untouchable(variable: string) {
  const refuse = (what: string) => (): Promise<never> => Promise.reject(new ServerNotOwnedError(what, variable));
  return {
    own: false,
    pid: 0,
    halt: refuse('halt'),
    start: refuse('start'),
    restart: refuse('restart'),
    pause: refuse('pause'),
    resume: refuse('resume'),
    log: () => '',
    stop: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  } as const;
}
