/**
 * What a pool tells while it works, and the guard that keeps whoever listens from harming it.
 */
import type { HolderFacts } from './errors.js';
import type { Lease } from './lease.js';
import type { DestroyReason } from './pool-counters.js';
import { describeError } from './redact.js';

/** Methods of a driver that must not throw. */
export type DriverMethod = 'kill' | 'close' | 'dispose' | 'recycle' | 'isFatal';

/** What a pool tells: outside every caller's context, but for what acquiring and releasing themselves give cause to. */
export interface PoolObserver<C, L> {
  opened?(connection: C): void;
  connectFailed?(error: Error): void;
  /** A connection ended; `error` is what condemned it, if anything did. */
  destroyed?(connection: C, reason: DestroyReason, error: unknown): void;
  acquired?(connection: C, lease: Lease<L>): void;
  released?(connection: C, lease: Lease<L>, error: unknown): void;
  releasedTwice?(lease: Lease<L>): void;
  /** A lease has been out for longer than `leakDetectionMs`. */
  leaked?(holder: HolderFacts): void;
  /** The driver threw where it must not. */
  driverFailed?(method: DriverMethod, error: unknown): void;
}

/**
 * An observer as the pool calls it. What it throws becomes a warning of the process: a slot that is on its way from one
 * state to the next would be lost otherwise. `acquired` and `released` are called as they are, on the path of every
 * lease, at moments when the pool is done: their errors reach whoever acquires or releases.
 */
export class GuardedObserver<C, L> {
  readonly #observer: PoolObserver<C, L>;
  readonly acquired: ((connection: C, lease: Lease<L>) => void) | undefined;
  readonly released: ((connection: C, lease: Lease<L>, error: unknown) => void) | undefined;

  constructor(observer: PoolObserver<C, L>) {
    this.#observer = observer;
    this.acquired = observer.acquired?.bind(observer);
    this.released = observer.released?.bind(observer);
  }

  opened(connection: C): void {
    guard(() => this.#observer.opened?.(connection));
  }

  connectFailed(error: Error): void {
    guard(() => this.#observer.connectFailed?.(error));
  }

  destroyed(connection: C, reason: DestroyReason, error: unknown): void {
    guard(() => this.#observer.destroyed?.(connection, reason, error));
  }

  releasedTwice(lease: Lease<L>): void {
    guard(() => this.#observer.releasedTwice?.(lease));
  }

  leaked(holder: HolderFacts): void {
    guard(() => this.#observer.leaked?.(holder));
  }

  driverFailed(method: DriverMethod, error: unknown): void {
    guard(() => this.#observer.driverFailed?.(method, error));
  }
}

function guard(tell: () => void): void {
  try {
    tell();
  } catch (error) {
    process.emitWarning(`Whoever watches a pool threw ${describeError(error)}`, { type: 'PoolObserverWarning' });
  }
}
