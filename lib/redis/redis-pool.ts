/**
 * The Redis pool: a shared client for ordinary commands, and leases of exclusive connections for what must not be shared.
 *
 * Besides its `maxSize` exclusive connections a pool has one shared client and at most `maxDuplicates` clients from
 * `duplicate()`. With a cluster, each of all these is a client of the cluster, with a connection to every node it has talked to and
 * one or two of its own besides; so keep `maxSize` small there.
 */
import type { Cluster, Redis } from 'ioredis';

import { Deadlines } from '../engine/deadlines.js';
import { describeError } from '../engine/redact.js';
import {
  createPoolCore,
  PoolHandle,
  type PoolCore,
  type PoolSurroundings,
  type TenantBinding,
} from '../pool-handle.js';
import { DedicatedClients } from './dedicated-clients.js';
import { ClusterDeployment, ServerDeployment, type Deployment } from './deployment.js';
import type { ExclusiveConnection } from './exclusive-connection.js';
import { loadIoredis, type IoredisModule, type RedisClient } from './redis-client.js';
import { RedisDriver } from './redis-driver.js';
import type { ResolvedRedisPoolOptions } from './redis-pool.options.js';
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
 *   return redis.multi().set('stock', left - 1).exec();             // null when somebody was faster
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
   * The shared client, to be used like any client of ioredis. It belongs to no tenant, counts against no limit, and isn't held
   * back by `suspend()`.
   *
   * Commands that would change or stall the connection for its other users (blocking ones, WATCH and an open MULTI, SELECT,
   * SUBSCRIBE, AUTH, CLIENT SETNAME and the like, MONITOR, QUIT) are rejected with CommandRefusedError: use `use()` or
   * `acquire()`, or `client.duplicate()` for a connection that you keep. Pipelines and pipelined `multi()` are fine.
   *
   * Rejects further with ConnectionLostError, OperationTimeoutError, BackendUnavailableError, QueueFullError (too many commands
   * wait for a lost connection) and PoolClosedError. `duplicate()` throws DedicatedLimitError at `maxDuplicates`.
   */
  get client(): C {
    return this.#companions.shared.proxy;
  }

  /** Clients from `duplicate()` that are open. */
  get duplicates(): number {
    return this.#companions.dedicated.size;
  }

  /** Replaces every connection: idle ones now, leased ones when they come back, the shared one without losing a reply. Duplicates are their owners'. */
  override recycle(): void {
    super.recycle();
    this.#companions.shared.renew();
  }

  /** @internal */
  override async start(): Promise<void> {
    await Promise.all([super.start(), this.#companions.connection.whenReady()]);
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
  surroundings: PoolSurroundings,
): Promise<RedisPool<Cluster>>;
export function createRedisPool(
  id: string,
  config: ResolvedRedisPoolOptions,
  surroundings: PoolSurroundings,
): Promise<RedisPool>;
export async function createRedisPool(
  id: string,
  config: ResolvedRedisPoolOptions,
  surroundings: PoolSurroundings,
): Promise<RedisPool | RedisPool<Cluster>> {
  const ioredis = await loadIoredis(id);
  const name = connectionName(surroundings.owner, id);
  const { cluster } = config;
  if (cluster !== undefined) {
    return assemble(
      id,
      config,
      surroundings,
      ioredis,
      new ClusterDeployment(ioredis, config, cluster.nodes, cluster.client, name, surroundings.random),
    );
  }
  return assemble(id, config, surroundings, ioredis, new ServerDeployment(ioredis, config, name, surroundings.random));
}

function assemble<C extends RedisClient>(
  poolId: string,
  config: ResolvedRedisPoolOptions,
  surroundings: PoolSurroundings,
  ioredis: IoredisModule,
  deployment: Deployment<C>,
): RedisPool<C> {
  const { clock, logger } = surroundings;
  const { credentials, database, resends } = deployment;
  const { commandTimeoutMs, failFastAfterMs, closeTimeoutMs } = config;
  const deadlines = new Deadlines(clock);
  const dedicated = new DedicatedClients<C>({
    poolId,
    ioredis,
    max: config.maxDuplicates,
    credentials,
    make: (args) => deployment.dedicated(args),
  });
  const connection = new SharedConnection<C>({
    poolId,
    credentials,
    clock,
    failFastAfterMs,
    closeTimeoutMs,
    resends,
    make: () => deployment.shared(),
    onLost: (error) => {
      logger.warn(`Pool "${poolId}": the shared client has no connection: ${describeError(error)}`);
      core.monitor.connectionBroken(error);
    },
    onReady: () => {
      shared.sendHeld();
      core.monitor.connected();
    },
  });
  const shared = new SharedClient<C>({
    poolId,
    ioredis,
    connection,
    dedicated,
    clock,
    deadlines,
    commandTimeoutMs,
    failFastAfterMs,
    // Who switched ioredis' queue off wants to know at once.
    maxQueue: config.client.enableOfflineQueue === false ? 0 : config.maxQueue,
  });
  const driver = new RedisDriver<C>({
    poolId,
    ioredis,
    dedicated,
    clock,
    deadlines,
    credentials,
    commandTimeoutMs,
    database,
    make: () => deployment.exclusive(),
    dispose: async () => {
      await Promise.all([shared.close(), dedicated.close(closeTimeoutMs, clock)]);
    },
  });
  const core = createPoolCore<ExclusiveConnection<C>, C>({
    id: poolId,
    type: 'redis',
    config,
    driver,
    surroundings,
    probe: (timeoutMs) => shared.ping(timeoutMs),
  });
  return new RedisPool<C>(core, { connection, shared, dedicated });
}

/** What CLIENT LIST shows; the server takes no spaces in it. */
function connectionName(owner: string, poolId: string): string {
  return `${owner}:${poolId}`.replace(/[^\x21-\x7e]/g, '_');
}
