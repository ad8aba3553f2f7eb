/**
 * An acquire that has no slot yet. It settles exactly once: granted, timed out, aborted, or refused at close.
 */
import { DeadlineEntry } from './deadlines.js';
import type { Lease } from './lease.js';
import type { PoolTenant, ResourcePool } from './resource-pool.js';

/** Who gets the lease, or the error. Exactly one of the two is called, once. */
export interface LeaseReceiver<L> {
  granted(lease: Lease<L>): void;
  refused(error: Error): void;
}

/** Its fields aren't #private: one is made for every acquire that waits, and defining those costs a tenth of it. */
export class Waiter<C, L> extends DeadlineEntry {
  private readonly pool: ResourcePool<C, L>;
  readonly tenant: PoolTenant<C, L>;
  readonly receiver: LeaseReceiver<L>;
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
    receiver: LeaseReceiver<L>,
    enqueuedAtMs: number,
    holders: readonly Lease<unknown>[],
    signal: AbortSignal | undefined,
    stack: string | undefined,
  ) {
    super();
    this.pool = pool;
    this.tenant = tenant;
    this.receiver = receiver;
    this.enqueuedAtMs = enqueuedAtMs;
    this.holders = holders;
    this.signal = signal;
    this.stack = stack;
    signal?.addEventListener('abort', this);
  }

  override get keepsProcessAlive(): boolean {
    return true;
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
    this.signal?.removeEventListener('abort', this);
    this.signal = undefined;
    for (const holder of this.holders) holder.unblock();
  }
}

/** The functions of the promise made last. One executor for all promises saves each a closure. */
const captured: Settling = { resolve: () => undefined, reject: () => undefined };

interface Settling {
  resolve(lease: Lease<unknown>): void;
  reject(error: Error): void;
}

function capture(resolve: (lease: never) => void, reject: (error: Error) => void): void {
  captured.resolve = resolve;
  captured.reject = reject;
}

/** What `acquire()` returns, and the receiver that settles it. */
export class PromisedLease<L> implements LeaseReceiver<L> {
  readonly promise: Promise<Lease<L>>;
  readonly granted: (lease: Lease<L>) => void;
  readonly refused: (error: Error) => void;

  constructor() {
    this.promise = new Promise(capture);
    this.granted = captured.resolve;
    this.refused = captured.reject;
  }
}
