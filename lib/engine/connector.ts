/**
 * Opens connections: a bounded number at once, each with a time-out of its own, and never in a hot loop.
 *
 * After a failure one prober tries at a time, with exponential backoff and jitter. After the first success connects are
 * let through 1, 2, 4, … at once: a backend that has just come up is not met by a stampede (postgres.js #1180). A
 * connection that dies as soon as it is open is a failure too; the pauses go on growing until one has lasted.
 *
 * Promise: after a failure no connect is started before a pause has passed, for any caller.
 */
import { OperationTimeoutError } from './errors.js';
import { runOutside } from './outside-context.js';
import type { Clock, TimerHandle } from './time/clock.js';
import { TICK_MS } from './time/deadlines.js';
import { setDeadline } from './time/late-timer.js';
import { toError } from './to-error.js';

/** First pause after a failed connect; doubled by each further failure. */
const FIRST_BACKOFF_MS = 50;
/** Longest pause, so that a server that is back is found within two seconds. */
const MAX_BACKOFF_MS = 2_000;
/**
 * A connect takes several round trips. After the event loop was blocked beyond its time-out it gets as much time again
 * as the loop was late, and at least this, once: answers that came in time are followed by questions not yet asked.
 */
const LEAST_GRACE_MS = 1_000;

/** `A` is what the pool makes of a connection. */
export interface ConnectorOptions<C, A> {
  readonly open: (signal: AbortSignal) => Promise<C>;
  /** Gets rid of a connection that could not be admitted, in the room of its attempt. */
  readonly discard: (connection: C) => void;
  /** Gets rid of a connection that came after its attempt had been given up, and has no room. */
  readonly discardLate: (connection: C) => void;
  /** Takes a connection in; if it throws, the connect has failed. */
  readonly admit: (connection: C, generation: number) => A;
  readonly opened: (admitted: A, tookMs: number) => void;
  readonly failed: (error: Error) => void;
  /** A pause is over: another connect may be started. */
  readonly mayRetry: () => void;
  readonly timeoutMs: number;
  /** Whether a connection that is open has been answered by its server. */
  readonly openProvesAlive: boolean;
  readonly poolId: string;
  readonly clock: Clock;
  readonly random: () => number;
}

export class Connector<C, A> {
  readonly #options: ConnectorOptions<C, A>;
  readonly #attempts = new Set<Attempt>();
  #concurrency: number;
  /** What slow start lets through at the moment. */
  #window: number;
  #backoff: TimerHandle | undefined;
  /** Failed connects since the last success. */
  failures = 0;
  /** Pauses since a connection has last proved to last: connects that fail together lengthen the next pause once. */
  #pauses = 0;
  /** Whether connections have died as soon as they were open, and none has lasted since. */
  #flapping = false;
  #stopped = false;
  lastError: Error | undefined;
  /** When that was; a reading of the clock. */
  lastErrorAtMs = -Infinity;
  /** When the first of these failures was. */
  downSinceMs: number | undefined;

  constructor(options: ConnectorOptions<C, A>, concurrency: number) {
    this.#options = options;
    this.#concurrency = concurrency;
    this.#window = concurrency;
  }

  /** Connects under way at once, at most. */
  get concurrency(): number {
    return this.#concurrency;
  }

