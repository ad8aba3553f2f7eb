// Makes PostgreSQL pools on a test's database, as the manager would, and closes them.
import { setImmediate as turn } from 'node:timers/promises';

import { afterEach, beforeAll } from '@jest/globals';

import { type Clock, systemClock } from '../../lib/engine/time/clock.js';
import type { PoolLogger } from '../../lib/pool/pool-handle.js';
import { createPostgresPool } from '../../lib/postgres/create-postgres-pool.js';
import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { parsePostgresPoolOptions, type PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { type FaultProxy, startFaultProxy } from '../support/servers/fault-proxy.js';
import { withDatabase } from '../support/with-database.js';

/** Keeps what a pool reports. */
export class KeptLog implements PoolLogger {
  readonly lines: string[] = [];
  log(message: string): void {
    this.lines.push(message);
  }
  warn(message: string): void {
    this.lines.push(message);
  }
  error(message: string): void {
    this.lines.push(message);
  }
  debug(message: string): void {
    this.lines.push(message);
  }
}

export class TestPools implements AsyncDisposable {
  readonly tenants = new TenantContext();
  readonly log = new KeptLog();
  readonly #database: { readonly url: string };
  readonly #pools: PostgresPool[] = [];

  constructor(database: { readonly url: string }) {
    this.#database = database;
  }

  /** A pool on the test's database, as an ordinary user. */
  async create(options: PostgresPoolOptions = {}, clock: Clock = systemClock): Promise<PostgresPool> {
    const id = `pool${this.#pools.length}`;
    const config = parsePostgresPoolOptions(id, { connectionString: this.#database.url, minSize: 0, ...options }, {});
    const pool = await createPostgresPool(id, config, {
      tenants: this.tenants,
      clock,
      random: Math.random,
      logger: this.log,
      owner: 'tests',
    });
    this.#pools.push(pool);
    return pool;
  }

  /** Runs with a pool of one connection, which has served once, through a proxy that has counted nothing since. */
  async proxied(
    options: PostgresPoolOptions,
    run: (pool: PostgresPool, proxy: FaultProxy) => Promise<void>,
  ): Promise<void> {
    const url = new URL(this.#database.url);
    await using proxy = await startFaultProxy({ target: { host: url.hostname, port: Number(url.port) } });
    url.hostname = proxy.host;
    url.port = String(proxy.port);
    const pool = await this.create({ maxSize: 1, connectionString: url.href, ...options });
    await pool.unscoped().query('select 1');
    proxy.resetCounters();
    await run(pool, proxy);
  }

  async close(): Promise<void> {
    this.log.lines.length = 0;
    await Promise.all(this.#pools.splice(0).map((pool) => pool.close({ deadlineMs: 0 })));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Gives a test file a database of its own, and pools on it that are closed after each test.
 *
 * @param made is given both before the first test.
 * @param prepare the statements that make what the tests need.
 */
export function withTestPools(
  made: (resources: { readonly database: TestDatabase; readonly pools: TestPools }) => void,
  prepare: (database: TestDatabase) => readonly string[] = () => [],
): void {
  let database: TestDatabase;
  let pools: TestPools;
  withDatabase((created) => (database = created));
  beforeAll(async () => {
    for (const text of prepare(database)) await database.query(text);
    pools = new TestPools(database);
    made({ database, pools });
  });
  afterEach(() => pools.close());
}

/** A table `numbers` with a column `n`, for every role. */
export const NUMBERS_TABLE = 'create table numbers (n int); grant all on numbers to public';

/** A table `things` with a serial `id` and a `name`, for every role. */
export const THINGS_TABLE =
  'create table things (id serial primary key, name text not null); grant all on things, things_id_seq to public';

/** The statements with `pg_sleep` in them that the server is at. */
export function sleepingStatements(database: TestDatabase): Promise<unknown[]> {
  return database.query(
    `select 1 from pg_stat_activity where datname = current_database() and query like '%pg_sleep%' and state = 'active' and application_name <> 'observer'`,
  );
}

/** Ends a server process, and waits until its last word has arrived at its client. */
export async function terminate(database: TestDatabase, pid: number | undefined): Promise<void> {
  await database.query('select pg_terminate_backend($1)', [pid]);
  await eventually(async () => {
    return (await database.query('select 1 from pg_stat_activity where pid = $1', [pid])).length === 0;
  });
  // It is in the socket now, which the next turn of the event loop reads; not the present one, which may be past that.
  await turn();
  await turn();
}
