/**
 * The engine: lends the connections of one driver to tenants, one borrower at a time.
 *
 * The path of a lease, top to bottom: acquire → admission → idle take, or wait → validate or connect → lease →
 * release → destroy, clean, or hand over.
 *
 * Promises, kept after every synchronous step:
 *  - idle + leased + recycling + validating + connecting + closing ≤ maxSize (after a downward `resize`, once the
 *    surplus is back);
 *  - no tenant has more slots in use than its maximum;
 *  - no idle connection stands beside a waiter that may have it;
 *  - every waiter settles exactly once.
 * Drivers, observers, receivers and listeners may call the pool from wherever they are called, and may throw.
 * It never begins or ends a transaction, and knows neither Nest nor any driver.
 */
import { withTimeout } from './time/with-timeout.js';
import { systemClock, type Clock } from './time/clock.js';
import { Closings } from './closings.js';
import { Connector } from './connector.js';
import { DeadlineEntry, Deadlines, durationOf } from './time/deadlines.js';
import { Drain, type CloseOptions, type CloseReport } from './drain.js';
import type { PoolDriver } from './driver.js';
import {
  AcquireAbortedError,
  OperationTimeoutError,
  PoolClosedError,
  PoolSuspendedError,
  type PoolError,
  type LeaseHolder,
} from './errors.js';
import { DueTask, RecurringTask } from './time/recurring-tasks.js';
import type { AcquireLimits, LendingEngine } from './lending-engine.js';
import { acquireStack, ON_DEMAND, PoolLease, type Lease } from './lease.js';
import { FOLLOWS_MAX_SIZE, limitsAlone, type PoolLimits, type TenantPolicy } from './limits.js';
import { runOutside } from './outside-context.js';
import { PoolCounters, type DestroyReason } from './pool-counters.js';
import { GuardedObserver, type PoolObserver } from './pool-observer.js';
import { Probation, SETTLE_MS, YOUNG_MS } from './probation.js';
import { WaitingProbe, type ProbeOptions, type ProbeOutcome } from './probe.js';
import { grantTo, refuse, type LeaseReceiver } from './receivers.js';
import type { BackendFailure } from './rejections.js';
import { IdleStack, Slot, type PoolTenant, type PoolWaiter, type SlotOwner } from './slot.js';
import { TenantScheduler } from './scheduler/tenant-scheduler.js';
import { toError } from './to-error.js';
import { AcquireQueue } from './acquire-queue.js';

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

/** A ping before lending must not eat the deadline of the acquire that waits for it. */
const VALIDATION_TIMEOUT_MS = 1_000;
/** Share of the maximum lifetime that is taken off at random, so that connections don't all go at once. */
const LIFETIME_JITTER = 0.025;
/** How often running leases are charged while others wait, in milliseconds. */
const CHARGE_PERIOD_MS = 50;
/** How long a driver's `kill` may go on, in milliseconds. */
const LONGEST_KILL_MS = 1_000;
/** A close ends within a day, however long its deadline. */
const LONGEST_DRAIN_MS = 86_400_000;
/**
 * While others are lent, the last idle connection is not closed before one more is idle; how often that is looked at.
 */
