/**
 * The engine: lends the connections of one driver to tenants, one borrower at a time.
 *
 * The path of a lease, top to bottom: acquire → admission → idle take, or wait → validate or connect → lease →
 * release → destroy, clean, or hand over. What happens beside that path is in files of its own.
 *
 * Promises, kept after every synchronous step:
 *  - idle + leased + recycling + validating + connecting + closing ≤ maxSize (after a downward `resize`, once the
 *    surplus is back): {@link NewConnections} starts no connect beyond it;
 *  - a slot is in exactly one of these states: {@link Slots} alone moves it;
 *  - no tenant has more slots in use than its maximum: {@link TenantScheduler} counts them, `#take` and `next` ask it;
 *  - no idle connection stands beside a waiter that may have it: what frees a slot ends in `#handOver` or `dispatch`;
 *  - every waiter settles exactly once: {@link AcquireQueue} detaches it first.
 * Drivers, observers, receivers and listeners may call the pool from wherever they are called, and may throw.
 * It never begins or ends a transaction, and knows neither Nest nor any driver.
 */
import { AcquireQueue } from './acquire-queue.js';
import { Cleaning } from './cleaning.js';
import { Drain } from './drain.js';
import type { PoolDriver } from './driver.js';
import type { LeaseHolder } from './errors.js';
import { PoolLease, type Lease } from './lease.js';
import type { AcquireLimits, CloseOptions, CloseReport, LendingEngine } from './lending-engine.js';
import { FOLLOWS_MAX_SIZE, limitsAlone, type PoolLimits, type TenantPolicy } from './limits.js';
import { NewConnections } from './new-connections.js';
import { PoolCounters, type DestroyReason } from './pool-counters.js';
import { GuardedObserver, type PoolObserver } from './pool-observer.js';
import type { ProbeOptions, ProbeOutcome } from './probe.js';
import { grantTo, refuse, type LeaseReceiver } from './receivers.js';
import type { BackendFailure } from './rejections.js';
import { TenantScheduler } from './scheduler/tenant-scheduler.js';
import type { PoolTenant, PoolWaiter, Slot, SlotOwner } from './slot.js';
import { Slots } from './slots.js';
import { systemClock, type Clock } from './time/clock.js';
import { Deadlines } from './time/deadlines.js';
import { toError } from './to-error.js';
import { Upkeep } from './upkeep.js';
import { Validation } from './validation.js';

export interface ResourcePoolOptions<C, L> {
  readonly id: string;
  readonly driver: PoolDriver<C, L>;
  readonly limits: PoolLimits;
  readonly tenants: TenantPolicy;
  readonly observer?: PoolObserver<C, L> | undefined;
  /** The pool's coarse clock, if it is shared with others. Default: one of its own. */
  readonly deadlines?: Deadlines | undefined;
  /** What the pool counts in, if it is shared with others. Default: counters of its own. */
  readonly counters?: PoolCounters | undefined;
  /** Numbers in [0, 1). */
  readonly random?: (() => number) | undefined;
  /** The lease in whose `use` or `transaction` the running code is, of whichever pool. */
  readonly currentHolder?: (() => Lease<unknown> | undefined) | undefined;
}

/**
 * How many receivers may be served inside each other. Each that gives its slot back at once has the next one served: a
 * queue of thousands would be as deep a stack.
 */
const DEEPEST_GRANT = 16;
/**
 * Without waiting, a connection counts as fresh for this long at least: a ping for an acquire that can't wait is for
 * the next one.
 */
const FRESH_FOR_TRY_MS = 500;
/** How many of the oldest holders an error names. */
const HOLDERS_NAMED = 3;
const NO_LIMITS: AcquireLimits = {};

