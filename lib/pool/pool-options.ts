/**
 * The options that pools of every kind have: one schema from which their types, defaults, messages and the README's
 * table come.
 *
 * A kind's schema is its own shape on top of `basePoolShape`, checked by `checkPool` and resolved by `resolvePool`. The
 * comment above an option is its documentation: it is what editors show and what the table in the README is made of.
 */
import { z } from 'zod';

import { isThenable } from '../engine/guard.js';
import {
  defaultConnectConcurrency,
  FOLLOWS_MAX_SIZE,
  type PoolLimits,
  type TenantLimits,
  type TenantPolicy,
} from '../engine/limits.js';
import { isRecord } from '../options/environment.js';
import { callback, count, durationMs, namedRecord, opaque, optionsObject } from '../options/option-types.js';
import { type ConfigProblem, PoolConfigError } from '../errors.js';
import { keyOf, parseOptions } from '../options/option-problems.js';
import { seal } from '../options/sealed-options.js';
import type { HealthCheckOptions } from './pool-monitor.js';
import { isTenantId } from '../tenancy/tenant-id.js';

/** `Infinity` is a maximum too: none. */
const tenantMaximum = opaque<number>(
  'a whole number, at least 1, or Infinity',
  (value) => value === Infinity || (Number.isSafeInteger(value) && Number(value) >= 1),
);

const tenantWeight = z.number().positive();

export const tenantLimitsShape = {
  /**
   * Slots that the tenant may have in use at once; `Infinity` for no maximum of its own.
   * @defaultValue as for all
   */
  max: tenantMaximum.optional(),
  /**
   * Share of a contended pool, relative to other tenants.
   * @defaultValue as for all
   */
  weight: tenantWeight.optional(),
  /**
   * Slots that are this tenant's first as soon as they come free; others may use them until then.
   * @defaultValue as for all
   */
  reserved: count(0).optional(),
  /**
   * Acquires of the tenant that may wait at once.
   * @defaultValue as for all
   */
  maxWaiting: count(0).optional(),
  /**
   * What an acquire does while the tenant is at its `max`: wait, or fail at once.
   * @defaultValue as for all
   */
  whenFull: z.enum(['queue', 'reject']).optional(),
};

/** What was set to undefined is left out: an override must not take away what it doesn't name. */
const tenantLimitsSchema = optionsObject(tenantLimitsShape).transform(
  ({ max, weight, reserved, maxWaiting, whenFull }): Partial<TenantLimits> =>
    Object.freeze({
      ...(max !== undefined && { max }),
      ...(weight !== undefined && { weight }),
      ...(reserved !== undefined && { reserved }),
      ...(maxWaiting !== undefined && { maxWaiting }),
      ...(whenFull !== undefined && { whenFull }),
    }),
);

/** What differs for one tenant from the limits of the others. */
export interface TenantLimitOptions extends z.input<z.ZodObject<typeof tenantLimitsShape, z.core.$strict>> {}

