/**
 * What a pool does while nothing asks it to: it retires and pings idle connections, reports leases that are out for
 * too long, and charges the tenants of those that run on.
 *
 * Promises: a pool with nothing to look after sets no timer; the last idle connection stays while others are lent; no
 * more than half of the idle connections are pinged at once.
 */
import { acquireStack } from './acquire-stack.js';
import type { PoolDriver } from './driver.js';
import type { PoolLease } from './lease.js';
import type { PoolLimits } from './limits.js';
import type { NewConnections } from './new-connections.js';
import type { PoolCounters } from './pool-counters.js';
import type { GuardedObserver } from './pool-observer.js';
import type { TenantScheduler } from './scheduler/tenant-scheduler.js';
import type { PoolWaiter, Slot } from './slot.js';
import { holderOf, type Slots } from './slots.js';
import { DueTask, RecurringTask } from './time/recurring-tasks.js';
import { type IdleCare, type ValidatingPool, Validation } from './validation.js';

/** How often running leases are charged while others wait, in milliseconds. */
const CHARGE_PERIOD_MS = 50;
/**
 * While others are lent, the last idle connection is not closed before one more is idle; how often that is looked at.
 */
const LAST_IDLE_LOOK_MS = 1_000;

/** What upkeep needs of its pool. */
export interface KeptPool extends ValidatingPool {
  readonly counters: PoolCounters;
}

export class Upkeep<C, L> implements IdleCare {
  readonly #pool: KeptPool;
  readonly #slots: Slots<C, L>;
  readonly #scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>;
  readonly #observer: GuardedObserver<C, L>;
  /** Pings. */
  readonly validation: Validation<C, L>;
  readonly #housekeeping: DueTask;
  readonly #runningCharge: RecurringTask;
  /** An idle connection needs nothing for so long after it came back. */
  #idleCareMs: number;

  constructor(
    pool: KeptPool,
    slots: Slots<C, L>,
    connections: NewConnections<C, L>,
    scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>,
    driver: PoolDriver<C, L>,
    observer: GuardedObserver<C, L>,
  ) {
    this.#pool = pool;
    this.#slots = slots;
    this.#scheduler = scheduler;
    this.validation = new Validation<C, L>(pool, slots, connections, driver, this);
    this.#observer = observer;
    this.#housekeeping = new DueTask(pool.deadlines, (nowMs) => this.#keepHouse(nowMs));
    this.#runningCharge = new RecurringTask(pool.deadlines, CHARGE_PERIOD_MS, (nowMs) => this.#chargeRunning(nowMs));
    this.#idleCareMs = shortestCareMs(pool.limits);
  }

  // ── What it is told ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Sees to it that what may be due at `atMs` is looked at by then. */
  by(atMs: number): void {
    this.#housekeeping.by(atMs);
  }

