/**
 * The options of a whole registration: `PoolManagerModule.forRoot`, `forRootAsync` and a `ConnectionPoolManager`
 * without Nest.
 *
 * Promise: everything that is wrong comes in one `PoolConfigError`, and nothing of it is a secret.
 */
import { z } from 'zod';

import type { ConfigProblem } from '../errors.js';
import { type Environment, isRecord, locate } from '../options/environment.js';
import { keyOf, parseOptions, quote } from '../options/option-problems.js';
import { durationMs, namedRecord, optionsObject } from '../options/option-types.js';
import { seal } from '../options/sealed-options.js';
import { tenancySchema } from '../tenancy/tenancy.options.js';
import { type MissingAddresses, withStandIn } from './missing-addresses.js';
import { type PoolConfig, type PoolDeclaration, poolKinds } from './pool-kinds.js';

const { database, ...others } = poolKinds;
const poolSchema = z.discriminatedUnion('type', [
  database.schema,
  ...Object.values(others).map(({ schema }) => schema),
]);

/** Names become tokens, metric attributes and log words. */
const POOL_ID = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$/;

const poolId = z.string().regex(POOL_ID, {
  error: 'is not a name for a pool: letters, digits, and _ . : - after the first, 64 at most',
});

export const shutdownShape = {
  /** How long leases may take to come back once the application shuts down; then they are cut. */
  drainTimeoutMs: durationMs(0).default(10_000),
  /** How long the server goes on accepting after readiness has turned to not ready, so that balancers notice. */
  readinessGraceMs: durationMs(0).default(0),
};

export interface ShutdownSchema extends z.ZodObject<typeof shutdownShape, z.core.$strict> {}
const shutdownSchema: ShutdownSchema = optionsObject(shutdownShape, {
  timeoutMs: 'drainTimeoutMs',
  graceMs: 'readinessGraceMs',
});

/** What a registration says beside its pools. */
export const registrationShape = {
  /**
   * How the tenant of a request is found.
   * @defaultValue none: requests name no tenant
   */
  tenancy: tenancySchema.optional(),
  /** How the pools end with the application. */
  shutdown: shutdownSchema.prefault({}),
  /** What servers are told about who is connected; a pool adds its name. */
  applicationName: z.string().min(1).default('nestjs-pool-manager'),
};

export const poolManagerShape = {
  /** The pools by name, each with its `type`; `{}` when all are created at run time. */
  pools: namedRecord(poolId, poolSchema),
  ...registrationShape,
};

/** What Nest must know before a factory runs, and so stands beside it. */
const BESIDE_THE_FACTORY = {
  name: 'forRootAsync({ name: … }), beside the factory',
  isGlobal: 'forRootAsync({ isGlobal: … }), beside the factory',
  useFactory: 'forRootAsync',
  useClass: 'forRootAsync',
  useExisting: 'forRootAsync',
};

const managerSchema = optionsObject(poolManagerShape, BESIDE_THE_FACTORY).transform(
  ({ tenancy, shutdown, pools, ...rest }) =>
    seal({
      ...rest,
      pools: Object.freeze(pools),
      tenancy: tenancy && Object.freeze(tenancy),
      shutdown: Object.freeze(shutdown),
    }),
);

/** What can be set on a registration. */
export interface PoolManagerOptions extends z.input<z.ZodObject<typeof registrationShape, z.core.$strict>> {
  /** The pools by name, each with its `type`; `{}` when all are created at run time. */
  readonly pools: Readonly<Record<string, PoolDeclaration>>;
}

/** What a registration is configured with: nothing is missing any more. */
export interface ResolvedPoolManagerOptions extends Readonly<
  z.output<z.ZodObject<typeof registrationShape, z.core.$strict>>
> {
  /** What each pool is configured with, by its id. */
  readonly pools: Readonly<Record<string, PoolConfig>>;
}

export interface ParseManagerSettings {
  /** The names that exist as injection tokens since before the options were known; undefined: those of the options. */
  readonly staticNames?: readonly string[] | undefined;
  /** Where addresses that the options leave out are looked up. Default `process.env`. */
  readonly env?: Environment;
  /** The pools that are made without an address. Default: none is. */
  readonly missing?: MissingAddresses;
}

/**
 * Validates a registration and fills in the defaults.
 *
 * @throws {PoolConfigError} with every problem of every pool, none of them with a secret in it.
 */
export function parseManagerOptions(
  options: PoolManagerOptions,
  { staticNames, env = process.env, missing = new Map() }: ParseManagerSettings = {},
): ResolvedPoolManagerOptions {
  const input: unknown = options;
  const notes = new Map<string, string>();
  const located =
    isRecord(input) && isRecord(input.pools) && !(input.pools instanceof Map)
      ? { ...input, pools: locateAll(input.pools, env, notes, missing) }
      : input;
  return parseOptions(managerSchema, located, [], namesMismatch(input, staticNames), notes);
}

function locateAll(
  pools: Record<string, unknown>,
  env: Environment,
  notes: Map<string, string>,
  missing: MissingAddresses,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(pools).map(([id, pool]) => {
      const kind = isRecord(pool) ? Object.values(poolKinds).find(({ type }) => type === pool.type) : undefined;
      const { options, filled } = locate(withStandIn(id, pool, missing), kind?.address, env);
      if (filled !== undefined) notes.set(keyOf(['pools', id, filled.option]), `read from ${filled.variable}`);
      return [id, options];
    }),
  );
}

function namesMismatch(input: unknown, staticNames: readonly string[] | undefined): ConfigProblem[] {
  if (staticNames === undefined || !isRecord(input) || !isRecord(input.pools)) return [];
  const given = Object.keys(input.pools);
  const missing = staticNames.filter((name) => !given.includes(name));
  const extra = given.filter((name) => !staticNames.includes(name));
  if (missing.length === 0 && extra.length === 0) return [];
  const faults = [
    missing.length > 0 && `no options for ${list(missing)}`,
    extra.length > 0 && `not announced: ${list(extra)}`,
  ].filter((fault) => fault !== false);
  const rule =
    `must be the pools that the registration announced. Announced in forRootAsync({ pools: […] }): ${list(staticNames)}; ` +
    `configured by the factory: ${list(given)}; ${faults.join('; ')}`;
  return [{ key: 'pools', rule }];
}

function list(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.map(quote).join(', ');
}

/**
 * Checks the name of a pool that is created at run time.
 *
 * @throws {PoolConfigError}
 */
export function parsePoolId(id: string): string {
  return parseOptions(poolId, id, ['pools', id]);
}
