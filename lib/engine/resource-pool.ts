/**
 * The engine: lends the connections of one driver to tenants, one borrower at a time.
 *
 * The path of a lease, top to bottom: acquire → admission → idle take, or wait → validate or connect → lease →
 * release → destroy, clean, or hand over.
 *
 * Promises, kept after every synchronous step:
 *  - idle + leased + recycling + validating + connecting + closing ≤ maxSize (after a downward `resize`, once the surplus is back);
 *  - no tenant has more slots in use than its maximum;
 *  - no idle connection stands beside a waiter that may have it;
 *  - every waiter settles exactly once.
 * It never begins or ends a transaction, and knows neither Nest nor any driver.
 */
import { settleWithin } from './bounded.js';
import { systemClock, type Clock } from './clock.js';
import { Connector } from './connector.js';
import { DeadlineEntry, Deadlines, durationOf } from './deadlines.js';
import { Drain, type CloseOptions, type CloseReport } from './drain.js';
import type { PoolDriver } from './driver.js';
import {
  AcquireAbortedError,
  OperationTimeoutError,
  PoolClosedError,
  PoolSuspendedError,
  type PoolError,
  type HolderFacts,
} from './errors.js';
import { housekeepingPeriodMs, RecurringTask } from './housekeeper.js';
import type { AcquireLimits, LendingEngine } from './lending-engine.js';
import { acquireStack, PoolLease, type Lease } from './lease.js';
import { limitsAlone, type PoolLimits, type TenantPolicy } from './limits.js';
import { runOutside } from './outside-context.js';
import { PoolCounters, type DestroyReason } from './pool-counters.js';
import { GuardedObserver, type PoolObserver } from './pool-observer.js';
import { WaitingProbe, type ProbeOptions, type ProbeOutcome } from './probe.js';
import { IdleStack, Slot, type PoolTenant } from './slot.js';
import { TenantScheduler } from './tenant-scheduler.js';
import { toError } from './thrown.js';
import type { LeaseReceiver, Waiter } from './waiter.js';
import { WaitingRoom } from './waiting-room.js';

export interface ResourcePoolOptions<C, L> {
  readonly id: string;
  readonly driver: PoolDriver<C, L>;
  readonly limits: PoolLimits;
  readonly tenants: TenantPolicy;
  readonly observer?: PoolObserver<C, L> | undefined;
  readonly clock?: Clock | undefined;
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
/** A close ends within a day, whatever it is told. */
const LONGEST_DRAIN_MS = 86_400_000;
/** How many of the oldest holders an error names. */
const HOLDERS_NAMED = 3;
const NO_LIMITS: AcquireLimits = {};

export class ResourcePool<C, L = C> implements LendingEngine<L> {
  readonly id: string;
  readonly counters = new PoolCounters();
  /** The coarse clock of this pool; kinds put the deadlines of their operations here too. */
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  readonly #driver: PoolDriver<C, L>;
  readonly #observer: GuardedObserver<C, L>;
  readonly #random: () => number;
  readonly #scheduler: TenantScheduler<Waiter<C, L>, Slot<C, L>>;
  readonly #room: WaitingRoom<C, L>;
  readonly #connector: Connector<C, Slot<C, L>>;
  readonly #housekeeping: RecurringTask;
  readonly #runningCharge: RecurringTask;
  readonly #failFast: FailFastDeadline;
  /** Every slot with a connection, but for those that are being closed. Whichever is not idle, recycling or validating is lent, or just being taken back. */
  readonly #slots = new Set<Slot<C, L>>();
  readonly #idle = new IdleStack<C, L>();
  readonly #recycling = new Map<Slot<C, L>, Cleaning<C, L>>();
  readonly #validating = new Set<Slot<C, L>>();
  readonly #closing = new Set<Slot<C, L>>();
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
  readonly #awaitingReady: PromiseParts[] = [];
  /** @internal Leases whose holders wait for this pool. */
  blockedLeases = 0;
  /** @internal Leases that serve a `use` or a `transaction`. */
  servingLeases = 0;
  /** When a connection last proved that the backend is there; a reading of the clock. */
  aliveAtMs = -Infinity;