  /** A slot has become idle. */
  idleSince(nowMs: number): void {
    const careAtMs = nowMs + this.#idleCareMs;
    if (careAtMs < this.#housekeeping.dueAtMs) this.#housekeeping.by(careAtMs);
  }

  /** A slot was lent. @param stack where the acquire was made, if that was somewhere else. */
  watch(lease: PoolLease<L>, stack: string | undefined, nowMs: number): void {
    const { limits } = this.#pool;
    lease.stack = stack ?? acquireStack(limits);
    this.#housekeeping.by(nowMs + limits.leakDetectionMs);
  }

  /** Acquires wait: running leases are charged meanwhile. */
  chargeRunning(nowMs: number): void {
    this.#runningCharge.wake(nowMs);
  }

  takeOverLimits(nowMs: number): void {
    this.#idleCareMs = shortestCareMs(this.#pool.limits);
    if (!this.#pool.draining) this.#housekeeping.by(nowMs);
  }

  stop(): void {
    this.#housekeeping.stop();
    this.#runningCharge.stop();
  }

  // ── What it does ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Does what is due. @returns when there will be more to do; a reading of the clock. */
  #keepHouse(nowMs: number): number {
    let nextMs = this.#reportLeaks(nowMs);
    if (this.#pool.draining) return Infinity;
    const { idle } = this.#slots;
    // Those that aren't idle may be by then. One that has outlived its time already goes when it comes back.
    for (const { expiresAtMs } of this.#slots) if (expiresAtMs > nowMs) nextMs = Math.min(nextMs, expiresAtMs);
    // While some are pinged the others have to serve.
    let pings = Math.max(1, idle.size >> 1) - this.#slots.validating;
    for (const slot of idle) {
      const reason = this.#outlived(slot, nowMs);
      if (reason === undefined && this.#keepaliveAtMs(slot) <= nowMs) {
        if (pings-- > 0) void this.validation.validate(slot, 'oldest');
        // One that is under way asks for the next when it has ended.
        continue;
      }
      // The last idle connection stays for the next acquire while other connections are lent.
      const retires = reason !== undefined && (idle.size > 1 || this.#slots.active === 0);
      if (retires) this.#slots.destroy(slot, reason, undefined);
      else nextMs = Math.min(nextMs, reason === undefined ? this.#careAtMs(slot) : nowMs + LAST_IDLE_LOOK_MS);
    }
    this.#pool.dispatch(nowMs);
    // A receiver or an observer may have closed the pool.
    return this.#pool.draining ? Infinity : nextMs;
  }

  /** Why an idle connection should go, if so. */
  #outlived(slot: Slot<C, L>, nowMs: number): 'lifetime' | 'idle' | undefined {
    if (nowMs >= slot.expiresAtMs) return 'lifetime';
    return nowMs >= this.#idleUntilMs(slot) ? 'idle' : undefined;
  }

  #idleUntilMs({ idleSinceMs }: Slot<C, L>): number {
    const { idleTimeoutMs, minSize } = this.#pool.limits;
    return idleTimeoutMs > 0 && this.#slots.open > minSize ? idleSinceMs + idleTimeoutMs : Infinity;
  }

  #keepaliveAtMs({ aliveAtMs }: Slot<C, L>): number {
    const { keepaliveMs } = this.#pool.limits;
    return keepaliveMs > 0 ? aliveAtMs + keepaliveMs : Infinity;
  }

  #careAtMs(slot: Slot<C, L>): number {
    return Math.min(this.#idleUntilMs(slot), this.#keepaliveAtMs(slot));
  }

  /** @returns when the next lease will be out for too long. */
  #reportLeaks(nowMs: number): number {
    const { leakDetectionMs } = this.#pool.limits;
    let nextMs = Infinity;
    if (leakDetectionMs === 0) return nextMs;
    for (const [slot, lease] of this.#slots.leases()) {
      // It may have come back meanwhile: an observer that is told of one leak may release another lease.
      if (slot.lease !== lease || slot.leaked === lease) continue;
      const leakedAtMs = lease.startedAtMs + leakDetectionMs;
      if (nowMs < leakedAtMs) {
        nextMs = Math.min(nextMs, leakedAtMs);
        continue;
      }
      slot.leaked = lease;
      this.#pool.counters.leaks++;
      this.#observer.leaked(holderOf(lease, nowMs));
    }
    return nextMs;
  }

  /**
   * A lease that outlives what it was charged goes on being charged, so that long holds can't hide behind short ones.
   */
  #chargeRunning(nowMs: number): boolean {
    for (const slot of this.#slots)
      if (slot.lease !== undefined) this.#scheduler.chargeRunning(slot.tenant, slot, nowMs);
    return this.#scheduler.waiting > 0;
  }
}

function shortestCareMs({ idleTimeoutMs, keepaliveMs }: PoolLimits): number {
  return Math.min(idleTimeoutMs > 0 ? idleTimeoutMs : Infinity, keepaliveMs > 0 ? keepaliveMs : Infinity);
}
