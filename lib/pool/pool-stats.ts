/**
 * The numbers of one pool at one moment. They are read off the pool's own state, so they can't drift away from it.
 */
import type { AcquireTimeoutKind } from '../engine/errors.js';
import type { LendingEngine, TenantNumbers } from '../engine/lending-engine.js';
import type { DestroyReason, RejectionReason } from '../engine/pool-counters.js';
import { describeError } from '../engine/redact.js';
import { type DurationStats, durationStats } from './duration-stats.js';
import type { HealthCheckResult, PoolStatus } from './pool-health.js';

/** One tenant's part in a pool. */
export interface TenantStats {
  /** `undefined`: work without a tenant. */
  readonly tenantId: string | undefined;
  /** Slots that it has in use. */
  readonly active: number;
  /** Its acquires that wait for a slot. */
  readonly waiting: number;
  /** Its maximum; `Infinity` (in JSON: null) for none. */
  readonly max: number;
  /** Its acquires that were granted. */
  readonly acquisitions: number;
  /** Its acquires that reached their deadline. */
  readonly timeouts: number;
  /** Its acquires that were refused, or aborted. */
  readonly rejections: number;
  /** Over all its leases that have ended, in milliseconds. */
  readonly heldMs: number;
  /** Over all its acquires that had to wait and were granted, in milliseconds. */
  readonly waitedMs: number;
  /** Moving average, in milliseconds. */
  readonly meanHoldMs: number;
}

/** What the pool's handle knows beyond the engine. */
export interface StatsContext {
  readonly type: string;
  readonly status: PoolStatus;
  readonly lastHealthCheck: HealthCheckResult | undefined;
  readonly consecutiveFailures: number;
  readonly lastError: unknown;
  /** Uses of `unscoped()` where a tenant would have been required. */
  readonly unscopedUses: number;
}

/** Tenants that `toJSON` shows: the busiest. */
const BUSIEST = 20;

/** The numbers of one pool at one moment. Those that count begin with 0 when the pool is created. */
export class PoolStats {
  /** The id of the pool. */
  readonly poolId: string;
  /** What its connections lead to. */
  readonly type: string;
  /** The state that it was in. */
  readonly status: PoolStatus;
  /** Slots taken, in all states together. */
  readonly total: number;
  /** Slots that were lent. */
  readonly active: number;
  /** Connections that were open and not in use. */
  readonly idle: number;
  /** Connections that were being opened. */
  readonly connecting: number;
  /** Connections that were being made clean. */
  readonly recycling: number;
  /** Connections that were being pinged. */
  readonly validating: number;
  /** Connections that were being closed. */
  readonly closing: number;
  /** Acquires that waited for a slot. */
  readonly waiting: number;
  /** Slots at most, in all states together: `maxSize`. */
  readonly max: number;
  /** Connections that are kept open: `minSize`. */
  readonly min: number;
  /** Whether it had been suspended. */
  readonly suspended: boolean;
  /** Acquires that were granted. */
  readonly acquisitions: number;
  /** Leases that have ended. */
  readonly releases: number;
  /** Releases of leases that had ended already. */
  readonly doubleReleases: number;
  /** Leases that were out for longer than `leakDetectionMs`. */
  readonly leaks: number;
  /** Acquires that reached their deadline, by what they waited for. */
  readonly timeouts: Readonly<Record<AcquireTimeoutKind, number>>;
  /** Acquires that were refused or aborted, by the reason. */
  readonly rejections: Readonly<Record<RejectionReason, number>>;
  /** Connections that were opened. */
  readonly connects: number;
  /** Connects that failed. */
  readonly connectFailures: number;
  /** Connections that ended, by the reason. */
  readonly destroyed: Readonly<Record<DestroyReason, number>>;
  /** Connections that were made clean after use: on return, while idle, or ahead of the next borrower's statement. */
  readonly resets: number;
  /** Uses of `unscoped()` where a tenant would have been required. */
  readonly unscopedUses: number;
  /** How long granted acquires had waited. */
  readonly wait: DurationStats;
  /** How long leases lasted. */
  readonly use: DurationStats;
  /** How long connects took. */
  readonly connect: DurationStats;
  /** How long the waiter that waits longest has waited, in milliseconds. */
  readonly oldestWaiterMs: number;
  /** What the last health check found; undefined: there was none. */
  readonly lastHealthCheck: HealthCheckResult | undefined;
  /** Failed health checks and connects in a row. */
  readonly consecutiveFailures: number;
  /** Name, code and redacted message of the last failure; `undefined` after a success. */
  readonly lastError: string | undefined;
  /** Those that the scheduler still knows: who holds, waits, has debt or a warm connection. */
  readonly tenants: readonly TenantStats[];

  /** @internal Made by `stats()`. */
  constructor(engine: LendingEngine<unknown>, context: StatsContext) {
    const { counters, limits } = engine;
    this.poolId = engine.id;
    this.type = context.type;
    this.status = context.status;
    this.total = engine.numbers.total;
    this.active = engine.numbers.active;
    this.idle = engine.numbers.idle;
    this.connecting = engine.numbers.connecting;
    this.recycling = engine.numbers.recycling;
    this.validating = engine.numbers.validating;
    this.closing = engine.numbers.closing;
    this.waiting = engine.numbers.waiting;
    this.max = limits.maxSize;
    this.min = limits.minSize;
    this.suspended = engine.suspended;
    this.acquisitions = counters.acquisitions;
    this.releases = counters.acquisitions - engine.numbers.active;
    this.doubleReleases = counters.doubleReleases;
    this.leaks = counters.leaks;
    this.timeouts = { ...counters.timeouts };
    this.rejections = { ...counters.rejections };
    this.connects = counters.connects;
    this.connectFailures = counters.connectFailures;
    this.destroyed = { ...counters.destroyed };
    this.resets = counters.resets;
    this.unscopedUses = context.unscopedUses;
    this.wait = durationStats(counters.wait, counters.immediate);
    this.use = durationStats(counters.use);
    this.connect = durationStats(counters.connect);
    this.oldestWaiterMs = engine.numbers.oldestWaiterMs;
    this.lastHealthCheck = context.lastHealthCheck;
    this.consecutiveFailures = context.consecutiveFailures;
    this.lastError = context.lastError === undefined ? undefined : describeError(context.lastError);
    this.tenants = [...engine.numbers.tenants()].map(tenantStats);
  }

  /**
   * One tenant's numbers; `undefined` when the scheduler doesn't know it (any more). Without an id: work without a
   * tenant.
   */
  tenant(tenantId?: string): TenantStats | undefined {
    return this.tenants.find((tenant) => tenant.tenantId === tenantId);
  }

  /** Everything, with the twenty busiest tenants only. */
  toJSON(): object {
    const byWork = (a: TenantStats, b: TenantStats): number =>
      b.active - a.active || b.waiting - a.waiting || b.heldMs - a.heldMs;
    const busiest = this.tenants
      .filter((tenant) => tenant.acquisitions + tenant.waiting + tenant.rejections > 0)
      .sort(byWork);
    return { ...this, tenants: busiest.slice(0, BUSIEST) };
  }
}

function tenantStats(tenant: TenantNumbers): TenantStats {
  return {
    tenantId: tenant.id,
    active: tenant.inUse,
    waiting: tenant.waiting,
    max: tenant.limits.max,
    acquisitions: tenant.acquisitions,
    timeouts: tenant.timeouts,
    rejections: tenant.rejections,
    heldMs: tenant.heldMs,
    waitedMs: tenant.waitedMs,
    meanHoldMs: tenant.meanHoldMs,
  };
}