  constructor(options: ResourcePoolOptions<C, L>) {
    this.id = options.id;
    this.clock = options.clock ?? systemClock;
    this.#driver = options.driver;
    this.#observer = new GuardedObserver(options.observer ?? {});
    this.#random = options.random ?? Math.random;
    this.#limits = limitsAlone(options.limits);
    this.deadlines = new Deadlines(this.clock);
    this.#scheduler = new TenantScheduler(options.tenants);
    this.#room = new WaitingRoom<C, L>(this, this.#scheduler, options.currentHolder);
    this.#connector = new Connector<C, Slot<C, L>>(
      {
        poolId: this.id,
        clock: this.clock,
        random: this.#random,
        timeoutMs: this.#limits.connectTimeoutMs,
        open: (signal) => this.#driver.open(signal),
        discard: (connection) => this.#kill(connection),
        admit: (connection, generation) => this.#slotOf(connection, generation),
        opened: (slot, tookMs) => this.#opened(slot, tookMs),
        failed: (error) => this.#connectFailed(error),
        mayRetry: () => this.#dispatch(this.clock.now()),
      },
      this.#limits.connectConcurrency,
    );
    this.#housekeeping = new RecurringTask(this.deadlines, this.#housekeepingPeriodMs(), (nowMs) =>
      this.#keepHouse(nowMs),
    );
    this.#runningCharge = new RecurringTask(this.deadlines, CHARGE_PERIOD_MS, (nowMs) => this.#chargeRunning(nowMs));
    this.#failFast = new FailFastDeadline((nowMs) => this.#room.failFast(nowMs));
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
  /** Slots taken in whatever state: what `maxSize` bounds. */
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
  /** How long the backend has been failing; 0 while it isn't. */
  downForMs(nowMs: number): number {
    return this.#connector.downForMs(nowMs);
  }
  /** Mean hold over all tenants. */
  get meanHoldMs(): number {
    return this.#scheduler.meanHoldMs;
  }
  /** Connections that are there, whatever they are doing. */
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
  /** Since when the waiter that waits longest has waited, in milliseconds; 0 when nobody waits. */
  get oldestWaiterMs(): number {
    let oldestMs = Infinity;
    for (const tenant of this.#scheduler.tenants()) {
      if (tenant.firstWaiting !== undefined) oldestMs = Math.min(oldestMs, tenant.firstWaiting.enqueuedAtMs);
    }
    return oldestMs === Infinity ? 0 : this.clock.now() - oldestMs;
  }
  /** The oldest leases that are out. */
  oldestHolders(most = HOLDERS_NAMED): readonly HolderFacts[] {
    const nowMs = this.clock.now();
    const oldest: PoolLease<C, L>[] = [];
    for (const { lease } of this.#slots) {
      // Thousands may time out in the same tick, of a pool with a thousand slots: no copy, no sorting.
      if (lease === undefined) continue;
      if (oldest.length === most && lease.startedAtMs >= (oldest.at(-1)?.startedAtMs ?? Infinity)) continue;
      const younger = oldest.findIndex(({ startedAtMs }) => startedAtMs > lease.startedAtMs);
      oldest.splice(younger < 0 ? oldest.length : younger, 0, lease);
      if (oldest.length > most) oldest.pop();
    }
    return oldest.map((lease) => holderFacts(lease, nowMs));
  }

  /** Those that are out at this moment; what is done to one may change which. */
  #leases(): PoolLease<C, L>[] {
    const leases: PoolLease<C, L>[] = [];
    for (const { lease } of this.#slots) if (lease !== undefined) leases.push(lease);
    return leases;
  }

