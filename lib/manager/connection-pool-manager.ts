/**
 * The registry of an application's pools: create, find, acquire, close, stats, health. Works without Nest's container.
 *
 * Promises: an id names one pool; a pool that could not be opened leaves nothing open; after `stop()` nothing is
 * created or lent any more, and stopping once or ten times is the same.
 */
import { Logger } from '@nestjs/common';
import type { Cluster } from 'ioredis';

import type { PoolDriver } from '../engine/driver.js';
import type { Lease } from '../engine/lease.js';
import type { CloseReport } from '../engine/lending-engine.js';
import { type Clock, systemClock } from '../engine/time/clock.js';
import { ManagerStoppedError, PoolConfigError } from '../errors.js';
import { createExternalPool, type ExternalPool } from '../external/external-pool.js';
import { type ExternalPoolOptions, parseExternalPoolOptions } from '../external/external-pool.options.js';
import type { HttpPool } from '../http/http-pool.js';
import type { HttpPoolOptions } from '../http/http-pool.options.js';
import type { AcquireOptions, PoolDependencies, PoolHandle, PoolLogger, PoolType } from '../pool/pool-handle.js';
import type { HealthCheckRequest } from '../pool/pool-health.js';
import { harmlessLogger } from '../pool/pool-log.js';
import type { ListedPoolName, PoolClass, PoolRegistry } from '../pool/pool-registry.js';
import type { PoolStats } from '../pool/pool-stats.js';
import type { PostgresPool } from '../postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../postgres/postgres-pool.options.js';
import type { RedisPool } from '../redis/redis-pool.js';
import type { RedisPoolOptions } from '../redis/redis-pool.options.js';
import { TenantContext } from '../tenancy/tenant-context.js';
import { type ManagerHealth, managerHealth } from './manager-health.js';
import { type MissingAddresses, missingAddresses } from './missing-addresses.js';
import { fitLogger } from './nest-logger.js';
import { createDeclaredPool, poolKinds, type PoolMaker } from './pool-kinds.js';
import {
  parseManagerOptions,
  parsePoolId,
  type PoolManagerOptions,
  type ResolvedPoolManagerOptions,
} from './pool-manager.options.js';
import { PoolTable } from './pool-table.js';
import { closeAll, shutDown, type ShutdownReport, type StopOptions } from './shutdown.js';
import { openPool } from './startup.js';

/** One line of `listPools()`. */
export interface PoolListing {
  /** The id of the pool. */
  readonly id: string;
  /** What its connections lead to. */
  readonly type: PoolType;
  /** The state that it is in. */
  readonly status: PoolHandle['status'];
  /** Whether readiness depends on it. */
  readonly critical: boolean;
}

/** What a manager works with; a test may bring its own. */
export interface PoolManagerSurroundings {
  /** Default: Nest's logger, under the name `PoolManager`. */
  readonly logger?: PoolLogger;
  /** Default: the process's clock. */
  readonly clock?: Clock;
  /** Numbers in [0, 1), for jitter. Default `Math.random`. */
  readonly random?: () => number;
  /** Default: one of its own, so that managers don't see each other's tenants. */
  readonly tenants?: TenantContext | undefined;
  /** @internal The pools whose injection tokens were announced before the options were known. */
  readonly staticNames?: readonly string[] | undefined;
  /** @internal The pools that a test puts something else in the place of. */
  readonly overridden?: readonly string[] | undefined;
}

/** What `acquire()` of a pool of this type lends. */
export type LeaseOf<P> = P extends { acquire(options?: AcquireOptions): Promise<infer L> } ? L : never;

/**
 * All pools of one registration: creates, opens, finds, counts, probes and closes them. With Nest it is injected by
 * `@InjectPoolManager()`; without, it is used as it is.
 *
 * @example
 * const manager = new ConnectionPoolManager({ pools: { orders: { type: 'database', connectionString } } });
 * await manager.start();
 * {
 *   await using lease = await manager.acquireConnection('orders', { tenantId: 'acme', timeoutMs: 500 });
 *   await lease.connection.query('select 1');
 * }
 * await manager.stop();
 */
export class ConnectionPoolManager {
  /** Which tenant the running code works for: the pools of this manager take their tenant from it. */
  readonly tenants: TenantContext;
  /** What it was configured with; prints without secrets. */
  readonly options: ResolvedPoolManagerOptions;
  /** @internal */
  readonly table = new PoolTable();
  private readonly dependencies: PoolDependencies;
  private readonly overridden: readonly string[];
  private starting: Promise<void> | undefined;
  private started = false;
  private stopping: Promise<ShutdownReport> | undefined;

