/**
 * The public face of nestjs-pool-manager, and nothing else.
 */

// The module, and what injects from it.
export { PoolManagerModule } from './module/pool-manager.module.js';
export type {
  PoolManagerModuleAsyncOptions,
  PoolManagerModuleOptions,
  PoolManagerOptionsFactory,
  PoolManagerRegistration,
} from './module/pool-manager.module-definition.js';
export { InjectPool, InjectPoolManager } from './module/pool-manager.decorators.js';
export { getPoolManagerToken, getPoolToken } from './module/pool-manager.tokens.js';
// A star, because only then can an application augment the interface under this package's name.
export type * from './pool/pool-registry.js';

// The manager and its options.
export {
  ConnectionPoolManager,
  type PoolListing,
  type PoolManagerSurroundings,
} from './manager/connection-pool-manager.js';
export type { PoolConfig, PoolDeclaration } from './manager/pool-kinds.js';
export type { PoolManagerOptions } from './manager/pool-manager.options.js';
export type { BasePoolOptions, ResolvedBasePoolOptions } from './pool/pool-options.js';
export type { TenantLimitOptions } from './pool/tenant-options.js';
export type { ShutdownReport, StopOptions } from './manager/shutdown.js';

// What every pool is.
export { PoolHandle, type AcquireOptions, type PoolListener, type TenantBinding } from './pool/pool-handle.js';
export type { PoolType } from './pool/pool-core.js';
export type { PoolLogger } from './pool/pool-log.js';
export type { LeakReport, PoolEventMap } from './pool/pool-events.js';
export type { Lease } from './engine/lease.js';
export type { CloseReport } from './engine/drain.js';
export type { LeaseInfo, PoolDriver } from './engine/driver.js';
export { PoolStats, type TenantStats } from './pool/pool-stats.js';
export type { DurationStats } from './pool/duration-stats.js';

// The kinds of pool.
export {
  PostgresPool,
  type CallLimits,
  type LeasedClient,
  type PgTransaction,
  type PostgresEventMap,
  type TransactionOptions,
} from './postgres/postgres-pool.js';
export type { PostgresPoolOptions } from './postgres/postgres-pool.options.js';
export { asPgModule } from './postgres/as-pg-module.js';
export { asPgPool } from './postgres/as-pg-pool.js';
export { fromPgPoolConfig } from './postgres/from-pg-pool-config.js';
export { RedisPool } from './redis/redis-pool.js';
export type { RedisPoolStats } from './redis/redis-pool-stats.js';
export type { RedisPoolOptions } from './redis/redis-pool.options.js';
export { HttpPool, type HttpPoolRequestConfig, type HttpRequestOptions } from './http/http-pool.js';
export type { HttpPoolOptions } from './http/http-pool.options.js';
export { ExternalPool } from './external/external-pool.js';
export type { ExternalPoolOptions } from './external/external-pool.options.js';

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
export type { ManagerHealth } from './manager/manager-health.js';
export type { HealthCheckRequest, HealthCheckResult, PoolStatus, StatusChange } from './pool/pool-health.js';

// Errors.
export * from './errors.js';
