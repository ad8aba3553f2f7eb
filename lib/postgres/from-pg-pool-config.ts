/**
 * Turns the options of `pg.Pool` into those of a PostgreSQL pool.
 */
import type { PoolConfig } from 'pg';

import type { PostgresPoolOptions } from './postgres-pool.options.js';

/** pg-pool's own defaults, where they differ from ours. */
const PG_POOL_IDLE_MS = 10_000;
/** pg-pool waits for ever when `connectionTimeoutMillis` is 0; this is the longest that a timer can. */
const FOR_EVER_MS = 2 ** 31 - 1;

/**
 * The same pool in our words. What pg-pool has no word for keeps our defaults; pool options of your own go on top.
 *
 * @throws TypeError for `Client` and `Promise`: connections are always pg's own, promises always the language's.
 * @example
 * manager.createDatabasePool('orders', { ...fromPgPoolConfig(legacyConfig), tenants: { max: 5 } });
 */
export function fromPgPoolConfig(config: PoolConfig): PostgresPoolOptions {
  const {
    max,
    min = 0,
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
    connectionString,
    password,
    ssl,
    application_name: applicationName,
    statement_timeout: statementTimeoutMs,
    query_timeout: queryTimeoutMs,
    idle_in_transaction_session_timeout: idleInTransactionTimeoutMs,
    ...client
  } = config;
  if (Client !== undefined)
    throw new TypeError('A class of clients of your own is not supported: connections are pg.Client');
  if (PromiseClass !== undefined && PromiseClass !== globalThis.Promise)
    throw new TypeError('A Promise of your own is not supported');
  const waitMs =
    connectionTimeoutMillis === undefined || connectionTimeoutMillis === 0 ? FOR_EVER_MS : connectionTimeoutMillis;
  // Either may be 0 or false: none.
  const timeoutMs = [statementTimeoutMs, queryTimeoutMs].find((limitMs) => typeof limitMs === 'number' && limitMs > 0);
  return {
    minSize: min,
    ...(max === undefined ? {} : { maxSize: max }),
    idleTimeoutMs: idleTimeoutMillis ?? 0,
    acquireTimeoutMs: waitMs,
    ...(connectionTimeoutMillis ? { connectTimeoutMs: connectionTimeoutMillis } : {}),
    ...(maxUses === undefined || maxUses === Infinity ? {} : { maxUses }),
    maxLifetimeMs: (maxLifetimeSeconds ?? 0) * 1000,
    ...(onConnect === undefined ? {} : { onConnect }),
    ...(verify === undefined ? {} : { verify }),
    ...(connectionString === undefined ? {} : { connectionString }),
    ...(password ? { password } : {}),
    ...(ssl === undefined ? {} : { ssl }),
    ...(applicationName === undefined ? {} : { applicationName }),
    ...(timeoutMs ? { statementTimeoutMs: timeoutMs } : {}),
    ...(idleInTransactionTimeoutMs ? { idleInTransactionTimeoutMs } : {}),
    client,
  };
}
