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
import { type IdleSlots, IdleStack, type PoolTenant, type PoolWaiter, type Slot } from './slot.js';
import type { Clock } from './time/clock.js';
import type { DeadlineEntry, Deadlines } from './time/deadlines.js';

/** How much room is taken, and how much more is wanted. */
export interface RoomNumbers {
  /** Slots taken, in all states together, and connects under way. */
  readonly total: number;
  /** How many connections waiters and a probe could use at once, besides those that are on their way. */
  readonly unmetDemand: number;
}

/** What slots need of their pool. */
export interface SlotsPool {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly counters: PoolCounters;
  readonly limits: PoolLimits;
  readonly suspended: boolean;
  /** Whether the pool is being closed, or is closed. */
  readonly draining: boolean;
  readonly numbers: RoomNumbers;
  /** There is room for another connection. */
  dispatch(nowMs: number): void;
}

/** The cleaning of a returned connection, and its deadline. */
export interface RunningCleaning extends DeadlineEntry {
  /** It has ended: the connection is clean, or there is an error. */
  ended(error: Error | undefined): void;
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
  readonly #driver: PoolDriver<C, L>;
  readonly #observer: GuardedObserver<C, L>;
  /** Every slot with a connection, but for those that are being closed. */
  readonly #open = new Set<Slot<C, L>>();
  readonly #idle = new IdleStack<C, L>();
  /** Returned slots whose connection is being made clean, and until when each may take. */
  readonly #recycling = new Map<Slot<C, L>, RunningCleaning>();
  /** Slots that are pinged, and new ones that are being taken in. */
  readonly #validating = new Set<Slot<C, L>>();
  /** Of those that are validated: after another has failed to answer, no waiter counts on them. */
  readonly #uncounted = new Set<Slot<C, L>>();
  readonly #closing: Closings<C>;
  #unproven = 0;
  #generation = 0;
  /** Whether there may be more connections than a lowered maximum allows. */
  #shrinking = false;
  /** The idle slots, to be looked at. */
  readonly idle: IdleSlots<C, L>;
  /** When a connection last proved that the backend is there; a reading of the clock. */
  aliveAtMs: number;

