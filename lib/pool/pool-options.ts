/**
 * The options that pools of every kind have: one schema from which their types, defaults, messages and the README's
 * table come.
 *
 * A kind's schema is its own shape on top of `basePoolShape`, checked by `checkPool` and resolved by `resolvePool`. The
 * comment above an option is its documentation: it is what editors show and what the table in the README is made of.
 */
import { z } from 'zod';

import { defaultConnectConcurrency, FOLLOWS_MAX_SIZE, type PoolLimits } from '../engine/limits.js';
import { isRecord } from '../options/environment.js';
import { count, durationMs, optionsObject } from '../options/option-types.js';
import type { HealthCheckOptions } from './pool-health.js';
import { type ResolvedTenantOptions, resolveTenants, tenantMaximum, tenantsSchema } from './tenant-options.js';

export const healthCheckShape = {
  /** Time between two probes, varied at random; 0: no probes, only what happens to requests counts. */
  intervalMs: durationMs(0).default(30_000),
  /** How long a probe may take. */
  timeoutMs: durationMs(1).default(5_000),
  /** Failures in a row that make the pool `unhealthy`; fewer make it `degraded`. */
  failureThreshold: count(1).default(3),
};

/** What to write where somebody wants no probes. */
export function probesOff(value: unknown): string | undefined {
  return value === false ? '{ intervalMs: 0 }, which makes no probes' : undefined;
}

export interface HealthCheckSchema extends z.ZodObject<typeof healthCheckShape, z.core.$strict> {}
const healthCheckSchema: HealthCheckSchema = optionsObject(
  healthCheckShape,
  { interval: 'intervalMs', timeout: 'timeoutMs' },
  probesOff,
);

export const basePoolShape = {
  /** Slots that are kept open while the pool is idle. */
  minSize: count(0).default(1),
  /** Slots that may be open at once, in whatever state. */
  maxSize: count(1).default(10),
  /**
   * Acquires of all tenants together that may wait at once, besides those for which a slot is free already (being
   * opened, or pinged); 0: none waits for others.
   */
  maxQueue: count(0).default(10_000),
  /** How long an acquire waits unless it says otherwise. */
  acquireTimeoutMs: durationMs(1).default(10_000),
  /** How long one connect may take. */
  connectTimeoutMs: durationMs(1).default(10_000),
  /**
   * Connects that may be under way at once.
   * @defaultValue a quarter of `maxSize`, at least 2
   */
  connectConcurrency: count(1).optional(),
  /**
   * When the backend has been unreachable for so long, waiting acquires fail with the last connect error instead of
   * waiting on.
   */
  failFastAfterMs: durationMs(0).default(5_000),
  /** A connection that was idle for longer is pinged before it is lent; 0: always. */
  validateAfterIdleMs: durationMs(0).default(500),
  /** Idle connections above `minSize` are closed after this time; 0: never. */
  idleTimeoutMs: durationMs(0).default(300_000),
  /** Connections are replaced at this age, less up to 2.5 % at random; 0: never. */
  maxLifetimeMs: durationMs(0).default(1_800_000),
  /** Connections are replaced after so many leases; 0: never. */
  maxUses: count(0).default(0),
  /** Idle connections are pinged this often, so that nothing between here and the server forgets them; 0: never. */
  keepaliveMs: durationMs(0).default(0),
  /** A lease that is out for longer is reported with the stack of its acquire; 0: never. */
  leakDetectionMs: durationMs(0).default(0),
  /**
   * An acquire that waited for at least this long is logged when it is granted, with the frame that asked, a line a
   * second at most; 0: never.
   */
  slowAcquireMs: durationMs(0).default(0),
  /** A lease that lasted for at least this long is logged when it ends, with the frame that asked; 0: never. */
  slowUseMs: durationMs(0).default(0),
  /** How long making a returned connection clean may take before it is destroyed instead. */
  recycleTimeoutMs: durationMs(1).default(5_000),
  /** How long the graceful close of one connection may take before it is cut. */
  closeTimeoutMs: durationMs(1).default(5_000),
  /** What each tenant may take of the pool. */
  tenants: tenantsSchema.prefault({}),
  /**
   * Short form of `tenants.max`.
   * @defaultValue none
   */
  maxConnectionsPerTenant: tenantMaximum.optional(),
  /** How the pool is probed. */
  healthCheck: healthCheckSchema.prefault({}),
  /** Whether readiness fails while the pool is unhealthy. A pool that isn't critical only degrades the answer. */
  critical: z.boolean().default(true),
  /**
   * Whether the application's start waits until the pool is connected (`'wait'`) or goes on without it
   * (`'background'`).
   * @defaultValue `'wait'` for a critical pool, else `'background'`
   */
  startup: z.enum(['wait', 'background']).optional(),
  /** How long `startup: 'wait'` retries before the start fails. */
  startupTimeoutMs: durationMs(1).default(30_000),
};

type BaseSchema = z.ZodObject<typeof basePoolShape, z.core.$strict>;

/** What can be set on a pool of any kind. */
export interface BasePoolOptions extends z.input<BaseSchema> {}

/** The options of every kind after parsing, before what follows from others is filled in. */
type ParsedPool = z.output<BaseSchema>;

