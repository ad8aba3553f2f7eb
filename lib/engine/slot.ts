/**
 * One connection with its place in the pool, and the stack of those that are idle.
 */
import { LeaseReleasedError } from './errors.js';
import { type LeasedSlot, type LeaseOwner, ON_DEMAND, type PoolLease } from './lease.js';
import type { Tenant } from './scheduler/tenant.js';
import type { Hold } from './scheduler/tenant-scheduler.js';
import type { DeadlineEntry } from './time/deadlines.js';
import type { Waiter } from './waiter.js';

/** A tenant as one pool knows it. */
export type PoolTenant<C, L> = Tenant<PoolWaiter<C, L>, Slot<C, L>>;
/** An acquire that waits for a slot of one pool. */
export type PoolWaiter<C, L> = Waiter<L, Slot<C, L>>;

/** Where a slot is; every slot is in exactly one state. */
export type SlotState = 'new' | 'idle' | 'leased' | 'recycling' | 'validating' | 'closing';

/** What a slot, and a lease of it, need of their pool. */
export interface SlotOwner<C, L> extends LeaseOwner {
  /** Called by a lease that is released, once. */
  takeBack(slot: Slot<C, L>, lease: PoolLease<L>, error: unknown): void;
  /** Lets the oldest waiter of the slot's tenant share `lease`, if it can. @returns whether it does. */
  share(slot: Slot<C, L>, lease: PoolLease<L>): boolean;
  /** Has the driver make what the borrower of a connection sees. */
  lentOf(connection: C, lease: PoolLease<L>): L;
}

export class Slot<C, L> implements Hold, LeasedSlot<L> {
  readonly pool: SlotOwner<C, L>;
  readonly connection: C;
  /** Pools raise their generation on `evict()`; a slot of an older one is not lent again. */
  readonly generation: number;
  /** Readings of the clock. */
  readonly openedAtMs: number;
  readonly expiresAtMs: number;
  /** When it last came back. */
  idleSinceMs: number;
  /** When it last proved to be alive. */
  aliveAtMs: number;
  uses = 0;
  /** Whether it has shown that its backend is there. */
  proven = false;
  /** Whether there is nothing left to learn from its staying alive. */
  steady = false;
  /** When it is looked at again to learn that, while it is on probation. */
  probation: DeadlineEntry | undefined = undefined;
  state: SlotState = 'new';
  /** Set when the connection died by itself. */
  broken: Error | undefined = undefined;
  /** While it is lent. */
  lease: PoolLease<L> | undefined = undefined;
  /** What its borrower sees of it, while it is lent. */
  lent: L | typeof ON_DEMAND | undefined = undefined;
  /** Since when it has been in use, and what its tenant has been charged for that: the scheduler's. */
  sinceMs = 0;
  chargedMs = 0;
  /** The lease that was reported as leaked last. */
  leaked: PoolLease<L> | undefined = undefined;
  /**
   * The tenant that it serves, or served last: that tenant's session is still warm in it. A new one is that of no
   * tenant.
   */
  tenant: PoolTenant<C, L>;

  /** @internal Links among all idle slots. */
  newer: Slot<C, L> | undefined = undefined;
  /** @internal */
  older: Slot<C, L> | undefined = undefined;
  /** @internal Links among the idle slots of the same last tenant. */
  ownNewer: Slot<C, L> | undefined = undefined;
  /** @internal */
  ownOlder: Slot<C, L> | undefined = undefined;

  constructor(
    pool: SlotOwner<C, L>,
    connection: C,
    tenant: PoolTenant<C, L>,
    generation: number,
    nowMs: number,
    expiresAtMs: number,
  ) {
    this.pool = pool;
    this.connection = connection;
    this.tenant = tenant;
    this.generation = generation;
    this.openedAtMs = nowMs;
    this.expiresAtMs = expiresAtMs;
    this.idleSinceMs = nowMs;
    this.aliveAtMs = nowMs;
  }