export const tenantsShape = {
  /**
   * Slots that each tenant may have in use at once; `Infinity` for no maximum. More than `maxSize` is the same as
   * `maxSize`.
   * @defaultValue none
   */
  max: tenantMaximum.optional(),
  /**
   * Each tenant's share of a contended pool, relative to other tenants: with 2 a tenant gets twice the slot time of one
   * with 1.
   */
  weight: tenantWeight.default(1),
  /** Slots that are each tenant's first as soon as they come free; others may use them until then. */
  reserved: count(0).default(0),
  /**
   * Acquires of one tenant that may wait at once, besides those for which a slot is free already; further ones fail.
   */
  maxWaiting: count(0).default(256),
  /** What an acquire does while its tenant is at its `max`: wait (`'queue'`) or fail at once (`'reject'`). */
  whenFull: z.enum(['queue', 'reject']).default('queue'),
  /**
   * Whether the pool refuses to work without a tenant (`unscoped()` is the way out).
   * @defaultValue true with `isolation`, else false
   */
  required: z.boolean().optional(),
  /** Limits of single tenants, by their ids; what isn't given there is as for all. */
  overrides: namedRecord(
    z.string().refine(isTenantId, { error: 'is not a tenant id: it has 1 to 128 printable characters' }),
    tenantLimitsSchema,
  ).default({}),
  /** Limits of a tenant by its id, asked once for each tenant that the pool gets to know; wins over `overrides`. */
  resolve: callback<(tenantId: string) => TenantLimitOptions | undefined>().optional(),
  /**
   * Whether there is a tenant of that id; asked once for each that the pool gets to know, unless it has limits of its
   * own. Give it where ids come from requests: who can invent ids would otherwise be as many tenants as they like.
   * @defaultValue those are known that the pool has served for 10 seconds
   */
  known: callback<(tenantId: string) => boolean>().optional(),
  /**
   * Slots that tenants which aren't known may have in use together while known ones wait; they have no `reserved`
   * either.
   * @defaultValue half of `maxSize`, at least 1
   */
  maxUnknown: count(0).optional(),
};

export interface TenantsSchema extends z.ZodObject<typeof tenantsShape, z.core.$strict> {}
const tenantsSchema: TenantsSchema = optionsObject(tenantsShape, { maxConnections: 'max', limit: 'max' });

export const healthCheckShape = {
  /** Time between two probes, varied at random; 0: no probes, only what happens to requests counts. */
  intervalMs: durationMs(0).default(30_000),
  /** How long a probe may take. */
  timeoutMs: durationMs(1).default(5_000),
  /** Failures in a row that make the pool `unhealthy`; fewer make it `degraded`. */
  failureThreshold: count(1).default(3),
};

export interface HealthCheckSchema extends z.ZodObject<typeof healthCheckShape, z.core.$strict> {}
const healthCheckSchema: HealthCheckSchema = optionsObject(healthCheckShape, {
  interval: 'intervalMs',
  timeout: 'timeoutMs',
});

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

/** Tenants' limits as the engine takes them, and whether there must be a tenant. */
export interface ResolvedTenantOptions extends TenantPolicy {
  /** Whether the pool refuses to work without a tenant. */
  readonly required: boolean;
}

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

interface Reporter {
  addIssue(issue: { code: 'custom'; path: PropertyKey[]; message: string }): void;
}

/**
 * The rules between options of one pool. They are checked even while single options are wrong: all problems come in one
 * error.
 */
export function checkPool(pool: Partial<ParsedPool>, report: Reporter, rules: { failsClosed?: boolean } = {}): void {
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
  const { required, resolve, known, overrides, ...limits } = tenants;
  // An object of no type: declarations of the schemas can't name the symbol.
  const followsMaxSize: object = { [FOLLOWS_MAX_SIZE]: connectConcurrency === undefined };
  const resolvedTenants: ResolvedTenantOptions = seal({
    ...limits,
    max: limits.max ?? maxConnectionsPerTenant ?? Infinity,
    required: required ?? rules.failsClosed ?? false,
    overrides: Object.freeze(overrides),
    resolve: resolve && ((tenantId: string) => checkedLimits(tenantId, resolve(tenantId))),
    known: known && ((tenantId: string) => checkedAnswer(tenantId, known(tenantId))),
  });
  return {
    ...rest,
    connectConcurrency: connectConcurrency ?? defaultConnectConcurrency(parsed.maxSize),
    ...followsMaxSize,
    startup: startup ?? (parsed.critical ? 'wait' : 'background'),
    healthCheck: Object.freeze(healthCheck),
    tenants: resolvedTenants,
  };
}

/**
 * Limits of one tenant that come at run time.
 *
 * @throws {PoolConfigError} when they are malformed.
 */