  /**
   * Declares the pools of `options`; nothing is opened.
   *
   * @throws {PoolConfigError} with everything that is wrong with the options.
   */
  constructor(options: PoolManagerOptions = { pools: {} }, dependencies: PoolManagerSurroundings = {}) {
    const { logger = new Logger('PoolManager'), clock = systemClock, random = Math.random } = dependencies;
    const { staticNames, overridden = [] } = dependencies;
    const missing: MissingAddresses = overridden.length > 0 ? missingAddresses(options, process.env) : new Map();
    this.options = parseManagerOptions(options, { staticNames, missing });
    this.overridden = overridden;
    this.tenants = dependencies.tenants ?? new TenantContext();
    this.dependencies = {
      tenants: this.tenants,
      logger: harmlessLogger(fitLogger(logger)),
      clock,
      random,
      owner: this.options.applicationName,
    };
    for (const [id, config] of Object.entries(this.options.pools)) {
      const dependencies = { ...this.dependencies, noAddress: missing.get(id), isDeclared: true };
      this.table.declare(id, () => createDeclaredPool(id, config, dependencies));
    }
  }

  /**
   * Opens every pool: those with `startup: 'wait'` are connected when it resolves, the others go on trying. When one
   * can't be opened, all are closed again, and the manager is stopped. Called again, it is the same start.
   *
   * @throws {AcquireTimeoutError} of the kind `backend` when a pool was not connected within its `startupTimeoutMs`.
   * @throws {PoolConfigError} or {UnsafeRoleError} at once, when a pool can't be connected and waiting mends nothing: a
   * wrong password, role or database, a certificate that is not trusted. `cause` is the error of the connect.
   * @throws {MissingDriverError} when the package of a kind isn't installed.
   * @throws {ManagerStoppedError} when the manager was stopped before.
   * @throws {PoolClosedError} when it is stopped meanwhile.
   */
  start(): Promise<void> {
    this.starting ??= this.openDeclared();
    return this.starting;
  }

  /**
   * Ends all pools: readiness turns off at once; after `shutdown.readinessGraceMs`, `drain` is called and work in
   * flight gets until the deadline; then leases are cut and the pools closed. Called again, it is the same stop. Never
   * rejects.
   */
  stop(options: StopOptions = {}): Promise<ShutdownReport> {
    this.stopping ??= this.shutDown(options);
    return this.stopping;
  }

  /**
   * Creates a PostgreSQL pool; opens it too, as its `startup` says, once the manager has been started.
   *
   * @throws {PoolConfigError}, {PoolExistsError}, {ManagerStoppedError}, {MissingDriverError}, and what {@link start}
   * throws.
   */
  async createDatabasePool(id: string, options: PostgresPoolOptions = {}): Promise<PostgresPool> {
    return this.createOfKind(poolKinds.database, id, options);
  }

  /** Creates a Redis pool; see {@link createDatabasePool}. With `cluster` its client is ioredis' `Cluster`. */
  createRedisPool(
    id: string,
    options: RedisPoolOptions & Required<Pick<RedisPoolOptions, 'cluster'>>,
  ): Promise<RedisPool<Cluster>>;
  /** Creates a pool of a single server, or of one that sentinels tell of; see {@link createDatabasePool}. */
  createRedisPool(id: string, options?: RedisPoolOptions): Promise<RedisPool>;
  async createRedisPool(id: string, options: RedisPoolOptions = {}): Promise<RedisPool | RedisPool<Cluster>> {
    return this.createOfKind(poolKinds.redis, id, options);
  }

  /** Creates an HTTP pool; see {@link createDatabasePool}. */
  async createHttpPool(id: string, options: HttpPoolOptions = {}): Promise<HttpPool> {
    return this.createOfKind(poolKinds.http, id, options);
  }

  /**
   * Creates a pool of anything else; see {@link createDatabasePool}.
   *
   * @example
   * const ftp = await manager.createPool('ftp', new FtpDriver(), { maxSize: 4 });
   * await ftp.use((client) => client.list('/'));
   */
  async createPool<C, L = C>(
    id: string,
    driver: PoolDriver<C, L>,
    options: Omit<ExternalPoolOptions, 'driver'> = {},
  ): Promise<ExternalPool<L>> {
    const config = parseExternalPoolOptions(parsePoolId(id), { ...options, driver });
    return this.create(id, () => Promise.resolve(createExternalPool(id, driver, config, this.dependencies)));
  }

  /**
   * The pool of that name; the same object that `@InjectPool` injects.
   *
   * @param kind checks that the pool is of this class, and gives it its type. Names listed in {@link PoolRegistry} have
   * theirs already.
   * @throws {PoolNotFoundError} naming the pools that there are.
   * @throws {PoolConfigError} when the pool isn't of that class.
   */
  getPool<N extends ListedPoolName>(id: N): PoolRegistry[N];
  /**
   * The pool of that name, if it is of that class.
   *
   * @throws {PoolNotFoundError} naming the pools that there are.
   * @throws {PoolConfigError} when the pool isn't of that class.
   */
  getPool<P extends PoolHandle>(id: string, kind: PoolClass<P>): P;
  /**
   * The pool of that name, of any kind.
   *
   * @throws {PoolNotFoundError} naming the pools that there are.
   */
  getPool(id: string): PoolHandle;
  getPool(id: string, kind?: PoolClass<PoolHandle>): PoolHandle {
    const pool = this.table.get(id);
    const { type } = pool;
    if (kind === undefined || pool instanceof kind) return pool;
    const rule = `must be a ${kind.name} to be used as one, and is of the type "${type}"`;
    throw new PoolConfigError([{ key: `pools.${id}`, rule }], { poolId: id });
  }