export class ResourcePool<C, L = C> implements LendingEngine<L>, SlotOwner<C, L> {
  readonly id: string;
  readonly counters: PoolCounters;
  /** The coarse clock of this pool; kinds put the deadlines of their operations here too. */
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  readonly #driver: PoolDriver<C, L>;
  readonly #observer: GuardedObserver<C, L>;
  readonly #scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>;
  readonly #slots: Slots<C, L>;
  readonly #queue: AcquireQueue<C, L>;
  readonly #connections: NewConnections<C, L>;
  readonly #validation: Validation<C, L>;
  readonly #cleaning: Cleaning<C, L>;
  readonly #upkeep: Upkeep<C, L>;
  #limits: PoolLimits;
  #generation = 0;
  /** Whether there may be more connections than a lowered maximum allows. */
  #shrinking = false;
  #started = false;
  #suspended: 'queue' | 'reject' | undefined;
  /** Since `close()` was called. */
  #drain: Drain<C, L> | undefined;
  /** How many receivers are being served inside each other, and whether one more was put off. */
  #grantDepth = 0;
  #postponed = false;
  /** @internal Leases whose holders wait for this pool. */
  blockedLeases = 0;
  /** @internal Leases that serve a `use` or a `transaction`. */
  servingLeases = 0;
  /** When a connection last proved that the backend is there; a reading of the clock. */
  aliveAtMs = -Infinity;

  constructor(options: ResourcePoolOptions<C, L>) {
    const { driver, random = Math.random } = options;
    const observer = new GuardedObserver(options.observer ?? {});
    const scheduler = new TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>(options.tenants);
    this.id = options.id;
    this.counters = options.counters ?? new PoolCounters();
    this.deadlines = options.deadlines ?? new Deadlines(systemClock);
    this.clock = this.deadlines.clock;
    this.#limits = limitsAlone(options.limits);
    this.#driver = driver;
    this.#observer = observer;
    this.#scheduler = scheduler;
    this.#scheduler.size = this.#limits.maxSize;
    this.#slots = new Slots<C, L>(this, scheduler, driver, observer);
    this.#queue = new AcquireQueue<C, L>(this, scheduler, options.currentHolder);
    const { anonymous } = scheduler;
    const opening = { driver, observer, anonymous, random };
    this.#connections = new NewConnections<C, L>(this, this.#slots, this.#queue, opening);
    this.#validation = new Validation<C, L>(this, this.#slots, this.#connections, driver);
    this.#cleaning = new Cleaning<C, L>(this, this.#slots, driver, observer);
    this.#upkeep = new Upkeep<C, L>(this, this.#slots, scheduler, this.#validation, observer);
  }

