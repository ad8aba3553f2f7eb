/**
 * An acquire that has no slot yet. It settles exactly once: granted, timed out, aborted, or refused at close.
 */
import { DeadlineEntry } from './deadlines.js';
import type { Lease } from './lease.js';
import type { PoolTenant, ResourcePool } from './resource-pool.js';

/** Who gets the lease, or the error. Exactly one of the two is called, once. Neither may throw: others are waiting behind. */
export interface LeaseReceiver<L> {
  granted(lease: Lease<L>): void;
  refused(error: Error): void;
}

/**
 * Its fields aren't #private: one is made for every acquire that waits, and defining those costs a tenth of it. For the
 * same reason it is its own receiver when a promise is waited for, instead of having one.
 */
export class Waiter<C, L> extends DeadlineEntry implements LeaseReceiver<L> {
  private readonly pool: ResourcePool<C, L>;
  readonly tenant: PoolTenant<C, L>;
  /** Who is told. */
  receiver: LeaseReceiver<L> = this;
  granted: (lease: Lease<L>) => void = ignore;
  refused: (error: Error) => void = ignore;
  readonly enqueuedAtMs: number;
  /** The leases of this pool in whose `use` or `transaction` the acquire was made. */
  private readonly holders: readonly Lease<unknown>[];
  private signal: AbortSignal | undefined;
  /** Where the acquire was made, while leak detection is on. */
  readonly stack: string | undefined;

  /** Links of the tenant's queue. */
  nextInQueue: Waiter<C, L> | undefined = undefined;
  previousInQueue: Waiter<C, L> | undefined = undefined;

  constructor(
    pool: ResourcePool<C, L>,
    tenant: PoolTenant<C, L>,
    enqueuedAtMs: number,
    holders: readonly Lease<unknown>[],
    signal: AbortSignal | undefined,
    stack: string | undefined,
  ) {
    super();
    this.pool = pool;
    this.tenant = tenant;
    this.enqueuedAtMs = enqueuedAtMs;
    this.holders = holders;
    this.signal = signal;
    this.stack = stack;
    signal?.addEventListener('abort', this);
  }

  override get keepsProcessAlive(): boolean {
    return true;
  }

  /** A promise that the waiter settles. */
  promise(): Promise<Lease<L>> {
    const promise = new Promise<Lease<L>>(capture);
    this.granted = captured.resolve;
    this.refused = captured.reject;
    return promise;
  }

  override expire(nowMs: number): void {
    this.pool.expired(this, nowMs);
  }

  /** Called by the AbortSignal: an object with this method is a listener, which saves a closure a waiter. */
  handleEvent(): void {
    this.pool.aborted(this, this.signal?.reason);
  }

  /** Lets go of everything that could settle it a second time. */
  leave(): void {
    if (this.signal !== undefined) this.signal.removeEventListener('abort', this);
    this.signal = undefined;
    if (this.holders.length > 0) for (const holder of this.holders) holder.unblock();
  }
}

function ignore(): void {
  // Replaced before anyone is told.
}

/** The functions of the promise made last. One executor for all promises saves each a closure. */
const captured: Settling = { resolve: ignore, reject: ignore };

interface Settling {
  resolve(lease: Lease<unknown>): void;
  reject(error: Error): void;
}

function capture(resolve: (lease: never) => void, reject: (error: Error) => void): void {
  captured.resolve = resolve;
  captured.reject = reject;
}