  constructor(
    pool: SlotsPool,
    scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>,
    driver: PoolDriver<C, L>,
    observer: GuardedObserver<C, L>,
  ) {
    this.#pool = pool;
    this.#scheduler = scheduler;
    this.#driver = driver;
    this.#observer = observer;
    this.idle = this.#idle;
    this.aliveAtMs = -Infinity;
    this.#closing = new Closings<C>({
      deadlines: pool.deadlines,
      close: (connection) => driver.close(connection),
      kill: (connection, reason) => driver.kill(connection, reason),
      failed: (method, error) => observer.driverFailed(method, error),
      isRoomAwaited: () => this.isRoomAwaited(),
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
  /** Raised by `evict()`: slots of an older one are not lent again. */
  get generation(): number {
    return this.#generation;
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

  /** The oldest leases that are out, `most` of them: a few, as each lease is compared with all of those. */
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

  /** Takes a new slot in. It is not idle yet: observers are told of it first. */
  add(slot: Slot<C, L>): void {
    this.#open.add(slot);
    this.#validating.add(slot);
    this.#unproven++;
  }

  /** A new connection has shown for the first time that its backend is there. */
  prove(slot: Slot<C, L>): void {
    slot.proven = true;
    this.#unproven--;
    this.aliveAtMs = this.#pool.clock.now();
  }

  /** A connection works. */
  alive(slot: Slot<C, L>, nowMs: number): void {
    slot.aliveAtMs = nowMs;
    this.aliveAtMs = nowMs;
  }

  /** Takes an idle slot, to be lent. */
  take(slot: Slot<C, L>): void {
    this.#idle.remove(slot, 'leased');
  }

  /** Puts a slot that has served, or is new, among the idle ones. */
  makeIdle(slot: Slot<C, L>, nowMs: number): void {
    slot.idleSinceMs = nowMs;
    this.#idle.push(slot);
  }

  /** Puts a slot that was pinged back: to be lent next, or below those that served more recently. */
  putBack(slot: Slot<C, L>, where: 'newest' | 'oldest'): void {
    if (where === 'oldest') this.#idle.pushOldest(slot);
    else this.#idle.push(slot);
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

  /** A returned slot is being cleaned. */
  startRecycling(slot: Slot<C, L>, cleaning: RunningCleaning): void {
    slot.state = 'recycling';
    this.#recycling.set(slot, cleaning);
  }

  /** The cleaning of a slot, while it is under way. */
  cleaningOf(slot: Slot<C, L>): RunningCleaning | undefined {
    return this.#recycling.get(slot);
  }

  /** @returns whether it was being cleaned still. */
  endRecycling(slot: Slot<C, L>): boolean {
    const cleaning = this.#recycling.get(slot);
    if (cleaning === undefined) return false;
    this.#recycling.delete(slot);
    this.#pool.deadlines.remove(cleaning);
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

  // ── Which must go ────────────────────────────────────────────────────────────────────────────────────────────────

  /** Why a connection must not be lent again, if so. @param error what its borrower returned it with. */
  destroyReason(slot: Slot<C, L>, error: unknown, nowMs: number): DestroyReason | undefined {
    const fault = slot.broken === undefined ? this.#faultOf(error) : undefined;
    // The driver's code may have broken it.
    if (slot.broken !== undefined) return 'broken';
    if (fault !== undefined) return fault;
    const { draining, limits } = this.#pool;
    if (draining) return 'closing';
    if (slot.generation !== this.#generation) return 'generation';
    if (limits.maxUses > 0 && slot.uses >= limits.maxUses) return 'uses';
    if (nowMs >= slot.expiresAtMs) return 'lifetime';
    return this.#shrinking && this.#isSurplus() ? 'resize' : undefined;
  }

  #faultOf(error: unknown): 'borrower' | 'fatal' | undefined {
    if (error === undefined || error === null || error === false) return undefined;
    if (error === true) return 'borrower';
    return this.#isFatal(error) ? 'fatal' : undefined;
  }

  #isFatal(error: unknown): boolean {
    try {
      return this.#driver.isFatal(error);
    } catch (thrown) {
      this.#observer.driverFailed('isFatal', thrown);
      return true;
    }
  }

  /** Whether there is a connection too many. Asked while there may be. */
  #isSurplus(): boolean {
    const { limits, numbers } = this.#pool;
    this.#shrinking = numbers.total > limits.maxSize;
    // Those that are being closed go anyway.
    return numbers.total - this.#closing.size > limits.maxSize;
  }

  /** Slots of the generation until now are not lent again. */
  startGeneration(): void {
    this.#generation++;
  }

  /** Destroys those of an older generation that nothing is done with: for the others see {@link destroyReason}. */
  destroyOutdated(): void {
    for (const slot of this.#idle) this.destroy(slot, 'generation', undefined);
    for (const slot of this.validatingSlots()) {
      // One that is just being opened is told apart by its generation.
      if (slot.state === 'validating' && this.isValidating(slot)) this.destroy(slot, 'generation', undefined);
    }
  }

  /** Destroys idle slots above the maximum; others go when they come back. */
  destroySurplus(): void {
    const { numbers } = this.#pool;
    // Each destroy runs the driver's code, which may change the maximum once more.
    for (const slot of this.#idle) {
      if (numbers.total - this.#closing.size > this.#pool.limits.maxSize) this.destroy(slot, 'resize', undefined);
    }
    this.#shrinking = numbers.total > this.#pool.limits.maxSize;
  }

  /** Whether an acquire waits for the room of a connection that is being closed. */
  isRoomAwaited(): boolean {
    const { draining, suspended, numbers, limits } = this.#pool;
    return !draining && !suspended && numbers.total >= limits.maxSize && numbers.unmetDemand > 0;
  }

  // ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Ends a slot in any state: gracefully where the reason leaves time for it, else at once. */
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
    if (GRACEFUL.has(reason)) this.#closing.close(slot.connection, reason, limits.closeTimeoutMs, nowMs);
    else this.#closing.kill(slot.connection, reason, this.#killTimeoutMs, nowMs);
    runOutside(() => this.#observer.destroyed(slot.connection, reason, error));
  }

  /** Ends a connection for which no slot could be made. */
  discard(connection: C): void {
    this.#closing.kill(connection, undefined, this.#killTimeoutMs, this.#pool.clock.now());
  }

  /** Ends a connection whose connect had been given up: its room is another's by now. */
  discardLate(connection: C): void {
    this.#closing.killLate(connection);
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