/** What every pool is configured with: nothing is missing any more. */
export interface ResolvedBasePoolOptions extends PoolLimits {
  /** What each tenant may take of the pool. */
  readonly tenants: ResolvedTenantOptions;
  /** How the pool is probed. */
  readonly healthCheck: HealthCheckOptions;
  /** Whether readiness fails while the pool is unhealthy. */
  readonly critical: boolean;
  /** Whether the application's start waits until the pool is connected. */
  readonly startup: 'wait' | 'background';
  /** How long `startup: 'wait'` retries before the start fails. */
  readonly startupTimeoutMs: number;
  /** From which wait on an acquire is logged, in milliseconds; 0: never. */
  readonly slowAcquireMs: number;
  /** From which duration on a lease is logged, in milliseconds; 0: never. */
  readonly slowUseMs: number;
}

/** Names that other pools use for the same thing. */
export const namesElsewhere: Readonly<Record<string, string>> = {
  max: 'maxSize',
  min: 'minSize',
  poolSize: 'maxSize',
  size: 'maxSize',
  maxConnections: 'maxSize',
  connectionTimeoutMillis: 'acquireTimeoutMs (waiting for a slot) or connectTimeoutMs (one connect)',
  acquireTimeoutMillis: 'acquireTimeoutMs',
  idleTimeoutMillis: 'idleTimeoutMs',
  maxLifetimeSeconds: 'maxLifetimeMs',
  maxPerTenant: 'tenants.max',
};

/** Where rules between options tell of problems; zod's refinement context is one. */
export interface ProblemReporter {
  addIssue(issue: { code: 'custom'; path: PropertyKey[]; message: string }): void;
}

/**
 * The rules between options of one pool. They are checked even while single options are wrong: all problems come in one
 * error.
 */
export function checkPool(
  pool: Partial<ParsedPool>,
  report: ProblemReporter,
  rules: { failsClosed?: boolean } = {},
): void {
  const { minSize, maxSize, maxConnectionsPerTenant: short } = pool;
  const refuse = (path: PropertyKey[], message: string) => report.addIssue({ code: 'custom', path, message });

  if (valid(minSize) && valid(maxSize) && maxSize > 0 && minSize > maxSize) {
    refuse(['maxSize'], `must be at least minSize (${minSize}), got ${maxSize}`);
  }

  const tenants: Partial<ParsedPool['tenants']> = isRecord(pool.tenants) ? pool.tenants : {};
  if (valid(short) && valid(tenants.max) && short !== tenants.max) {
    refuse(
      ['maxConnectionsPerTenant'],
      `must be left out or be the same as tenants.max (${tenants.max}), whose short form it is, got ${short}`,
    );
  }
  if (rules.failsClosed === true && tenants.required === false) {
    refuse(['tenants', 'required'], 'must not be false with isolation; call unscoped() where no tenant is meant');
  }

  const max = valid(tenants.max) ? tenants.max : valid(short) ? short : Infinity;
  const reserved = valid(tenants.reserved) ? tenants.reserved : 0;
  if (reserved > max) {
    refuse(['tenants', 'reserved'], `must be at most tenants.max (${max}), got ${reserved}`);
  } else if (valid(maxSize) && reserved > maxSize) {
    refuse(['tenants', 'reserved'], `must be at most maxSize (${maxSize}), got ${reserved}`);
  }

  let reservedInAll = 0;
  for (const [tenantId, limits] of Object.entries(isRecord(tenants.overrides) ? tenants.overrides : {})) {
    if (!isRecord(limits)) continue;
    const own = valid(limits.reserved) ? limits.reserved : reserved;
    const ownMax = valid(limits.max) ? limits.max : max;
    reservedInAll += own;
    if (own > ownMax && (limits.reserved !== undefined || limits.max !== undefined)) {
      const path = ['tenants', 'overrides', tenantId, 'reserved'];
      refuse(path, `must be at most the tenant's max (${ownMax}), got ${own}`);
    }
  }
  if (valid(maxSize) && maxSize > 0 && reservedInAll > maxSize) {
    refuse(
      ['tenants', 'overrides'],
      `must not reserve more than maxSize (${maxSize}) slots together, got ${reservedInAll}`,
    );
  }
}

/** When to look at rules between options: whenever there is an object to look at. */
export const whenObject = { when: ({ value }: { value: unknown }): boolean => isRecord(value) };

/** Fills in what follows from other options. */
export function resolvePool<T extends ParsedPool>(parsed: T, rules: { failsClosed?: boolean } = {}) {
  const { maxConnectionsPerTenant, connectConcurrency, startup, tenants, healthCheck, ...rest } = parsed;
  // An object of no type: declarations of the schemas can't name the symbol.
  const followsMaxSize: object = { [FOLLOWS_MAX_SIZE]: connectConcurrency === undefined };
  return {
    ...rest,
    connectConcurrency: connectConcurrency ?? defaultConnectConcurrency(parsed.maxSize),
    ...followsMaxSize,
    startup: startup ?? (parsed.critical ? 'wait' : 'background'),
    healthCheck: Object.freeze(healthCheck),
    tenants: resolveTenants(tenants, { max: maxConnectionsPerTenant, required: rules.failsClosed ?? false }),
  };
}

/** Whether an option has a value that rules can be applied to; what else is wrong with it is said elsewhere. */
function valid(value: number | undefined): value is number {
  return typeof value === 'number' && value >= 0;
}
