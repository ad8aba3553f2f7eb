/**
 * The service's pools by name, so that `getPool('orders')` and `@InjectPool('orders')` are typed and a misspelt name is
 * an error.
 */
import type { HttpPool, PostgresPool, RedisPool } from 'nestjs-pool-manager';

declare module 'nestjs-pool-manager' {
  interface PoolRegistry {
    orders: PostgresPool;
    cache: RedisPool;
    billing: HttpPool;
  }
}
