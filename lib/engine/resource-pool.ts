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
import { type EngineWatcher, NO_WATCHER } from './engine-watcher.js';
import { type Lease, ON_DEMAND, PoolLease } from './lease.js';
import type { AcquireLimits, CloseOptions, CloseReport, LendingEngine } from './lending-engine.js';
import { FOLLOWS_MAX_SIZE, limitsAlone, type PoolLimits, type TenantPolicy } from './limits.js';
import { NewConnections } from './new-connections.js';
import { type DestroyReason, PoolCounters } from './pool-counters.js';
import { PoolNumbers } from './pool-numbers.js';
import { GuardedObserver } from './pool-observer.js';
import type { ProbeOptions, ProbeOutcome } from './probe.js';
import { grantTo, type LeaseReceiver, refuse } from './receivers.js';
import type { ResourcePoolOptions } from './resource-pool.options.js';
import { TenantScheduler } from './scheduler/tenant-scheduler.js';
import type { IdleSlots, PoolTenant, PoolWaiter, Slot, SlotOwner } from './slot.js';
import { Slots } from './slots.js';
import { type Clock, systemClock } from './time/clock.js';
import { Deadlines } from './time/deadlines.js';
import { toError } from './to-error.js';
import { Upkeep } from './upkeep.js';
import type { Validation } from './validation.js';

/**
 * How many receivers may be served inside each other. Each that gives its slot back at once has the next one served: a
 * queue of thousands would be as deep a stack.
 */
const DEEPEST_GRANT = 16;
/** Without waiting, a connection counts as fresh for this long at least: a ping would only be for the next acquire. */
const FRESH_FOR_TRY_MS = 500;
const NO_LIMITS: AcquireLimits = {};

export class ResourcePool<C, L = C> implements LendingEngine<L>, SlotOwner<C, L> {
  readonly id: string;
  readonly counters: PoolCounters;
  /** The coarse clock of this pool; kinds put the deadlines of their operations here too. */
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  readonly numbers: PoolNumbers<C, L>;
  readonly watcher: EngineWatcher;
  /** Replaced as a whole. A field, because each release reads it from outside: see `bench/README.md`. */
  limits: PoolLimits;
  readonly #driver: PoolDriver<C, L>;
  readonly #lendsOnDemand: boolean;
  readonly #observer: GuardedObserver<C, L>;
  readonly #scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>;
  readonly #slots: Slots<C, L>;
  /** Those of #slots: each acquire and release looks at them; see `bench/README.md`. */
  readonly #idle: IdleSlots<C, L>;
  readonly #queue: AcquireQueue<C, L>;
  readonly #connections: NewConnections<C, L>;
  readonly #upkeep: Upkeep<C, L>;
  readonly #validation: Validation<C, L>;
  readonly #cleaning: Cleaning<C, L>;
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

