/**
 * A stand-in for an instance of `pg.Pool`, for libraries that ask for one by `instanceof` (Prisma's adapter, which
 * opens a pool of its own otherwise: past the limits, and as no tenant).
 */
import type { Pool } from 'pg';

import type { PostgresPool } from './postgres-pool.js';

/**
 * An object that is an `instanceof pg.Pool` and does what `pool` does. Ending it leaves `pool` open: that is closed by
 * the manager, or by `pool.close()`.
 *
 * @example
 * const adapter = new PrismaPg(asPgPool(pool.forTenant('acme')));
 */
export function asPgPool(pool: PostgresPool): Pool {
  const { Pool } = pool.pgModule as { readonly Pool?: unknown };
  if (typeof Pool !== 'function') throw new TypeError('This version of the package "pg" has no Pool');
  const prototype: unknown = Pool.prototype;
  return standInFor(pool, prototype as object) as Pool;
}

/**
 * @internal An object with `prototype` in its chain, so that it passes for an instance of its class, whose every
 * property is the pool's. What the class has of its own besides (pg-pool's inner workings) it has not.
 */
export function standInFor(pool: PostgresPool, prototype: object): object {
  const standIn = Object.create(prototype) as object;
  const names = new Set<PropertyKey>();
  for (const level of chainOf(pool)) for (const name of Reflect.ownKeys(level)) names.add(name);
  for (const level of chainOf(prototype)) {
    for (const name of Reflect.ownKeys(level)) if (!names.has(name)) hide(standIn, name);
  }
  for (const name of names) if (name !== 'constructor') delegate(standIn, pool, name);
  Object.defineProperty(standIn, 'end', { value: end, configurable: true, writable: true });
  return standIn;
}

/** An object and what it inherits from, but for what every object does. */
function* chainOf(object: object): Generator<object> {
  for (let level: object | null = object; level !== null && level !== Object.prototype;) {
    yield level;
    level = Object.getPrototypeOf(level) as object | null;
  }
}

function hide(standIn: object, name: PropertyKey): void {
  Object.defineProperty(standIn, name, { value: undefined, configurable: true, writable: true });
}

/** Looked up at each use: methods may be replaced by spies and instrumentation. */
function delegate(standIn: object, pool: PostgresPool, name: PropertyKey): void {
  let method: unknown;
  let bound: unknown;
  Object.defineProperty(standIn, name, {
    configurable: true,
    get: () => {
      const value: unknown = Reflect.get(pool, name);
      if (typeof value !== 'function') return value;
      if (value !== method) {
        method = value;
        bound = value.bind(pool);
      }
      return bound;
    },
  });
}

function end(callback?: () => void): Promise<void> | void {
  if (callback === undefined) return Promise.resolve();
  process.nextTick(callback);
}
