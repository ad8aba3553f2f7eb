/**
 * Those who wait for a slot: who may wait, until when, and how it ends for those who get none. Who of them is next is
 * the scheduler's business.
 *
 * Promise: every waiter settles exactly once. Everything else that could settle it is detached before it is told.
 */
import { acquireStack } from './acquire-stack.js';
import type { EngineWatcher } from './engine-watcher.js';
import {
  AcquireAbortedError,
  AcquireTimeoutError,
  NestedAcquireError,
  PoolClosedError,
  type PoolError,
  PoolSuspendedError,
} from './errors.js';
import type { Lease, PoolLease } from './lease.js';
import type { AcquireLimits } from './lending-engine.js';
import type { PoolCounters, RejectionReason } from './pool-counters.js';
import { canShareWith, refuse, shareWith } from './receivers.js';
import { type RejectingPool, Rejections } from './rejections.js';
import type { TenantScheduler } from './scheduler/tenant-scheduler.js';
import type { PoolTenant, PoolWaiter, Slot } from './slot.js';
import type { Clock } from './time/clock.js';
import { type Deadlines, durationOf } from './time/deadlines.js';
import { SharedDeadline } from './time/shared-deadline.js';
import { Waiter, WaiterCancellation, type WaiterOwner } from './waiter.js';

/** What those who wait have to know of their pool. */
export interface QueuedPool extends RejectingPool {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly counters: PoolCounters;
  readonly watcher: EngineWatcher;
  readonly suspended: boolean;
  /** Whether the pool is being closed, or is closed. */
  readonly draining: boolean;
  /** Leases that serve a `use` or a `transaction`. */
  readonly servingLeases: number;
}

export class AcquireQueue<C, L> implements WaiterOwner<PoolWaiter<C, L>> {
  readonly #pool: QueuedPool;
  readonly #scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>;
  readonly #currentHolder: (() => Lease<unknown> | undefined) | undefined;
  readonly #rejections: Rejections;
  /** Of those who wait with the pool's own time-out. */
  readonly #deadline: SharedDeadline<PoolWaiter<C, L>>;