  /**
   * Borrows a connection from the pool of that name until the lease is released.
   *
   * Rejects with PoolNotFoundError and with what {@link PoolHandle.acquire} rejects with.
   */
  acquireConnection<N extends ListedPoolName>(id: N, options?: AcquireOptions): Promise<LeaseOf<PoolRegistry[N]>>;
  /** Borrows a connection from a pool whose name isn't listed in {@link PoolRegistry}: its type is unknown. */
  acquireConnection(id: string, options?: AcquireOptions): Promise<Lease<unknown>>;
  async acquireConnection(id: string, options?: AcquireOptions): Promise<Lease<unknown>> {
    return this.table.get(id).acquire(options);
  }

  /**
   * Gives a connection back; with `error`, one of the connection-class costs it. Harmless when called twice, though
   * reported.
   */
  releaseConnection(lease: Lease<unknown>, error?: unknown): void {
    lease.release(error);
  }

  /**
   * Closes a pool and frees its name. Leases get until the deadline.
   *
   * @param options.deadlineMs default `shutdown.drainTimeoutMs`.
   * @throws {PoolNotFoundError}
   */
  async closePool(id: string, options: { readonly deadlineMs?: number } = {}): Promise<CloseReport> {
    const pool = this.table.get(id);
    const report = await pool.close({ deadlineMs: options.deadlineMs ?? this.options.shutdown.drainTimeoutMs });
    this.table.remove(pool);
    return report;
  }

  /** The numbers of this moment, of every pool. */
  getStats(): Readonly<Record<string, PoolStats>> {
    return Object.fromEntries(this.table.pools().map((pool) => [pool.id, pool.stats()]));
  }

  /** Asks every backend now; `maxAgeMs` and `waitMs` bound what that costs. Never rejects. */
  async healthCheck(request: HealthCheckRequest = {}): Promise<ManagerHealth> {
    const pools = this.table.pools();
    const results = await Promise.all(pools.map(async (pool) => ({ pool, result: await pool.healthCheck(request) })));
    const phase = this.isStopping ? 'draining' : this.started ? 'started' : 'starting';
    return managerHealth(phase, results);
  }

  /** Whether `stop()` has been called: nothing new should be sent here. */
  get isStopping(): boolean {
    return this.stopping !== undefined;
  }

  /** Every pool that there is. */
  listPools(): readonly PoolListing[] {
    return this.table.pools().map(({ id, type, status, config }) => ({ id, type, status, critical: config.critical }));
  }

  private createOfKind<O, C, P extends PoolHandle>(kind: PoolMaker<O, C, P>, id: string, options: O): Promise<P> {
    const config = kind.parse(parsePoolId(id), options);
    return this.create(id, () => kind.create(id, config, this.dependencies));
  }

  private async create<P extends PoolHandle>(id: string, make: () => Promise<P>): Promise<P> {
    this.refuseOnceStopped();
    const pool = await this.table.add(id, make);
    try {
      // Had the manager stopped meanwhile, it would not have seen this pool.
      this.refuseOnceStopped();
      if (this.starting !== undefined) await this.open(pool);
    } catch (error) {
      await pool.close({ deadlineMs: 0 });
      this.table.remove(pool);
      throw error;
    }
    return pool;
  }

  private async openDeclared(): Promise<void> {
    try {
      this.refuseOnceStopped();
      await this.table.buildAll();
      this.refuseOnceStopped();
      if (this.overridden.length > 0) this.leaveToFirstUse();
      else await Promise.all(this.table.pools().map((pool) => this.open(pool)));
      this.started = true;
    } catch (error) {
      await this.stop({ deadlineMs: 0 });
      // Those that were still being built when the manager was stopped.
      await closeAll(this.table.pools(), 0, this.dependencies.logger);
      throw error;
    }
  }

  /** A test that replaces a pool may have no server for the others. */
  private leaveToFirstUse(): void {
    const pools = this.table.pools();
    for (const pool of pools) pool.openOnUse();
    if (pools.length === 0) return;
    const names = (ids: readonly string[]): string => ids.map((id) => `"${id}"`).join(', ');
    this.dependencies.logger.log(
      `Overridden: ${names(this.overridden)}. The other pools are opened by their first use, and the start waits for none: ` +
        names(pools.map(({ id }) => id)),
    );
  }

  private open(pool: PoolHandle): Promise<void> {
    return openPool(pool, this.dependencies.clock);
  }

  private shutDown({ deadlineMs, drain }: StopOptions): Promise<ShutdownReport> {
    const { drainTimeoutMs, readinessGraceMs } = this.options.shutdown;
    return shutDown({
      deadlineMs: deadlineMs ?? drainTimeoutMs,
      // What was never ready has no balancer to wait for.
      readinessGraceMs: this.started ? readinessGraceMs : 0,
      drain,
      pools: () => this.table.pools(),
      clock: this.dependencies.clock,
      logger: this.dependencies.logger,
    });
  }

  private refuseOnceStopped(): void {
    if (this.isStopping) throw new ManagerStoppedError();
  }
}