  // ── Acquire ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Lends a slot to `tenantId`, as soon as one is free and it is the tenant's turn.
   *
   * Rejects with PoolClosedError, PoolSuspendedError, AcquireTimeoutError, AcquireAbortedError, TenantLimitError,
   * QueueFullError, BackendUnavailableError or NestedAcquireError.
   */
  acquire(tenantId: string | undefined, options: AcquireLimits = NO_LIMITS): Promise<Lease<L>> {
    try {
      const nowMs = this.clock.now();
      const tenant = this.#admit(tenantId, options, nowMs);
      const lease = this.#take(tenant, nowMs, this.#limits.validateAfterIdleMs);
      return lease === undefined ? this.#queueUp(tenant, options, nowMs) : Promise.resolve(lease);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * The same without a promise, for kinds whose own operation has one already. Uncontended, `granted` is called at
   * once.
   */
  request(receiver: LeaseReceiver<L>, tenantId: string | undefined, options: AcquireLimits = NO_LIMITS): void {
    let lease: Lease<L> | undefined;
    try {
      const nowMs = this.clock.now();
      const tenant = this.#admit(tenantId, options, nowMs);
      lease = this.#take(tenant, nowMs, this.#limits.validateAfterIdleMs);
      if (lease === undefined) {
        const waiter = this.#waiter(tenant, options, nowMs);
        waiter.receiver = receiver;
        return this.#wait(waiter, nowMs);
      }
    } catch (error) {
      return refuse(receiver, toError(error));
    }
    grantTo(receiver, lease);
  }

  /**
   * A slot if one can be had without waiting, else `undefined`; a connection is opened then, or a stale one pinged, for
   * the next time.
   */
  tryAcquire(tenantId: string | undefined): Lease<L> | undefined {
    if (this.#drain !== undefined || this.#suspended !== undefined) return undefined;
    const nowMs = this.clock.now();
    const tenant = this.#scheduler.tenant(tenantId, nowMs);
    const lease = this.#take(tenant, nowMs, Math.max(this.#limits.validateAfterIdleMs, FRESH_FOR_TRY_MS));
    if (lease !== undefined) return lease;
    if (tenant.mayTake) this.#prepareNext(nowMs);
    this.#scheduler.forgetIfIdle(tenant);
    return undefined;
  }

  /**
   * A slot if `acquire` would lend one without a wait, else `undefined`. For a caller that queues up next: nothing is
   * made ready here.
   */
  takeIdle(tenantId: string | undefined): Lease<L> | undefined {
    if (this.#drain !== undefined || this.#suspended !== undefined) return undefined;
    const nowMs = this.clock.now();
    const tenant = this.#scheduler.tenant(tenantId, nowMs);
    return this.#take(tenant, nowMs, this.#limits.validateAfterIdleMs);
  }

  #admit(tenantId: string | undefined, { signal }: AcquireLimits, nowMs: number): PoolTenant<C, L> {
    if (this.#drain !== undefined || this.#suspended === 'reject' || signal?.aborted === true) {
      throw this.#queue.notAdmitted(tenantId, signal);
    }
    return this.#scheduler.tenant(tenantId, nowMs);
  }

  /** The uncontended path: the tenant's own warmest slot, else the newest idle one. */
  #take(tenant: PoolTenant<C, L>, nowMs: number, freshForMs: number): PoolLease<L> | undefined {
    if (!tenant.mayTake || this.#suspended !== undefined) return undefined;
    const slot = this.#pick(tenant, nowMs);
    if (slot === undefined || nowMs - slot.aliveAtMs > freshForMs) return undefined;
    this.counters.immediate++;
    this.#slots.take(slot);
    this.#scheduler.granted(tenant, slot, nowMs);
    return this.#lend(slot, tenant, nowMs, undefined);
  }

  #pick(tenant: PoolTenant<C, L>, nowMs: number): Slot<C, L> | undefined {
    const own = tenant.warmest;
    if (own !== undefined && !this.isStale(own, nowMs)) return own;
    const { newest, oldest } = this.#slots.idle;
    // A keepalive or a probe leaves the slot it looked at below those that served more recently.
    const lookedAt = newest !== undefined && oldest !== undefined && newest.aliveAtMs < oldest.aliveAtMs;
    return lookedAt ? oldest : newest;
  }

  /** @internal Whether a slot was idle for so long that it has to be pinged before it is lent. */
  isStale(slot: Slot<C, L>, nowMs: number): boolean {
    return nowMs - slot.aliveAtMs > this.#limits.validateAfterIdleMs;
  }

  /** @param stack where the acquire was made, if that was somewhere else and leak detection is on. */
  #lend(slot: Slot<C, L>, tenant: PoolTenant<C, L>, nowMs: number, stack: string | undefined): PoolLease<L> {
    const lease = new PoolLease<L>(slot, tenant.id, nowMs);
    slot.lease = lease;
    slot.uses++;
    if (slot.tenant !== tenant) this.#slots.changeTenant(slot, tenant);
    if (this.#limits.leakDetectionMs > 0) this.#upkeep.watch(lease, stack, nowMs);
    // Without `lend`, L is C: the default of the type parameter.
    if (this.#driver.lend === undefined && this.#observer.acquired === undefined) slot.lent = slot.connection as C & L;
    else this.#introduce(slot, lease, nowMs);
    return lease;
  }

  /** Lets the driver make what is lent of a connection, and the observer see it. */
  #introduce(slot: Slot<C, L>, lease: PoolLease<L>, nowMs: number): void {
    const { connection } = slot;
    try {
      slot.lent = this.#driver.lend === undefined ? (connection as C & L) : this.#driver.lend(connection, lease);
      this.#observer.acquired?.(connection, lease);
    } catch (error) {
      this.#takeUnlentBack(slot, lease, error, nowMs);
      throw error;
    }
  }

  /** No caller has the lease, so no caller would release it; unless the driver did, or closed the pool. */
  #takeUnlentBack(slot: Slot<C, L>, lease: PoolLease<L>, error: unknown, nowMs: number): void {
    if (slot.lease !== lease) return;
    slot.endLease(lease);
    this.discard(slot, 'borrower', error, nowMs);
  }

  // ── Wait ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #queueUp(tenant: PoolTenant<C, L>, options: AcquireLimits, nowMs: number): Promise<Lease<L>> {
    const waiter = this.#waiter(tenant, options, nowMs);
    const promise = waiter.promise();
    this.#wait(waiter, nowMs);
    return promise;
  }

