/**
 * What a pool knows of one tenant: its limits, its queue, its debt, and its own warm slots.
 */
import type { TenantLimits } from '../limits.js';
import { QueueLengths } from './queue-lengths.js';
import { TenantHeap } from './tenant-heap.js';

/** Links of one tenant's first-in, first-out queue, kept in the waiters themselves so that leaving it costs O(1). */
export interface QueueLinks<W> {
  /** @internal */
  nextInQueue: W | undefined;
  /** @internal */
  previousInQueue: W | undefined;
}

/**
 * Tenants that are counted together: those that are known, or those that may have been invented.
 *
 * Each tenant leads to the numbers of its group, so that counting costs the same for both.
 */
export class TenantGroup<W extends QueueLinks<W>, S> {
  /** Those that may have a slot. */
  readonly ready = new TenantHeap<Tenant<W, S>>();
  readonly lengths = new QueueLengths<Tenant<W, S>>();
  /** Slots leased or being cleaned after a lease, of all of them. */
  inUse = 0;
  waiting = 0;

  /** The tenant with the longest queue of the group, if anyone waits. @param tenants those of all groups. */
  longestQueue(tenants: Iterable<Tenant<W, S>>): Tenant<W, S> | undefined {
    return this.waiting === 0 ? undefined : this.lengths.longest(this.#ownAmong(tenants), this.waiting);
  }

  *#ownAmong(tenants: Iterable<Tenant<W, S>>): IterableIterator<Tenant<W, S>> {
    for (const tenant of tenants) if (tenant.group === this) yield tenant;
  }
}

export class Tenant<W extends QueueLinks<W>, S> {
  /** `undefined`: work without a tenant, which is one more tenant with no maximum of its own. */
  readonly id: string | undefined;
  limits: TenantLimits;
  /** Whether it is known, or may have been invented; owned by the scheduler. */
  group: TenantGroup<W, S>;
  /**
   * @internal When a lease that ends is looked at, because it may be known then; a reading of the clock. `Infinity`:
   * never.
   */
  knownAtMs: number;
  /** Slots leased or being cleaned after a lease. */
  inUse = 0;
  waiting = 0;
  firstWaiting: W | undefined = undefined;
  lastWaiting: W | undefined = undefined;
  /** Virtual time, in slot-milliseconds per weight: what it has been charged so far. */
  virtualMs = 0;
  /** Moving average of how long it holds a slot. */
  meanHoldMs: number;
  /** Of those in use, how many are held by code that waits for this same pool. */
  blockedLeases = 0;
  /** Its idle slots, newest first. */
  warmest: S | undefined = undefined;

  /** @internal How many of its waiters may have a slot now; owned by the scheduler. */
  grantable = 0;
  /** @internal Its weight while it holds or waits for something; owned by the scheduler. */
  activeWeight = 0;
  /** @internal Whether the scheduler looks at it when it cleans up. */
  isRetained = false;
  /** @internal Place in the scheduler's heap; -1: not in it. */
  heapIndex = -1;
  /** @internal Links among tenants with queues of the same length. */
  nextOfLength: Tenant<W, S> | undefined = undefined;
  /** @internal */
  previousOfLength: Tenant<W, S> | undefined = undefined;

  /** What the kind of pool keeps about it; the engine doesn't look at it. */
  memory: unknown = undefined;

  acquisitions = 0;
  timeouts = 0;
  rejections = 0;
  /** Milliseconds over all its leases that have ended. */
  heldMs = 0;
  /** Milliseconds that its granted waiters had waited. */
  waitedMs = 0;

  constructor(
    id: string | undefined,
    limits: TenantLimits,
    group: TenantGroup<W, S>,
    knownAtMs: number,
    virtualMs: number,
    meanHoldMs: number,
  ) {
    this.id = id;
    this.limits = limits;
    this.group = group;
    this.knownAtMs = knownAtMs;
    this.virtualMs = virtualMs;
    this.meanHoldMs = meanHoldMs;
  }

  /** Whether it may have one more slot. */
  get mayTake(): boolean {
    return this.inUse < this.limits.max;
  }

  /** Puts a waiter at the end of its queue. */
  link(waiter: W): void {
    const { lastWaiting } = this;
    waiter.previousInQueue = lastWaiting;
    if (lastWaiting === undefined) this.firstWaiting = waiter;
    else lastWaiting.nextInQueue = waiter;
    this.lastWaiting = waiter;
    this.waiting++;
    this.group.waiting++;
  }

  /** Takes a waiter out of its queue, wherever in it it stands. */
  unlink(waiter: W): void {
    const { previousInQueue, nextInQueue } = waiter;
    if (previousInQueue === undefined) this.firstWaiting = nextInQueue;
    else previousInQueue.nextInQueue = nextInQueue;
    if (nextInQueue === undefined) this.lastWaiting = previousInQueue;
    else nextInQueue.previousInQueue = previousInQueue;
    waiter.previousInQueue = undefined;
    waiter.nextInQueue = undefined;
    this.waiting--;
    this.group.waiting--;
    const { lengths, waiting } = this.group;
    if (lengths.kept) lengths.shrunk(this, waiting);
  }

  /** Lets it be counted with another group. @param knownAtMs when it is looked at whether it is known by then. */
  changeGroup(group: TenantGroup<W, S>, knownAtMs: number): void {
    const former = this.group;
    if (group === former) return;
    former.ready.remove(this);
    former.lengths.giveUp();
    group.lengths.giveUp();
    this.nextOfLength = undefined;
    this.previousOfLength = undefined;
    former.inUse -= this.inUse;
    former.waiting -= this.waiting;
    group.inUse += this.inUse;
    group.waiting += this.waiting;
    this.group = group;
    this.knownAtMs = knownAtMs;
  }

  /** Whether slots that were promised to it are with others. */
  get belowReserve(): boolean {
    return this.inUse < this.limits.reserved;
  }
}
