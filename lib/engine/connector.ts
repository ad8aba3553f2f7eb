/**
 * Opens connections: a bounded number at once, each with a time-out of its own, and never in a hot loop.
 *
 * After a failure one prober tries at a time, with exponential backoff and jitter. After the first success connects are
 * let through 1, 2, 4, … at once: a backend that has just come up is not met by a stampede (postgres.js #1180).
 */
import type { Clock, TimerHandle } from './clock.js';
import { OperationTimeoutError } from './errors.js';
import { runOutside } from './outside-context.js';
import { toError } from './thrown.js';

/** First pause after a failed connect; doubled by each further failure. */
const FIRST_BACKOFF_MS = 50;
/** Longest pause, so that a server that is back is found within two seconds. */
const MAX_BACKOFF_MS = 2_000;

/** `A` is what the pool makes of a connection. */
export interface ConnectorOptions<C, A> {
  readonly open: (signal: AbortSignal) => Promise<C>;
  /** Gets rid of a connection that came after its attempt had been given up. */
  readonly discard: (connection: C) => void;
  /** Takes a connection in; if it throws, the connect has failed. */
  readonly admit: (connection: C, generation: number) => A;
  readonly opened: (admitted: A, tookMs: number) => void;
  readonly failed: (error: Error) => void;
  /** A pause is over: another connect may be started. */
  readonly mayRetry: () => void;
  readonly timeoutMs: number;
  readonly poolId: string;
  readonly clock: Clock;
  readonly random: () => number;
}

export class Connector<C, A> {
  readonly #options: ConnectorOptions<C, A>;
  readonly #attempts = new Set<Attempt>();
  /** Connects under way at once, at most. */
  concurrency: number;
  /** What slow start lets through at the moment. */
  #window: number;
  #backoff: TimerHandle | undefined;
  /** Failed connects since the last success. */
  failures = 0;
  /** Pauses since the last success: connects that fail together lengthen the next pause once. */
  #pauses = 0;
  lastError: Error | undefined;
  /** When the first of these failures was. */
  downSinceMs: number | undefined;

  constructor(options: ConnectorOptions<C, A>, concurrency: number) {
    this.#options = options;
    this.concurrency = concurrency;
    this.#window = concurrency;
  }

  get connecting(): number {
    return this.#attempts.size;
  }

  /** How many more connects may be started now. */
  get allowance(): number {
    if (this.#backoff !== undefined) return 0;
    const limit = this.failures > 0 ? 1 : Math.min(this.#window, this.concurrency);
    return Math.max(0, limit - this.#attempts.size);
  }

  /** How long the backend has been failing; 0 while it isn't. */
  downForMs(nowMs: number): number {
    return this.downSinceMs === undefined ? 0 : Math.max(0, nowMs - this.downSinceMs);
  }

  /** Starts one connect, for the pool's generation at that moment: it may be an older one by the time it succeeds. */
  start(generation: number): void {
    const { clock, timeoutMs, poolId } = this.#options;
    const controller = new AbortController();
    const startedAtMs = clock.now();
    const timer = runOutside(() =>
      clock.setTimer(() => attempt.giveUp(new OperationTimeoutError('A connect', timeoutMs, { poolId })), timeoutMs),
    );
    const attempt: Attempt = {
      timer,
      giveUp: (error) => {
        if (!this.#attempts.delete(attempt)) return;
        timer.cancel();
        controller.abort(error);
        this.#failed(error);
      },
      abandon: () => {
        if (!this.#attempts.delete(attempt)) return;
        timer.cancel();
        controller.abort();
      },
    };
    this.#attempts.add(attempt);
    const opened = (connection: C): void => {
      timer.cancel();
      if (!this.#attempts.delete(attempt)) {
        this.#options.discard(connection);
        return;
      }
      let admitted: A;
      try {
        admitted = this.#options.admit(connection, generation);
      } catch (error) {
        this.#options.discard(connection);
        this.#failed(toError(error));
        return;
      }
      this.#succeeded();
      this.#options.opened(admitted, clock.now() - startedAtMs);
    };
    // What follows a connect runs in the context in which its promise was awaited, so that has to be outside too.
    runOutside(() => {
      this.#open(controller.signal).then(opened, (error: unknown) => attempt.giveUp(toError(error)));
    });
  }

  /** Gives up everything under way, without counting it as failed. */
  abandonAll(): void {
    for (const attempt of [...this.#attempts]) attempt.abandon();
    this.#backoff?.cancel();
    this.#backoff = undefined;
  }

  /** A connect or a probe over a live connection worked: the backend is there. */
  proveUp(): void {
    if (this.failures > 0) this.#succeeded();
  }

  // A driver that throws instead of rejecting has failed all the same.
  async #open(signal: AbortSignal): Promise<C> {
    return this.#options.open(signal);
  }

  #succeeded(): void {
    this.#window = this.failures > 0 ? 1 : Math.min(this.#window * 2, this.concurrency);
    this.failures = 0;
    this.#pauses = 0;
    this.downSinceMs = undefined;
    this.#backoff?.cancel();
    this.#backoff = undefined;
  }

  #failed(error: Error): void {
    this.lastError = error;
    this.downSinceMs ??= this.#options.clock.now();
    this.failures++;
    this.#backoff ??= this.#pause();
    this.#options.failed(error);
  }

  #pause(): TimerHandle {
    const { clock, random, mayRetry } = this.#options;
    const ceilingMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#pauses++);
    // Half of the pause is fixed, so that it can't be nothing; half is random, so that pools of many processes drift apart.
    const pauseMs = ceilingMs / 2 + (ceilingMs / 2) * random();
    return runOutside(() =>
      clock.setTimer(() => {
        this.#backoff = undefined;
        mayRetry();
      }, pauseMs),
    );
  }
}

interface Attempt {
  readonly timer: TimerHandle;
  giveUp(error: Error): void;
  abandon(): void;
}