export function parseTenantLimits(
  limits: TenantLimitOptions,
  at: readonly string[] = ['tenants'],
): Partial<TenantLimits> {
  return parseOptions(tenantLimitsSchema, limits, at);
}

/** What a pool that runs has, or is to have, of the options that depend on each other. */
export interface RunningLimits {
  readonly minSize: number;
  readonly maxSize: number;
  readonly tenants: TenantPolicy;
}

/**
 * Applies the rules of the start to limits that are changed at run time.
 *
 * @throws {PoolConfigError} with every problem.
 */
export function assertLimits(poolId: string, { minSize, maxSize, tenants }: RunningLimits): void {
  const problems: ConfigProblem[] = [];
  const key = (path: readonly PropertyKey[]): string => keyOf(['pools', poolId, ...path]);
  if (!Number.isSafeInteger(minSize) || minSize < 0)
    problems.push({ key: key(['minSize']), rule: `must be a whole number of slots, at least 0, got ${minSize}` });
  if (!Number.isSafeInteger(maxSize) || maxSize < 1)
    problems.push({ key: key(['maxSize']), rule: `must be a whole number of slots, at least 1, got ${maxSize}` });
  const addIssue: Reporter['addIssue'] = ({ path, message }) => void problems.push({ key: key(path), rule: message });
  const { max, weight, reserved, maxWaiting, whenFull, overrides } = tenants;
  checkPool({ minSize, maxSize, tenants: { max, weight, reserved, maxWaiting, whenFull, overrides } }, { addIssue });
  if (problems.length > 0) throw new PoolConfigError(problems, { poolId });
}

/**
 * What `tenants.resolve` has answered for one tenant, by the rules that hold for `tenants.overrides`.
 *
 * @param limits those of the pool at this moment.
 * @throws {PoolConfigError} when it contradicts the pool's limits.
 */
export function assertResolvedLimits(
  poolId: string,
  tenantId: string,
  own: Partial<TenantLimits>,
  { maxSize, tenants }: Omit<RunningLimits, 'minSize'>,
): void {
  const base = Object.hasOwn(tenants.overrides, tenantId) ? tenants.overrides[tenantId] : undefined;
  const max = own.max ?? base?.max ?? tenants.max;
  const reserved = own.reserved ?? base?.reserved ?? tenants.reserved;
  if (reserved <= max && reserved <= maxSize) return;
  const rule =
    reserved > max
      ? `must be at most the tenant's max (${max}), got ${reserved}`
      : `must be at most maxSize (${maxSize}), got ${reserved}`;
  const key = keyOf(['pools', poolId, 'tenants', `resolve(${tenantId})`, 'reserved']);
  throw new PoolConfigError([{ key, rule }], { poolId, tenantId });
}

function checkedLimits(tenantId: string, answer: unknown): Partial<TenantLimits> | undefined {
  if (answer === undefined) return undefined;
  const at = ['tenants', `resolve(${tenantId})`];
  refusePromise(answer, 'an object', at, tenantId);
  return parseOptions(tenantLimitsSchema, answer, at);
}

function checkedAnswer(tenantId: string, answer: unknown): boolean {
  refusePromise(answer, 'true or false', ['tenants', `known(${tenantId})`], tenantId);
  return answer === true;
}

/** @throws {PoolConfigError} when a function that is asked in the middle of an acquire answers later. */
function refusePromise(answer: unknown, expected: string, at: readonly string[], tenantId: string): void {
  if (!isThenable(answer)) return;
  // The answer is discarded, and its rejection must not end the process.
  Promise.resolve(answer).catch(() => undefined);
  const rule = `must be ${expected}, got a promise: it is asked in the middle of an acquire, and has to answer at once`;
  throw new PoolConfigError([{ key: keyOf(at), rule }], { tenantId });
}

/** Whether an option has a value that rules can be applied to; what else is wrong with it is said elsewhere. */
function valid(value: number | undefined): value is number {
  return typeof value === 'number' && value >= 0;
}
