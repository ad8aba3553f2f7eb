/**
 * What the compiler lets through. The compiler is the test (`npm run check` runs it); what is run here only shows that
 * the accepted is accepted.
 */
import { describe, expect, it } from '@jest/globals';

import type { PoolLimits, TenantPolicy } from '../../lib/engine/limits.js';
import { parseHttpPoolOptions, type ResolvedHttpPoolOptions } from '../../lib/http/http-pool.options.js';
import type { PoolConfig } from '../../lib/manager/pool-kinds.js';
import { parseManagerOptions, type PoolManagerOptions } from '../../lib/manager/pool-manager.options.js';
import type { BasePoolOptions, ResolvedBasePoolOptions } from '../../lib/pool/pool-options.js';
import {
  parsePostgresPoolOptions,
  type PostgresPoolOptions,
  type ResolvedIsolation,
  type ResolvedPostgresPoolOptions,
} from '../../lib/postgres/postgres-pool.options.js';
import type { RedisPoolOptions, ResolvedRedisPoolOptions } from '../../lib/redis/redis-pool.options.js';

/** What `ConfigService.get` and `process.env` give. */
const fromEnvironment: string | undefined = undefined;

const registration = {
  pools: {
    orders: {
      type: 'database',
      connectionString: fromEnvironment,
      maxSize: 20,
      tenants: { max: 5, resolve: (tenantId) => (tenantId === 'acme' ? { weight: 2 } : undefined) },
      isolation: { mode: 'rls', setting: 'app.tenant_id' },
      password: () => Promise.resolve('secret'),
      client: { keepAlive: true },
    },
    cache: { type: 'redis', url: fromEnvironment, maxSize: 10, cluster: undefined },
    billing: { type: 'http', baseURL: fromEnvironment, maxSize: 50, critical: false },
  },
  tenancy: { resolve: () => 'acme', required: true },
  shutdown: { drainTimeoutMs: 10_000 },
} satisfies PoolManagerOptions;

export const refused: readonly PoolManagerOptions[] = [
  // @ts-expect-error a registration names its pools
  {},
  // @ts-expect-error a pool says of what kind it is
  { pools: { orders: { maxSize: 3 } } },
  // @ts-expect-error there is no such kind
  { pools: { orders: { type: 'mysql' } } },
  // @ts-expect-error an option of another kind
  { pools: { orders: { type: 'redis', baseURL: 'http://x' } } },
  // @ts-expect-error a misspelt option
  { pools: { orders: { type: 'http', maxsize: 3 } } },
  // @ts-expect-error a number in a text
  { pools: { orders: { type: 'http', maxSize: '3' } } },
  // @ts-expect-error an external pool needs its driver
  { pools: { orders: { type: 'external' } } },
];

export const refusedOptions: readonly (PostgresPoolOptions | RedisPoolOptions)[] = [
  // @ts-expect-error a setting belongs to row security
  { isolation: { mode: 'schema', setting: 'app.x', schema: (tenantId: string) => tenantId } },
  // @ts-expect-error isolation by role needs the role
  { isolation: { mode: 'role' } },
  // @ts-expect-error not a word of pg's options
  { client: { keepalife: true } },
];

/** Only compiles: what the parts of the library take a resolved configuration for. */
export function uses(config: PoolConfig): [PoolLimits, TenantPolicy, ResolvedBasePoolOptions] {
  // @ts-expect-error a resolved configuration can't be changed
  config.maxSize = 3;
  // @ts-expect-error nor can what tenants may take
  config.tenants.max = 3;
  if (config.type === 'database') {
    config satisfies ResolvedPostgresPoolOptions;
    config.isolation satisfies ResolvedIsolation;
  }
  if (config.type === 'redis') config satisfies ResolvedRedisPoolOptions;
  if (config.type === 'http') config satisfies ResolvedHttpPoolOptions;
  if (config.type === 'external') config.driver.isFatal satisfies (error: unknown) => boolean;
  return [config, config.tenants, config];
}

describe('the types of the options', () => {
  it('accept a whole registration as it is written', () => {
    const { pools } = parseManagerOptions(registration, {
      env: { DATABASE_URL: 'postgres://db', REDIS_URL: 'redis://x' },
    });
    expect(pools.billing?.type).toBe('http');
  });

  it('let the common options be shared between kinds', () => {
    const common: BasePoolOptions = { maxSize: 7, healthCheck: { intervalMs: 0 } };
    expect(parseHttpPoolOptions('a', { ...common, timeoutMs: 5 }).maxSize).toBe(7);
    expect(parsePostgresPoolOptions('a', { ...common, client: { host: 'db' } }, {}).maxSize).toBe(7);
  });
});