  set concurrency(concurrency: number) {
    // Unless it is being opened slowly.
    if (this.#window >= this.#concurrency) this.#window = concurrency;
    this.#concurrency = concurrency;
  }

  get connecting(): number {
    return this.#attempts.size;
  }

  /** How many more connects may be started now. */
  get allowance(): number {
    if (this.#backoff !== undefined || this.#stopped) return 0;
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
    const late = (): void => attempt.giveUp(new OperationTimeoutError('A connect', timeoutMs, { poolId }));
    const attempt: Attempt = {
      timer: setDeadline(
        clock,
        (lateByMs) => {
          if (lateByMs < TICK_MS) return late();
          attempt.timer = setDeadline(clock, late, Math.min(timeoutMs, Math.max(LEAST_GRACE_MS, lateByMs)));
        },
        timeoutMs,
      ),
      giveUp: (error) => {
        if (!this.#attempts.delete(attempt)) return;
        attempt.timer.cancel();
        controller.abort(error);
        this.#failed(error);
      },
      abandon: () => {
        if (!this.#attempts.delete(attempt)) return;
        attempt.timer.cancel();
        controller.abort();
      },
    };
    this.#attempts.add(attempt);
    const opened = (connection: C): void => {
      attempt.timer.cancel();
      let admitted: A;
      try {
        if (!this.#attempts.has(attempt)) return this.#options.discardLate(connection);
        // It takes up its room as a connect until it has its place: the driver's code runs meanwhile, and may ask for
        // more.
        admitted = this.#options.admit(connection, generation);
      } catch (error) {
        if (!this.#attempts.delete(attempt)) return this.#options.discardLate(connection);
        this.#options.discard(connection);
        return this.#failed(toError(error));
      }
      if (!this.#attempts.delete(attempt)) return this.#options.discardLate(connection);
      // One that isn't sure to be of use says nothing yet about the end of an outage.
      if (this.#options.openProvesAlive || this.failures === 0) this.#succeeded();
      this.#options.opened(admitted, clock.now() - startedAtMs);
    };
    // What follows a connect runs in the context in which its promise was awaited, so that has to be outside too.
    runOutside(() => {
      this.#open(controller.signal).then(opened, (error: unknown) => attempt.giveUp(toError(error)));
    });
  }

  /** Gives up everything under way, without counting it as failed: what it would lead to isn't wanted any more. */
  abandonAll(): void {
    for (const attempt of [...this.#attempts]) attempt.abandon();
  }

  /** Gives up everything under way for good: nothing more is started. */
  stop(): void {
    this.#stopped = true;
    this.abandonAll();
    this.#endPause();
  }

  /**
   * Something may have changed for the better: the pause under way becomes a first one, which it does not do without.
   */
  hurry(): void {
    this.#pauses = 0;
    if (this.#backoff === undefined) return;
    this.#endPause();
    this.#backoff = this.#pause();
  }

  /** A connection works: the backend is there. */
  proveUp(): void {
    if (this.failures > 0) this.#succeeded();
  }

  /** Whether no connection has lasted since the last failure. */
  get unsteady(): boolean {
    return this.#pauses > 0 || this.failures > 0;
  }

  /** A connection has lasted, or served: the next failure begins anew. */
  proveSteady(): void {
    this.#flapping = false;
    this.#pauses = 0;
    this.proveUp();
    this.#endPause();
  }

  /** A connection died as soon as it was open, or before it was of use. */
  diedYoung(error: Error): void {
    this.#flapping = true;
    this.#failed(error);
  }

  // A driver that throws instead of rejecting has failed all the same.
  async #open(signal: AbortSignal): Promise<C> {
    return this.#options.open(signal);
  }

  #succeeded(): void {
    this.#window = this.failures > 0 ? 1 : Math.min(this.#window * 2, this.concurrency);
    this.failures = 0;
    this.downSinceMs = undefined;
    // While connections die as soon as they are open, one more that has been opened is no reason to hurry.
    if (!this.#flapping) this.#endPause();
  }

  #endPause(): void {
    this.#backoff?.cancel();
    this.#backoff = undefined;
  }

  #failed(error: Error): void {
    const nowMs = this.#options.clock.now();
    this.lastError = error;
    this.lastErrorAtMs = nowMs;
    this.downSinceMs ??= nowMs;
    this.failures++;
    if (!this.#stopped) this.#backoff ??= this.#pause();
    this.#options.failed(error);
  }

  #pause(): TimerHandle {
    const { clock, random, mayRetry } = this.#options;
    const ceilingMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#pauses++);
    // Half of the pause is fixed, so that it can't be nothing; half is random, so that pools of many processes drift
    // apart.
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
  timer: TimerHandle;
  giveUp(error: Error): void;
  abandon(): void;
}
