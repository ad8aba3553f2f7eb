/**
 * The Redis pool: a shared client for ordinary commands, and leases of exclusive connections for what must not be
 * shared.
 *
 * Besides its `maxSize` exclusive connections a pool has one shared client and at most `maxDuplicates` clients from
 * `duplicate()`. With a cluster, each of all these is a client of the cluster, with a connection to every node it has
 * talked to and one or two of its own besides; so keep `maxSize` small there.
 */
import type { Cluster, Redis } from 'ioredis';

import { describeError } from '../engine/redact.js';
import {
  createPoolCore,
  createPoolRuntime,
  PoolHandle,
  type PoolCore,
  type PoolDependencies,
  type TenantBinding,
} from '../pool/pool-handle.js';
import type { CloseReport } from '../engine/drain.js';
import { DedicatedClients } from './dedicated-clients.js';
import { ClusterDeployment, ServerDeployment, type Deployment } from './deployment.js';
import type { ExclusiveConnection } from './exclusive-connection.js';
import { reportTo } from './caller-code.js';
import type { FacadeOptions } from './client-facade.js';
import { Failover } from './failover.js';
import { loadIoredis, type RedisClient } from './redis-client.js';
import { RedisDriver } from './redis-driver.js';
import type { ResolvedRedisPoolOptions } from './redis-pool.options.js';
import { OutageLog } from './outage-log.js';
import { RedisPoolStats } from './redis-pool-stats.js';
import { SharedClient } from './shared-client.js';
import { SharedConnection } from './shared-connection.js';

/** What all views of one pool have besides its slots. */
interface Companions<C extends RedisClient> {
  readonly connection: SharedConnection<C>;
  readonly shared: SharedClient<C>;
  readonly dedicated: DedicatedClients<C>;
}

/**
 * @example
 * await pool.client.set('greeting', 'hello');                       // ordinary commands: one connection for everybody
 * const job = await pool.use((redis) => redis.blpop('jobs', 5));    // a blocking one: a connection of one's own
 * await pool.use(async (redis) => {                                 // check and set
 *   await redis.watch('stock');
 *   const left = Number(await redis.get('stock'));
 *   return redis.multi().set('stock', left - 1).exec();             // null when another client was faster
 * });
 */
export class RedisPool<C extends RedisClient = Redis> extends PoolHandle<C> {
  readonly #companions: Companions<C>;

  /** @internal Made by {@link createRedisPool}. */
  constructor(core: PoolCore<C>, companions: Companions<C>, binding?: TenantBinding) {
    super(core, binding);
    this.#companions = companions;
  }

  /**
   * The shared client, to be used like any client of ioredis. It belongs to no tenant, counts against no limit, and
   * isn't held back by `suspend()`.
   *
   * Commands that would change or stall the connection for its other users (blocking ones, WATCH and an open MULTI,
   * SELECT, SUBSCRIBE, AUTH, CLIENT SETNAME and the like, MONITOR) are rejected with CommandRefusedError: use `use()`
   * or `acquire()`, or `client.duplicate()` for a connection that you keep. Pipelines and pipelined `multi()` are fine.
   * `quit()` and `disconnect()` resolve and end nothing; `connect()` rejects when the server can't be reached.
   *
   * Rejects further with ConnectionLostError, OperationTimeoutError, BackendUnavailableError, QueueFullError (too many
   * commands wait for a lost connection) and PoolClosedError. `duplicate()` throws DedicatedLimitError at
   * `maxDuplicates`.
   */
  get client(): C {
    return this.#companions.shared.proxy;
  }

  /** The numbers of this moment, with those of what the pool has besides its slots. */
  override stats(): RedisPoolStats {
    return new RedisPoolStats(this.core.engine, this.statsContext, {
      duplicates: this.duplicates,
      ignoredEnds: this.#companions.shared.ignoredEnds,
    });
  }

  /** Clients from `duplicate()` that are open. */
  get duplicates(): number {
    return this.#companions.dedicated.size;
  }

  /**
   * Replaces every connection: idle ones now, leased ones when they come back, the shared one without losing a reply.
   * Duplicates are their owners'.
   */
  override evict(): void {
    super.evict();
    this.#companions.shared.renew();
  }

  /** @internal */
  override async start(): Promise<void> {
    await Promise.all([super.start(), this.#companions.connection.whenReady()]);
  }

  protected override completed(report: CloseReport): CloseReport {
    const { cut } = this.#companions.dedicated;
    if (cut.length === 0) return report;
    return { ...report, cut: report.cut + cut.length, holders: [...report.holders, ...cut] };
  }

  protected override view(binding: TenantBinding): this {
    return new RedisPool(this.core, this.#companions, binding) as this;
  }
}

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
  const report = reportTo(id, (message) => dependencies.logger.error(message));
  const { random } = dependencies;
  const { cluster } = config;
  if (cluster !== undefined) {
    const { nodes, client } = cluster;
    const deployment = new ClusterDeployment(ioredis, config, nodes, client, name, random, report);
    return assemble(config, dependencies, { poolId: id, ioredis, report }, deployment);
  }
  const deployment = new ServerDeployment(ioredis, config, name, random, report);
  return assemble(config, dependencies, { poolId: id, ioredis, report }, deployment);
}

function assemble<C extends RedisClient>(
  config: ResolvedRedisPoolOptions,
  dependencies: PoolDependencies,
  options: FacadeOptions,
  deployment: Deployment<C>,
): RedisPool<C> {
  const { poolId } = options;
  const outage = new OutageLog(dependencies.clock);
  const runtime = createPoolRuntime(poolId, dependencies, outage);
  const { clock, deadlines, logger, tenants } = runtime;
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
    connectTimeoutMs,
    failFastAfterMs,
    closeTimeoutMs,
  });
  connection.listen({
    connectionLost: (error) => {
      const { said } = outage;
      outage.failed();
      const why = error === undefined ? 'the server closed it' : describeError(error);
      logger[said ? 'debug' : 'warn'](`Pool "${poolId}": the shared client has no connection: ${why}`);
    },
    connectionReady: () => outage.back(),
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
    logger,
  });
  const driver = new RedisDriver<C>({
    ...options,
    deployment,
    shared,
    dedicated,
    clock,
    deadlines,
    commandTimeoutMs,
    failover,
    probeTimeoutMs: healthCheck.timeoutMs,
    closeTimeoutMs,
  });
  const core = createPoolCore<ExclusiveConnection<C>, C>({
    runtime,
    type: 'redis',
    config,
    driver,
    observer: {
      connectFailed: () => outage.failed(),
      opened: () => outage.back(),
    },
    probe: (timeoutMs) => shared.ping(timeoutMs),
  });
  connection.listen({
    connectionLost: (error) => core.monitor.connectionBroken(error),
    connectionReady: () => core.monitor.connected(),
  });
  // A caller's own `reconnectOnError` decides alone which errors cost a connection.
  if (deployment.writes && deployment.reconnectOnError === undefined) {
    failover.follow(() => {
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
