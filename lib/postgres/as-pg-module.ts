/**
 * A stand-in for the module `pg`, for libraries that insist on making their pool themselves (TypeORM: `new driver.Pool()`).
 */
import type { PostgresPool } from './postgres-pool.js';

/**
 * The module `pg`, whose `Pool` is `pool` whatever it is constructed with. Ending that one leaves ours open: its life is
 * the manager's business, or that of whoever calls `pool.close()`.
 *
 * @example
 * new DataSource({ type: 'postgres', driver: asPgModule(pool.forTenant('acme')), … });
 */
export function asPgModule(pool: PostgresPool): object {
  const end = (callback?: () => void): Promise<void> | void => {
    if (callback === undefined) return Promise.resolve();
    process.nextTick(callback);
  };
  // An object that a constructor returns is what `new` gives.
  const Pool = class Pool {
    constructor() {
      return Object.create(pool, { end: { value: end } }) as object;
    }
  };
  return Object.create(pool.pgModule, { Pool: { value: Pool, enumerable: true } }) as object;
}