  #waiter(tenant: PoolTenant<C, L>, options: AcquireLimits, nowMs: number): PoolWaiter<C, L> {
    // The application's functions about tenants have run, and the driver's code does in `start`: they may have closed
    // or suspended the pool, and the tenant may have been forgotten meanwhile.
    const admitted = this.#drain === undefined && this.#suspended !== 'reject' && options.signal?.aborted !== true;
    if (this.#started && admitted) return this.#queue.waiter(tenant, options, nowMs);
    this.start();
    return this.#queue.waiter(this.#admit(tenant.id, options, nowMs), options, nowMs);
  }

  #wait(waiter: PoolWaiter<C, L>, nowMs: number): void {
    const displaced = this.#queue.enter(waiter, nowMs);
    this.#upkeep.chargeRunning(nowMs);
    // With every slot taken there is nothing to give and no room for more.
    if (this.#slots.idle.size > 0 || this.#slots.open < this.#limits.maxSize) this.dispatch(nowMs);
    // Last of all: the receiver that is told may acquire, release or close at once.
    if (displaced !== undefined) this.#queue.refuseDisplaced(displaced);
  }

  /** For an acquire that couldn't wait: one connection is being made ready at a time. */
  #prepareNext(nowMs: number): void {
    this.start();
    if (this.#drain !== undefined || this.#connections.connecting > 0 || this.#slots.validating > 0) return;
    const slot = this.#slots.idle.newest;
    if (slot === undefined) this.#connections.openOne();
    else if (this.isStale(slot, nowMs)) void this.#validation.validate(slot, 'newest');
  }

  // ── Dispatch ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * @internal Gives idle slots to the waiters that come next, and opens what is missing. Everything that frees a slot
   * ends here.
   */
  dispatch(nowMs: number): void {
    if (this.#drain !== undefined) return this.#drain.endIfEmpty(nowMs);
    this.#serveIdle(nowMs);
    this.#connections.openMissing(nowMs);
  }

  #serveIdle(nowMs: number): void {
    const { idle } = this.#slots;
    // Driver and receivers are called in here; they may call the pool, so everything is looked at again each time.
    while (idle.size > 0) {
      if (this.#grantDepth >= DEEPEST_GRANT) {
        this.#postponed = true;
        return;
      }
      const probe = this.#validation.waitingProbe;
      if (probe !== undefined && idle.newest !== undefined) {
        this.#validation.probeWith(idle.newest, probe, nowMs);
        continue;
      }
      const waiter = this.#suspended === undefined ? this.#scheduler.next : undefined;
      if (waiter === undefined) break;
      const slot = this.#pick(waiter.tenant, nowMs);
      if (slot === undefined) break;
      if (this.isStale(slot, nowMs)) {
        if (this.#slots.expected >= this.#scheduler.grantable) break;
        void this.#validation.validate(slot, 'newest');
        continue;
      }
      this.#slots.take(slot);
      this.#grant(waiter, slot, nowMs);
    }
  }

  #grant(waiter: PoolWaiter<C, L>, slot: Slot<C, L>, nowMs: number): void {
    this.#scheduler.grant(waiter, slot, nowMs);
    this.#give(slot, waiter, nowMs);
  }

