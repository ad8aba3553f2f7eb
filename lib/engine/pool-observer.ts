/**
 * What a pool tells while it works, and the guard that keeps an observer from harming it.
 */
import type { LeaseHolder } from './errors.js';
import { guarded, warn } from './guard.js';
import type { Lease } from './lease.js';
import type { DestroyReason } from './pool-counters.js';

/** Methods of a driver that must not throw. */
export type DriverMethod = 'kill' | 'close' | 'dispose' | 'recycle' | 'isFatal';

/** What a pool tells: outside every caller's context, but for what acquiring and releasing themselves give cause to. */
export interface PoolObserver<C, L> {
  opened?(connection: C): void;
  /** A new connection has shown that its backend is there. */
  proved?(connection: C): void;
  connectFailed?(error: Error): void;
  /** A connection ended; `error` is why, if there was one. */
  destroyed?(connection: C, reason: DestroyReason, error: unknown): void;
  /**
   * A lease begins. What its borrower will see is there already; where the driver lends on demand, reading
   * `lease.connection` here has it made.
   */
  acquired?(connection: C, lease: Lease<L>): void;
  released?(connection: C, lease: Lease<L>, error: unknown): void;
  releasedTwice?(lease: Lease<unknown>): void;
  /** A lease has been out for longer than `leakDetectionMs`. */
  leaked?(holder: LeaseHolder): void;
  /** The driver threw where it must not. */
  driverFailed?(method: DriverMethod, error: unknown): void;
}

/**
 * An observer as the pool calls it. What it throws, or what a promise that it returns rejects with, becomes a warning
 * of the process: a slot that is on its way from one state to the next would be lost otherwise. Only `acquired` is
 * called as it is: its error is the answer to the acquire, and costs the connection that was to be lent.
 */
export class GuardedObserver<C, L> {
  readonly #observer: PoolObserver<C, L>;
  readonly acquired: ((connection: C, lease: Lease<L>) => void) | undefined;
  readonly released: ((connection: C, lease: Lease<L>, error: unknown) => void) | undefined;

  constructor(observer: PoolObserver<C, L>) {
    this.#observer = observer;
    const acquired = observer.acquired?.bind(observer);
    const released = observer.released?.bind(observer);
    // Both are on the path of every lease: no closure a call.
    this.acquired =
      acquired &&
      ((connection, lease) => {
        const result: unknown = acquired(connection, lease);
        if (result !== undefined) guarded(() => result, harm);
      });
    this.released =
      released &&
      ((connection, lease, error) => {
        try {
          const result: unknown = released(connection, lease, error);
          if (result !== undefined) guarded(() => result, harm);
        } catch (thrown) {
          harm(thrown);
        }
      });
  }

  opened(connection: C): void {
    guarded(() => this.#observer.opened?.(connection), harm);
  }

  proved(connection: C): void {
    guarded(() => this.#observer.proved?.(connection), harm);
  }

  connectFailed(error: Error): void {
    guarded(() => this.#observer.connectFailed?.(error), harm);
  }

  destroyed(connection: C, reason: DestroyReason, error: unknown): void {
    guarded(() => this.#observer.destroyed?.(connection, reason, error), harm);
  }

  releasedTwice(lease: Lease<unknown>): void {
    guarded(() => this.#observer.releasedTwice?.(lease), harm);
  }

  leaked(holder: LeaseHolder): void {
    guarded(() => this.#observer.leaked?.(holder), harm);
  }

  driverFailed(method: DriverMethod, error: unknown): void {
    guarded(() => this.#observer.driverFailed?.(method, error), harm);
  }
}

function harm(error: unknown): void {
  warn('PoolObserverWarning', 'An observer of a pool', error);
}
