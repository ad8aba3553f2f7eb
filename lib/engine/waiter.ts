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

export class Waiter<C, L> extends DeadlineEntry {
  readonly #pool: ResourcePool<C, L>;
  readonly tenant: PoolTenant<C, L>;
  readonly receiver: LeaseReceiver<L>;
  readonly enqueuedAtMs: number;
  /** The leases of this pool in whose `use` or `transaction` the acquire was made. */
  readonly #holders: readonly Lease<unknown>[];
  #signal: AbortSignal | undefined;
  /** Where the acquire was made, while leak detection is on. */
  readonly stack: string | undefined;
  override readonly keepsProcessAlive = true;

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
    this.#pool = pool;
    this.tenant = tenant;
    this.receiver = receiver;
    this.enqueuedAtMs = enqueuedAtMs;
    this.#holders = holders;
    this.#signal = signal;
    this.stack = stack;
    signal?.addEventListener('abort', this);
  }

  override expire(nowMs: number): void {
    this.#pool.expired(this, nowMs);
  }

  /** Called by the AbortSignal: an object with this method is a listener, which saves a closure a waiter. */
  handleEvent(): void {
    this.#pool.aborted(this, this.#signal?.reason);
  }

  /** Lets go of everything that could settle it a second time. */
  leave(): void {
    this.#signal?.removeEventListener('abort', this);
    this.#signal = undefined;
    for (const holder of this.#holders) holder.unblock();
  }
}

/** The receiver behind `acquire()`. */
export class PromiseReceiver<L> implements LeaseReceiver<L> {
  readonly promise: Promise<Lease<L>>;
  granted!: (lease: Lease<L>) => void;
  refused!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.granted = resolve;
      this.refused = reject;
    });
  }
}
