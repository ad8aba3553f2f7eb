/**
 * The metrics of a pool: names, labels, and where the numbers come from. What an exporter writes is made from this
 * list, and so is the table of metrics in the reference.
 *
 * Names follow Prometheus' rules: base units, `_total` for what only grows.
 */
import type { PoolStatus } from '../pool/pool-health.js';
import type { DurationReading, PoolReading } from './pool-reading.js';
import type { TenantReading } from './tenant-ledger.js';

/** A number with the labels that it has beside those of its pool. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface MetricText {
  readonly name: string;
  /** What it counts, with its unit. */
  readonly help: string;
  /** The labels beside those of each metric. */
  readonly labels: readonly string[];
}

/** A number of this moment, or one that only grows. */
export interface NumberMetric extends MetricText {
  readonly type: 'gauge' | 'counter';
  samples(reading: PoolReading): readonly Sample[];
}

/** Durations, in seconds. */
export interface DurationMetric extends MetricText {
  readonly type: 'histogram';
  durations(reading: PoolReading): DurationReading;
}

export type PoolMetric = NumberMetric | DurationMetric;

/** The labels of every metric. */
export const POOL_LABELS = ['pool', 'type'] as const;
/** Tells the managers of one registry apart; a manager without a name has no such label. */
export const MANAGER_LABEL = 'manager';

const STATUSES = [
  'starting',
  'healthy',
  'degraded',
  'unhealthy',
  'draining',
  'closed',
] as const satisfies readonly PoolStatus[];

/** Where a metric's numbers come from, and the labels that tell them apart. */
interface Source {
  readonly labels: readonly string[];
  samples(reading: PoolReading): readonly Sample[];
}

/** One number a pool; `undefined` for pools of a kind that has no such number. */
function one(read: (reading: PoolReading) => number | undefined): Source {
  return {
    labels: [],
    samples: (reading) => {
      const value = read(reading);
      return value === undefined ? [] : [{ labels: {}, value }];
    },
  };
}

/** One number for each value of a label. */
function by(label: string, read: (reading: PoolReading) => Readonly<Record<string, number>>): Source {
  return {
    labels: [label],
    samples: (reading) => Object.entries(read(reading)).map(([name, value]) => ({ labels: { [label]: name }, value })),
  };
}

/** One number for each tenant that is shown. */
function byTenant(read: (tenant: TenantReading) => number): Source {
  return {
    labels: ['tenant'],
    samples: ({ tenants }) => tenants.map((tenant) => ({ labels: { tenant: tenant.name }, value: read(tenant) })),
  };
}

function gauge(name: string, help: string, source: Source): NumberMetric {
  return { type: 'gauge', name: `pool_manager_${name}`, help, ...source };
}

function counter(name: string, help: string, source: Source): NumberMetric {
  return { type: 'counter', name: `pool_manager_${name}_total`, help, ...source };
}

function histogram(name: string, help: string, durations: (reading: PoolReading) => DurationReading): DurationMetric {
  return { type: 'histogram', name: `pool_manager_${name}_seconds`, help, labels: [], durations };
}

