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
  type LeaseOf,
  type PoolListing,
  type PoolManagerSurroundings,
} from './manager/connection-pool-manager.js';
export type { PoolConfig, PoolDeclaration } from './manager/pool-kinds.js';
export type { PoolManagerOptions, ResolvedPoolManagerOptions } from './manager/pool-manager.options.js';
export type { BasePoolOptions, ResolvedBasePoolOptions } from './pool/pool-options.js';
export type { ResolvedTenantOptions, TenantLimitOptions } from './pool/tenant-options.js';
export type { PoolLimits, TenantLimits, TenantPolicy } from './engine/limits.js';
export type { Clock, TimerHandle } from './engine/time/clock.js';
export type { ShutdownReport, StopOptions } from './manager/shutdown.js';

// What every pool is.
export { PoolHandle, type AcquireOptions, type PoolListener, type TenantBinding } from './pool/pool-handle.js';
export type { PoolType } from './pool/pool-type.js';
export type { PoolLogger } from './pool/pool-log.js';
export type { LeakReport, PoolEventMap } from './pool/pool-events.js';
export {
  POOL_CHANNELS,
  type AcquireMessage,
  type ConnectMessage,
  type DestroyMessage,
  type EvictMessage,
  type LeakMessage,
  type PoolMessage,
  type QueryMessage,
  type RejectionMessage,
  type ReleaseMessage,
  type ResizeMessage,
  type StatusMessage,
  type TenantMessage,
  type TransactionMessage,
} from './pool/pool-channels.js';
export type { RefusalReason, WaitReason } from './engine/engine-watcher.js';
export type { Lease } from './engine/lease.js';
export type { AcquireLimits, CloseReport } from './engine/lending-engine.js';
export type { LeaseInfo, PoolDriver } from './engine/driver.js';
export type { DestroyReason, RejectionReason } from './engine/pool-counters.js';
export { PoolStats, type TenantStats } from './pool/pool-stats.js';
export type { DurationStats } from './pool/duration-stats.js';

// The kinds of pool.
export { PostgresPool, type LeasedClient } from './postgres/postgres-pool.js';
export type { PostgresPoolStats } from './postgres/postgres-pool-stats.js';
export type { CallLimits } from './postgres/statement/query-arguments.js';
export type { PgTransaction } from './postgres/transaction/pg-transaction.js';
export type { TransactionOptions } from './postgres/transaction/run-transaction.js';
export type { PostgresPoolOptions, ResolvedPostgresPoolOptions } from './postgres/postgres-pool.options.js';
export type { PgPoolOptions } from './postgres/client-config.js';
export type { PostgresCounts } from './postgres/pg-counts.js';
export type { PostgresEventMap, PostgresEvents } from './postgres/pg-events.js';
export type { TypeParser } from './postgres/protocol/pg-module.js';
export type { LeaseEvents, PgListener } from './postgres/session/lease-events.js';
export type { Queryable, SubmittableQuery } from './postgres/statement/queryable.js';
export { asPgModule } from './postgres/as-pg-module.js';
export { asPgPool } from './postgres/as-pg-pool.js';
export { fromPgPoolConfig } from './postgres/from-pg-pool-config.js';
export { RedisPool } from './redis/redis-pool.js';
export type { RedisPoolStats } from './redis/redis-pool-stats.js';
export type { RedisClient } from './redis/redis-client.js';
export type { RedisPoolOptions, ResolvedRedisPoolOptions } from './redis/redis-pool.options.js';
export {
  type HttpDirectOptions,
  type HttpDirectResponse,
  HttpPool,
  type HttpPoolRequestConfig,
  type HttpRequestBody,
  type HttpRequestOptions,
  type HttpResponseBody,
} from './http/http-pool.js';
export type { HttpPoolOptions, ResolvedHttpPoolOptions } from './http/http-pool.options.js';
export { ExternalPool } from './external/external-pool.js';
export type { ExternalPoolOptions, ResolvedExternalPoolOptions } from './external/external-pool.options.js';

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
export type { TenancyOptions, TenantExemptOptions, TenantResolver } from './tenancy/tenancy.options.js';

// Health.
export { PoolHealthIndicator, type PoolHealthOptions } from './health/pool-health.indicator.js';
export { PoolHealthModule } from './health/pool-health.module.js';
export type { PoolHealthModuleOptions } from './health/pool-health.options.js';
export type { ManagerHealth } from './manager/manager-health.js';
export type { ProbeOutcome } from './engine/probe.js';
export type {
  HealthCheckOptions,
  HealthCheckRequest,
  HealthCheckResult,
  PoolStatus,
  StatusChange,
} from './pool/pool-health.js';

// Metrics.
export { collectPoolMetrics } from './observability/collect-pool-metrics.js';
export { PoolMetricsModule } from './observability/pool-metrics.module.js';
export type { PoolMetricsModuleOptions, PoolMetricsOptions } from './observability/pool-metrics.options.js';
export type { MetricsRegistry } from './observability/prom-client.js';

// Errors.
export * from './errors.js';
