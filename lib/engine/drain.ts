/**
 * The end of a pool: nothing more is lent, leases get until a deadline, then they are cut, and the driver is disposed
 * of when the last connection is gone.
 *
 * Promise: always ends, with a report, also when driver and observers throw, hang or call the pool.
 */
import type { AcquireQueue } from './acquire-queue.js';
import type { Cleaning } from './cleaning.js';
import type { PoolDriver } from './driver.js';
import type { LeaseHolder } from './errors.js';
import type { CloseReport } from './lending-engine.js';
import type { PoolLimits } from './limits.js';
import type { NewConnections } from './new-connections.js';
import type { GuardedObserver } from './pool-observer.js';
import type { Slot } from './slot.js';
import { holderOf, type Slots } from './slots.js';
import type { Clock } from './time/clock.js';
import { DeadlineEntry, type Deadlines, durationOf } from './time/deadlines.js';
import { withTimeout } from './time/with-timeout.js';
import type { Upkeep } from './upkeep.js';
import type { Validation } from './validation.js';

/** A close ends within a day, however long its deadline. */
const LONGEST_DRAIN_MS = 86_400_000;

/** What a drain needs of its pool. */
export interface DrainedPool<C, L> {
  readonly id: string;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly limits: PoolLimits;
  readonly numbers: { readonly total: number };
  /** Gives the tenant of a returned slot its share back. */
  accountFor(slot: Slot<C, L>, nowMs: number): void;
}

/** What a drain stops, and what it looks at. */
export interface DrainDependencies<C, L> {
  readonly slots: Slots<C, L>;
  readonly queue: AcquireQueue<C, L>;
  readonly connections: NewConnections<C, L>;
  readonly validation: Validation<C, L>;
  readonly upkeep: Upkeep<C, L>;
  readonly cleaning: Cleaning<C, L>;
  readonly driver: PoolDriver<C, L>;
  readonly observer: GuardedObserver<C, L>;
}

export class Drain<C, L> extends DeadlineEntry {
  readonly #pool: DrainedPool<C, L>;
  readonly #dependencies: DrainDependencies<C, L>;
  readonly #startedAtMs: number;
  readonly report: Promise<CloseReport>;
  #resolve: (report: CloseReport) => void = () => undefined;
  #cutAtMs = Infinity;
  /** Waiters that were refused. */
  #refused = 0;
  /** Who held the leases that were cut. */
  readonly #holders: LeaseHolder[] = [];
  #disposing = false;
  #over = false;
  /** Leases that came back in time. */
  finished = 0;
  override readonly keepsProcessAlive = true;

  constructor(pool: DrainedPool<C, L>, dependencies: DrainDependencies<C, L>, startedAtMs: number) {
    super();
    this.#pool = pool;
    this.#dependencies = dependencies;
    this.#startedAtMs = startedAtMs;
    this.report = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Whether everything is gone. */
  get over(): boolean {
    return this.#over;
  }

  /** Stops everything. The pool is draining by then: what this runs may call it. */
  begin(nowMs: number): void {
    const { slots, queue, connections, validation, upkeep } = this.#dependencies;
    upkeep.stop();
    connections.stop();
    validation.stop();
    this.#refused = queue.refuseClosed(nowMs);
    connections.refuseReady();
    for (let slot = slots.idle.oldest; slot !== undefined; slot = slots.idle.oldest)
      slots.destroy(slot, 'closing', undefined);
  }

  /** Gives leases `withinMs` from now, unless they have less already. */
  bringForward(withinMs: number, nowMs: number): void {
    const shortMs = Math.min(durationOf(withinMs), LONGEST_DRAIN_MS);
    if (nowMs + shortMs < this.#cutAtMs) {
      this.#cutAtMs = nowMs + shortMs;
      if (shortMs === 0) this.#cut(nowMs);
      else if (!this.#disposing) this.#pool.deadlines.add(this, this.#cutAtMs);
    }
    this.endIfEmpty(nowMs);
  }

  override expire(nowMs: number): void {
    this.#cut(nowMs);
  }

  /** Cuts what is out if the deadline has passed: a connection that comes back after it isn't waited for. */
  cutIfDue(nowMs: number): void {
    if (nowMs >= this.#cutAtMs) this.#cut(nowMs);
  }

  /** The connections of leases that are still out are killed. */
  #cut(nowMs: number): void {
    const { slots, cleaning } = this.#dependencies;
    // Of those that are still out then: the end of one connection may make the holder of another give it back.
    for (const [slot, lease] of slots.leases()) {
      if (slot.lease !== lease) continue;
      this.#holders.push(holderOf(lease, nowMs));
      lease.markCut();
      slot.endLease(lease);
      this.#pool.accountFor(slot, nowMs);
      slots.destroy(slot, 'cut', undefined);
    }
    cleaning.abandonAll('cut', nowMs);
    for (const slot of slots.validatingSlots()) if (slots.isValidating(slot)) slots.destroy(slot, 'cut', undefined);
    this.endIfEmpty(nowMs);
  }

  /** Ends the pool when no connection is left. */
  endIfEmpty(nowMs: number): void {
    if (this.#disposing || this.#pool.numbers.total > 0) return;
    this.#disposing = true;
    this.#pool.deadlines.remove(this);
    void this.#dispose().then(() => this.#end(Math.max(nowMs, this.#pool.clock.now())));
  }

  async #dispose(): Promise<void> {
    const { driver, observer } = this.#dependencies;
    const { clock, limits } = this.#pool;
    const outcome = await withTimeout(clock, limits.closeTimeoutMs, async () => driver.dispose?.());
    if (outcome.kind === 'failed') observer.driverFailed('dispose', outcome.error);
  }

  #end(nowMs: number): void {
    this.#over = true;
    this.#resolve({
      poolId: this.#pool.id,
      waitedMs: nowMs - this.#startedAtMs,
      finished: this.finished,
      cut: this.#holders.length,
      refused: this.#refused,
      holders: this.#holders,
    });
  }
}