  // ── Start ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Begins to open the minimum. Without it, the first acquire does. */
  start(): void {
    if (this.#started || this.#drain !== undefined) return;
    this.#started = true;
    const nowMs = this.clock.now();
    this.#housekeeping.wake(nowMs);
    this.#dispatch(nowMs);
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
      const lease = this.#take(tenant, nowMs);
      return lease === undefined ? this.#queueUp(tenant, options, nowMs) : Promise.resolve(lease);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The same without a promise, for kinds whose own operation has one already. Uncontended, `granted` is called at once. */
  request(receiver: LeaseReceiver<L>, tenantId: string | undefined, options: AcquireLimits = NO_LIMITS): void {
    let lease: Lease<L> | undefined;
    try {
      const nowMs = this.clock.now();
      const tenant = this.#admit(tenantId, options, nowMs);
      lease = this.#take(tenant, nowMs);
      if (lease === undefined) {
        const waiter = this.#waiter(tenant, options, nowMs);
        waiter.receiver = receiver;
        return this.#wait(waiter, nowMs);
      }
    } catch (error) {
      return receiver.refused(toError(error));
    }
    receiver.granted(lease);
  }

  /** A slot if one can be had without waiting, else `undefined`. */
  tryAcquire(tenantId: string | undefined): Lease<L> | undefined {
    if (this.#drain !== undefined || this.#suspended !== undefined) return undefined;
    const nowMs = this.clock.now();
    const tenant = this.#scheduler.tenant(tenantId, nowMs);
    const lease = this.#take(tenant, nowMs);
    if (lease === undefined) this.#scheduler.rest(tenant);
    return lease;
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
  #take(tenant: PoolTenant<C, L>, nowMs: number): Lease<L> | undefined {
    if (!tenant.mayTake || this.#suspended !== undefined) return undefined;
    const slot = this.#pick(tenant, nowMs);
    if (slot === undefined || this.#isStale(slot, nowMs)) return undefined;
    this.counters.immediate++;
    this.#idle.remove(slot, 'leased');
    slot.chargedMs = this.#scheduler.granted(tenant, nowMs);
    return this.#lend(slot, tenant, nowMs, acquireStack(this.#limits));
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

  #lend(slot: Slot<C, L>, tenant: PoolTenant<C, L>, nowMs: number, stack: string | undefined): PoolLease<C, L> {
    const lease = new PoolLease<C, L>(this, slot, tenant, nowMs);
    slot.lease = lease;
    slot.uses++;
    this.counters.acquisitions++;
    lease.stack = stack;
    if (slot.lastTenant !== tenant) this.#leaveBehind(slot.lastTenant);
    // Without `lend`, L is C: the default of the type parameter.
    try {
      lease.lent =
        this.#driver.lend === undefined ? (slot.connection as C & L) : this.#driver.lend(slot.connection, lease);
      this.#observer.acquired?.(slot.connection, lease);
    } catch (error) {
      // Nobody has the lease, so nobody would give it back.
      lease.release(true);
      throw error;
    }
    return lease;
  }

  /** Its slot works for another now: a tenant without one may be forgotten. */
  #leaveBehind(tenant: PoolTenant<C, L> | undefined): void {
    if (tenant !== undefined && tenant.warmest === undefined) this.#scheduler.rest(tenant);
  }

  // ── Wait ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #queueUp(tenant: PoolTenant<C, L>, options: AcquireLimits, nowMs: number): Promise<Lease<L>> {
    const waiter = this.#waiter(tenant, options, nowMs);
    const promise = waiter.promise();
    this.#wait(waiter, nowMs);
    return promise;
  }

  #waiter(tenant: PoolTenant<C, L>, options: AcquireLimits, nowMs: number): Waiter<C, L> {
    if (!this.#started) {
      this.start();
      // The driver's code has run.
      if (this.#drain !== undefined) throw this.#notAdmitted(tenant.id, options.signal);
    }
    return this.#room.waiter(tenant, options, nowMs);
  }

  #wait(waiter: Waiter<C, L>, nowMs: number): void {
    const displaced = this.#room.enter(waiter, nowMs);
    this.#runningCharge.wake(nowMs);
    // With every slot taken there is nothing to give and no room for more.
    if (this.#idle.size > 0 || this.#slots.size < this.#limits.maxSize) this.#dispatch(nowMs);
    // Last of all: whoever is told may acquire, release or close at once.
    if (displaced !== undefined) this.#room.refuseDisplaced(displaced);
  }

  // ── Hand over, validate, connect ─────────────────────────────────────────────────────────────────────────────────

  /** Gives what is idle to whoever should have it, and opens what is missing. Everything that frees a slot ends here. */
  #dispatch(nowMs: number): void {
    if (this.#drain !== undefined) return this.#endIfDrained(nowMs);
    while (this.#idle.size > 0) {
      if (this.#probe !== undefined) {
        this.#probeWith(this.#idle.newest, this.#probe, nowMs);
        continue;
      }
      const waiter = this.#suspended === undefined ? this.#scheduler.next : undefined;
      if (waiter === undefined) break;
      const slot = this.#pick(waiter.tenant, nowMs);
      if (slot === undefined) break;
      if (this.#isStale(slot, nowMs)) {
        if (this.#validating.size >= this.#scheduler.grantable) break;
        void this.#validate(slot, VALIDATION_TIMEOUT_MS, 'newest');
        continue;
      }
      this.#idle.remove(slot, 'leased');
      this.#grant(waiter, slot, nowMs);
    }
    this.#openMissing();
  }

  #grant(waiter: Waiter<C, L>, slot: Slot<C, L>, nowMs: number): void {
    slot.chargedMs = this.#scheduler.grant(waiter, nowMs);
    this.#give(slot, waiter, nowMs);
  }

  #give(slot: Slot<C, L>, waiter: Waiter<C, L>, nowMs: number): void {
    const { tenant } = waiter;
    const waitedMs = nowMs - waiter.enqueuedAtMs;
    this.#room.untie(waiter);
    tenant.waitedMs += waitedMs;
    this.counters.wait.record(waitedMs);
    let lease: PoolLease<C, L>;
    try {
      lease = this.#lend(slot, tenant, nowMs, waiter.ties?.stack);
    } catch (error) {
      waiter.receiver.refused(toError(error));
      return;
    }
    waiter.receiver.granted(lease);
  }

  /** Pings an idle slot and puts it back, or destroys it. Resolves with what was wrong. */
  async #validate(slot: Slot<C, L>, timeoutMs: number, putBack: 'newest' | 'oldest'): Promise<Error | undefined> {
    this.#idle.remove(slot, 'validating');
    this.#validating.add(slot);
    const controller = new AbortController();
    const outcome = await settleWithin(this.clock, timeoutMs, () =>
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
    if (!this.#validating.delete(slot)) return slot.broken ?? error;
    const nowMs = this.clock.now();
    if (error === undefined) {
      this.#alive(slot, nowMs);
      this.#connector.proveUp();
      this.#putBack(slot, putBack, nowMs);
    } else {
      this.#destroy(slot, 'validation', error);
    }
    this.#dispatch(nowMs);
    return error;
  }

  /** Opens what waiters need and what the minimum lacks, as far as the maximum, the connector and backoff allow. */
  #openMissing(): void {
    const room = this.#limits.maxSize - this.total;
    if (room <= 0 || !this.#started || this.#drain !== undefined) return;
    const coming = this.#connector.connecting + this.#validating.size;
    const waiting = this.#suspended === undefined ? this.#scheduler.grantable : 0;
    const needed = waiting + (this.#probe === undefined ? 0 : 1) - coming;
    // Until the backend has shown itself, and again after it has failed, one connect goes on trying though nobody waits.
    const unproven = !this.#ready || (this.#connector.failures > 0 && this.live === 0);
    const floor = Math.max(this.#limits.minSize, unproven ? 1 : 0);
    const missing = Math.max(needed, floor - this.total);
    for (let count = Math.min(missing, room, this.#connector.allowance); count > 0; count--) {
      this.#connector.start(this.#generation);
    }
  }

  #slotOf(connection: C, generation: number): Slot<C, L> {
    const nowMs = this.clock.now();
    const { maxLifetimeMs } = this.#limits;
    const lifetimeMs = maxLifetimeMs === 0 ? Infinity : maxLifetimeMs * (1 - LIFETIME_JITTER * this.#random());
    const slot = new Slot<C, L>(connection, generation, nowMs, nowMs + lifetimeMs);
    this.#driver.onBroken(connection, (error) => this.#broke(slot, error));
    return slot;
  }

  #opened(slot: Slot<C, L>, tookMs: number): void {
    const nowMs = this.clock.now();
    this.counters.connects++;
    this.counters.connect.record(tookMs);
    this.#alive(slot, nowMs);
    // It has its place before anyone hears of it: whoever does may look for a slot, or close the pool, at once.
    this.#slots.add(slot);
    this.#validating.add(slot);
    this.#observer.opened(slot.connection);
    if (!this.#validating.delete(slot)) return;
    if (this.#probe !== undefined) this.#settleProbe(this.#probe, 'alive');
    this.#putBack(slot, 'newest', nowMs);
    this.#becomeReady();
    this.#dispatch(nowMs);
  }

  #connectFailed(error: Error): void {
    const nowMs = this.clock.now();
    this.counters.connectFailures++;
    this.#observer.connectFailed(error);
    const dueAtMs = (this.#connector.downSinceMs ?? nowMs) + this.#limits.failFastAfterMs;
    if (nowMs >= dueAtMs) this.#room.failFast(nowMs);
    else if (this.#failFast.dueTick < 0) this.deadlines.add(this.#failFast, dueAtMs);
    this.#endIfDrained(nowMs);
  }

  #becomeReady(): void {
    if (this.#ready || this.live < this.#limits.minSize) return;
    this.#ready = true;
    for (const { resolve } of this.#awaitingReady.splice(0)) resolve();
  }

  // ── Release ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal Called by `lease.release()`, once a lease. */
  takeBack(lease: PoolLease<C, L>, error: unknown): void {
    const nowMs = this.clock.now();
    const { slot } = lease;
    this.#endLease(lease);
    if (this.#drain !== undefined) this.#drain.finished++;
    this.#returnSlot(slot, lease, error, nowMs);
    this.#observer.released?.(slot.connection, lease, error);
  }

  #returnSlot(slot: Slot<C, L>, lease: PoolLease<C, L>, error: unknown, nowMs: number): void {
    const reason = this.#condemns(slot, error, nowMs);
    if (reason !== undefined) return this.#discard(lease, reason, error, nowMs);
    this.#alive(slot, nowMs);
    slot.lastTenant = lease.tenant;
    if (this.#driver.recycle !== undefined && !this.#recycled(lease, nowMs)) return;
    if (this.#mayHandOver(lease.tenant)) return this.#handOver(slot, lease, nowMs);
    // First the slot: a tenant with a warm slot is remembered.
    this.#makeIdle(slot, nowMs);
    this.#settleTenant(lease, nowMs);
    if (this.#scheduler.waiting > 0 || this.#probe !== undefined || this.#drain !== undefined) this.#dispatch(nowMs);
  }

  #discard(lease: PoolLease<C, L>, reason: DestroyReason, error: unknown, nowMs: number): void {
    const { slot } = lease;
    this.#settleTenant(lease, nowMs);
    this.#destroy(slot, reason, slot.broken ?? (error === true ? undefined : error));
    this.#dispatch(nowMs);
  }

  /**
   * Whether a returned slot can go straight to the next waiter: nobody comes before it, and nothing better is idle. Who
   * gave it back may have been at its maximum until now.
   */
  #mayHandOver(from: PoolTenant<C, L>): boolean {
    if (this.#idle.size > 0 || this.#probe !== undefined || this.#suspended !== undefined) return false;
    return this.#scheduler.grantable > 0 || from.waiting > 0;
  }

  /** The contended path: a clean slot goes on to the next waiter without becoming idle in between. */
  #handOver(slot: Slot<C, L>, lease: PoolLease<C, L>, nowMs: number): void {
    const heir = this.#scheduler.heir(lease.tenant);
    if (heir !== undefined) {
      slot.chargedMs = this.#scheduler.inherit(heir, this.#noteUse(lease, nowMs), slot.chargedMs, nowMs);
      return this.#give(slot, heir, nowMs);
    }
    this.#settleTenant(lease, nowMs);
    const waiter = this.#scheduler.next;
    if (waiter === undefined) return this.#makeIdle(slot, nowMs);
    this.#grant(waiter, slot, nowMs);
  }

  /** Ends a lease's rights, before anything else happens to its slot. */
  #endLease(lease: PoolLease<C, L>): void {
    lease.end();
    lease.slot.lease = undefined;
  }

  /** The tenant has its slot back only now: not while what it left behind is still being cleaned up. */
  #settleTenant(lease: PoolLease<C, L>, nowMs: number): void {
    this.#scheduler.released(lease.tenant, this.#noteUse(lease, nowMs), lease.slot.chargedMs, nowMs);
  }

  /** @returns how long a lease that has ended lasted, in milliseconds. */
  #noteUse(lease: PoolLease<C, L>, nowMs: number): number {
    const heldMs = nowMs - lease.startedAtMs;
    this.counters.use.record(heldMs);
    return heldMs;
  }

  /** Why a returned connection must not be lent again, if so. */
  #condemns(slot: Slot<C, L>, error: unknown, nowMs: number): DestroyReason | undefined {
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
  #recycled(lease: PoolLease<C, L>, nowMs: number): boolean {
    const work = this.#recycleWork(lease);
    if (work !== undefined && lease.slot.broken === undefined) {
      this.#awaitCleaning(lease, work);
      // The driver's code may have closed the pool, and its deadline have passed.
      if (this.#drain?.isDue(nowMs) === true) this.#cut(nowMs);
      return false;
    }
    // It broke as its cleaning began: how that ends concerns nobody.
    work?.catch(() => undefined);
    // The driver's code has run: it may have found it broken, or closed the pool.
    const reason = this.#condemns(lease.slot, undefined, nowMs);
    if (reason !== undefined) this.#discard(lease, reason, undefined, nowMs);
    return reason === undefined;
  }

  /** `undefined`: there is nothing to clean. */
  #recycleWork(lease: PoolLease<C, L>): void | Promise<void> {
    try {
      return this.#driver.recycle?.(lease.slot.connection, lease);
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }

  #awaitCleaning(lease: PoolLease<C, L>, work: Promise<void>): void {
    const { slot } = lease;
    this.counters.resets++;
    slot.state = 'recycling';
    const cleaning = new Cleaning<C, L>(slot, lease, (late) => {
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
    if (error === undefined) this.#putBack(slot, 'newest', nowMs);
    else {
      this.#destroy(slot, 'cleaning', error);
      this.#observer.driverFailed('recycle', error);
    }
    this.#settleTenant(cleaning.lease, nowMs);
    this.#dispatch(nowMs);
  }

  /** @internal Called by a lease that is released again. */
  reportDoubleRelease(lease: PoolLease<C, L>): void {
    this.counters.doubleReleases++;
    this.#observer.releasedTwice(lease);
  }

  #alive(slot: Slot<C, L>, nowMs: number): void {
    slot.aliveAtMs = nowMs;
    this.aliveAtMs = nowMs;
  }

  /** Makes a connection idle, unless it has become superfluous meanwhile. */
  #putBack(slot: Slot<C, L>, where: 'newest' | 'oldest', nowMs: number): void {
    const reason = this.#condemns(slot, undefined, nowMs);
    if (reason !== undefined) return this.#destroy(slot, reason, slot.broken);
    if (where === 'oldest') this.#idle.pushOldest(slot);
    else this.#makeIdle(slot, nowMs);
  }

  #makeIdle(slot: Slot<C, L>, nowMs: number): void {
    slot.idleSinceMs = nowMs;
    this.#idle.push(slot);
  }

  // ── The end of a connection ──────────────────────────────────────────────────────────────────────────────────────

  #broke(slot: Slot<C, L>, error: Error): void {
    if (slot.state === 'gone' || slot.state === 'closing') return;
    slot.broken = error;
    // Its borrower finds out by itself, and the slot goes when the lease comes back; a new one before it is lent at all.
    if (slot.state === 'leased' || slot.state === 'new') return;
    const nowMs = this.clock.now();
    const cleaning = this.#recycling.get(slot);
    if (cleaning !== undefined) return this.#cleaned(cleaning, error);
    if (slot.state === 'idle') this.#takeOutOfIdle(slot);
    else this.#validating.delete(slot);
    this.#destroy(slot, 'broken', error);
    this.#dispatch(nowMs);
  }

  #takeOutOfIdle(slot: Slot<C, L>): void {
    this.#idle.remove(slot, 'closing');
    this.#leaveBehind(slot.lastTenant);
  }

  /** Ends a connection that is neither idle nor being looked at or cleaned any more: politely if there is no hurry, else at once. */
  #destroy(slot: Slot<C, L>, reason: DestroyReason, error: unknown): void {
    this.#slots.delete(slot);
    this.counters.destroyed[reason]++;
    if (POLITE.has(reason)) {
      slot.state = 'closing';
      this.#closing.add(slot);
      void this.#closePolitely(slot);
    } else {
      slot.state = 'gone';
      this.#kill(slot.connection);
    }
    runOutside(() => this.#observer.destroyed(slot.connection, reason, error));
  }

  async #closePolitely(slot: Slot<C, L>): Promise<void> {
    const outcome = await settleWithin(this.clock, this.#limits.closeTimeoutMs, () =>
      this.#driver.close(slot.connection),
    );
    if (outcome.kind === 'failed') this.#observer.driverFailed('close', outcome.error);
    if (outcome.kind !== 'done') this.#kill(slot.connection);
    slot.state = 'gone';
    this.#closing.delete(slot);
    this.#dispatch(this.clock.now());
  }

  #kill(connection: C): void {
    try {
      runOutside(() => this.#driver.kill(connection));
    } catch (error) {
      this.#observer.driverFailed('kill', error);
    }
  }

  // ── Housekeeping ─────────────────────────────────────────────────────────────────────────────────────────────────

  #housekeepingPeriodMs(): number {
    const { idleTimeoutMs, maxLifetimeMs, keepaliveMs, leakDetectionMs } = this.#limits;
    return housekeepingPeriodMs(idleTimeoutMs, maxLifetimeMs, keepaliveMs, leakDetectionMs);
  }

  #keepHouse(nowMs: number): boolean {
    this.#reportLeaks(nowMs);
    for (const slot of this.#idle) {
      // The last idle connection stays for whoever comes next, as long as anyone is at work here.
      if (this.#idle.size > 1 || this.active === 0) this.#tendIdle(slot, nowMs);
    }
    this.#openMissing();
    return this.#drain === undefined;
  }

  #tendIdle(slot: Slot<C, L>, nowMs: number): void {
    const { idleTimeoutMs, keepaliveMs, minSize } = this.#limits;
    if (nowMs >= slot.expiresAtMs) this.#retire(slot, 'lifetime');
    else if (idleTimeoutMs > 0 && nowMs - slot.idleSinceMs >= idleTimeoutMs && this.live > minSize)
      this.#retire(slot, 'idle');
    else if (keepaliveMs > 0 && nowMs - slot.aliveAtMs >= keepaliveMs && this.#validating.size === 0) {
      void this.#validate(slot, VALIDATION_TIMEOUT_MS, 'oldest');
    }
  }

