/**
 * The options that say what tenants may take of a pool, and what an application's own functions answer for a tenant.
 *
 * Promise: what `tenants.resolve` and `tenants.known` answer is checked like what is written in the options.
 */
import { z } from 'zod';

import { isThenable } from '../engine/guard.js';
import type { TenantLimits, TenantPolicy } from '../engine/limits.js';
import { PoolConfigError } from '../errors.js';
import { keyOf, parseOptions, received } from '../options/option-problems.js';
import { callback, count, namedRecord, opaque, optionsObject } from '../options/option-types.js';
import { seal } from '../options/sealed-options.js';
import { isTenantId } from '../tenancy/tenant-id.js';

const NO_SLOTS =
  ': every acquire would wait in vain. Leave it out where there is no maximum; a tenant that is to get nothing is ' +
  'refused before it comes here, by tenancy.resolve (with a TenantInvalidError) or a guard';

/** `Infinity` is a maximum too: none. */
export const tenantMaximum = opaque<number>(
  'a whole number, at least 1, or Infinity',
  (value) => value === Infinity || (Number.isSafeInteger(value) && Number(value) >= 1),
  (value) => `must be a whole number, at least 1, or Infinity, got ${received(value)}${value === 0 ? NO_SLOTS : ''}`,
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
export const tenantsSchema: TenantsSchema = optionsObject(
  tenantsShape,
  { maxConnections: 'max', limit: 'max' },
  (value) => (typeof value === 'number' ? `{ max: ${value} }` : undefined),
);

/** Tenants' limits as the engine takes them, and whether there must be a tenant. */
export interface ResolvedTenantOptions extends TenantPolicy {
  /** Whether the pool refuses to work without a tenant. */
  readonly required: boolean;
}

/** What a pool as a whole adds to the options of its tenants. */
export interface TenantRules {
  /** `maxConnectionsPerTenant`, the short form of `max`. */
  readonly max: number | undefined;
  /** Whether a tenant must be named unless the options say otherwise. */
  readonly required: boolean;
}

/** Fills in what follows from other options. */
export function resolveTenants(tenants: z.output<TenantsSchema>, rules: TenantRules): ResolvedTenantOptions {
  const { required, resolve, known, overrides, ...limits } = tenants;
  return seal({
    ...limits,
    max: limits.max ?? rules.max ?? Infinity,
    required: required ?? rules.required,
    overrides: Object.freeze(overrides),
    resolve: resolve && ((tenantId: string) => checkedLimits(tenantId, resolve(tenantId))),
    known: known && ((tenantId: string) => checkedAnswer(tenantId, known(tenantId))),
  });
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
