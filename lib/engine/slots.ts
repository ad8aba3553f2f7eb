/**
 * The slots of a pool: in which state each of them is, how many there are of each state, and how they end.
 *
 * Promises:
 *  - a slot is in one collection at most: idle, recycling, validating or closing. One that is open and in none of them
 *    is lent, or in the hands of the code that has just taken it out of one;
 *  - slots move between collections in this class and nowhere else;
 *  - a slot that was destroyed counts as closing for as long as its connection takes up room, and is in no other
 *    collection by the time a driver or an observer is told.
 */
import { Closings } from './closings.js';
import type { PoolDriver } from './driver.js';
import type { LeaseHolder } from './errors.js';
import type { Lease, PoolLease } from './lease.js';
import type { PoolLimits } from './limits.js';
import { runOutside } from './outside-context.js';
import type { DestroyReason, PoolCounters } from './pool-counters.js';
import type { GuardedObserver } from './pool-observer.js';
import type { TenantScheduler } from './scheduler/tenant-scheduler.js';
import { IdleStack, type IdleSlots, type PoolTenant, type PoolWaiter, type Slot } from './slot.js';
import type { Clock } from './time/clock.js';
import type { DeadlineEntry, Deadlines } from './time/deadlines.js';

/** What slots need of their pool. */
export interface SlotsPool {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly counters: PoolCounters;
  readonly limits: PoolLimits;
  /** Whether an acquire waits for the room of a connection that is being closed. */
  isRoomAwaited(): boolean;
  /** There is room for another connection. */
  dispatch(nowMs: number): void;
}

/** How long a driver's `kill` may go on, in milliseconds. */
const LONGEST_KILL_MS = 1_000;
/**
 * Reasons that leave time for a graceful close; with the others the connection no longer answers, or is not waited for.
 */
const GRACEFUL: ReadonlySet<DestroyReason> = new Set<DestroyReason>([
  'lifetime',
  'uses',
  'idle',
  'generation',
  'resize',
  'closing',
]);

export class Slots<C, L> {
  readonly #pool: SlotsPool;
  readonly #scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>;
  readonly #observer: GuardedObserver<C, L>;
  /** Every slot with a connection, but for those that are being closed. */
  readonly #open = new Set<Slot<C, L>>();
  readonly #idle = new IdleStack<C, L>();
  /** Returned slots whose connection is being made clean, and until when each may take. */
  readonly #recycling = new Map<Slot<C, L>, DeadlineEntry>();
  /** Slots that are pinged, and new ones that are being taken in. */
  readonly #validating = new Set<Slot<C, L>>();
  /** Of those that are validated: after another has failed to answer, no waiter counts on them. */
  readonly #uncounted = new Set<Slot<C, L>>();
  readonly #closing: Closings<C>;
  #unproven = 0;
  /** The idle slots, to be looked at. */
  readonly idle: IdleSlots<C, L>;