  #give(slot: Slot<C, L>, waiter: PoolWaiter<C, L>, nowMs: number): void {
    const { tenant } = waiter;
    const waitedMs = nowMs - waiter.enqueuedAtMs;
    this.#queue.detach(waiter);
    tenant.waitedMs += waitedMs;
    this.counters.wait.record(waitedMs);
    this.#grantDepth++;
    try {
      grantTo(waiter.receiver, this.#lend(slot, tenant, nowMs, waiter.cancellation?.stack));
    } catch (error) {
      refuse(waiter.receiver, toError(error));
    }
    if (this.#grantDepth === 1 && this.#postponed) this.#servePostponed();
    this.#grantDepth--;
  }

  /** Slots that came back too deep inside the service of others. */
  #servePostponed(): void {
    while (this.#postponed) {
      this.#postponed = false;
      this.dispatch(this.clock.now());
    }
  }

  /** @internal A new connection can be lent. */
  takeIn(slot: Slot<C, L>, nowMs: number): void {
    this.#upkeep.by(slot.expiresAtMs);
    this.makeIdle(slot, nowMs);
    if (slot.proven) this.#validation.proved();
    this.dispatch(nowMs);
  }

  // ── Release ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal Called by `lease.release()`, once a lease. */
  takeBack(slot: Slot<C, L>, lease: PoolLease<L>, error: unknown): void {
    const nowMs = this.clock.now();
    slot.endLease(lease);
    if (this.#drain !== undefined) this.#drain.finished++;
    this.#returnSlot(slot, lease, error, nowMs);
    this.#observer.released?.(slot.connection, lease, error);
  }

  #returnSlot(slot: Slot<C, L>, lease: PoolLease<L>, error: unknown, nowMs: number): void {
    const reason = this.destroyReason(slot, error, nowMs);
    if (reason !== undefined) return this.discard(slot, reason, error, nowMs);
    this.alive(slot, nowMs);
    if (!slot.steady && !this.#outlasts(slot, nowMs)) return;
    if (this.#driver.recycle !== undefined && !this.#cleaning.isDone(slot, lease, nowMs)) return;
    if (this.#mayHandOver(slot.tenant)) return this.#handOver(slot, nowMs);
    // First the slot: a tenant with a warm slot is remembered.
    this.makeIdle(slot, nowMs);
    this.accountFor(slot, nowMs);
    if (this.#scheduler.waiting > 0 || this.#validation.waitingProbe !== undefined || this.#drain !== undefined)
      this.dispatch(nowMs);
  }

  /** Notes that a new connection was of use. @returns whether it goes on. */
  #outlasts(slot: Slot<C, L>, nowMs: number): boolean {
    if (this.#connections.served(slot, nowMs)) return true;
    // Observers were told: they may have closed the pool.
    const reason = this.destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) this.discard(slot, reason, undefined, nowMs);
    return reason === undefined;
  }

  discard(slot: Slot<C, L>, reason: DestroyReason, error: unknown, nowMs: number): void {
    const cause = slot.broken ?? (error === true ? undefined : error);
    this.accountFor(slot, nowMs);
    this.#slots.destroy(slot, reason, cause);
    // One that has been of use may have been ended by what its borrower did with it: no reason to make others wait.
    if ((reason === 'broken' || reason === 'fatal') && !slot.proven) this.#connections.diedUseless(cause);
    this.dispatch(nowMs);
  }

  /**
   * Whether a returned slot can go straight to the next waiter: no other waiter comes before it, and no better slot is
   * idle. Who gave it back may have been at its maximum until now.
   */
  #mayHandOver(from: PoolTenant<C, L>): boolean {
    if (this.#slots.idle.size > 0 || this.#validation.waitingProbe !== undefined || this.#suspended !== undefined)
      return false;
    if (this.#grantDepth >= DEEPEST_GRANT) return false;
    return this.#scheduler.grantable > 0 || from.waiting > 0;
  }

  /** The contended path: a clean slot goes on to the next waiter without becoming idle in between. */
  #handOver(slot: Slot<C, L>, nowMs: number): void {
    const next = this.#scheduler.nextOfSameTenant(slot.tenant);
    if (next !== undefined) {
      this.counters.use.record(nowMs - slot.sinceMs);
      this.#scheduler.transfer(next, slot, nowMs);
      return this.#give(slot, next, nowMs);
    }
    this.accountFor(slot, nowMs);
    const waiter = this.#scheduler.next;
    if (waiter === undefined) return this.makeIdle(slot, nowMs);
    this.#grant(waiter, slot, nowMs);
  }

  /** The tenant has its slot back only now: not while what it left behind is still being cleaned up. */
  accountFor(slot: Slot<C, L>, nowMs: number): void {
    this.counters.use.record(nowMs - slot.sinceMs);
    this.#scheduler.released(slot.tenant, slot, nowMs);
  }

  /** Why a returned connection must not be lent again, if so. */
  destroyReason(slot: Slot<C, L>, error: unknown, nowMs: number): DestroyReason | undefined {
    if (slot.broken !== undefined) return 'broken';
    if (error !== undefined && error !== null && error !== false) {
      if (error === true) return 'borrower';
      if (this.#isFatal(error)) return 'fatal';
    }
    if (this.#drain !== undefined) return 'closing';
    if (slot.generation !== this.#generation) return 'generation';
    if (this.#limits.maxUses > 0 && slot.uses >= this.#limits.maxUses) return 'uses';
    if (nowMs >= slot.expiresAtMs) return 'lifetime';
    return this.#shrinking && this.#isSurplus() ? 'resize' : undefined;
  }

  /** Whether there is a connection too many. Asked while there may be. */
  #isSurplus(): boolean {
    this.#shrinking = this.total > this.#limits.maxSize;
    // Those that are being closed go anyway.
    return this.total - this.#slots.closing > this.#limits.maxSize;
  }

  #isFatal(error: unknown): boolean {
    try {
      return this.#driver.isFatal(error);
    } catch (thrown) {
      this.#observer.driverFailed('isFatal', thrown);
      return true;
    }
  }

  /** @internal Called by a lease that is released again. */
  reportDoubleRelease(lease: Lease<unknown>): void {
    this.counters.doubleReleases++;
    this.#observer.releasedTwice(lease);
  }

  /** @internal Notes that a connection works. */
  alive(slot: Slot<C, L>, nowMs: number): void {
    slot.aliveAtMs = nowMs;
    this.aliveAtMs = nowMs;
  }

  /** @internal */
  makeIdle(slot: Slot<C, L>, nowMs: number): void {
    slot.idleSinceMs = nowMs;
    this.#slots.makeIdle(slot);
    this.#upkeep.idleSince(nowMs);
  }

  /** @internal Makes a connection that was pinged idle again, unless it has become superfluous meanwhile. */
  putBack(slot: Slot<C, L>, where: 'newest' | 'oldest', nowMs: number): void {
    const reason = this.destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) return this.#slots.destroy(slot, reason, slot.broken);
    if (where === 'oldest') this.#slots.makeIdleAsOldest(slot);
    else this.#slots.makeIdle(slot);
    this.#upkeep.idleSince(nowMs);
  }

  /** @internal A ping has ended. */
  validated(nowMs: number): void {
    // Others may be due, and were left to serve meanwhile.
    if (this.#limits.keepaliveMs > 0) this.#upkeep.by(nowMs);
    this.dispatch(nowMs);
  }

  /** @internal A connection died by itself. */
  broke(slot: Slot<C, L>, error: Error): void {
    if (slot.state === 'closing') return;
    slot.broken = error;
    // Its borrower finds out by itself, and the slot goes when the lease comes back; a new one before it is lent at
    // all.
    if (slot.state === 'leased' || slot.state === 'new') return;
    if (slot.state === 'recycling') return this.#cleaning.ended(slot, error);
    const nowMs = this.clock.now();
    this.#slots.destroy(slot, 'broken', error);
    this.#connections.died(slot, error, nowMs);
    this.dispatch(nowMs);
  }

  // ── Controls ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Begins to open the minimum. Without it, the first acquire does. */
  start(): void {
    if (this.#started || this.#drain !== undefined) return;
    this.#started = true;
    this.dispatch(this.clock.now());
  }

  /**
   * Resolves once the minimum (at least one connection) has been opened. Failing connects are retried meanwhile.
   *
   * @throws PoolClosedError when the pool closes first.
   */
  whenReady(): Promise<void> {
    this.start();
    return this.#connections.whenReady();
  }

  /** Looks whether the backend answers; see {@link Validation.probe}. */
  probe(options: ProbeOptions): Promise<ProbeOutcome> {
    this.start();
    return this.#validation.probe(options);
  }

  /** Takes over new limits. Idle connections above a lower maximum go now, leased ones when they come back. */
  changeLimits(change: Partial<PoolLimits>): void {
    const nowMs = this.clock.now();
    const named = change.connectConcurrency !== undefined && { [FOLLOWS_MAX_SIZE]: false };
    this.#limits = limitsAlone({ ...this.#limits, ...named, ...change });
    this.#scheduler.size = this.#limits.maxSize;
    this.#connections.concurrency = this.#limits.connectConcurrency;
    this.#upkeep.takeOverLimits(nowMs);
    this.#queue.takeOverTimeout();
    for (const slot of this.#slots.idle) {
      if (this.total - this.#slots.closing > this.#limits.maxSize) this.#slots.destroy(slot, 'resize', undefined);
    }
    this.#shrinking = this.total > this.#limits.maxSize;
    this.#connections.minimumChanged();
    this.dispatch(nowMs);
  }

  get tenantPolicy(): TenantPolicy {
    return this.#scheduler.policy;
  }

  /** Takes over new limits of tenants, at once. */
  changeTenantPolicy(policy: TenantPolicy): void {
    this.#scheduler.changePolicy(policy);
    this.dispatch(this.clock.now());
  }

  /**
   * Replaces every connection: idle ones now, leased ones when they come back. For rotated credentials, or after a
   * failover: what is under way with the old server is not waited for.
   */
  evict(): void {
    this.#generation++;
    const nowMs = this.clock.now();
    this.#connections.evict();
    for (const slot of this.#slots.idle) this.#slots.destroy(slot, 'generation', undefined);
    for (const slot of this.#slots.validatingSlots()) {
      // One that is just being opened is told apart by its generation.
      if (slot.state !== 'validating' || !this.#slots.isValidating(slot)) continue;
      this.#slots.destroy(slot, 'generation', undefined);
    }
    this.#cleaning.abandonAll('generation', nowMs);
    this.dispatch(nowMs);
  }

  /**
   * Stops lending. `queue`: acquires wait for `resume()`, as long as their deadlines let them; `reject`: they fail at
   * once, those that wait already too.
   */
  suspend(mode: 'queue' | 'reject' = 'queue'): void {
    this.#suspended = mode;
    if (mode !== 'reject' || this.#drain !== undefined) return;
    this.#queue.refuseSuspended(this.clock.now());
  }

  resume(): void {
    this.#suspended = undefined;
    this.dispatch(this.clock.now());
  }

  /**
   * Refuses new acquires and waiters at once, gives leases until the deadline, then kills their connections. Always
   * resolves. Called again, it can only bring the deadline forward.
   */
  close({ deadlineMs }: CloseOptions): Promise<CloseReport> {
    const nowMs = this.clock.now();
    const drain = this.#drain ?? this.#beginDrain(nowMs);
    drain.bringForward(deadlineMs, nowMs);
    return drain.report;
  }

  #beginDrain(nowMs: number): Drain<C, L> {
    const drain = new Drain<C, L>(
      this,
      {
        slots: this.#slots,
        queue: this.#queue,
        connections: this.#connections,
        validation: this.#validation,
        upkeep: this.#upkeep,
        cleaning: this.#cleaning,
        driver: this.#driver,
        observer: this.#observer,
      },
      nowMs,
    );
    this.#drain = drain;
    drain.begin(nowMs);
    return drain;
  }

  /** @internal Cuts what is out if a close's deadline has passed. */
  cutIfDue(nowMs: number): void {
    this.#drain?.cutIfDue(nowMs);
  }

  // ── The numbers of the moment ────────────────────────────────────────────────────────────────────────────────────

  get limits(): PoolLimits {
    return this.#limits;
  }
  get generation(): number {
    return this.#generation;
  }
  get started(): boolean {
    return this.#started;
  }
  get suspended(): boolean {
    return this.#suspended !== undefined;
  }
  /** @internal Whether the pool is being closed, or is closed. */
  get draining(): boolean {
    return this.#drain !== undefined;
  }
  get lifecycle(): 'cold' | 'open' | 'draining' | 'closed' {
    if (this.#drain !== undefined) return this.#drain.over ? 'closed' : 'draining';
    return this.#started ? 'open' : 'cold';
  }
  get idle(): number {
    return this.#slots.idle.size;
  }
  get active(): number {
    return this.#slots.active;
  }
  get recycling(): number {
    return this.#slots.recycling;
  }
  get validating(): number {
    return this.#slots.validating;
  }
  get connecting(): number {
    return this.#connections.connecting;
  }
  get closing(): number {
    return this.#slots.closing;
  }
  /** Connections that are open, in all states together. */
  get live(): number {
    return this.#slots.open;
  }
  /** Slots taken, in all states together: what `maxSize` bounds. */
  get total(): number {
    return this.#slots.open + this.#connections.connecting + this.#slots.closing;
  }
  get waiting(): number {
    return this.#scheduler.waiting;
  }
  /** Waiters that could be given a slot now, were there one. */
  get grantable(): number {
    return this.#scheduler.grantable;
  }
  /** @internal How many connections waiters and a probe could use at once. */
  get demand(): number {
    const waiting = this.#suspended === undefined ? this.#scheduler.grantable : 0;
    return waiting + (this.#validation.waitingProbe === undefined ? 0 : 1);
  }
  /** Failed connects since the last success, and the last error. */
  get connectFailures(): number {
    return this.#connections.failures;
  }
  get lastConnectError(): Error | undefined {
    return this.#connections.lastError;
  }
  /** Mean hold over all tenants. */
  get meanHoldMs(): number {
    return this.#scheduler.meanHoldMs;
  }
  /** Tenants remembered. */
  get knownTenants(): number {
    return this.#scheduler.known;
  }
  /** Since when the waiter that waits longest has waited, in milliseconds; 0 when none waits. */
  get oldestWaiterMs(): number {
    let oldestMs = Infinity;
    for (const tenant of this.#scheduler.tenants()) {
      if (tenant.firstWaiting !== undefined) oldestMs = Math.min(oldestMs, tenant.firstWaiting.enqueuedAtMs);
    }
    return oldestMs === Infinity ? 0 : this.clock.now() - oldestMs;
  }
  /** How long the backend has been failing; 0 while it isn't. */
  downForMs(nowMs: number): number {
    return this.#connections.downForMs(nowMs);
  }
  backendFailure(sinceMs: number): BackendFailure | undefined {
    return this.#validation.backendFailure(sinceMs);
  }
  /** Tenants that the scheduler knows at the moment; the one without an id is work without a tenant. */
  tenants(): Iterable<PoolTenant<C, L>> {
    return this.#scheduler.tenants();
  }
  /** The oldest leases that are out. */
  oldestHolders(most = HOLDERS_NAMED): readonly LeaseHolder[] {
    return this.#slots.oldestHolders(most);
  }
  /** @internal Whether an acquire waits for the room of a connection that is being closed. */
  isRoomAwaited(): boolean {
    return this.#connections.isRoomAwaited();
  }
}
