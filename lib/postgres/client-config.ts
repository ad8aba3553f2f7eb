/**
 * Turns a pool's options into those of `pg.Client`.
 */
import type { ClientConfig } from 'pg';

import type { ResolvedPostgresPoolOptions } from './postgres-pool.options.js';

/** Parameters of a connection string that say how to encrypt. */
const TLS_PARAMETERS = ['ssl', 'sslmode', 'sslcert', 'sslkey', 'sslrootcert'];

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
    // Ours: deadlines that destroy or cancel properly, and one query at a time so that a reset can't be overtaken.
    query_timeout: undefined,
    connectionTimeoutMillis: undefined,
    pipeline: false,
  };
}

/** pg lets the connection string win over the option; the option of a pool is meant to win. */
function withoutTls(connectionString: string): string {
  if (!URL.canParse(connectionString)) return connectionString;
  const url = new URL(connectionString);
  for (const parameter of TLS_PARAMETERS) url.searchParams.delete(parameter);
  return url.href;
}

/** A pool's configuration in the words of pg.Pool's `options`, for those who read it there (instrumentation does). */
export interface PgPoolOptions {
  readonly max: number;
  readonly min: number;
  readonly maxUses: number;
  readonly maxLifetimeSeconds: number;
  readonly idleTimeoutMillis: number;
  readonly connectionTimeoutMillis: number;
  readonly allowExitOnIdle: boolean;
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly user?: string | undefined;
  readonly database?: string | undefined;
}

export function pgPoolOptionsOf(config: ResolvedPostgresPoolOptions): PgPoolOptions {
  return Object.freeze({
    max: config.maxSize,
    min: config.minSize,
    maxUses: config.maxUses === 0 ? Infinity : config.maxUses,
    maxLifetimeSeconds: config.maxLifetimeMs / 1000,
    idleTimeoutMillis: config.idleTimeoutMs,
    connectionTimeoutMillis: config.acquireTimeoutMs,
    allowExitOnIdle: true,
    ...addressOf(config),
  });
}

function addressOf({
  connectionString,
  client,
}: ResolvedPostgresPoolOptions): Pick<PgPoolOptions, 'host' | 'port' | 'user' | 'database'> {
  const { host, port, user, database } = client;
  if (connectionString === undefined || !URL.canParse(connectionString)) return { host, port, user, database };
  const url = new URL(connectionString);
  return {
    host: url.hostname || host,
    port: url.port === '' ? port : Number(url.port),
    user: decodeURIComponent(url.username) || user,
    database: decodeURIComponent(url.pathname.slice(1)) || database,
  };
}