const LAST_IDLE_LOOK_MS = 1_000;
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
  readonly #openProvesAlive: boolean;
  readonly #lendsOnDemand: boolean;
  readonly #observer: GuardedObserver<C, L>;
  readonly #random: () => number;
  readonly #scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>;
  readonly #queue: AcquireQueue<C, L>;
  readonly #connector: Connector<C, Slot<C, L>>;
  readonly #housekeeping: DueTask;
  readonly #runningCharge: RecurringTask;
  readonly #failFast: FailFastDeadline;
  /**
   * Every slot with a connection, but for those that are being closed. Whichever is not idle, recycling or validating
   * is lent, or just being taken back.
   */
  readonly #slots = new Set<Slot<C, L>>();
  readonly #idle = new IdleStack<C, L>();
  readonly #recycling = new Map<Slot<C, L>, Cleaning<C, L>>();
  readonly #validating = new Set<Slot<C, L>>();
  /** Of those that are validated: after another has failed to answer, no waiter counts on them. */
  readonly #uncounted = new Set<Slot<C, L>>();
  readonly #closing: Closings<C>;
  readonly #probation: Probation<Slot<C, L>>;
  /** Connections that have yet to show that their backend is there. */
  #unproven = 0;
  /** An idle connection needs nothing for so long after it came back. */
  #idleCareMs: number;
  /** How many receivers are being served inside each other, and whether one more was put off. */
  #grantDepth = 0;
  #postponed = false;
  #lastPingError: Error | undefined;
  #lastPingErrorAtMs = -Infinity;
  #limits: PoolLimits;
  #generation = 0;
  /** Whether there may be more connections than a lowered maximum allows. */
  #shrinking = false;
  #started = false;
  #suspended: 'queue' | 'reject' | undefined;
  #drain: Drain | undefined;
  #disposing = false;
  #closed = false;
  #probe: WaitingProbe | undefined;
  #ready = false;
  readonly #awaitingReady: PromiseFunctions[] = [];
  /** @internal Leases whose holders wait for this pool. */
  blockedLeases = 0;
  /** @internal Leases that serve a `use` or a `transaction`. */
  servingLeases = 0;
  /** When a connection last proved that the backend is there; a reading of the clock. */
  aliveAtMs = -Infinity;

  constructor(options: ResourcePoolOptions<C, L>) {
    this.id = options.id;
    this.counters = options.counters ?? new PoolCounters();
    this.deadlines = options.deadlines ?? new Deadlines(systemClock);
    this.clock = this.deadlines.clock;
    this.#driver = options.driver;
    this.#openProvesAlive = options.driver.openProvesAlive === true;
    this.#lendsOnDemand = options.driver.lendsOnDemand === true;
    this.#observer = new GuardedObserver(options.observer ?? {});
    this.#random = options.random ?? Math.random;
    this.#limits = limitsAlone(options.limits);
    this.#scheduler = new TenantScheduler(options.tenants);
    this.#scheduler.size = this.#limits.maxSize;
    this.#queue = new AcquireQueue<C, L>(this, this.#scheduler, options.currentHolder);
    this.#connector = new Connector<C, Slot<C, L>>(
      {
        poolId: this.id,
        clock: this.clock,
        random: this.#random,
        timeoutMs: this.#limits.connectTimeoutMs,
        openProvesAlive: this.#openProvesAlive,
        open: (signal) => this.#driver.open(signal),
        discard: (connection) => this.#closing.kill(connection, undefined, this.#killTimeoutMs, this.clock.now()),
        admit: (connection, generation) => this.#slotOf(connection, generation),
        opened: (slot, tookMs) => this.#opened(slot, tookMs),
        failed: (error) => this.#connectFailed(error),
        mayRetry: () => this.#dispatch(this.clock.now()),
      },
      this.#limits.connectConcurrency,
    );
    this.#closing = new Closings<C>({
      deadlines: this.deadlines,
      close: (connection) => this.#driver.close(connection),
      kill: (connection, reason) => this.#driver.kill(connection, reason),
      failed: (method, error) => this.#observer.driverFailed(method, error),
      isRoomAwaited: () => this.#isRoomAwaited(),
      ended: () => this.#dispatch(this.clock.now()),
    });
    this.#probation = new Probation<Slot<C, L>>(this.deadlines, (slot, nowMs) => this.#keptAlive(slot, nowMs));
    this.#idleCareMs = this.#shortestCareMs();
    this.#housekeeping = new DueTask(this.deadlines, (nowMs) => this.#keepHouse(nowMs));
    this.#runningCharge = new RecurringTask(this.deadlines, CHARGE_PERIOD_MS, (nowMs) => this.#chargeRunning(nowMs));
    this.#failFast = new FailFastDeadline((nowMs) => this.#queue.failFast(nowMs));
  }

  // ── The numbers of the moment ────────────────────────────────────────────────────────────────────────────────────

  get limits(): PoolLimits {
    return this.#limits;
  }
  get idle(): number {
    return this.#idle.size;
  }
  get active(): number {
    return this.#slots.size - this.#idle.size - this.#recycling.size - this.#validating.size;
  }
  get recycling(): number {
    return this.#recycling.size;
  }
  get validating(): number {
    return this.#validating.size;
  }
  get connecting(): number {
    return this.#connector.connecting;
  }
  get closing(): number {
    return this.#closing.size;
  }
  get waiting(): number {
    return this.#scheduler.waiting;
  }
  /** Waiters that could be given a slot now, were there one. */
  get grantable(): number {
    return this.#scheduler.grantable;
  }
  /** Slots taken, in all states together: what `maxSize` bounds. */
  get total(): number {
    return this.live + this.#connector.connecting + this.#closing.size;
  }
  get generation(): number {
    return this.#generation;
  }
  get suspended(): boolean {
    return this.#suspended !== undefined;
  }
  get lifecycle(): 'cold' | 'open' | 'draining' | 'closed' {
    if (this.#closed) return 'closed';
    if (this.#drain !== undefined) return 'draining';
    return this.#started ? 'open' : 'cold';
  }
  /** Failed connects since the last success, and the last error. */
  get connectFailures(): number {
    return this.#connector.failures;
  }
  get lastConnectError(): Error | undefined {
    return this.#connector.lastError;
  }
  /** What last failed for want of a backend, if anything has since then, or still does. */
  backendFailure(sinceMs: number): BackendFailure | undefined {
    const { lastError, lastErrorAtMs, failures } = this.#connector;
    if (this.#lastPingError !== undefined && this.#lastPingErrorAtMs >= Math.max(sinceMs, lastErrorAtMs)) {
      return { step: 'ping', error: this.#lastPingError };
    }
    if (lastError === undefined || (failures === 0 && lastErrorAtMs < sinceMs)) return undefined;
    return { step: 'connect', error: lastError };
  }
  /** How long the backend has been failing; 0 while it isn't. */
  downForMs(nowMs: number): number {
    return this.#connector.downForMs(nowMs);
  }
  /** Mean hold over all tenants. */
  get meanHoldMs(): number {
    return this.#scheduler.meanHoldMs;
  }
  /** Connections that are open, in all states together. */
  get live(): number {
    return this.#slots.size;
  }
  /** Tenants that the scheduler knows at the moment; the one without an id is work without a tenant. */
  tenants(): Iterable<PoolTenant<C, L>> {
    return this.#scheduler.tenants();
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
  /** The oldest leases that are out. */
  oldestHolders(most = HOLDERS_NAMED): readonly LeaseHolder[] {
    const nowMs = this.clock.now();
    const oldest: PoolLease<L>[] = [];
    for (const { lease } of this.#slots) {
      // Thousands may time out in the same tick, of a pool with a thousand slots: no copy, no sorting.
      if (lease === undefined) continue;
      if (oldest.length === most && lease.startedAtMs >= (oldest.at(-1)?.startedAtMs ?? Infinity)) continue;
      const younger = oldest.findIndex(({ startedAtMs }) => startedAtMs > lease.startedAtMs);
      oldest.splice(younger < 0 ? oldest.length : younger, 0, lease);
      if (oldest.length > most) oldest.pop();
    }
    return oldest.map((lease) => holderOf(lease, nowMs));
  }

  /** Those that are out at this moment; what is done to one may change which. */
  #leases(): [Slot<C, L>, PoolLease<L>][] {
    const leases: [Slot<C, L>, PoolLease<L>][] = [];
    for (const slot of this.#slots) if (slot.lease !== undefined) leases.push([slot, slot.lease]);
    return leases;
  }

  // ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Begins to open the minimum. Without it, the first acquire does. */
  start(): void {
    if (this.#started || this.#drain !== undefined) return;
    this.#started = true;
    this.#dispatch(this.clock.now());
  }

  /**
   * Resolves once the minimum (at least one connection) has been opened. Failing connects are retried meanwhile.
   *
   * @throws PoolClosedError when the pool closes first.
   */
  whenReady(): Promise<void> {
    this.start();
    if (this.#ready) return Promise.resolve();
    if (this.#drain !== undefined) return Promise.reject(new PoolClosedError(this.id));
    return new Promise((resolve, reject) => this.#awaitingReady.push({ resolve, reject }));
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

  /** For an acquire that couldn't wait: one connection is being made ready at a time. */
  #prepareNext(nowMs: number): void {
    this.start();
    if (this.#drain !== undefined || this.#connector.connecting > 0 || this.#validating.size > 0) return;
    const slot = this.#idle.newest;
    if (slot !== undefined) {
      if (this.#isStale(slot, nowMs)) void this.#validate(slot, VALIDATION_TIMEOUT_MS, 'newest');
    } else if (this.total < this.#limits.maxSize && this.#mayConnect()) this.#connector.start(this.#generation);
  }

  #admit(tenantId: string | undefined, { signal }: AcquireLimits, nowMs: number): PoolTenant<C, L> {
    if (this.#drain !== undefined || this.#suspended === 'reject' || signal?.aborted === true) {
      throw this.#notAdmitted(tenantId, signal);
    }
    return this.#scheduler.tenant(tenantId, nowMs);
  }

  #notAdmitted(tenantId: string | undefined, signal: AbortSignal | undefined): PoolError {
    const { rejections } = this.counters;
    if (this.#drain !== undefined) {
      rejections.closed++;
      return new PoolClosedError(this.id, { tenantId });
    }
    if (signal?.aborted === true) {
      rejections.aborted++;
      return new AcquireAbortedError(this.id, 0, { tenantId, cause: signal.reason });
    }
    rejections.suspended++;
    return new PoolSuspendedError(this.id, 0, { tenantId });
  }

  /** The uncontended path: the tenant's own warmest slot, else the newest idle one. */
  #take(tenant: PoolTenant<C, L>, nowMs: number, freshForMs: number): PoolLease<L> | undefined {
    if (!tenant.mayTake || this.#suspended !== undefined) return undefined;
    const slot = this.#pick(tenant, nowMs);
    if (slot === undefined || nowMs - slot.aliveAtMs > freshForMs) return undefined;
    this.counters.immediate++;
    this.#idle.remove(slot, 'leased');
    this.#scheduler.granted(tenant, slot, nowMs);
    return this.#lend(slot, tenant, nowMs, undefined);
  }

  #pick(tenant: PoolTenant<C, L>, nowMs: number): Slot<C, L> | undefined {
    const own = tenant.warmest;
    if (own !== undefined && !this.#isStale(own, nowMs)) return own;
    const { newest, oldest } = this.#idle;
    // A keepalive or a probe leaves the slot it looked at below those that served more recently.
    const lookedAt = newest !== undefined && oldest !== undefined && newest.aliveAtMs < oldest.aliveAtMs;
    return lookedAt ? oldest : newest;
  }

  #isStale(slot: Slot<C, L>, nowMs: number): boolean {
    return nowMs - slot.aliveAtMs > this.#limits.validateAfterIdleMs;
  }

  /** @param stack where the acquire was made, if that was somewhere else and leak detection is on. */
  #lend(slot: Slot<C, L>, tenant: PoolTenant<C, L>, nowMs: number, stack: string | undefined): PoolLease<L> {
    const lease = new PoolLease<L>(slot, tenant.id, nowMs);
    slot.lease = lease;
    slot.uses++;
    if (slot.tenant !== tenant) this.#changeTenant(slot, tenant);
    if (this.#limits.leakDetectionMs > 0) this.#watch(lease, stack, nowMs);
    // Without `lend`, L is C: the default of the type parameter.
    if (this.#driver.lend === undefined && this.#observer.acquired === undefined) slot.lent = slot.connection as C & L;
    else this.#introduce(slot, lease, nowMs);
    return lease;
  }

  #watch(lease: PoolLease<L>, stack: string | undefined, nowMs: number): void {
    lease.stack = stack ?? acquireStack(this.#limits);
    this.#housekeeping.by(nowMs + this.#limits.leakDetectionMs);
  }

  /** Lets the driver make what is lent of a connection, unless it does so on demand, and the observer see the lease. */
  #introduce(slot: Slot<C, L>, lease: PoolLease<L>, nowMs: number): void {
    const { connection } = slot;
    try {
      slot.lent = this.#lendsOnDemand ? ON_DEMAND : this.lentOf(connection, lease);
      this.#observer.acquired?.(connection, lease);
    } catch (error) {
      this.#takeUnlentBack(slot, lease, error, nowMs);
      throw error;
    }
  }

  /** @internal Called by a slot whose lease is read, where the driver lends on demand. */
  lentOf(connection: C, lease: PoolLease<L>): L {
    return this.#driver.lend === undefined ? (connection as C & L) : this.#driver.lend(connection, lease);
  }

  /** No caller has the lease, so no caller would release it; unless the driver did, or closed the pool. */
  #takeUnlentBack(slot: Slot<C, L>, lease: PoolLease<L>, error: unknown, nowMs: number): void {
    if (slot.lease !== lease) return;
    this.#endLease(slot, lease);
    this.#discard(slot, 'borrower', error, nowMs);
  }

  #changeTenant(slot: Slot<C, L>, tenant: PoolTenant<C, L>): void {
    const former = slot.tenant;
    slot.tenant = tenant;
    this.#releaseWarm(former);
  }

  /** Its slot works for another now, or has gone: a tenant without one may be forgotten. */
  #releaseWarm(tenant: PoolTenant<C, L>): void {
    if (tenant.warmest === undefined) this.#scheduler.forgetIfIdle(tenant);
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
    this.#runningCharge.wake(nowMs);
    // With every slot taken there is nothing to give and no room for more.
    if (this.#idle.size > 0 || this.#slots.size < this.#limits.maxSize) this.#dispatch(nowMs);
    // Last of all: the receiver that is told may acquire, release or close at once.
    if (displaced !== undefined) this.#queue.refuseDisplaced(displaced);
  }

  // ── Hand over, validate, connect ─────────────────────────────────────────────────────────────────────────────────

  /**
   * Gives idle slots to the waiters that come next, and opens what is missing. Everything that frees a slot ends here.
   */
  #dispatch(nowMs: number): void {
    if (this.#drain !== undefined) return this.#endIfDrained(nowMs);
    this.#serveIdle(nowMs);
    this.#openMissing(nowMs);
  }

  #serveIdle(nowMs: number): void {
    // Driver and receivers are called in here; they may call the pool, so everything is looked at again each time.
    while (this.#idle.size > 0) {
      if (this.#grantDepth >= DEEPEST_GRANT) {
        this.#postponed = true;
        return;
      }
      if (this.#probe !== undefined) {
        this.#probeWith(this.#idle.newest, this.#probe, nowMs);
        continue;
      }
      const waiter = this.#suspended === undefined ? this.#scheduler.next : undefined;
      if (waiter === undefined) break;
      const slot = this.#pick(waiter.tenant, nowMs);
      if (slot === undefined) break;
      if (this.#isStale(slot, nowMs)) {
        if (this.#validating.size - this.#uncounted.size >= this.#scheduler.grantable) break;
        void this.#validate(slot, VALIDATION_TIMEOUT_MS, 'newest');
        continue;
      }
      this.#idle.remove(slot, 'leased');
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
      this.#dispatch(this.clock.now());
    }
  }

  /** Pings an idle slot and puts it back, or destroys it. Resolves with what was wrong. */
  async #validate(slot: Slot<C, L>, timeoutMs: number, putBack: 'newest' | 'oldest'): Promise<Error | undefined> {
    this.#idle.remove(slot, 'validating');
    this.#validating.add(slot);
    const controller = new AbortController();
    const outcome = await withTimeout(this.clock, timeoutMs, () =>
      this.#driver.ping(slot.connection, controller.signal),
    );
    controller.abort();
    const error =
      outcome.kind === 'done'
        ? undefined
        : outcome.kind === 'late'
          ? new OperationTimeoutError('A ping', timeoutMs, { poolId: this.id })
          : toError(outcome.error);
    // It may have died, or the pool may have been closed, meanwhile.
    if (!this.#endValidation(slot)) return slot.broken ?? error;
    const nowMs = this.clock.now();
    if (error === undefined) {
      this.#alive(slot, nowMs);
      this.#connector.proveUp();
      if (!slot.proven) this.#prove(slot);
      this.#putBack(slot, putBack, nowMs);
    } else {
      this.#lastPingError = error;
      this.#lastPingErrorAtMs = nowMs;
      this.#destroy(slot, 'validation', error);
      if (!slot.proven) this.#noteYoungDeath(slot, true, error, nowMs);
      this.#checkIdle(nowMs);
    }
    // Others may be due, and were left to serve meanwhile.
    if (this.#limits.keepaliveMs > 0) this.#housekeeping.by(nowMs);
    this.#dispatch(nowMs);
    return error;
  }

  /** @returns whether it was being validated still. */
  #endValidation(slot: Slot<C, L>): boolean {
    this.#uncounted.delete(slot);
    return this.#validating.delete(slot);
  }

  /**
   * One has failed to answer; others that were idle for as long may be as dead. All of them are pinged at once, and
   * those who wait rely on none: were each pinged in its turn, an acquire would wait for one time-out after the other.
   */
  #checkIdle(nowMs: number): void {
    for (const slot of this.#idle) {
      if (!this.#isStale(slot, nowMs) || this.#drain !== undefined) continue;
      this.#uncounted.add(slot);
      void this.#validate(slot, VALIDATION_TIMEOUT_MS, 'oldest');
    }
    for (const slot of this.#validating) if (slot.state === 'validating') this.#uncounted.add(slot);
  }

  /** Opens what waiters need and what the minimum lacks, as far as the maximum, the connector and backoff allow. */
  #openMissing(nowMs: number): void {
    // Each start runs the driver's code, which may call the pool: what is missing is counted anew each time.
    while (this.#started && this.#drain === undefined) {
      if (this.#missing() <= 0 || !this.#mayConnect()) return;
      const room = this.#limits.maxSize - this.total;
      if (room <= 0 && !(this.#isRoomAwaited() && this.#closing.makeRoom(1 - room, nowMs) > -room)) return;
      this.#connector.start(this.#generation);
    }
  }

  /** Whether backoff and the bound on connects let one be started. */
  #mayConnect(): boolean {
    // After a failure one is tried at a time, and has to be of use first.
    if (this.#connector.failures > 0 && this.#unproven > 0) return false;
    return this.#connector.allowance > 0;
  }

  /** How many connects are wanted, if there is room. */
  #missing(): number {
    const coming = this.#connector.connecting + this.#validating.size - this.#uncounted.size;
    const waiting = this.#suspended === undefined ? this.#scheduler.grantable : 0;
    const needed = waiting + (this.#probe === undefined ? 0 : 1) - coming;
    // Until the backend has shown itself, and again after it has failed, one connect goes on trying, even if
    // no acquire waits.
    const unproven = !this.#ready || (this.#connector.failures > 0 && this.live === 0);
    const floor = Math.max(this.#limits.minSize, unproven ? 1 : 0);
    return Math.max(needed, floor - this.total);
  }

  /** Whether an acquire waits for the room of a connection that is being closed. */
  #isRoomAwaited(): boolean {
    if (this.#drain !== undefined || this.#suspended !== undefined || this.total < this.#limits.maxSize) return false;
    const coming = this.#connector.connecting + this.#validating.size - this.#uncounted.size;
    return this.#scheduler.grantable + (this.#probe === undefined ? 0 : 1) > coming;
  }

  #slotOf(connection: C, generation: number): Slot<C, L> {
    const nowMs = this.clock.now();
    const { maxLifetimeMs } = this.#limits;
    const lifetimeMs = maxLifetimeMs === 0 ? Infinity : maxLifetimeMs * (1 - LIFETIME_JITTER * this.#random());
    const slot = new Slot<C, L>(this, connection, this.#scheduler.anonymous, generation, nowMs, nowMs + lifetimeMs);
    this.#driver.onBroken(connection, (error?: unknown) =>
      this.#broke(slot, error === undefined ? new Error('The connection broke.') : toError(error)),
    );
    return slot;
  }

  #opened(slot: Slot<C, L>, tookMs: number): void {
    const nowMs = this.clock.now();
    this.counters.connects++;
    this.counters.connect.record(tookMs);
    // It has its place before an observer is told: the observer may acquire, or close the pool, at once.
    this.#slots.add(slot);
    this.#validating.add(slot);
    this.#unproven++;
    this.#observer.opened(slot.connection);
    if (this.#openProvesAlive && slot.broken === undefined && this.#validating.has(slot)) {
      slot.steady = !this.#connector.unsteady;
      this.#prove(slot);
    }
    if (!this.#endValidation(slot)) return;
    const reason = this.#destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) {
      this.#destroy(slot, reason, slot.broken);
      // Were another one opened at once, a backend that drops what it accepts would be met by a storm.
      const error = slot.broken ?? new Error(`The connection was replaced as it was opened (${reason}).`);
      if (reason !== 'resize') this.#noteYoungDeath(slot, true, error, nowMs);
      return this.#dispatch(nowMs);
    }
    if (!slot.steady) this.#probation.add(slot, nowMs + (slot.proven ? YOUNG_MS : SETTLE_MS));
    this.#housekeeping.by(slot.expiresAtMs);
    this.#makeIdle(slot, nowMs);
    // During an outage it is pinged before it is lent.
    if (!slot.proven && this.#connector.failures > 0) slot.aliveAtMs = -Infinity;
    if (slot.proven && this.#probe !== undefined) this.#finishProbe(this.#probe, 'alive');
    this.#dispatch(nowMs);
  }

  /** A connection has shown for the first time that its backend is there. */
  #prove(slot: Slot<C, L>): void {
    slot.proven = true;
    this.#unproven--;
    this.aliveAtMs = this.clock.now();
    this.#connector.proveUp();
    runOutside(() => this.#observer.proved(slot.connection));
    this.#becomeReady();
  }

  /** A new connection was not dropped at once, or has lasted. */
  #keptAlive(slot: Slot<C, L>, nowMs: number): void {
    if (!slot.proven) this.#prove(slot);
    if (nowMs - slot.openedAtMs >= YOUNG_MS) this.#proveSteady(slot);
    else this.#probation.add(slot, slot.openedAtMs + YOUNG_MS);
    this.#dispatch(nowMs);
  }

  /**
   * A new connection has served a lease. That says nothing if it had no time to be dropped.
   *
   * @returns whether it was known to be of use.
   */
  #served(slot: Slot<C, L>, nowMs: number): boolean {
    const { proven } = slot;
    if (nowMs - slot.openedAtMs < SETTLE_MS) return true;
    this.#probation.remove(slot);
    if (!proven) this.#prove(slot);
    this.#proveSteady(slot);
    return proven;
  }

  #proveSteady(slot: Slot<C, L>): void {
    slot.steady = true;
    this.#connector.proveSteady();
  }

  /**
   * A connection that died by itself was as good as a failed connect if it had been of no use, or if it died at once.
   *
   * @param ofNoUse whether it never got as far as to be of use.
   */
  #noteYoungDeath(slot: Slot<C, L>, ofNoUse: boolean, error: unknown, nowMs: number): void {
    if (this.#drain !== undefined || (!ofNoUse && nowMs - slot.openedAtMs >= YOUNG_MS)) return;
    this.#connector.diedYoung(toError(error));
  }

  #connectFailed(error: Error): void {
    const nowMs = this.clock.now();
    this.counters.connectFailures++;
    runOutside(() => this.#observer.connectFailed(error));
    const dueAtMs = (this.#connector.downSinceMs ?? nowMs) + this.#limits.failFastAfterMs;
    if (nowMs >= dueAtMs) this.#queue.failFast(nowMs);
    else if (this.#failFast.dueTick < 0) this.deadlines.add(this.#failFast, dueAtMs);
    this.#endIfDrained(nowMs);
  }

  #becomeReady(): void {
    if (this.#ready || this.live - this.#unproven < this.#limits.minSize) return;
    this.#ready = true;
    for (const { resolve } of this.#awaitingReady.splice(0)) resolve();
  }

  // ── Release ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal Called by `lease.release()`, once a lease. */
  takeBack(slot: Slot<C, L>, lease: PoolLease<L>, error: unknown): void {
    const nowMs = this.clock.now();
    this.#endLease(slot, lease);
    if (this.#drain !== undefined) this.#drain.finished++;
    this.#returnSlot(slot, lease, error, nowMs);
    this.#observer.released?.(slot.connection, lease, error);
  }

  #returnSlot(slot: Slot<C, L>, lease: PoolLease<L>, error: unknown, nowMs: number): void {
    const reason = this.#destroyReason(slot, error, nowMs);
    if (reason !== undefined) return this.#discard(slot, reason, error, nowMs);
    this.#alive(slot, nowMs);
    if (!slot.steady && !this.#outlasts(slot, nowMs)) return;
    if (this.#driver.recycle !== undefined && !this.#recycled(slot, lease, nowMs)) return;
    if (this.#mayHandOver(slot.tenant)) return this.#handOver(slot, nowMs);
    // First the slot: a tenant with a warm slot is remembered.
    this.#makeIdle(slot, nowMs);
    this.#accountFor(slot, nowMs);
    if (this.#scheduler.waiting > 0 || this.#probe !== undefined || this.#drain !== undefined) this.#dispatch(nowMs);
  }

  /** Notes that a new connection was of use. @returns whether it goes on. */
  #outlasts(slot: Slot<C, L>, nowMs: number): boolean {
    if (this.#served(slot, nowMs)) return true;
    // Observers were told: they may have closed the pool.
    const reason = this.#destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) this.#discard(slot, reason, undefined, nowMs);
    return reason === undefined;
  }

  #discard(slot: Slot<C, L>, reason: DestroyReason, error: unknown, nowMs: number): void {
    const cause = slot.broken ?? (error === true ? undefined : error);
    this.#accountFor(slot, nowMs);
    this.#destroy(slot, reason, cause);
    // One that has been of use may have been ended by what its borrower did with it: no reason to make others wait.
    if ((reason === 'broken' || reason === 'fatal') && !slot.proven) this.#noteYoungDeath(slot, true, cause, nowMs);
    this.#dispatch(nowMs);
  }

  /**
   * Whether a returned slot can go straight to the next waiter: no other waiter comes before it, and no better slot is
   * idle. Who gave it back may have been at its maximum until now.
   */
  #mayHandOver(from: PoolTenant<C, L>): boolean {
    if (this.#idle.size > 0 || this.#probe !== undefined || this.#suspended !== undefined) return false;
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
    this.#accountFor(slot, nowMs);
    const waiter = this.#scheduler.next;
    if (waiter === undefined) return this.#makeIdle(slot, nowMs);
    this.#grant(waiter, slot, nowMs);
  }

  /** Ends a lease's rights, before anything else happens to its slot. */
  #endLease(slot: Slot<C, L>, lease: PoolLease<L>): void {
    lease.end();
    slot.lease = undefined;
    slot.lent = undefined;
  }

  /** The tenant has its slot back only now: not while what it left behind is still being cleaned up. */
  #accountFor(slot: Slot<C, L>, nowMs: number): void {
    this.counters.use.record(nowMs - slot.sinceMs);
    this.#scheduler.released(slot.tenant, slot, nowMs);
  }

  /** Why a returned connection must not be lent again, if so. */
  #destroyReason(slot: Slot<C, L>, error: unknown, nowMs: number): DestroyReason | undefined {
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
    return this.total - this.#closing.size > this.#limits.maxSize;
  }

  #isFatal(error: unknown): boolean {
    try {
      return this.#driver.isFatal(error);
    } catch (thrown) {
      this.#observer.driverFailed('isFatal', thrown);
      return true;
    }
  }

  /**
   * Has the driver make a returned connection clean.
   *
   * @returns whether it can be lent again at once; if it can't, it is being cleaned, or was replaced.
   */
  #recycled(slot: Slot<C, L>, lease: PoolLease<L>, nowMs: number): boolean {
    const work = this.#recycleWork(slot, lease);
    if (work !== undefined && slot.broken === undefined) {
      this.#awaitCleaning(slot, work);
      // The driver's code may have closed the pool, and its deadline have passed.
      if (this.#drain?.isDue(nowMs) === true) this.#cut(nowMs);
      return false;
    }
    // It broke as its cleaning began: how that ends makes no difference.
    work?.catch(() => undefined);
    // `recycle` of the driver may have closed the pool, or changed the slot: it may be broken now.
    const reason = this.#destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) this.#discard(slot, reason, undefined, nowMs);
    return reason === undefined;
  }

  /** `undefined`: there is nothing to clean. */
  #recycleWork(slot: Slot<C, L>, lease: PoolLease<L>): Promise<void> | undefined {
    try {
      const work: unknown = this.#driver.recycle?.(slot.connection, lease);
      // A driver that isn't written in TypeScript may return anything.
      return work === undefined ? undefined : Promise.resolve(work).then(ignore);
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }

  #awaitCleaning(slot: Slot<C, L>, work: Promise<void>): void {
    this.counters.resets++;
    slot.state = 'recycling';
    const cleaning = new Cleaning<C, L>(slot, (late) => {
      this.#cleaned(
        late,
        new OperationTimeoutError('Cleaning a connection', this.#limits.recycleTimeoutMs, { poolId: this.id }),
      );
    });
    this.#recycling.set(slot, cleaning);
    this.deadlines.add(cleaning, this.clock.now() + this.#limits.recycleTimeoutMs);
    work.then(
      () => this.#cleaned(cleaning, undefined),
      (error: unknown) => this.#cleaned(cleaning, toError(error)),
    );
  }

  #cleaned(cleaning: Cleaning<C, L>, error: Error | undefined): void {
    const { slot } = cleaning;
    if (!this.#recycling.delete(slot)) return;
    this.deadlines.remove(cleaning);
    const nowMs = this.clock.now();
    if (error === undefined) {
      const reason = this.#destroyReason(slot, undefined, nowMs);
      if (reason !== undefined) return this.#discard(slot, reason, undefined, nowMs);
      // First the slot: a tenant with a warm slot is remembered.
      this.#makeIdle(slot, nowMs);
      this.#accountFor(slot, nowMs);
    } else {
      this.#accountFor(slot, nowMs);
      this.#destroy(slot, 'cleaning', error);
      this.#observer.driverFailed('recycle', error);
    }
    this.#dispatch(nowMs);
  }

  /** @internal Called by a lease that is released again. */
  reportDoubleRelease(lease: Lease<unknown>): void {
    this.counters.doubleReleases++;
    this.#observer.releasedTwice(lease);
  }

  #alive(slot: Slot<C, L>, nowMs: number): void {
    slot.aliveAtMs = nowMs;
    this.aliveAtMs = nowMs;
  }

  /** Makes a connection idle, unless it has become superfluous meanwhile. */
  #putBack(slot: Slot<C, L>, where: 'newest' | 'oldest', nowMs: number): void {
    const reason = this.#destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) return this.#destroy(slot, reason, slot.broken);
    if (where === 'oldest') this.#idle.pushOldest(slot);
    else this.#idle.push(slot);
    this.#housekeeping.by(nowMs + this.#idleCareMs);
  }

  #makeIdle(slot: Slot<C, L>, nowMs: number): void {
    slot.idleSinceMs = nowMs;
    this.#idle.push(slot);
    const careAtMs = nowMs + this.#idleCareMs;
    if (careAtMs < this.#housekeeping.dueAtMs) this.#housekeeping.by(careAtMs);
  }

  // ── The end of a connection ──────────────────────────────────────────────────────────────────────────────────────

  #broke(slot: Slot<C, L>, error: Error): void {
    if (slot.state === 'closing') return;
    slot.broken = error;
    // Its borrower finds out by itself, and the slot goes when the lease comes back; a new one before it is lent at
    // all.
    if (slot.state === 'leased' || slot.state === 'new') return;
    const nowMs = this.clock.now();
    const cleaning = this.#recycling.get(slot);
    if (cleaning !== undefined) return this.#cleaned(cleaning, error);
    if (slot.state === 'idle') this.#takeOutOfIdle(slot);
    else this.#endValidation(slot);
    this.#destroy(slot, 'broken', error);
    this.#noteYoungDeath(slot, false, error, nowMs);
    this.#dispatch(nowMs);
  }

  #takeOutOfIdle(slot: Slot<C, L>): void {
    this.#idle.remove(slot, 'closing');
    this.#releaseWarm(slot.tenant);
  }

  /**
   * Ends a connection that is neither idle nor being looked at or cleaned any more: gracefully if there is no hurry,
   * else at once.
   */
  #destroy(slot: Slot<C, L>, reason: DestroyReason, error: unknown): void {
    this.#slots.delete(slot);
    this.counters.destroyed[reason]++;
    if (!slot.steady) {
      this.#probation.remove(slot);
      if (!slot.proven) this.#unproven--;
    }
    const nowMs = this.clock.now();
    slot.state = 'closing';
    if (GRACEFUL.has(reason)) this.#closing.close(slot.connection, reason, this.#limits.closeTimeoutMs, nowMs);
    else this.#closing.kill(slot.connection, reason, this.#killTimeoutMs, nowMs);
    runOutside(() => this.#observer.destroyed(slot.connection, reason, error));
  }

  /** What a killed connection leaves to be done on the server is waited for no longer than this. */
  get #killTimeoutMs(): number {
    return Math.min(this.#limits.closeTimeoutMs, LONGEST_KILL_MS);
  }

  // ── Housekeeping ─────────────────────────────────────────────────────────────────────────────────────────────────

  #shortestCareMs(): number {
    const { idleTimeoutMs, keepaliveMs } = this.#limits;
    return Math.min(idleTimeoutMs > 0 ? idleTimeoutMs : Infinity, keepaliveMs > 0 ? keepaliveMs : Infinity);
  }

  /** Does what is due. @returns when there will be more to do; a reading of the clock. */
  #keepHouse(nowMs: number): number {
    let nextMs = this.#reportLeaks(nowMs);
    if (this.#drain !== undefined) return Infinity;
    // Those that aren't idle may be by then. One that has outlived its time already goes when it comes back.
    for (const { expiresAtMs } of this.#slots) if (expiresAtMs > nowMs) nextMs = Math.min(nextMs, expiresAtMs);
    // While some are pinged the others have to serve.
    let pings = Math.max(1, this.#idle.size >> 1) - this.#validating.size;
    for (const slot of this.#idle) {
      const reason = this.#outlived(slot, nowMs);
      if (reason === undefined && this.#keepaliveAtMs(slot) <= nowMs) {
        if (pings-- > 0) void this.#validate(slot, VALIDATION_TIMEOUT_MS, 'oldest');
        // One that is under way asks for the next when it has ended.
        continue;
      }
      // The last idle connection stays for the next acquire while other connections are lent.
      const retires = reason !== undefined && (this.#idle.size > 1 || this.active === 0);
      if (retires) this.#retire(slot, reason);
      else nextMs = Math.min(nextMs, reason === undefined ? this.#careAtMs(slot) : nowMs + LAST_IDLE_LOOK_MS);
    }
    this.#dispatch(nowMs);
    // A receiver or an observer may have closed the pool.
    return this.#drain === undefined ? nextMs : Infinity;
  }

  /** Why an idle connection should go, if so. */
  #outlived(slot: Slot<C, L>, nowMs: number): 'lifetime' | 'idle' | undefined {
    if (nowMs >= slot.expiresAtMs) return 'lifetime';
    return nowMs >= this.#idleUntilMs(slot) ? 'idle' : undefined;
  }

  #idleUntilMs({ idleSinceMs }: Slot<C, L>): number {
    const { idleTimeoutMs, minSize } = this.#limits;
    return idleTimeoutMs > 0 && this.live > minSize ? idleSinceMs + idleTimeoutMs : Infinity;
  }

  #keepaliveAtMs({ aliveAtMs }: Slot<C, L>): number {
    const { keepaliveMs } = this.#limits;
    return keepaliveMs > 0 ? aliveAtMs + keepaliveMs : Infinity;
  }

  #careAtMs(slot: Slot<C, L>): number {
    return Math.min(this.#idleUntilMs(slot), this.#keepaliveAtMs(slot));
  }

  #retire(slot: Slot<C, L>, reason: DestroyReason): void {
    this.#takeOutOfIdle(slot);
    this.#destroy(slot, reason, undefined);
  }

  /** @returns when the next lease will be out for too long. */
  #reportLeaks(nowMs: number): number {
    const { leakDetectionMs } = this.#limits;
    let nextMs = Infinity;
    if (leakDetectionMs === 0) return nextMs;
    for (const [slot, lease] of this.#leases()) {
      // It may have come back meanwhile: an observer that is told of one leak may release another lease.
      if (slot.lease !== lease || slot.leaked === lease) continue;
      const leakedAtMs = lease.startedAtMs + leakDetectionMs;
      if (nowMs < leakedAtMs) {
        nextMs = Math.min(nextMs, leakedAtMs);
        continue;
      }
      slot.leaked = lease;
      this.counters.leaks++;
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

  // ── Health ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Looks whether the backend answers, on an idle connection if there is one. Else a recent success counts; else the
   * probe waits for a connection ahead of the queue.
   *
   * Rejects with the ping's error, the last connect error, or PoolClosedError.
   */
  async probe({ timeoutMs, recentMs }: ProbeOptions): Promise<ProbeOutcome> {
    this.start();
    if (this.#drain !== undefined) throw new PoolClosedError(this.id);
    const nowMs = this.clock.now();
    const slot = this.#idle.oldest;
    if (slot !== undefined) {
      const error = await this.#validate(slot, timeoutMs, 'oldest');
      if (error !== undefined) throw error;
      return 'alive';
    }
    if (nowMs - this.aliveAtMs <= recentMs) return 'recent';
    const waiting = this.#probe ?? new WaitingProbe(nowMs, timeoutMs, (probe) => this.#probeExpired(probe));
    if (this.#probe === undefined) {
      this.#probe = waiting;
      this.deadlines.add(waiting, waiting.dueAtMs);
      this.#dispatch(nowMs);
    }
    return waiting.outcome;
  }

  #probeWith(slot: Slot<C, L> | undefined, probe: WaitingProbe, nowMs: number): void {
    if (slot === undefined) return;
    this.#forgetProbe(probe);
    this.#validate(slot, Math.max(1, probe.dueAtMs - nowMs), 'newest').then(
      (error) => (error === undefined ? probe.settle('alive') : probe.fail(error)),
      (error: unknown) => probe.fail(toError(error)),
    );
  }

  #finishProbe(probe: WaitingProbe, outcome: ProbeOutcome): void {
    this.#forgetProbe(probe);
    probe.settle(outcome);
  }

  #probeExpired(probe: WaitingProbe): void {
    this.#forgetProbe(probe);
    if (this.live > 0) probe.settle('saturated');
    else
      probe.fail(
        this.#connector.lastError ?? new OperationTimeoutError('A health probe', probe.timeoutMs, { poolId: this.id }),
      );
  }

  #forgetProbe(probe: WaitingProbe): void {
    this.deadlines.remove(probe);
    if (this.#probe === probe) this.#probe = undefined;
  }

  // ── Changes while running ────────────────────────────────────────────────────────────────────────────────────────

  /** Takes over new limits. Idle connections above a lower maximum go now, leased ones when they come back. */
  changeLimits(change: Partial<PoolLimits>): void {
    const nowMs = this.clock.now();
    const named = change.connectConcurrency !== undefined && { [FOLLOWS_MAX_SIZE]: false };
    this.#limits = limitsAlone({ ...this.#limits, ...named, ...change });
    this.#scheduler.size = this.#limits.maxSize;
    this.#connector.concurrency = this.#limits.connectConcurrency;
    this.#idleCareMs = this.#shortestCareMs();
    if (this.#drain === undefined) this.#housekeeping.by(nowMs);
    this.#queue.takeOverTimeout();
    for (const slot of this.#idle) {
      if (this.total - this.#closing.size > this.#limits.maxSize) this.#retire(slot, 'resize');
    }
    this.#shrinking = this.total > this.#limits.maxSize;
    if (this.live > this.#unproven) this.#becomeReady();
    this.#dispatch(nowMs);
  }

  get tenantPolicy(): TenantPolicy {
    return this.#scheduler.policy;
  }

  /** Takes over new limits of tenants, at once. */
  changeTenantPolicy(policy: TenantPolicy): void {
    this.#scheduler.changePolicy(policy);
    this.#dispatch(this.clock.now());
  }

  /**
   * Replaces every connection: idle ones now, leased ones when they come back. For rotated credentials, or after a
   * failover: what is under way with the old server is not waited for.
   */
  evict(): void {
    this.#generation++;
    const nowMs = this.clock.now();
    this.#connector.abandonAll();
    this.#connector.hurry();
    for (const slot of this.#idle) this.#retire(slot, 'generation');
    for (const slot of [...this.#validating]) {
      // One that is just being opened is told apart by its generation.
      if (slot.state === 'validating' && this.#endValidation(slot)) this.#destroy(slot, 'generation', undefined);
    }
    for (const cleaning of [...this.#recycling.values()]) this.#endCleaning(cleaning, 'generation', nowMs);
    this.#dispatch(nowMs);
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
    this.#dispatch(this.clock.now());
  }

  // ── Close ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Refuses new acquires and waiters at once, gives leases until the deadline, then kills their connections. Always
   * resolves. Called again, it can only bring the deadline forward.
   */
  close({ deadlineMs }: CloseOptions): Promise<CloseReport> {
    const nowMs = this.clock.now();
    const drain = this.#drain ?? this.#beginDrain(nowMs);
    const withinMs = Math.min(durationOf(deadlineMs), LONGEST_DRAIN_MS);
    if (drain.bringForward(nowMs + withinMs)) {
      if (withinMs === 0) this.#cut(nowMs);
      else if (!this.#disposing) this.deadlines.add(drain, nowMs + withinMs);
    }
    this.#endIfDrained(nowMs);
    return drain.report;
  }

  #beginDrain(nowMs: number): Drain {
    const drain = new Drain(nowMs, (cutAtMs) => this.#cut(cutAtMs));
    this.#drain = drain;
    this.#housekeeping.stop();
    this.#runningCharge.stop();
    this.deadlines.remove(this.#failFast);
    this.#connector.stop();
    if (this.#probe !== undefined) {
      const probe = this.#probe;
      this.#forgetProbe(probe);
      probe.fail(new PoolClosedError(this.id));
    }
    drain.refused = this.#queue.refuseAll(
      'closed',
      nowMs,
      (tenant) => new PoolClosedError(this.id, { tenantId: tenant.id }),
    );
    for (const { reject } of this.#awaitingReady.splice(0)) reject(new PoolClosedError(this.id));
    for (let slot = this.#idle.oldest; slot !== undefined; slot = this.#idle.oldest) this.#retire(slot, 'closing');
    return drain;
  }

  /** The deadline of `close()`: the connections of leases that are still out are killed. */
  #cut(nowMs: number): void {
    // Of those that are still out then: the end of one connection may make the holder of another give it back.
    for (const [slot, lease] of this.#leases()) {
      if (slot.lease !== lease) continue;
      this.#drain?.holders.push(holderOf(lease, nowMs));
      lease.markCut();
      this.#endLease(slot, lease);
      this.#accountFor(slot, nowMs);
      this.#destroy(slot, 'cut', undefined);
    }
    for (const cleaning of [...this.#recycling.values()]) this.#endCleaning(cleaning, 'cut', nowMs);
    for (const slot of [...this.#validating]) {
      if (this.#endValidation(slot)) this.#destroy(slot, 'cut', undefined);
    }
    this.#endIfDrained(nowMs);
  }

  /** Ends a connection whose cleaning isn't waited for. */
  #endCleaning(cleaning: Cleaning<C, L>, reason: DestroyReason, nowMs: number): void {
    if (!this.#recycling.delete(cleaning.slot)) return;
    this.deadlines.remove(cleaning);
    this.#accountFor(cleaning.slot, nowMs);
    this.#destroy(cleaning.slot, reason, undefined);
  }

  #endIfDrained(nowMs: number): void {
    const drain = this.#drain;
    if (drain === undefined || this.#disposing || this.total > 0) return;
    this.#disposing = true;
    this.deadlines.remove(drain);
    void this.#dispose().then(() => {
      this.#closed = true;
      drain.settle(this.id, Math.max(nowMs, this.clock.now()));
    });
  }

  async #dispose(): Promise<void> {
    const outcome = await withTimeout(this.clock, this.#limits.closeTimeoutMs, async () => this.#driver.dispose?.());
    if (outcome.kind === 'failed') this.#observer.driverFailed('dispose', outcome.error);
  }
}

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

/** A returned connection that is being made clean. */
class Cleaning<C, L> extends DeadlineEntry {
  readonly slot: Slot<C, L>;
  readonly #late: (cleaning: Cleaning<C, L>) => void;
  override readonly keepsProcessAlive = true;

  constructor(slot: Slot<C, L>, late: (cleaning: Cleaning<C, L>) => void) {
    super();
    this.slot = slot;
    this.#late = late;
  }

  override expire(): void {
    this.#late(this);
  }
}

/** The moment at which an outage has lasted for `failFastAfterMs`. */
class FailFastDeadline extends DeadlineEntry {
  readonly #reached: (nowMs: number) => void;
  override readonly keepsProcessAlive = false;

  constructor(reached: (nowMs: number) => void) {
    super();
    this.#reached = reached;
  }

  override expire(nowMs: number): void {
    this.#reached(nowMs);
  }
}

function ignore(): void {
  // Of a promise's value.
}

interface PromiseFunctions {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

function holderOf(lease: Lease<unknown>, nowMs: number): LeaseHolder {
  return { tenantId: lease.tenantId, heldMs: nowMs - lease.startedAtMs, stack: lease.stack };
}