  #retire(slot: Slot<C, L>, reason: DestroyReason): void {
    this.#takeOutOfIdle(slot);
    this.#destroy(slot, reason, undefined);
  }

  #reportLeaks(nowMs: number): void {
    const { leakDetectionMs } = this.#limits;
    if (leakDetectionMs === 0) return;
    for (const lease of this.#leases()) {
      const { slot } = lease;
      // It may have come back meanwhile: whoever is told of one leak may release another.
      if (slot.lease !== lease || slot.leaked === lease || nowMs - lease.startedAtMs < leakDetectionMs) continue;
      slot.leaked = lease;
      this.counters.leaks++;
      this.#observer.leaked(holderFacts(lease, nowMs));
    }
  }

  /** A lease that outlives what it was charged goes on being charged, so that long holds can't hide behind short ones. */
  #chargeRunning(nowMs: number): boolean {
    for (const { slot, tenant, startedAtMs } of this.#leases()) {
      const dueMs = nowMs - startedAtMs - slot.chargedMs;
      if (dueMs <= 0) continue;
      slot.chargedMs += dueMs;
      this.#scheduler.charge(tenant, dueMs);
    }
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
    if (this.#drain !== undefined) throw new PoolClosedError(this.id);
    this.start();
    const nowMs = this.clock.now();
    const slot = this.#idle.oldest;
    if (slot !== undefined) {
      const error = await this.#validate(slot, timeoutMs, 'oldest');
      if (error !== undefined) throw error;
      return 'alive';
    }
    if (nowMs - this.aliveAtMs <= recentMs) return 'recent';
    if (this.#probe === undefined) {
      this.#probe = new WaitingProbe(nowMs, timeoutMs, (probe) => this.#probeExpired(probe));
      this.deadlines.add(this.#probe, this.#probe.dueAtMs);
      this.#dispatch(nowMs);
    }
    return this.#probe.outcome;
  }

  #probeWith(slot: Slot<C, L> | undefined, probe: WaitingProbe, nowMs: number): void {
    if (slot === undefined) return;
    this.#forgetProbe(probe);
    this.#validate(slot, Math.max(1, probe.dueAtMs - nowMs), 'newest').then(
      (error) => (error === undefined ? probe.settle('alive') : probe.fail(error)),
      (error: unknown) => probe.fail(toError(error)),
    );
  }

  #settleProbe(probe: WaitingProbe, outcome: ProbeOutcome): void {
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
    this.#limits = limitsAlone({ ...this.#limits, ...change });
    this.#connector.concurrency = this.#limits.connectConcurrency;
    this.#housekeeping.periodMs = this.#housekeepingPeriodMs();
    this.#room.takeOverTimeout();
    for (const slot of this.#idle) {
      if (this.total - this.#closing.size > this.#limits.maxSize) this.#retire(slot, 'resize');
    }
    this.#shrinking = this.total > this.#limits.maxSize;
    if (this.live > 0) this.#becomeReady();
    this.#dispatch(this.clock.now());
  }

  get tenantPolicy(): TenantPolicy {
    return this.#scheduler.policy;
  }

  /** Takes over new limits of tenants, at once. */
  changeTenantPolicy(policy: TenantPolicy): void {
    this.#scheduler.changePolicy(policy);
    this.#dispatch(this.clock.now());
  }

  /** Replaces every connection: idle ones now, leased ones when they come back. For rotated credentials, or after a failover. */
  recycle(): void {
    this.#generation++;
    for (const slot of this.#idle) this.#retire(slot, 'generation');
    this.#dispatch(this.clock.now());
  }

  /** Stops lending. `queue`: acquires wait for `resume()`, as long as their deadlines let them; `reject`: they fail at once. */
  suspend(mode: 'queue' | 'reject' = 'queue'): void {
    this.#suspended = mode;
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
    this.#connector.abandonAll();
    if (this.#probe !== undefined) {
      const probe = this.#probe;
      this.#forgetProbe(probe);
      probe.fail(new PoolClosedError(this.id));
    }
    drain.refused = this.#room.refuseAll(
      'closed',
      nowMs,
      (tenant) => new PoolClosedError(this.id, { tenantId: tenant.id }),
    );
    for (const { reject } of this.#awaitingReady.splice(0)) reject(new PoolClosedError(this.id));
    for (let slot = this.#idle.oldest; slot !== undefined; slot = this.#idle.oldest) this.#retire(slot, 'closing');
    return drain;
  }

  /** The deadline of `close()`: whatever is still out is killed. */
  #cut(nowMs: number): void {
    // Of those that are still out then: the end of one connection may make the holder of another give it back.
    for (const lease of this.#leases()) {
      if (lease.slot.lease !== lease) continue;
      this.#drain?.holders.push(holderFacts(lease, nowMs));
      lease.markCut();
      this.#endLease(lease);
      this.#settleTenant(lease, nowMs);
      this.#destroy(lease.slot, 'cut', undefined);
    }
    for (const cleaning of [...this.#recycling.values()]) {
      if (!this.#recycling.delete(cleaning.slot)) continue;
      this.deadlines.remove(cleaning);
      this.#settleTenant(cleaning.lease, nowMs);
      this.#destroy(cleaning.slot, 'cut', undefined);
    }
    for (const slot of [...this.#validating]) {
      if (this.#validating.delete(slot)) this.#destroy(slot, 'cut', undefined);
    }
    this.#endIfDrained(nowMs);
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
    const { dispose } = this.#driver;
    if (dispose === undefined) return;
    const outcome = await settleWithin(this.clock, this.#limits.closeTimeoutMs, () => dispose.call(this.#driver));
    if (outcome.kind === 'failed') this.#observer.driverFailed('dispose', outcome.error);
  }
}

/** Reasons that leave time for a polite good-bye; with the others there is nobody to say it to. */
const POLITE: ReadonlySet<DestroyReason> = new Set<DestroyReason>([
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
  readonly lease: PoolLease<C, L>;
  readonly #late: (cleaning: Cleaning<C, L>) => void;
  override readonly keepsProcessAlive = true;

  constructor(slot: Slot<C, L>, lease: PoolLease<C, L>, late: (cleaning: Cleaning<C, L>) => void) {
    super();
    this.slot = slot;
    this.lease = lease;
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

interface PromiseParts {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

function holderFacts(lease: Lease<unknown>, nowMs: number): HolderFacts {
  return { tenantId: lease.tenantId, heldMs: nowMs - lease.startedAtMs, stack: lease.stack };
}