  constructor(options: ResourcePoolOptions<C, L>) {
    const { driver, random = Math.random } = options;
    const observer = new GuardedObserver(options.observer ?? {});
    const counters = options.counters ?? new PoolCounters();
    const scheduler = new TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>(options.tenants, counters);
    this.id = options.id;
    this.watcher = options.watcher ?? NO_WATCHER;
    this.counters = counters;
    this.deadlines = options.deadlines ?? new Deadlines(systemClock);
    this.clock = this.deadlines.clock;
    this.limits = limitsAlone(options.limits);
    this.#driver = driver;
    this.#lendsOnDemand = driver.lendsOnDemand === true;
    this.#observer = observer;
    this.#scheduler = scheduler;
    this.#scheduler.size = this.limits.maxSize;
    this.#slots = new Slots<C, L>(this, scheduler, driver, observer);
    this.#idle = this.#slots.idle;
    this.#queue = new AcquireQueue<C, L>(this, scheduler, options.currentHolder);
    const opening = { driver, observer, anonymous: scheduler.anonymous, random };
    this.#connections = new NewConnections<C, L>(this, this.#slots, this.#queue, opening);
    this.#upkeep = new Upkeep<C, L>(this, this.#slots, this.#connections, scheduler, driver, observer);
    this.#validation = this.#upkeep.validation;
    this.#cleaning = new Cleaning<C, L>(this, this.#slots, driver, observer);
    this.numbers = new PoolNumbers<C, L>(this, scheduler, this.#slots, this.#connections, this.#validation);
  }

  // ── Acquire ──────────────────────────────────────────────────────────────────────────────────────────────────────

  acquire(tenantId: string | undefined, options: AcquireLimits = NO_LIMITS): Promise<Lease<L>> {
    try {
      const nowMs = this.clock.now();
      const tenant = this.#admit(tenantId, options, nowMs);
      const lease = this.#take(tenant, nowMs, this.limits.validateAfterIdleMs);
      return lease === undefined ? this.#queueUp(tenant, options, nowMs) : Promise.resolve(lease);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  request(receiver: LeaseReceiver<L>, tenantId: string | undefined, options: AcquireLimits = NO_LIMITS): void {
    let lease: Lease<L> | undefined;
    try {
      const nowMs = this.clock.now();
      const tenant = this.#admit(tenantId, options, nowMs);
      lease = this.#take(tenant, nowMs, this.limits.validateAfterIdleMs);
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

  tryAcquire(tenantId: string | undefined): Lease<L> | undefined {
    if (this.#drain !== undefined || this.#suspended !== undefined) return undefined;
    const nowMs = this.clock.now();
    const tenant = this.#scheduler.tenant(tenantId, nowMs);
    const lease = this.#take(tenant, nowMs, Math.max(this.limits.validateAfterIdleMs, FRESH_FOR_TRY_MS));
    if (lease !== undefined) return lease;
    if (tenant.mayTake) this.#validation.prepareNext(nowMs);
    this.#scheduler.forgetIfIdle(tenant);
    return undefined;
  }

  takeIdle(tenantId: string | undefined): Lease<L> | undefined {
    if (this.#drain !== undefined || this.#suspended !== undefined) return undefined;
    const nowMs = this.clock.now();
    const tenant = this.#scheduler.tenant(tenantId, nowMs);
    return this.#take(tenant, nowMs, this.limits.validateAfterIdleMs);
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
    if (slot === undefined || slot.isStale(nowMs, freshForMs)) return undefined;
    this.counters.immediate++;
    this.#slots.take(slot);
    this.#scheduler.granted(tenant, slot, nowMs);
    return this.#lend(slot, tenant, nowMs, undefined);
  }

  #pick(tenant: PoolTenant<C, L>, nowMs: number): Slot<C, L> | undefined {
    const own = tenant.warmest;
    if (own !== undefined && !own.isStale(nowMs, this.limits.validateAfterIdleMs)) return own;
    const { newest, oldest } = this.#idle;
    // A keepalive or a probe leaves the slot it looked at below those that served more recently.
    const lookedAt = newest !== undefined && oldest !== undefined && newest.aliveAtMs < oldest.aliveAtMs;
    return lookedAt ? oldest : newest;
  }

  /** @param stack where the acquire was made, if that was somewhere else and leak detection is on. */
  #lend(slot: Slot<C, L>, tenant: PoolTenant<C, L>, nowMs: number, stack: string | undefined): PoolLease<L> {
    const lease = new PoolLease<L>(slot, tenant.id, nowMs);
    slot.lease = lease;
    slot.uses++;
    if (slot.tenant !== tenant) this.#slots.changeTenant(slot, tenant);
    if (this.limits.leakDetectionMs > 0) this.#upkeep.watch(lease, stack, nowMs);
    // Without `lend`, L is C: the default of the type parameter.
    if (this.#driver.lend === undefined && this.#observer.acquired === undefined) slot.lent = slot.connection as C & L;
    else this.#introduce(slot, lease, nowMs);
    return lease;
  }

  /** Lets the driver make what is lent, unless it does so on demand, and the observer see it. Both may end it. */
  #introduce(slot: Slot<C, L>, lease: PoolLease<L>, nowMs: number): void {
    try {
      const lent = this.#lendsOnDemand ? ON_DEMAND : this.lentOf(slot.connection, lease);
      if (slot.lease === lease) slot.lent = lent;
      this.#observer.acquired?.(slot.connection, lease);
    } catch (error) {
      // No caller has the lease, so no caller would release it; unless the driver did, or closed the pool.
      if (slot.lease === lease) {
        slot.endLease(lease);
        this.discard(slot, 'borrower', error, nowMs);
      }
      throw error;
    }
  }

  /** @internal Called by a slot whose lease is read, where the driver lends on demand. */
  lentOf(connection: C, lease: PoolLease<L>): L {
    return this.#driver.lend === undefined ? (connection as C & L) : this.#driver.lend(connection, lease);
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
    if (this.#idle.size > 0 || this.#slots.open < this.limits.maxSize) this.dispatch(nowMs);
    // Last of all: the receiver that is told may acquire, release or close at once.
    if (displaced !== undefined) this.#queue.refuseDisplaced(displaced);
  }

  // ── Dispatch ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal Gives idle slots to the next waiters, and opens what is missing. All that frees a slot ends here. */
  dispatch(nowMs: number): void {
    if (this.#drain !== undefined) return this.#drain.endIfEmpty(nowMs);
    this.#serveIdle(nowMs);
    this.#connections.openMissing(nowMs);
  }

  #serveIdle(nowMs: number): void {
    // Driver and receivers are called in here; they may call the pool, so everything is looked at again each time.
    while (this.#idle.size > 0) {
      if (this.#grantDepth >= DEEPEST_GRANT) {
        this.#postponed = true;
        return;
      }
      const probe = this.#validation.waitingProbe;
      if (probe !== undefined) {
        this.#validation.probeWith(this.#idle.newest, probe, nowMs);
        continue;
      }
      const waiter = this.#suspended === undefined ? this.#scheduler.next : undefined;
      if (waiter === undefined) break;
      const slot = this.#pick(waiter.tenant, nowMs);
      if (slot === undefined) break;
      if (slot.isStale(nowMs, this.limits.validateAfterIdleMs)) {
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
    this.#queue.served(waiter, nowMs);
    this.#grantDepth++;
    try {
      grantTo(waiter.receiver, this.#lend(slot, tenant, nowMs, waiter.cancellation?.stack));
    } catch (error) {
      refuse(waiter.receiver, toError(error));
    }
    if (this.#grantDepth === 1 && this.#postponed) this.#servePostponed();
    this.#grantDepth--;
  }

  /** @internal Lets the oldest waiter of the slot's tenant be served within a lease that is just being granted. */
  share(slot: Slot<C, L>, lease: PoolLease<L>): boolean {
    return this.#queue.share(slot, lease);
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
    if (this.watcher.watchesReleases) this.watcher.released(lease, nowMs - lease.startedAtMs, error);
  }

  #returnSlot(slot: Slot<C, L>, lease: PoolLease<L>, error: unknown, nowMs: number): void {
    const reason = this.#slots.destroyReason(slot, error, nowMs);
    if (reason !== undefined) return this.discard(slot, reason, error, nowMs);
    this.#slots.alive(slot, nowMs);
    if (!slot.steady && !this.#connections.outlasts(slot, nowMs)) return;
    if (this.#driver.recycle !== undefined && !this.#cleaning.isDone(slot, lease, nowMs)) return;
    if (this.#mayHandOver(slot.tenant)) return this.#handOver(slot, nowMs);
    // First the slot: a tenant with a warm slot is remembered.
    this.makeIdle(slot, nowMs);
    this.accountFor(slot, nowMs);
    if (this.#scheduler.waiting > 0 || this.#validation.waitingProbe !== undefined || this.#drain !== undefined)
      this.dispatch(nowMs);
  }

  /** @internal Gives the tenant of a returned slot its share back, and destroys the slot. */
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
    if (this.#idle.size > 0 || this.#validation.waitingProbe !== undefined || this.#suspended !== undefined)
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

  /** @internal The tenant has its slot back only now: not while what it left behind is still being cleaned up. */
  accountFor(slot: Slot<C, L>, nowMs: number): void {
    this.counters.use.record(nowMs - slot.sinceMs);
    this.#scheduler.released(slot.tenant, slot, nowMs);
  }

  /** @internal Called by a lease that is released again. */
  reportDoubleRelease(lease: Lease<unknown>): void {
    this.counters.doubleReleases++;
    this.#observer.releasedTwice(lease);
  }

  /** @internal */
  makeIdle(slot: Slot<C, L>, nowMs: number): void {
    this.#slots.makeIdle(slot, nowMs);
    this.#upkeep.idleSince(nowMs);
  }

  // ── Controls ─────────────────────────────────────────────────────────────────────────────────────────────────────

  start(): void {
    if (this.#started || this.#drain !== undefined) return;
    this.#started = true;
    this.dispatch(this.clock.now());
  }

  whenReady(): Promise<void> {
    this.start();
    return this.#connections.whenReady();
  }

  probe(options: ProbeOptions): Promise<ProbeOutcome> {
    return this.#validation.probe(options);
  }

  changeLimits(change: Partial<PoolLimits>): void {
    const nowMs = this.clock.now();
    const named = change.connectConcurrency !== undefined && { [FOLLOWS_MAX_SIZE]: false };
    this.limits = limitsAlone({ ...this.limits, ...named, ...change });
    this.#scheduler.size = this.limits.maxSize;
    this.#connections.concurrency = this.limits.connectConcurrency;
    this.#upkeep.takeOverLimits(nowMs);
    this.#queue.takeOverTimeout();
    this.#slots.destroySurplus();
    this.#connections.minimumChanged();
    this.dispatch(nowMs);
  }

  changeTenantPolicy(policy: TenantPolicy): void {
    this.#scheduler.changePolicy(policy);
    this.dispatch(this.clock.now());
  }

  evict(): void {
    this.#slots.startGeneration();
    const nowMs = this.clock.now();
    this.#connections.evict();
    this.#slots.destroyOutdated();
    this.#cleaning.abandonAll('generation', nowMs);
    this.dispatch(nowMs);
    this.watcher.evicted(this.#slots.generation);
  }

  suspend(mode: 'queue' | 'reject' = 'queue'): void {
    this.#suspended = mode;
    if (mode !== 'reject' || this.#drain !== undefined) return;
    this.#queue.refuseSuspended(this.clock.now());
  }

  resume(): void {
    this.#suspended = undefined;
    this.dispatch(this.clock.now());
  }

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

  // ── What it tells of itself ──────────────────────────────────────────────────────────────────────────────────────

  get tenantPolicy(): TenantPolicy {
    return this.#scheduler.policy;
  }
  get generation(): number {
    return this.#slots.generation;
  }
  get lifecycle(): 'cold' | 'open' | 'draining' | 'closed' {
    if (this.#drain !== undefined) return this.#drain.over ? 'closed' : 'draining';
    return this.#started ? 'open' : 'cold';
  }
  get suspended(): boolean {
    return this.#suspended !== undefined;
  }
  /** Whether it is being closed, or is closed. */
  get draining(): boolean {
    return this.#drain !== undefined;
  }
}
