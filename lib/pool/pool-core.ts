/**
 * What a handle and all its views share: the engine, the monitor, the events, and the dependencies of the manager.
 */
import type { Clock } from '../engine/time/clock.js';
import type { PoolDriver } from '../engine/driver.js';
import type { TenantLimits } from '../engine/limits.js';
import type { LendingEngine } from '../engine/lending-engine.js';
import type { PoolObserver } from '../engine/pool-observer.js';
import { ResourcePool } from '../engine/resource-pool.js';
import { PoolMonitor } from './pool-monitor.js';
import { PoolEvents } from './pool-events.js';
import { PoolLog, type PoolLogger } from './pool-log.js';
import { assertResolvedLimits, type ResolvedBasePoolOptions } from './pool-options.js';
import type { TenantContext } from '../tenancy/tenant-context.js';

export type { PoolLogger } from './pool-log.js';

/** What a pool's connections lead to. */
export type PoolType = 'database' | 'redis' | 'http' | 'external';

/** What the manager gives to all its pools. */
export interface PoolDependencies {
  readonly tenants: TenantContext;
  readonly clock: Clock;
  /** Numbers in [0, 1). */
  readonly random: () => number;
  readonly logger: PoolLogger;
  /** Name of the application, for what the server shows of its clients. */
  readonly owner: string;
}

export interface PoolCore<L> {
  readonly id: string;
  readonly type: PoolType;
  readonly config: ResolvedBasePoolOptions;
  readonly engine: LendingEngine<L>;
  readonly monitor: PoolMonitor;
  readonly events: PoolEvents;
  readonly dependencies: PoolDependencies;
  /** Whether it refuses to work without a tenant. */
  readonly requiresTenant: boolean;
  /** Acquires through `unscoped()` although a tenant is required. */
  unscopedUses: number;
}

export interface PoolCoreOptions<C, L> {
  readonly id: string;
  readonly type: PoolType;
  readonly config: ResolvedBasePoolOptions;
  readonly driver: PoolDriver<C, L>;
  readonly dependencies: PoolDependencies;
  /** What the kind itself wants to know of the engine's work. */
  readonly observer?: PoolObserver<C, L> | undefined;
  /**
   * Asks what the kind has besides its slots, a shared client for one, whether it is alive; rejects within the time
   * given when it isn't. Resolves with an error when it is there, and says why it can't serve.
   */
  readonly probe?: ((timeoutMs: number) => Promise<Error | undefined>) | undefined;
  /** Whether the kind has told the log of the present outage already. */
  readonly outageTold?: (() => boolean) | undefined;
}

/** Puts a pool together. Nothing is opened. */
export function createPoolCore<C, L>(parts: PoolCoreOptions<C, L>): PoolCore<L> {
  const { id, type, config, driver, dependencies, observer = {} } = parts;
  const { logger, clock, random, tenants } = dependencies;
  const log = new PoolLog(id, logger, clock, () => parts.outageTold?.() === true);
  const { resolve } = config.tenants;
  const resolveLimits = (tenantId: string): Partial<TenantLimits> | undefined => {
    const own = resolve?.(tenantId);
    if (own !== undefined)
      assertResolvedLimits(id, tenantId, own, { maxSize: engine.limits.maxSize, tenants: engine.tenantPolicy });
    return own;
  };
  const events = new PoolEvents((message) => log.error(message));
  const monitor = new PoolMonitor({
    probe: async (options) => {
      const [slots, besides] = await Promise.allSettled([engine.probe(options), parts.probe?.(options.timeoutMs)]);
      if (besides.status === 'rejected') throw besides.reason;
      // A server that says why it can't serve is there, even if a connect to it has failed.
      if (besides.value !== undefined) return besides.value;
      if (slots.status === 'rejected') throw slots.reason;
      return slots.value;
    },
    options: config.healthCheck,
    clock,
    random,
    onStatus: (change) => {
      log.status(change);
      events.emit('status', change);
    },
  });
  const engine = new ResourcePool<C, L>({
    id,
    driver,
    limits: config,
    tenants: resolve === undefined ? config.tenants : { ...config.tenants, resolve: resolveLimits },
    clock,
    random,
    currentHolder: () => tenants.frame()?.holding,
    observer: {
      ...observer,
      proved: (connection) => {
        // A pool of a manager that was never started is opened by its first use.
        monitor.start();
        monitor.connected();
        observer.proved?.(connection);
      },
      connectFailed: (error) => {
        monitor.start();
        const before = monitor.status;
        if (engine.live > 0 && driver.isServerFull?.(error) === true) monitor.serverFull(error);
        else monitor.connectFailed(error);
        log.connectFailed(error, before !== monitor.status);
        events.emit('connectError', error);
        observer.connectFailed?.(error);
      },
      destroyed: (connection, reason, error) => {
        if (reason === 'broken' || reason === 'fatal') monitor.connectionBroken(error);
        observer.destroyed?.(connection, reason, error);
      },
      leaked: (holder) => {
        log.leak(holder);
        events.emit('leak', { ...holder, poolId: id });
        observer.leaked?.(holder);
      },
      releasedTwice: (lease) => {
        log.releasedTwice();
        observer.releasedTwice?.(lease);
      },
      driverFailed: (method, error) => {
        log.driverFailed(method, error);
        observer.driverFailed?.(method, error);
      },
    },
  });
  return {
    id,
    type,
    config,
    engine,
    monitor,
    events,
    dependencies,
    requiresTenant: config.tenants.required,
    unscopedUses: 0,
  };
}
