/**
 * Pools whose address is nowhere to be found, where that is no problem: in a test that puts something else in the place
 * of one of the pools, and may use none of the others.
 *
 * Promise: such a pool can be made and injected like any other, opens nothing, and says at its first use what is
 * missing.
 */
import { PoolConfigError } from '../errors.js';
import { type Environment, isRecord, lacksAddress } from '../options/environment.js';
import { keyOf } from '../options/option-problems.js';
import { poolKinds } from './pool-kinds.js';

/** What to say at the first use of each pool without an address, by its id. */
export type MissingAddresses = ReadonlyMap<string, PoolConfigError>;

/** @param options of a registration, as they were written. */
export function missingAddresses(options: unknown, env: Environment): MissingAddresses {
  const missing = new Map<string, PoolConfigError>();
  for (const [id, pool] of Object.entries(poolsOf(options))) {
    const address = addressOf(pool);
    if (address === undefined || !lacksAddress(pool, address, env)) continue;
    const rule =
      `is required where the pool is used: give it, set the environment variable ${address.variable}, or override the ` +
      `pool in the test: overrideProvider(getPoolToken(${JSON.stringify(id)}))`;
    missing.set(id, new PoolConfigError([{ key: keyOf(['pools', id, address.option]), rule }], { poolId: id }));
  }
  return missing;
}

/** The options of a pool, with an address that is none where its own is missing. */
export function withStandIn(id: string, pool: unknown, missing: MissingAddresses): unknown {
  const reason = missing.get(id);
  const standIn = reason && addressOf(pool)?.standIn(reason);
  return isRecord(pool) && standIn !== undefined ? { ...pool, ...standIn } : pool;
}

function poolsOf(options: unknown): Record<string, unknown> {
  return isRecord(options) && isRecord(options.pools) ? options.pools : {};
}

function addressOf(pool: unknown) {
  return isRecord(pool) ? Object.values(poolKinds).find(({ type }) => type === pool.type)?.address : undefined;
}
