/**
 * The numbers of a pool at this moment: for statistics and errors, and for mechanisms of the pool that go by numbers of
 * others.
 *
 * Nothing is counted here: each number is read off the collection that it is the size of, so that none can drift.
 */
import type { WaitReason } from './engine-watcher.js';
import type { LeaseHolder } from './errors.js';
import type { EngineNumbers, LeaseVisitor } from './lending-engine.js';
import type { NewConnections } from './new-connections.js';
import type { BackendFailure, RejectionNumbers } from './rejections.js';
import type { TenantScheduler } from './scheduler/tenant-scheduler.js';
import type { PoolTenant, PoolWaiter, Slot } from './slot.js';
import type { RoomNumbers, Slots } from './slots.js';
import type { Clock } from './time/clock.js';
import type { Validation } from './validation.js';

/** How many of the oldest holders an error names. */
const HOLDERS_NAMED = 3;

/** What the numbers need of their pool. */
export interface NumberedPool {
  readonly clock: Clock;
  readonly suspended: boolean;
}

export class PoolNumbers<C, L> implements EngineNumbers, RejectionNumbers, RoomNumbers {
  readonly #pool: NumberedPool;
  readonly #scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>;
  readonly #slots: Slots<C, L>;
  readonly #connections: NewConnections<C, L>;
  readonly #validation: Validation<C, L>;

  constructor(
    pool: NumberedPool,
    scheduler: TenantScheduler<PoolWaiter<C, L>, Slot<C, L>>,
    slots: Slots<C, L>,
    connections: NewConnections<C, L>,
    validation: Validation<C, L>,
  ) {
    this.#pool = pool;
    this.#scheduler = scheduler;
    this.#slots = slots;
    this.#connections = connections;
    this.#validation = validation;
  }

  // ── Slots ────────────────────────────────────────────────────────────────────────────────────────────────────────

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
  get open(): number {
    return this.#slots.open;
  }
  get total(): number {
    return this.#slots.open + this.#connections.connecting + this.#slots.closing;
  }
  oldestHolders(): readonly LeaseHolder[] {
    return this.#slots.oldestHolders(HOLDERS_NAMED);
  }
  eachLease(visit: LeaseVisitor): void {
    const nowMs = this.#pool.clock.now();
    for (const { lease } of this.#slots) if (lease !== undefined) visit(lease.tenantId, nowMs - lease.startedAtMs);
  }

  // ── Tenants and waiters ──────────────────────────────────────────────────────────────────────────────────────────

  get waiting(): number {
    return this.#scheduler.waiting;
  }
  /** Waiters that could be given a slot now, were there one. */
  get grantable(): number {
    return this.#scheduler.grantable;
  }
  get unmetDemand(): number {
    const waiting = this.#pool.suspended ? 0 : this.#scheduler.grantable;
    const probes = this.#validation.waitingProbe === undefined ? 0 : 1;
    return waiting + probes - this.#connections.connecting - this.#slots.expected;
  }
  get oldestWaiterMs(): number {
    let oldestMs = Infinity;
    for (const tenant of this.#scheduler.tenants()) {
      if (tenant.firstWaiting !== undefined) oldestMs = Math.min(oldestMs, tenant.firstWaiting.enqueuedAtMs);
    }
    return oldestMs === Infinity ? 0 : this.#pool.clock.now() - oldestMs;
  }
  whyItWaits(tenantId: string | undefined): WaitReason {
    if (this.#pool.suspended) return 'suspended';
    if (this.#scheduler.find(tenantId)?.mayTake === false) return 'tenant';
    if (this.connectFailures > 0 && this.open === 0) return 'backend';
    // The newest waiter: those ahead of it get what is being opened, or pinged, first.
    return this.connecting + this.validating >= this.grantable ? 'connecting' : 'pool';
  }
  tenants(): Iterable<PoolTenant<C, L>> {
    return this.#scheduler.tenants();
  }
  /** Tenants remembered, whether they do anything or not. */
  get knownTenants(): number {
    return this.#scheduler.known;
  }
  get meanHoldMs(): number {
    return this.#scheduler.meanHoldMs;
  }

  // ── The backend ──────────────────────────────────────────────────────────────────────────────────────────────────

  get connectFailures(): number {
    return this.#connections.failures;
  }
  get lastConnectError(): Error | undefined {
    return this.#connections.lastError;
  }
  backendFailure(sinceMs: number): BackendFailure | undefined {
    return this.#validation.backendFailure(sinceMs);
  }
  downForMs(nowMs: number): number {
    return this.#connections.downForMs(nowMs);
  }
}
