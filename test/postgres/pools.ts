// Makes PostgreSQL pools on a test's database, as the manager would, and closes them.
import { systemClock, type Clock } from '../../lib/engine/time/clock.js';
import type { PoolLogger } from '../../lib/pool/pool-handle.js';
import { parsePostgresPoolOptions, type PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { createPostgresPool, type PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';

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

  async close(): Promise<void> {
    this.log.lines.length = 0;
    await Promise.all(this.#pools.splice(0).map((pool) => pool.close({ deadlineMs: 0 })));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
