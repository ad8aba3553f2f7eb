/**
 * The public face of nestjs-pool-manager, and nothing else.
 */

// The module, and what injects from it.
export { PoolManagerModule } from './pool-manager.module.js';
export type {
  PoolManagerModuleAsyncOptions,
  PoolManagerModuleOptions,
  PoolManagerOptionsFactory,
  PoolManagerRegistration,
} from './pool-manager.module-definition.js';
export { InjectPool, InjectPoolManager } from './pool-manager.decorators.js';
export { getPoolManagerToken, getPoolToken } from './pool-manager.tokens.js';
// A star, because only then can an application augment the interface under this package's name.
export type * from './pool-registry.js';

// The manager and its options.
export { ConnectionPoolManager, type PoolListing, type PoolManagerSurroundings } from './connection-pool-manager.js';
export type { PoolConfig, PoolDeclaration, PoolManagerOptions } from './pool-manager.options.js';
export type { BasePoolOptions, ResolvedBasePoolOptions, TenantLimitOptions } from './pool-options.js';
export type { ShutdownReport, StopOptions } from './lifecycle/shutdown.js';

// What every pool is.
export { PoolHandle, type AcquireOptions, type PoolListener, type TenantBinding } from './pool-handle.js';
export type { PoolLogger, PoolType } from './pool-core.js';
export type { LeakReport, PoolEventMap } from './pool-events.js';
export type { Lease } from './engine/lease.js';
export type { CloseReport } from './engine/drain.js';
export type { LeaseInfo, PoolDriver } from './engine/driver.js';
export { PoolStats, type TenantStats } from './metrics/pool-stats.js';
export type { DurationStats } from './metrics/duration-stats.js';

// The kinds of pool.
export {
  PostgresPool,
  QueryAbortedError,
  TransactionAbortedError,
  type CallLimits,
  type LeasedClient,
  type PgTransaction,
  type PostgresEventMap,
  type TransactionOptions,
} from './postgres/postgres-pool.js';
export type { PostgresPoolOptions } from './postgres/postgres-pool.options.js';
export { asPgModule, ClientRefusedError } from './postgres/as-pg-module.js';
export { asPgPool } from './postgres/as-pg-pool.js';
export { fromPgPoolConfig } from './postgres/from-pg-pool-config.js';
export { RedisPool } from './redis/redis-pool.js';
export type { RedisPoolStats } from './redis/redis-pool-stats.js';
export type { RedisPoolOptions } from './redis/redis-pool.options.js';
export { HttpPool, type HttpPoolRequestConfig, type HttpRequestOptions } from './http/http-pool.js';
export type { HttpPoolOptions } from './http/http-pool.options.js';
export { ExternalPool } from './external-pool.js';
export type { ExternalPoolOptions } from './external-pool.options.js';

// Tenants.
export { TenantContext } from './tenancy/tenant-context.js';
export { isTenantId } from './tenancy/tenant-id.js';
export { TenantGuardInterceptor } from './tenancy/tenant-guard.interceptor.js';
export { TenantMiddleware } from './tenancy/tenant.middleware.js';
export { CurrentTenant, SkipTenant } from './tenancy/tenant.decorators.js';
export {
  fromHeader,
  fromPath,
  fromPayload,
  fromSubdomain,
  fromUser,
  type TransportTenantResolver,
} from './tenancy/tenant-resolvers.js';
export type { TenancyOptions, TenantResolver } from './tenancy/tenancy.options.js';

// Health.
export { PoolHealthIndicator, type PoolHealthOptions } from './health/pool-health.indicator.js';
export { PoolHealthModule } from './health/pool-health.module.js';
export type { ManagerHealth } from './health/manager-health.js';
export type { HealthCheckRequest, HealthCheckResult, PoolStatus, StatusChange } from './health/pool-monitor.js';

// Errors.
export * from './errors.js';
