/**
 * Ends a transaction at its deadline, or when its caller's signal fires.
 */
import { type AbortListener, listenForAbort, stopListeningForAbort } from '../../engine/signals.js';
import type { Clock } from '../../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../../engine/time/deadlines.js';
import { OperationTimeoutError, QueryAbortedError } from '../../errors.js';
import { callLimitOf } from '../statement/query-arguments.js';

/** How much earlier than ours the server's clock may run out. */
const TIMEOUT_SLACK_MS = 20;

export interface TransactionLimitDependencies {
  readonly poolId: string;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
}

export interface TransactionBounds {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export class TransactionLimit extends DeadlineEntry implements AbortListener {
  override readonly keepsProcessAlive = true;
  readonly reached: Promise<never>;
  readonly #dependencies: TransactionLimitDependencies;
  readonly #signal: AbortSignal | undefined;
  readonly #timeoutMs: number | undefined;
  readonly #dueAtMs: number;
  #reject: (error: Error) => void = () => {};
  error: Error | undefined = undefined;

  constructor(dependencies: TransactionLimitDependencies, options: TransactionBounds) {
    super();
    this.#dependencies = dependencies;
    this.#signal = options.signal;
    this.#timeoutMs = callLimitOf(options.timeoutMs);
    this.#dueAtMs = this.#timeoutMs === undefined ? Infinity : dependencies.clock.now() + this.#timeoutMs;
    this.reached = new Promise((_, reject) => {
      this.#reject = reject;
    });
    // No caller may be waiting when it comes.
    this.reached.catch(() => {});
    if (this.#timeoutMs === 0) this.#end(this.timeout());
    else if (this.#timeoutMs !== undefined) dependencies.deadlines.add(this, this.#dueAtMs);
    const { signal } = options;
    if (signal === undefined) return;
    if (signal.aborted) this.aborted(signal.reason);
    else listenForAbort(signal, this);
  }

  get remainingMs(): number | undefined {
    return this.#timeoutMs === undefined ? undefined : Math.max(1, this.#dueAtMs - this.#dependencies.clock.now());
  }

  /** The server's own clock may notice first. */
  get isDue(): boolean {
    return this.#dependencies.clock.now() + TIMEOUT_SLACK_MS >= this.#dueAtMs;
  }

  timeout(cause?: unknown): OperationTimeoutError {
    return new OperationTimeoutError('A transaction', this.#timeoutMs ?? 0, {
      poolId: this.#dependencies.poolId,
      cause,
    });
  }

  override expire(): void {
    this.#end(this.timeout());
  }

  aborted(reason: unknown): void {
    this.#end(new QueryAbortedError(this.#dependencies.poolId, { cause: reason }));
  }

  remove(): void {
    this.#dependencies.deadlines.remove(this);
    if (this.#signal !== undefined) stopListeningForAbort(this.#signal, this);
  }

  #end(error: Error): void {
    this.error = error;
    this.#reject(error);
  }
}
