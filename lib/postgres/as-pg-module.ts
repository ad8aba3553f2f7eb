/**
 * A stand-in for the module `pg`, for libraries that insist on making their pool themselves (TypeORM: `new
 * driver.Pool()`).
 */
import { ClientRefusedError } from '../errors.js';
import { standInFor } from './as-pg-pool.js';
import type { PostgresPool } from './postgres-pool.js';

/**
 * The module `pg`, whose `Pool` is `pool` with any arguments of its constructor, also for `instanceof`. Ending that one
 * leaves ours open: it is closed by the manager, or by `pool.close()`. Its `Client` can't be constructed: that throws
 * ClientRefusedError, because such a connection would not be bound to a tenant.
 *
 * @example
 * new DataSource({ type: 'postgres', driver: asPgModule(pool.forTenant('acme')), … });
 */
export function asPgModule(pool: PostgresPool): object {
  const { pgModule: pg } = pool;
  // What a constructor returns is what `new` gives.
  const Pool = class Pool {
    constructor() {
      return standInFor(pool, new.target.prototype);
    }
  };
  const Client = class Client {
    constructor() {
      throw new ClientRefusedError(pool.id);
    }
  };
  inherit(Pool, pg, 'Pool');
  inherit(Client, pg, 'Client');
  const module: object = Object.create(pg, {
    Pool: { value: Pool, enumerable: true },
    Client: { value: Client, enumerable: true },
    // Libraries prefer it where it is installed, and it has a Pool and a Client of its own.
    native: { value: undefined },
  }) as object;
  return Object.defineProperty(module, 'default', { value: module });
}

/** Lets instances pass for those of pg's class of that name; nothing of its constructor is called. */
function inherit(derived: { readonly prototype: object }, pg: object, name: 'Pool' | 'Client'): void {
  const base: unknown = Reflect.get(pg, name);
  if (typeof base !== 'function') return;
  Object.setPrototypeOf(derived, base);
  const prototype: unknown = base.prototype;
  if (typeof prototype === 'object') Object.setPrototypeOf(derived.prototype, prototype);
}