  takeBack(lease: PoolLease<L>, error: unknown): void {
    this.pool.takeBack(this, lease, error);
  }

  share(lease: PoolLease<L>): boolean {
    return this.pool.share(this, lease);
  }

  /** Whether it has shown no life for longer than `freshForMs`, so that it has to be pinged before it is lent. */
  isStale(nowMs: number, freshForMs: number): boolean {
    return nowMs - this.aliveAtMs > freshForMs;
  }

  /** Ends a lease's rights, before anything else happens to its slot. */
  endLease(lease: PoolLease<L>): void {
    lease.end();
    this.lease = undefined;
    this.lent = undefined;
  }

  lendTo(lease: PoolLease<L>): L {
    // The driver may look into the lease, which must not call it again.
    this.lent = undefined;
    let lent: L;
    try {
      lent = this.pool.lentOf(this.connection, lease);
    } catch (error) {
      if (!lease.released) this.lent = ON_DEMAND;
      throw error;
    }
    // The driver's code may have ended the lease: the slot may serve another by now.
    if (lease.released) throw new LeaseReleasedError(lease.poolId, { tenantId: lease.tenantId });
    this.lent = lent;
    return lent;
  }
}

/** The idle slots of a pool, to be looked at. */
export interface IdleSlots<C, L> extends Iterable<Slot<C, L>> {
  readonly size: number;
  readonly newest: Slot<C, L> | undefined;
  readonly oldest: Slot<C, L> | undefined;
}

/**
 * Idle slots, newest first: the newest is the warmest, the oldest are superfluous and get closed.
 *
 * Each tenant's own newest idle slot is known too. Every operation is O(1) and allocates nothing.
 */
export class IdleStack<C, L> implements IdleSlots<C, L> {
  #newest: Slot<C, L> | undefined;
  #oldest: Slot<C, L> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get newest(): Slot<C, L> | undefined {
    return this.#newest;
  }

  get oldest(): Slot<C, L> | undefined {
    return this.#oldest;
  }

  /** For a slot that was only looked at: those that served more recently stay above it. */
  pushOldest(slot: Slot<C, L>): void {
    slot.state = 'idle';
    slot.newer = this.#oldest;
    if (this.#oldest === undefined) this.#newest = slot;
    else this.#oldest.older = slot;
    this.#oldest = slot;
    this.#size++;
    this.#pushOwn(slot);
  }

  /** Those that are idle now, oldest first; of a copy, for what is done to one may change what others are. */
  *[Symbol.iterator](): IterableIterator<Slot<C, L>> {
    const slots: Slot<C, L>[] = [];
    for (let slot = this.#oldest; slot !== undefined; slot = slot.newer) slots.push(slot);
    for (const slot of slots) if (slot.state === 'idle') yield slot;
  }

  push(slot: Slot<C, L>): void {
    slot.state = 'idle';
    slot.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = slot;
    else this.#newest.newer = slot;
    this.#newest = slot;
    this.#size++;
    this.#pushOwn(slot);
  }

  #pushOwn(slot: Slot<C, L>): void {
    const { tenant } = slot;
    slot.ownOlder = tenant.warmest;
    if (tenant.warmest !== undefined) tenant.warmest.ownNewer = slot;
    tenant.warmest = slot;
  }

  /** Takes `slot` out, for the state it has next. */
  remove(slot: Slot<C, L>, next: SlotState): void {
    slot.state = next;
    if (slot.newer === undefined) this.#newest = slot.older;
    else slot.newer.older = slot.older;
    if (slot.older === undefined) this.#oldest = slot.newer;
    else slot.older.newer = slot.newer;
    slot.newer = undefined;
    slot.older = undefined;
    this.#size--;
    if (slot.ownNewer === undefined) slot.tenant.warmest = slot.ownOlder;
    else slot.ownNewer.ownOlder = slot.ownOlder;
    if (slot.ownOlder !== undefined) slot.ownOlder.ownNewer = slot.ownNewer;
    slot.ownNewer = undefined;
    slot.ownOlder = undefined;
  }
}