/** The metrics of each pool, in the order in which they are written. */
export const poolMetrics: readonly PoolMetric[] = [
  gauge(
    'slots',
    'Slots by their state; pool_manager_slots_max bounds their sum.',
    by('state', ({ stats }) => ({
      idle: stats.idle,
      used: stats.active,
      connecting: stats.connecting,
      recycling: stats.recycling,
      validating: stats.validating,
      closing: stats.closing,
    })),
  ),
  gauge(
    'slots_max',
    'Slots at most, in all states together: maxSize.',
    one(({ stats }) => stats.max),
  ),
  gauge(
    'slots_min',
    'Connections that are kept open: minSize.',
    one(({ stats }) => stats.min),
  ),
  gauge(
    'waiting',
    'Acquires that wait for a slot.',
    one(({ stats }) => stats.waiting),
  ),
  gauge(
    'oldest_wait_seconds',
    'How long the acquire that waits longest has waited, in seconds; 0 when none waits.',
    one(({ stats }) => inSeconds(stats.oldestWaiterMs)),
  ),
  gauge(
    'status',
    'The state that the pool is in: 1 for this state, 0 for the others.',
    by('status', ({ stats }) =>
      Object.fromEntries(STATUSES.map((status) => [status, Number(status === stats.status)])),
    ),
  ),
  gauge(
    'up',
    'Whether the pool is healthy or degraded: 1, else 0.',
    one(({ stats }) => Number(stats.status === 'healthy' || stats.status === 'degraded')),
  ),
  gauge(
    'suspended',
    'Whether the pool is suspended: 1, else 0.',
    one(({ stats }) => Number(stats.suspended)),
  ),
  gauge(
    'consecutive_failures',
    'Failed health checks and connects in a row.',
    one(({ stats }) => stats.consecutiveFailures),
  ),
  gauge(
    'redis_duplicates',
    'Clients from duplicate() that are open. Redis pools only.',
    one(({ stats }) => stats.duplicates),
  ),
  counter(
    'acquisitions',
    'Acquires that were granted.',
    one(({ stats }) => stats.acquisitions),
  ),
  counter(
    'waits',
    'Acquires that were granted after they had to wait for a slot.',
    one(({ waits }) => waits),
  ),
  counter(
    'releases',
    'Leases that have ended.',
    one(({ stats }) => stats.releases),
  ),
  counter(
    'timeouts',
    'Acquires that reached their deadline, by what they waited for.',
    by('kind', ({ stats }) => ({ ...stats.timeouts })),
  ),
  counter(
    'rejections',
    'Acquires that were refused or aborted, by the reason.',
    by('reason', ({ stats }) => stats.rejections),
  ),
  counter(
    'connects',
    'Connections that were opened.',
    one(({ stats }) => stats.connects),
  ),
  counter(
    'connect_failures',
    'Connects that failed.',
    one(({ stats }) => stats.connectFailures),
  ),
  counter(
    'destroyed',
    'Connections that ended, by the reason.',
    by('reason', ({ stats }) => stats.destroyed),
  ),
  counter(
    'resets',
    "Connections that were made clean after use: on return, while idle, or ahead of the next borrower's statement.",
    one(({ stats }) => stats.resets),
  ),
  counter(
    'leaks',
    'Leases that were out for longer than leakDetectionMs.',
    one(({ stats }) => stats.leaks),
  ),
  counter(
    'double_releases',
    'Releases of leases that had ended already.',
    one(({ stats }) => stats.doubleReleases),
  ),
  counter(
    'unscoped_uses',
    'Uses of unscoped() where a tenant would have been required.',
    one(({ stats }) => stats.unscopedUses),
  ),
  counter(
    'ignored_ends',
    'Calls that end a client or a pool elsewhere, and were ignored. Redis and PostgreSQL pools only.',
    one(({ stats }) => stats.ignoredEnds),
  ),
  histogram('wait', 'How long granted acquires had waited, in seconds; 0 for no wait.', ({ wait }) => wait),
  histogram('use', 'How long leases lasted, in seconds.', ({ use }) => use),
  histogram('connect', 'How long connects took, in seconds.', ({ connect }) => connect),
];

/** The metrics of each pool's tenants, in the order in which they are written. */
export const tenantMetrics: readonly PoolMetric[] = [
  gauge(
    'tenant_slots_used',
    'Slots that the tenant has in use.',
    byTenant(({ used }) => used),
  ),
  gauge(
    'tenant_waiting',
    'Acquires of the tenant that wait for a slot.',
    byTenant(({ waiting }) => waiting),
  ),
  counter(
    'tenant_slot_seconds',
    'How long all leases of the tenant lasted that have ended, in seconds.',
    byTenant(({ slotMs }) => inSeconds(slotMs)),
  ),
  counter(
    'tenant_wait_seconds',
    'How long all acquires of the tenant had waited that were granted, in seconds.',
    byTenant(({ waitedMs }) => inSeconds(waitedMs)),
  ),
  counter(
    'tenant_timeouts',
    'Acquires of the tenant that reached their deadline.',
    byTenant(({ timeouts }) => timeouts),
  ),
  counter(
    'tenant_rejections',
    'Acquires of the tenant that were refused or aborted.',
    byTenant(({ rejections }) => rejections),
  ),
];

function inSeconds(durationMs: number): number {
  return durationMs / 1_000;
}
