/**
 * Turns a pool's options into those of `pg.Client`.
 */
import type { Client, ClientConfig } from 'pg';

import { LONGEST_TIMER_MS } from '../engine/time/clock.js';
import { isError } from '../engine/to-error.js';
import { PoolConfigError } from '../errors.js';
import { withoutTls } from './connection-string.js';
import type { ResolvedPostgresPoolOptions } from './postgres-pool.options.js';
import type { PgModule } from './protocol/pg-module.js';
import { queryTimeoutOf, type StatementLimits, strictest } from './statement/query-arguments.js';

/** Promises are the language's: pg's types have the option no more, its client still has. */
const NOT_TAKEN: object = { Promise: undefined };

/** @param owner the application's name. */
export function clientConfigOf(id: string, config: ResolvedPostgresPoolOptions, owner: string): ClientConfig {
  const { connectionString, ssl, applicationName, statementTimeoutMs, idleInTransactionTimeoutMs, client } = config;
  return {
    ...client,
    ...(connectionString === undefined
      ? {}
      : { connectionString: ssl === undefined ? connectionString : withoutTls(connectionString) }),
    ...(ssl === undefined ? {} : { ssl }),
    application_name: applicationName ?? client.application_name ?? `${owner}:${id}:${process.pid}`,
    ...(statementTimeoutMs === 0 ? {} : { statement_timeout: statementTimeoutMs }),
    ...(idleInTransactionTimeoutMs === 0 ? {} : { idle_in_transaction_session_timeout: idleInTransactionTimeoutMs }),
    ...NOT_TAKEN,
    // Ours: deadlines that destroy or cancel properly, and one query at a time so that a reset can't be overtaken.
    query_timeout: undefined,
    connectionTimeoutMillis: undefined,
    pipeline: false,
  };
}

/**
 * Where a pool's connections lead, and what limits them: options, connection string, environment and `pg.defaults`
 * together.
 */
export interface ResolvedServer {
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly user: string | undefined;
  readonly database: string | undefined;
  readonly limits: StatementLimits;
}

/** What `pg` works out from its configuration and keeps; its types don't tell. */
interface ConnectionParameters {
  query_timeout?: unknown;
  statement_timeout?: unknown;
  lock_timeout?: unknown;
  idle_in_transaction_session_timeout?: unknown;
  application_name?: unknown;
}

function parametersOf(client: Client): ConnectionParameters {
  const parameters: unknown = 'connectionParameters' in client ? client.connectionParameters : undefined;
  return typeof parameters === 'object' && parameters !== null ? parameters : {};
}

/**
 * Asks `pg` itself what it makes of the configuration, by a client that never connects.
 *
 * @throws PoolConfigError when it can make nothing of it.
 */
export function resolveServer(
  id: string,
  pg: PgModule,
  clientConfig: ClientConfig,
  config: ResolvedPostgresPoolOptions,
): ResolvedServer {
  let client: Client;
  try {
    client = new pg.Client(clientConfig);
  } catch (error) {
    // A file of a certificate that can't be read, an option of pg's with a value that it doesn't know.
    const key = `pools.${id}.${config.connectionString === undefined ? 'client' : 'connectionString'}`;
    throw new PoolConfigError([{ key, rule: `is refused by pg: ${reasonOf(error)}` }], { poolId: id });
  }
  const parameters = parametersOf(client);
  for (const name of ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'] as const) {
    const value = parameters[name];
    if (!value || queryTimeoutOf(value) !== undefined) continue;
    const rule = `must be milliseconds, from 1 to ${LONGEST_TIMER_MS}, or false; it is none of these in the connection string or in pg.defaults`;
    throw new PoolConfigError([{ key: `pools.${id}.client.${name}`, rule }], { poolId: id });
  }
  const { host, port, user, database } = client;
  return {
    host,
    port,
    user,
    database,
    limits: {
      queryTimeoutMs: strictest(
        queryTimeoutOf(config.queryTimeoutMs),
        queryTimeoutOf(config.client.query_timeout),
        queryTimeoutOf(parameters.query_timeout),
      ),
      statementTimeoutMs: queryTimeoutOf(config.statementTimeoutMs) ?? queryTimeoutOf(parameters.statement_timeout),
    },
  };
}

/** Its message, without what it quotes: that may be a part of the connection string. */
function reasonOf(error: unknown): string {
  if (!isError(error)) return 'it gives no reason';
  if ('path' in error && 'code' in error) return `the file ${String(error.path)} can't be read (${String(error.code)})`;
  return error.message.replace(/"[^"]*"/, 'what is given');
}

/**
 * Has a client that hasn't connected obey the pool's options where `pg` lets the connection string, or `pg.defaults`,
 * win over them; and none of pg's own timers, which would take a query out from under the session.
 */
export function overrideParameters(client: Client, config: ClientConfig, options: ResolvedPostgresPoolOptions): void {
  const parameters = parametersOf(client);
  parameters.query_timeout = false;
  if (options.applicationName !== undefined) parameters.application_name = config.application_name;
  if (options.statementTimeoutMs > 0) parameters.statement_timeout = options.statementTimeoutMs;
  if (options.idleInTransactionTimeoutMs > 0)
    parameters.idle_in_transaction_session_timeout = options.idleInTransactionTimeoutMs;
}

/** A pool's configuration in the words of pg.Pool's `options`, for those who read it there (instrumentation does). */
export interface PgPoolOptions {
  /** As `maxSize`. */
  readonly max: number;
  /** As `minSize`. */
  readonly min: number;
  /** As `maxUses`; `Infinity`: no maximum. */
  readonly maxUses: number;
  /** As `maxLifetimeMs`, in seconds; 0: no limit. */
  readonly maxLifetimeSeconds: number;
  /** As `idleTimeoutMs`. */
  readonly idleTimeoutMillis: number;
  /** As `acquireTimeoutMs`. */
  readonly connectionTimeoutMillis: number;
  /** Always true: an idle pool keeps no process alive. */
  readonly allowExitOnIdle: boolean;
  /** The host or the directory of the socket that `pg` has resolved. */
  readonly host?: string | undefined;
  /** The port that `pg` has resolved. */
  readonly port?: number | undefined;
  /** The user that `pg` has resolved. */
  readonly user?: string | undefined;
  /** The database that `pg` has resolved. */
  readonly database?: string | undefined;
}

export function pgPoolOptionsOf(config: ResolvedPostgresPoolOptions, server: ResolvedServer): PgPoolOptions {
  const { host, port, user, database } = server;
  return Object.freeze({
    max: config.maxSize,
    min: config.minSize,
    maxUses: config.maxUses === 0 ? Infinity : config.maxUses,
    maxLifetimeSeconds: config.maxLifetimeMs / 1000,
    idleTimeoutMillis: config.idleTimeoutMs,
    connectionTimeoutMillis: config.acquireTimeoutMs,
    allowExitOnIdle: true,
    host,
    port,
    user,
    database,
  });
}
