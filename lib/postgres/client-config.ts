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
    ...(connectionString === undefined ? {} : { connectionString: ssl === undefined ? connectionString : withoutTls(connectionString) }),
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
