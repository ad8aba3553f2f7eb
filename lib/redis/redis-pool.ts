/**
 * The Redis pool: a shared client for ordinary commands, and leases of exclusive connections for what must not be
 * shared.
 *
 * Besides its `maxSize` exclusive connections a pool has one shared client and at most `maxDuplicates` clients from
 * `duplicate()`. With a cluster, each of all these is a client of the cluster, with a connection to every node it has
 * talked to and one or two of its own besides; so keep `maxSize` small there.
 */
import type { Redis } from 'ioredis';

import type { CloseReport } from '../engine/lending-engine.js';
import { type PoolCore, PoolHandle, type TenantBinding } from '../pool/pool-handle.js';
import type { DedicatedClients } from './dedicated-clients.js';
import type { RedisClient } from './redis-client.js';
import { RedisPoolStats } from './redis-pool-stats.js';
import type { SharedClient } from './shared-client.js';
import type { SharedConnection } from './shared-connection.js';

/** What all views of one pool have besides its slots. */
export interface RedisPoolDependencies<C extends RedisClient> {
  readonly connection: SharedConnection<C>;
  readonly shared: SharedClient<C>;
  readonly dedicated: DedicatedClients<C>;
}

/**
 * What `@InjectPool` injects for a pool of type `redis`: one client for ordinary commands, and leases of connections
 * that are one's own.
 *
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
  readonly #dependencies: RedisPoolDependencies<C>;

  /** @internal Made by `createRedisPool`. */
  constructor(core: PoolCore<C>, dependencies: RedisPoolDependencies<C>, binding?: TenantBinding) {
    super(core, binding);
    this.#dependencies = dependencies;
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
    return this.#dependencies.shared.proxy;
  }

  /** The numbers of this moment, with those of what the pool has besides its slots. */
  override stats(): RedisPoolStats {
    return new RedisPoolStats(this.core.engine, this.statsContext, {
      duplicates: this.duplicates,
      ignoredEnds: this.#dependencies.shared.ignoredEnds,
    });
  }

  /** Clients from `duplicate()` that are open. */
  get duplicates(): number {
    return this.#dependencies.dedicated.size;
  }

  /**
   * Replaces every connection: idle ones now, leased ones when they come back, the shared one without losing a reply.
   * Duplicates are their owners'.
   */
  override evict(): void {
    super.evict();
    this.#dependencies.shared.renew();
  }

  /** @internal */
  override async start(): Promise<void> {
    await Promise.all([super.start(), this.#dependencies.connection.whenReady()]);
  }

  /** @internal */
  protected override completed(report: CloseReport): CloseReport {
    const { cut } = this.#dependencies.dedicated;
    if (cut.length === 0) return report;
    return { ...report, cut: report.cut + cut.length, holders: [...report.holders, ...cut] };
  }

  /** @internal */
  protected override view(binding: TenantBinding): this {
    return new RedisPool(this.core, this.#dependencies, binding) as this;
  }
}
