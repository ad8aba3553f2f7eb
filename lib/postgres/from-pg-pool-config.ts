/**
 * Turns the options of `pg.Pool` into those of a PostgreSQL pool.
 */
import { EventEmitter } from 'node:events';

import type { PoolConfig } from 'pg';

import { LONGEST_TIMER_MS } from '../engine/time/clock.js';
import type { PostgresPoolOptions } from './postgres-pool.options.js';
import { queryTimeoutOf } from './statement/query-arguments.js';

/** pg-pool's own defaults, where they differ from ours. */
const PG_POOL_IDLE_MS = 10_000;
/** pg-pool waits for ever when `connectionTimeoutMillis` is 0; this is the longest that a timer can. */
const FOR_EVER_MS = LONGEST_TIMER_MS;
const PG_HOST = 'localhost';

/**
 * The same pool in our words. What pg-pool has no word for keeps our defaults; pool options of your own go on top.
 *
 * As with pg.Pool, what isn't given comes from PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGAPPNAME and PGSSLMODE
 * (`DATABASE_URL` isn't looked at), and a connect that fails fails the calls that wait at once: the driver's error,
 * with its `code`, is their error's `cause`.
 *
 * @param config pg-pool's options; `poolSize` is one that its types don't know.
 * @throws TypeError for a `Client` that isn't pg's own, and for a `Promise` that isn't the language's.
 * @example
 * manager.createDatabasePool('orders', { ...fromPgPoolConfig(legacyConfig), tenants: { max: 5 } });
 */
export function fromPgPoolConfig(
  config: PoolConfig & { readonly poolSize?: number | undefined } = {},
): PostgresPoolOptions {
  const {
    max,
    poolSize,
    min,
    idleTimeoutMillis = PG_POOL_IDLE_MS,
    connectionTimeoutMillis,
    maxUses,
    maxLifetimeSeconds,
    // An idle process can always exit here.
    allowExitOnIdle: _,
    log: _log,
    Client,
    Promise: PromiseClass,
    onConnect,
    verify,
    connectionString: address,
    password,
    ssl,
    application_name: applicationName = process.env.PGAPPNAME,
    statement_timeout: statementTimeout,
    query_timeout: queryTimeout,
    idle_in_transaction_session_timeout: idleInTransactionTimeout,
    ...client
  } = config;
  if (Client !== undefined && !isPgClient(Client))
    throw new TypeError("A class of clients of your own is not supported: connections are pg's Client");
  if (PromiseClass !== undefined && PromiseClass !== globalThis.Promise)
    throw new TypeError('A Promise of your own is not supported');
  // 0, false, NaN and Infinity are no limit anywhere in pg-pool.
  const waitMs = queryTimeoutOf(connectionTimeoutMillis);
  const statementTimeoutMs = queryTimeoutOf(statementTimeout);
  const queryTimeoutMs = queryTimeoutOf(queryTimeout);
  const idleInTransactionTimeoutMs = queryTimeoutOf(idleInTransactionTimeout);
  const maxSize = sizeOf(max) ?? sizeOf(poolSize);
  // pg takes an empty one for none.
  const connectionString = address === '' ? undefined : address;
  const { host = process.env.PGHOST ?? PG_HOST } = client;
  return {
    minSize: sizeOf(min) ?? 0,
    ...(maxSize === undefined ? {} : { maxSize }),
    idleTimeoutMs: queryTimeoutOf(idleTimeoutMillis) ?? 0,
    acquireTimeoutMs: waitMs ?? FOR_EVER_MS,
    ...(waitMs === undefined ? {} : { connectTimeoutMs: waitMs }),
    failFastAfterMs: 0,
    ...(maxUses && maxUses !== Infinity ? { maxUses } : {}),
    maxLifetimeMs: queryTimeoutOf((maxLifetimeSeconds ?? 0) * 1000) ?? 0,
    ...(onConnect === undefined ? {} : { onConnect }),
    ...(verify === undefined ? {} : { verify }),
    ...(connectionString === undefined ? {} : { connectionString }),
    ...(password ? { password } : {}),
    ...(ssl === undefined ? {} : { ssl }),
    ...(applicationName ? { applicationName } : {}),
    ...(statementTimeoutMs === undefined ? {} : { statementTimeoutMs }),
    ...(queryTimeoutMs === undefined ? {} : { queryTimeoutMs }),
    ...(idleInTransactionTimeoutMs === undefined ? {} : { idleInTransactionTimeoutMs }),
    client: connectionString === undefined ? { ...client, host } : client,
  };
}

/** A number of connections; 0 stands for the default in pg-pool. */
function sizeOf(size: number | undefined): number | undefined {
  return size === undefined || Number.isNaN(size) || size === 0 ? undefined : size;
}

/**
 * Whether a class is the `Client` of a copy of `pg`, perhaps instrumented, and not one derived from it: pg isn't loaded
 * yet, so that it can't be compared.
 */
function isPgClient(candidate: unknown): boolean {
  if (typeof candidate !== 'function' || Object.getPrototypeOf(candidate) !== EventEmitter) return false;
  const prototype: unknown = candidate.prototype;
  return typeof prototype === 'object' && prototype !== null && Object.hasOwn(prototype, 'getStartupConf');
}
