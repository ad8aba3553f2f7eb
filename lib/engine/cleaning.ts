/**
 * Makes returned connections clean, as far as their driver says there is something to clean.
 *
 * Promise: each cleaning ends once, within `recycleTimeoutMs`. A slot whose connection could not be made clean in time
 * is destroyed. Its tenant has the slot back only then: what it left behind still takes up its share.
 */
import type { PoolDriver } from './driver.js';
import { OperationTimeoutError } from './errors.js';
import type { PoolLease } from './lease.js';
import type { PoolLimits } from './limits.js';
import type { DestroyReason, PoolCounters } from './pool-counters.js';
import type { GuardedObserver } from './pool-observer.js';
import type { Slot } from './slot.js';
import type { RunningCleaning, Slots } from './slots.js';
import type { Clock } from './time/clock.js';
import { DeadlineEntry, type Deadlines } from './time/deadlines.js';
import { toError } from './to-error.js';

/** What cleaning needs of its pool. */
export interface CleanedPool<C, L> {
  readonly id: string;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly counters: PoolCounters;
  readonly limits: PoolLimits;
  /** Gives the tenant of a returned slot its share back, and destroys the slot. */
  discard(slot: Slot<C, L>, reason: DestroyReason, error: undefined, nowMs: number): void;
  /** Gives the tenant of a returned slot its share back. */
  accountFor(slot: Slot<C, L>, nowMs: number): void;
  makeIdle(slot: Slot<C, L>, nowMs: number): void;
  /** Cuts what is still out if the pool is being closed, and the deadline has passed. */
  cutIfDue(nowMs: number): void;
  dispatch(nowMs: number): void;
}

export class Cleaning<C, L> {
  readonly #pool: CleanedPool<C, L>;
  readonly #slots: Slots<C, L>;
  readonly #driver: PoolDriver<C, L>;
  readonly #observer: GuardedObserver<C, L>;

  constructor(pool: CleanedPool<C, L>, slots: Slots<C, L>, driver: PoolDriver<C, L>, observer: GuardedObserver<C, L>) {
    this.#pool = pool;
    this.#slots = slots;
    this.#driver = driver;
    this.#observer = observer;
  }

  /**
   * Has the driver make a returned connection clean.
   *
   * @returns whether it can be lent again at once; if it can't, it is being cleaned, or was replaced.
   */
  isDone(slot: Slot<C, L>, lease: PoolLease<L>, nowMs: number): boolean {
    const work = this.#begin(slot, lease);
    if (work !== undefined && slot.broken === undefined) {
      this.#await(slot, work);
      // The driver's code may have closed the pool, and its deadline have passed.
      this.#pool.cutIfDue(nowMs);
      return false;
    }
    // It broke as its cleaning began: how that ends makes no difference.
    work?.catch(() => undefined);
    // `recycle` of the driver may have closed the pool, or changed the slot: it may be broken now.
    const reason = this.#slots.destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) this.#pool.discard(slot, reason, undefined, nowMs);
    return reason === undefined;
  }

  /** `undefined`: there is nothing to clean. */
  #begin(slot: Slot<C, L>, lease: PoolLease<L>): Promise<void> | undefined {
    try {
      const work: unknown = this.#driver.recycle?.(slot.connection, lease);
      // A driver that isn't written in TypeScript may return anything.
      return work === undefined ? undefined : Promise.resolve(work).then(ignore);
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }

  #await(slot: Slot<C, L>, work: Promise<void>): void {
    const { clock, counters, deadlines, limits } = this.#pool;
    counters.resets++;
    const running = new Running((error) => this.#ended(slot, error), this.#pool);
    this.#slots.startRecycling(slot, running);
    deadlines.add(running, clock.now() + limits.recycleTimeoutMs);
    work.then(
      () => running.ended(undefined),
      (error: unknown) => running.ended(toError(error)),
    );
  }

  /** A slot is cleaned once at a time, and never again when that has failed. */
  #ended(slot: Slot<C, L>, error: Error | undefined): void {
    if (!this.#slots.endRecycling(slot)) return;
    const nowMs = this.#pool.clock.now();
    if (error === undefined) {
      const reason = this.#slots.destroyReason(slot, undefined, nowMs);
      if (reason !== undefined) return this.#pool.discard(slot, reason, undefined, nowMs);
      // First the slot: a tenant with a warm slot is remembered.
      this.#pool.makeIdle(slot, nowMs);
      this.#pool.accountFor(slot, nowMs);
    } else {
      this.#pool.accountFor(slot, nowMs);
      this.#slots.destroy(slot, 'cleaning', error);
      this.#observer.driverFailed('recycle', error);
    }
    this.#pool.dispatch(nowMs);
  }

  /** Ends the connections whose cleaning isn't waited for. */
  abandonAll(reason: DestroyReason, nowMs: number): void {
    for (const slot of this.#slots.recyclingSlots()) {
      if (!this.#slots.endRecycling(slot)) continue;
      this.#pool.accountFor(slot, nowMs);
      this.#slots.destroy(slot, reason, undefined);
    }
  }
}

class Running extends DeadlineEntry implements RunningCleaning {
  readonly ended: (error: Error | undefined) => void;
  readonly #pool: { readonly id: string; readonly limits: PoolLimits };
  override readonly keepsProcessAlive = true;

  constructor(ended: (error: Error | undefined) => void, pool: { readonly id: string; readonly limits: PoolLimits }) {
    super();
    this.ended = ended;
    this.#pool = pool;
  }

  override expire(): void {
    const { id, limits } = this.#pool;
    this.ended(new OperationTimeoutError('Cleaning a connection', limits.recycleTimeoutMs, { poolId: id }));
  }
}

function ignore(): void {
  // Of a promise's value.
}
