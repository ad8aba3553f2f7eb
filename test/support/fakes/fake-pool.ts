/**
 * A real engine over the fake driver and the fake clock.
 */
import type { Lease } from '../../../lib/engine/lease.js';
import type { PoolLimits, TenantPolicy } from '../../../lib/engine/limits.js';
import type { PoolObserver } from '../../../lib/engine/pool-observer.js';
import { ResourcePool } from '../../../lib/engine/resource-pool.js';
import { Deadlines } from '../../../lib/engine/time/deadlines.js';
import { FakeClock } from './fake-clock.js';
import { type FakeConnection, FakeDriver } from './fake-driver.js';

export const fakeLimits: PoolLimits = {
  minSize: 0,
  maxSize: 2,
  maxQueue: 10_000,
  acquireTimeoutMs: 1_000,
  connectTimeoutMs: 500,
  connectConcurrency: 2,
  failFastAfterMs: 5_000,
  idleTimeoutMs: 0,
  maxLifetimeMs: 0,
  maxUses: 0,
  keepaliveMs: 0,
  validateAfterIdleMs: 1_000_000,
  leakDetectionMs: 0,
  recycleTimeoutMs: 200,
  closeTimeoutMs: 200,
};

export const noTenantLimits: TenantPolicy = {
  max: Infinity,
  weight: 1,
  reserved: 0,
  maxWaiting: 256,
  whenFull: 'queue',
  overrides: {},
};

export interface FakePoolOptions {
  readonly driver?: FakeDriver;
  readonly limits?: Partial<PoolLimits>;
  readonly tenants?: Partial<TenantPolicy>;
  readonly observer?: PoolObserver<FakeConnection, FakeConnection>;
  readonly random?: () => number;
  readonly currentHolder?: () => Lease<unknown> | undefined;
}

export interface FakePool {
  readonly pool: ResourcePool<FakeConnection>;
  readonly driver: FakeDriver;
  readonly clock: FakeClock;
}

export function fakePool(options: FakePoolOptions = {}): FakePool {
  const driver = options.driver ?? new FakeDriver();
  const clock = new FakeClock();
  const pool = new ResourcePool<FakeConnection>({
    id: 'orders',
    driver,
    deadlines: new Deadlines(clock),
    limits: { ...fakeLimits, ...options.limits },
    tenants: { ...noTenantLimits, ...options.tenants },
    random: options.random ?? (() => 0.5),
    ...(options.observer === undefined ? {} : { observer: options.observer }),
    ...(options.currentHolder === undefined ? {} : { currentHolder: options.currentHolder }),
  });
  return { pool, driver, clock };
}