  constructor(
    pool: SlotsPool,
    scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>,
    driver: PoolDriver<C, L>,
    observer: GuardedObserver<C, L>,
  ) {
    this.#pool = pool;
    this.#scheduler = scheduler;
    this.#observer = observer;
    this.idle = this.#idle;
    this.#closing = new Closings<C>({
      deadlines: pool.deadlines,
      close: (connection) => driver.close(connection),
      kill: (connection) => driver.kill(connection),
      failed: (method, error) => observer.driverFailed(method, error),
      isRoomAwaited: () => pool.isRoomAwaited(),
      ended: () => pool.dispatch(pool.clock.now()),
    });
  }

  // ── The numbers of the moment ────────────────────────────────────────────────────────────────────────────────────

  /** Connections that are open, in all states together. */
  get open(): number {
    return this.#open.size;
  }
  /** Slots that are lent. */
  get active(): number {
    return this.#open.size - this.#idle.size - this.#recycling.size - this.#validating.size;
  }
  get recycling(): number {
    return this.#recycling.size;
  }
  get validating(): number {
    return this.#validating.size;
  }
  /** Of those that are validated, how many waiters count on. */
  get expected(): number {
    return this.#validating.size - this.#uncounted.size;
  }
  get closing(): number {
    return this.#closing.size;
  }
  /** Connections that have yet to show that their backend is there. */
  get unproven(): number {
    return this.#unproven;
  }

  /** Open slots, in all states. */
  [Symbol.iterator](): IterableIterator<Slot<C, L>> {
    return this.#open.values();
  }

  /** Leases that are out at this moment; what is done to one may change which. */
  leases(): [Slot<C, L>, PoolLease<L>][] {
    const leases: [Slot<C, L>, PoolLease<L>][] = [];
    for (const slot of this.#open) if (slot.lease !== undefined) leases.push([slot, slot.lease]);
    return leases;
  }

  /** The oldest leases that are out, `most` of them. */
  oldestHolders(most: number): readonly LeaseHolder[] {
    const nowMs = this.#pool.clock.now();
    const oldest: PoolLease<L>[] = [];
    for (const { lease } of this.#open) {
      // Thousands may time out in the same tick, of a pool with a thousand slots: no copy, no sorting.
      if (lease === undefined) continue;
      if (oldest.length === most && lease.startedAtMs >= (oldest.at(-1)?.startedAtMs ?? Infinity)) continue;
      const younger = oldest.findIndex(({ startedAtMs }) => startedAtMs > lease.startedAtMs);
      oldest.splice(younger < 0 ? oldest.length : younger, 0, lease);
      if (oldest.length > most) oldest.pop();
    }
    return oldest.map((lease) => holderOf(lease, nowMs));
  }

  // ── From state to state ──────────────────────────────────────────────────────────────────────────────────────────

  /** Takes a new slot in. It is not idle yet: whoever is told of it comes first. */
  add(slot: Slot<C, L>): void {
    this.#open.add(slot);
    this.#validating.add(slot);
    this.#unproven++;
  }

  /** A new connection has shown for the first time that its backend is there. */
  prove(slot: Slot<C, L>): void {
    slot.proven = true;
    this.#unproven--;
  }

  /** Takes an idle slot, to be lent. */
  take(slot: Slot<C, L>): void {
    this.#idle.remove(slot, 'leased');
  }

  /** Puts a slot that has served, or is new, among the idle ones. */
  makeIdle(slot: Slot<C, L>): void {
    this.#idle.push(slot);
  }

  /** Puts a slot that was only looked at back, below those that served more recently. */
  makeIdleAsOldest(slot: Slot<C, L>): void {
    this.#idle.pushOldest(slot);
  }

  /** Takes an idle slot, to be pinged. */
  startValidation(slot: Slot<C, L>): void {
    this.#idle.remove(slot, 'validating');
    this.#validating.add(slot);
  }

  isValidating(slot: Slot<C, L>): boolean {
    return this.#validating.has(slot);
  }

  /** @returns whether it was being validated still. */
  endValidation(slot: Slot<C, L>): boolean {
    this.#uncounted.delete(slot);
    return this.#validating.delete(slot);
  }

  /** Slots that are validated at this moment. */
  validatingSlots(): readonly Slot<C, L>[] {
    return [...this.#validating];
  }

  /** From now on no waiter counts on any of those that are pinged. */
  discountValidating(): void {
    for (const slot of this.#validating) if (slot.state === 'validating') this.#uncounted.add(slot);
  }

  /** No waiter counts on a slot that is about to be pinged. */
  discount(slot: Slot<C, L>): void {
    this.#uncounted.add(slot);
  }

  /** Notes that a returned slot is being cleaned, until `deadline` at most. */
  startRecycling(slot: Slot<C, L>, deadline: DeadlineEntry): void {
    slot.state = 'recycling';
    this.#recycling.set(slot, deadline);
  }

  /** @returns whether it was being cleaned still. */
  endRecycling(slot: Slot<C, L>): boolean {
    const deadline = this.#recycling.get(slot);
    if (deadline === undefined) return false;
    this.#recycling.delete(slot);
    this.#pool.deadlines.remove(deadline);
    return true;
  }

  /** Slots that are being cleaned at this moment. */
  recyclingSlots(): readonly Slot<C, L>[] {
    return [...this.#recycling.keys()];
  }

  /** Lets a slot serve another tenant than before. */
  changeTenant(slot: Slot<C, L>, tenant: PoolTenant<C, L>): void {
    const former = slot.tenant;
    slot.tenant = tenant;
    this.#releaseWarm(former);
  }

  /** A slot of `tenant` works for another now, or has gone: a tenant without one may be forgotten. */
  #releaseWarm(tenant: PoolTenant<C, L>): void {
    if (tenant.warmest === undefined) this.#scheduler.forgetIfIdle(tenant);
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends a slot, whatever its state: gracefully if there is no hurry, else at once. */
  destroy(slot: Slot<C, L>, reason: DestroyReason, error: unknown): void {
    const { counters, deadlines, limits, clock } = this.#pool;
    if (slot.state === 'idle') {
      this.#idle.remove(slot, 'closing');
      this.#releaseWarm(slot.tenant);
    } else if (slot.state === 'recycling') this.endRecycling(slot);
    else this.endValidation(slot);
    this.#open.delete(slot);
    counters.destroyed[reason]++;
    if (slot.probation !== undefined) deadlines.remove(slot.probation);
    if (!slot.proven) this.#unproven--;
    const nowMs = clock.now();
    slot.state = 'closing';
    if (GRACEFUL.has(reason)) this.#closing.close(slot.connection, limits.closeTimeoutMs, nowMs);
    else this.#closing.kill(slot.connection, this.#killTimeoutMs, nowMs);
    runOutside(() => this.#observer.destroyed(slot.connection, reason, error));
  }

  /** Ends a connection that no slot was made for. */
  discard(connection: C): void {
    this.#closing.kill(connection, this.#killTimeoutMs, this.#pool.clock.now());
  }

  /** Cuts up to `count` of the graceful closes under way, for an acquire that waits. @returns how many. */
  makeRoom(count: number, nowMs: number): number {
    return this.#closing.makeRoom(count, nowMs);
  }

  /** What a killed connection leaves to be done on the server is waited for no longer than this. */
  get #killTimeoutMs(): number {
    return Math.min(this.#pool.limits.closeTimeoutMs, LONGEST_KILL_MS);
  }
}

/** What a report says of who holds `lease`. */
export function holderOf(lease: Lease<unknown>, nowMs: number): LeaseHolder {
  return { tenantId: lease.tenantId, heldMs: nowMs - lease.startedAtMs, stack: lease.stack };
}
