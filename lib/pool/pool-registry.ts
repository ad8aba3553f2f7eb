/**
 * The names of an application's pools, as types.
 *
 * Promise: nothing here exists at run time. A name that isn't listed stays usable; it is only not typed.
 */
import type { PoolHandle } from './pool-handle.js';

/**
 * Empty here, filled in by the application (and only by it), so that `getPool('orders')` is known to be a
 * `PostgresPool` and a misspelt name can't be injected.
 *
 * @example
 * declare module 'nestjs-pool-manager' {
 *   interface PoolRegistry {
 *     orders: PostgresPool;
 *     cache: RedisPool;
 *   }
 * }
 */
export interface PoolRegistry {}

/** The names that {@link PoolRegistry} lists. */
export type ListedPoolName = Extract<keyof PoolRegistry, string>;

/**
 * What can be injected: the listed names, or any name while none is listed. Written out, because the compiler's message
 * about a misspelt name then shows the names, and not the name of a type.
 */
export type PoolName = keyof PoolRegistry extends never ? string : { [N in ListedPoolName]: N }[ListedPoolName];

/** The class of a kind of pool, abstract or not: what `getPool(name, PostgresPool)` takes. */
export type PoolClass<P extends PoolHandle> = abstract new (...args: never) => P;