  /** @param currentHolder the lease in whose `use` or `transaction` the running code is, of whichever pool. */
  constructor(
    pool: QueuedPool,
    scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>,
    currentHolder: (() => Lease<unknown> | undefined) | undefined,
  ) {
    this.#pool = pool;
    this.#scheduler = scheduler;
    this.#currentHolder = currentHolder;
    this.#rejections = new Rejections(pool);
    this.#deadline = new SharedDeadline<PoolWaiter<C, L>>(
      pool.deadlines,
      pool.limits.acquireTimeoutMs,
      (waiter, nowMs) => this.expired(waiter, nowMs),
    );
  }

  /** Takes over the pool's time-out when it has changed, for those who wait already too. */
  takeOverTimeout(): void {
    this.#deadline.timeoutMs = this.#pool.limits.acquireTimeoutMs;
  }

  // ── In ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The error of an acquire that may not even wait. */
  notAdmitted(tenantId: string | undefined, signal: AbortSignal | undefined): PoolError {
    const { id, draining } = this.#pool;
    this.#countNotAdmitted(tenantId);
    if (draining) return this.#counted(tenantId, 'closed', new PoolClosedError(id, { tenantId }));
    if (signal?.aborted === true) {
      const error = new AcquireAbortedError(id, 0, { tenantId, cause: signal.reason });
      return this.#counted(tenantId, 'aborted', error);
    }
    return this.#counted(tenantId, 'suspended', new PoolSuspendedError(id, 0, { tenantId }));
  }

  /** Counts a rejection for its tenant. A tenant that the pool doesn't know is not made: its id may be invented. */
  #countNotAdmitted(id: string | undefined): void {
    const tenant = this.#scheduler.find(id);
    if (tenant !== undefined) tenant.rejections++;
    else this.#pool.counters.forgotten?.({ id, acquisitions: 0, timeouts: 0, rejections: 1, heldMs: 0, waitedMs: 0 });
  }

  /** Makes a waiter. Throws when no more may wait. */
  waiter(tenant: PoolTenant<C, L>, { signal, timeoutMs }: AcquireLimits, nowMs: number): PoolWaiter<C, L> {
    if (this.#isOverloadedBy(tenant)) this.#refuseOverload(tenant, nowMs);
    // Most have nothing but their place in the queue.
    const alone = signal === undefined && timeoutMs === undefined && this.#pool.limits.leakDetectionMs === 0;
    const cancellation = alone ? undefined : this.#cancellation(signal, timeoutMs);
    return new Waiter<L, Slot<C, L>>(
      tenant,
      nowMs,
      this.#pool.servingLeases === 0 ? cancellation : this.#cancellationOfNested(tenant, cancellation),
    );
  }

  /**
   * Lets a waiter queue up.
   *
   * @returns who had to make room for it; to be told, with `refuseDisplaced`, when everything else has been done.
   */
  enter(waiter: PoolWaiter<C, L>, nowMs: number): PoolWaiter<C, L> | undefined {
    const displaced = this.#isFull() && !this.#hasSlotFor(waiter.tenant) ? this.#displaceOne(nowMs) : undefined;
    this.#scheduler.enqueue(waiter, nowMs);
    if (waiter.cancellation?.timeoutMs === undefined) this.#deadline.add(waiter);
    if (waiter.cancellation !== undefined) this.#attach(waiter, waiter.cancellation);
    return displaced;
  }

  /** Whether one more waiter of `tenant` might be one too many. */
  #isOverloadedBy({ limits, waiting }: PoolTenant<C, L>): boolean {
    return (
      waiting >= limits.maxWaiting ||
      limits.whenFull === 'reject' ||
      this.#pool.numbers.connectFailures > 0 ||
      this.#scheduler.waiting >= this.#pool.limits.maxQueue
    );
  }

  /**
   * Slots that are not lent, in any state. Acquires that one of them is for (it is being opened, or pinged)
   * don't count as waiting: an idle pool serves with any queue bounds.
   */
  get #free(): number {
    const { limits, numbers, suspended } = this.#pool;
    return suspended ? 0 : Math.max(0, limits.maxSize - numbers.active - numbers.recycling);
  }

  /** Whether there is a slot for one more acquire of `tenant`, besides those for which there is one already. */
  #hasSlotFor(tenant: PoolTenant<C, L>): boolean {
    return tenant.inUse + tenant.waiting < tenant.limits.max && this.#scheduler.grantable < this.#free;
  }

  /** Throws when it is one too many. When the whole queue is full, it is the longest one that pays. */
  #refuseOverload(tenant: PoolTenant<C, L>, nowMs: number): void {
    const { limits } = tenant;
    if (this.isBackendDown(nowMs))
      throw this.#rejectedBy(tenant, 'backendDown', this.#rejections.backendUnavailable(tenant, nowMs));
    if (this.#hasSlotFor(tenant)) return;
    const waiting = tenant.waiting - Math.min(tenant.grantable, this.#free);
    if ((limits.whenFull === 'reject' && !tenant.mayTake) || waiting >= limits.maxWaiting) {
      throw this.#rejectedBy(tenant, 'tenantLimit', this.#rejections.tenantLimit(tenant));
    }
    if (this.#isFull() && !this.#givesWayTo(tenant)) {
      throw this.#rejectedBy(tenant, 'queueFull', this.#rejections.queueFull(tenant));
    }
  }

  #isFull(): boolean {
    const { waiting, grantable } = this.#scheduler;
    const { maxQueue } = this.#pool.limits;
    return waiting >= maxQueue && waiting - Math.min(grantable, this.#free) >= maxQueue;
  }

  /** Whether another than `tenant` itself has to make room in a full queue. */
  #givesWayTo(tenant: PoolTenant<C, L>): boolean {
    const longest = this.#scheduler.longestQueue(this.#pool.limits.maxQueue);
    if (longest === undefined) return false;
    // Among those that may have been invented, and among the others, the longest queue pays.
    const unknownGiveWay =
      this.#scheduler.isUnknown(longest) && !this.#scheduler.isUnknown(tenant) && longest.waiting === tenant.waiting;
    return longest.waiting > tenant.waiting || unknownGiveWay;
  }

  /** The newest of the longest queue. */
  #displaceOne(nowMs: number): PoolWaiter<C, L> | undefined {
    const displaced = this.#scheduler.longestQueue(this.#pool.limits.maxQueue)?.lastWaiting;
    if (displaced !== undefined) this.#leave(displaced, nowMs);
    return displaced;
  }

  #cancellation(signal: AbortSignal | undefined, timeoutMs: number | undefined): WaiterCancellation<L, Slot<C, L>> {
    return new WaiterCancellation<L, Slot<C, L>>(this, signal, timeoutMs, acquireStack(this.#pool.limits));
  }

  /** Throws when the holder of the leases around the acquire would wait for itself. */
  #cancellationOfNested(
    tenant: PoolTenant<C, L>,
    others: WaiterCancellation<L, Slot<C, L>> | undefined,
  ): WaiterCancellation<L, Slot<C, L>> | undefined {
    const holders = this.#holdersAround();
    if (holders.length === 0) return others;
    const cancellation = others ?? this.#cancellation(undefined, undefined);
    cancellation.holders = holders;
    if (!this.#wouldDeadlock(tenant)) return cancellation;
    cancellation.detach();
    const count = tenant.mayTake ? this.#pool.numbers.active : tenant.inUse;
    throw this.#rejectedBy(tenant, 'nested', new NestedAcquireError(this.#pool.id, count, { tenantId: tenant.id }));
  }

  /**
   * The leases of this pool in whose `use` or `transaction` the running code is; each is marked as waiting for the
   * pool.
   */
  #holdersAround(): readonly Lease<unknown>[] {
    const holders: Lease<unknown>[] = [];
    for (let lease = this.#currentHolder?.(); lease !== undefined; lease = lease.within) {
      if (lease.blockOn(this.#pool)) holders.push(lease);
    }
    return holders;
  }

  /** Whether every slot that `tenant` could get is held by code that itself waits for this pool. */
  #wouldDeadlock(tenant: PoolTenant<C, L>): boolean {
    const { numbers, blockedLeases, limits } = this.#pool;
    const { active } = numbers;
    if (!tenant.mayTake) return tenant.blockedLeases === tenant.inUse;
    return active >= limits.maxSize && blockedLeases === active;
  }

  #attach(waiter: PoolWaiter<C, L>, cancellation: WaiterCancellation<L, Slot<C, L>>): void {
    cancellation.bind(waiter);
    if (cancellation.timeoutMs !== undefined)
      this.#pool.deadlines.add(cancellation, waiter.enqueuedAtMs + durationOf(cancellation.timeoutMs));
  }

  // ── Served ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The wait is over, and its waiter served. */
  served(waiter: PoolWaiter<C, L>, nowMs: number): void {
    const waitedMs = nowMs - waiter.enqueuedAtMs;
    this.detach(waiter);
    waiter.tenant.waitedMs += waitedMs;
    this.#pool.counters.wait.record(waitedMs);
  }

  /**
   * Lets the oldest waiter of the slot's tenant be served within `lease`, if its receiver can, and there is no slot for
   * itself. It takes no turn of another tenant's: the time of the lease is charged as a whole.
   */
  share(slot: Slot<C, L>, lease: PoolLease<L>): boolean {
    const { tenant } = slot;
    const waiter = tenant.firstWaiting;
    if (waiter === undefined || (tenant.mayTake && this.#scheduler.grantable <= this.#free)) return false;
    if (this.#pool.suspended || !canShareWith(waiter.receiver, lease)) return false;
    // The receiver was asked, and may have called the pool.
    if (slot.lease !== lease || tenant.firstWaiting !== waiter) return false;
    // It may have come after the lease: who hears of the lease first may ask for one more.
    const nowMs = Math.max(lease.startedAtMs, waiter.enqueuedAtMs);
    this.served(waiter, nowMs);
    this.#scheduler.share(waiter, nowMs);
    shareWith(waiter.receiver, lease);
    return true;
  }

  // ── Out ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes everything from a waiter that could settle it a second time: it gets a slot, or it leaves. */
  detach(waiter: PoolWaiter<C, L>): void {
    if (waiter.place >= 0) this.#deadline.remove(waiter);
    if (waiter.cancellation === undefined) return;
    this.#pool.deadlines.remove(waiter.cancellation);
    waiter.cancellation.detach();
  }

  refuseDisplaced({ receiver, tenant }: PoolWaiter<C, L>): void {
    refuse(receiver, this.#rejectedBy(tenant, 'queueFull', this.#rejections.queueFull(tenant)));
  }

  /** Whether an outage has lasted so long that waiting for its end is no use. */
  isBackendDown(nowMs: number): boolean {
    const { numbers, limits } = this.#pool;
    return numbers.connectFailures > 0 && numbers.open === 0 && numbers.downForMs(nowMs) >= limits.failFastAfterMs;
  }

  /** Refuses everyone if so. */
  failFast(nowMs: number): void {
    if (!this.isBackendDown(nowMs)) return;
    this.#refuseAll('backendDown', nowMs, (tenant) => this.#rejections.backendUnavailable(tenant, nowMs));
  }

  /** Refuses everyone: the pool lends nothing until it is resumed. */
  refuseSuspended(nowMs: number): void {
    this.#refuseAll('suspended', nowMs, ({ id }, waitedMs) => {
      return new PoolSuspendedError(this.#pool.id, waitedMs, { tenantId: id });
    });
  }

  /** Refuses everyone: the pool is being closed. @returns how many were refused. */
  refuseClosed(nowMs: number): number {
    return this.#refuseAll('closed', nowMs, ({ id }) => new PoolClosedError(this.#pool.id, { tenantId: id }));
  }

  /** Refuses those who wait at this moment; a rejected caller may queue up again. @returns how many were refused. */
  #refuseAll(
    reason: RejectionReason,
    nowMs: number,
    errorFor: (tenant: PoolTenant<C, L>, waitedMs: number) => Error,
  ): number {
    let refused = 0;
    for (const tenant of [...this.#scheduler.tenants()]) {
      for (let left = tenant.waiting; left > 0 && tenant.firstWaiting !== undefined; left--) {
        const waiter = tenant.firstWaiting;
        this.#leave(waiter, nowMs);
        const waitedMs = nowMs - waiter.enqueuedAtMs;
        refuse(waiter.receiver, this.#rejectedBy(tenant, reason, errorFor(tenant, waitedMs), waitedMs));
        refused++;
      }
    }
    return refused;
  }

  /** @internal A waiter's deadline has passed. */
  expired(waiter: PoolWaiter<C, L>, nowMs: number): void {
    const { tenant } = waiter;
    const { id, counters, suspended, watcher } = this.#pool;
    const waitedMs = nowMs - waiter.enqueuedAtMs;
    const error = suspended
      ? new PoolSuspendedError(id, waitedMs, { tenantId: tenant.id })
      : this.#rejections.timedOut(tenant, waiter.enqueuedAtMs, waitedMs);
    this.#leave(waiter, nowMs);
    if (error instanceof AcquireTimeoutError) {
      tenant.timeouts++;
      counters.timeouts[error.kind]++;
      watcher.refused(tenant.id, 'timeout', waitedMs, error);
    } else {
      tenant.rejections++;
      this.#counted(tenant.id, 'suspended', error, waitedMs);
    }
    this.#scheduler.forgetIfIdle(tenant);
    refuse(waiter.receiver, error);
  }

  /** @internal A waiter's signal has fired. */
  aborted(waiter: PoolWaiter<C, L>, reason: unknown): void {
    const nowMs = this.#pool.clock.now();
    this.#leave(waiter, nowMs);
    const waitedMs = nowMs - waiter.enqueuedAtMs;
    const error = new AcquireAbortedError(this.#pool.id, waitedMs, { tenantId: waiter.tenant.id, cause: reason });
    refuse(waiter.receiver, this.#rejectedBy(waiter.tenant, 'aborted', error, waitedMs));
  }

  #leave(waiter: PoolWaiter<C, L>, nowMs: number): void {
    this.detach(waiter);
    this.#scheduler.dequeue(waiter, nowMs);
  }

  #rejectedBy<E extends Error>(tenant: PoolTenant<C, L>, reason: RejectionReason, error: E, waitedMs = 0): E {
    tenant.rejections++;
    this.#scheduler.forgetIfIdle(tenant);
    return this.#counted(tenant.id, reason, error, waitedMs);
  }

  #counted<E extends Error>(tenantId: string | undefined, reason: RejectionReason, error: E, waitedMs = 0): E {
    this.#pool.counters.rejections[reason]++;
    this.#pool.watcher.refused(tenantId, reason, waitedMs, error);
    return error;
  }
}
