/**
 * Puts a Redis pool together, in the order in which its parts need each other: what connections are made with, what
 * they report to, the connections, the driver, the core. What comes later subscribes to what was there before.
 */
import type { Cluster } from 'ioredis';

import { createPoolCore, createPoolRuntime, type PoolDependencies } from '../pool/pool-handle.js';
import { RetryStrategies } from './backoff.js';
import { reportTo } from './caller-code.js';
import type { FacadeOptions } from './client-facade.js';
import { ClusterDeployment } from './cluster-deployment.js';
import { DedicatedClients } from './dedicated-clients.js';
import { DeferredWrites } from './deferred-writes.js';
import type { Deployment } from './deployment.js';
import type { ExclusiveConnection } from './exclusive-connection.js';
import { Failover } from './failover.js';
import { loadIoredis, type RedisClient } from './redis-client.js';
import { RedisDriver } from './redis-driver.js';
import { RedisPool } from './redis-pool.js';
import type { ResolvedRedisPoolOptions } from './redis-pool.options.js';
import { ServerDeployment } from './server-deployment.js';
import { ServerProbe } from './server-probe.js';
import { SharedClient } from './shared-client.js';
import { SharedConnection } from './shared-connection.js';

/**
 * Makes a cold pool: nothing is opened until it is started, or used.
 *
 * @throws MissingDriverError when `ioredis` isn't installed.
 */
export function createRedisPool(
  id: string,
  config: ResolvedRedisPoolOptions & { readonly cluster: object },
  dependencies: PoolDependencies,
): Promise<RedisPool<Cluster>>;
export function createRedisPool(
  id: string,
  config: ResolvedRedisPoolOptions,
  dependencies: PoolDependencies,
): Promise<RedisPool>;
export async function createRedisPool(
  id: string,
  config: ResolvedRedisPoolOptions,
  dependencies: PoolDependencies,
): Promise<RedisPool | RedisPool<Cluster>> {
  const ioredis = await loadIoredis(id);
  const name = connectionName(dependencies.owner, id);
  const report = reportTo(id, (message) => dependencies.logger.error(message, { poolId: id }));
  const retries = new RetryStrategies(dependencies.random, dependencies.clock, report);
  const facade: FacadeOptions = { poolId: id, ioredis, report, noAddress: dependencies.noAddress };
  const { cluster } = config;
  if (cluster !== undefined) {
    const { nodes, client } = cluster;
    const deployment = new ClusterDeployment(ioredis, config, nodes, client, name, retries, report);
    return assemble(config, dependencies, facade, deployment);
  }
  const deployment = new ServerDeployment(ioredis, config, name, retries, report);
  return assemble(config, dependencies, facade, deployment);
}

function assemble<C extends RedisClient>(
  config: ResolvedRedisPoolOptions,
  dependencies: PoolDependencies,
  options: FacadeOptions,
  deployment: Deployment<C>,
): RedisPool<C> {
  const { poolId } = options;
  const runtime = createPoolRuntime(poolId, 'redis', config, dependencies);
  const { clock, deadlines, log, tenants } = runtime;
  const { failFastAfterMs, closeTimeoutMs, connectTimeoutMs, healthCheck } = config;
  const commandTimeoutMs = strictest(
    config.commandTimeoutMs,
    ofNodes(config).commandTimeout,
    ofNodes(config).socketTimeout,
  );
  const dedicated = new DedicatedClients<C>({
    ...options,
    deployment,
    clock,
    deadlines,
    connectTimeoutMs,
    max: config.maxDuplicates,
    pingIntervalMs: strictest(healthCheck.intervalMs, config.keepaliveMs),
    pingTimeoutMs: healthCheck.timeoutMs,
    tenants,
  });
  const connection = new SharedConnection<C>({
    poolId,
    deployment,
    clock,
    deadlines,
    log,
    connectTimeoutMs,
    failFastAfterMs,
    closeTimeoutMs,
  });
  const failover = new Failover(clock);
  const shared = new SharedClient<C>({
    ...options,
    deployment,
    connection,
    dedicated,
    clock,
    deadlines,
    commandTimeoutMs,
    failFastAfterMs,
    connectTimeoutMs,
    failover,
    // With ioredis' queue switched off, commands fail at once while there is no connection.
    maxQueue: config.client.enableOfflineQueue === false ? -1 : config.maxQueue,
    log,
  });
  const probe = new ServerProbe<C>(connection, shared);
  const driver = new RedisDriver<C>({
    ...options,
    deployment,
    shown: { ...deployment.shown, enableAutoPipelining: false },
    shared,
    probe,
    dedicated,
    writes: new DeferredWrites(clock),
    clock,
    deadlines,
    commandTimeoutMs,
    failover,
    probeTimeoutMs: healthCheck.timeoutMs,
    closeTimeoutMs,
  });
  const core = createPoolCore<ExclusiveConnection<C>, C>({
    runtime,
    config,
    driver,
    probe: (timeoutMs) => probe.ping(timeoutMs),
  });
  connection.listen({
    connectionLost: (error) => core.monitor.connectionBroken(error),
    connectionReady: () => core.monitor.connected(),
  });
  // A caller's own `reconnectOnError` decides alone which errors cost a connection.
  if (deployment.writes && deployment.reconnectOnError === undefined) {
    failover.attach(() => {
      shared.renew();
      core.engine.evict();
    });
  }
  return new RedisPool<C>(core, { connection, shared, dedicated });
}

/** ioredis' own options of each connection. */
function ofNodes(config: ResolvedRedisPoolOptions): {
  readonly commandTimeout?: unknown;
  readonly socketTimeout?: unknown;
} {
  return { ...config.client, ...config.cluster?.client.redisOptions };
}

/** The least of the durations that are set; 0: none is. */
function strictest(...durationsMs: readonly unknown[]): number {
  const set = durationsMs.filter((durationMs) => typeof durationMs === 'number' && durationMs > 0);
  return set.length === 0 ? 0 : Math.min(...set.map(Number));
}

/** What CLIENT LIST shows; the server takes no spaces in it. */
function connectionName(owner: string, poolId: string): string {
  return `${owner}:${poolId}`.replace(/[^\x21-\x7e]/g, '_');
}
