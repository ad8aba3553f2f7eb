/**
 * What a handle and all its views share: the engine, the monitor, and what driver, engine and handle have in common.
 */
import type { PoolDriver } from '../engine/driver.js';
import type { LendingEngine } from '../engine/lending-engine.js';
import type { TenantLimits } from '../engine/limits.js';
import type { PoolObserver } from '../engine/pool-observer.js';
import { ResourcePool } from '../engine/resource-pool.js';
import { PoolMonitor } from './pool-monitor.js';
import type { ResolvedBasePoolOptions } from './pool-options.js';
import type { PoolRuntime } from './pool-runtime.js';
import type { PoolType } from './pool-type.js';
import { assertResolvedLimits } from './running-limits.js';

export interface PoolCore<L> {
  readonly runtime: PoolRuntime;
  readonly type: PoolType;
  readonly config: ResolvedBasePoolOptions;
  readonly engine: LendingEngine<L>;
  readonly monitor: PoolMonitor;
  /** Whether it refuses to work without a tenant. */
  readonly requiresTenant: boolean;
  /** Whether a failed connect says that waiting mends nothing. */
  readonly isMisconfigured: (error: Error) => boolean;
  /** Whether it was left for its first use to open; that a health check asks for it is one. */
  opensOnUse: boolean;
  /** Acquires through `unscoped()` although a tenant is required. */
  unscopedUses: number;
}

export interface PoolCoreOptions<C, L> {
  readonly runtime: PoolRuntime;
  readonly config: ResolvedBasePoolOptions;
  readonly driver: PoolDriver<C, L>;
  /** What the kind itself wants to know of the engine's work. */
  readonly observer?: PoolObserver<C, L> | undefined;
  /**
   * Asks what the kind has besides its slots, a shared client for one, whether it is alive; rejects within the time
   * given when it isn't. Resolves with an error when it is there, and says why it can't serve.
   */
  readonly probe?: ((timeoutMs: number) => Promise<Error | undefined>) | undefined;
}

/** Puts a pool together. Nothing is opened. */
export function createPoolCore<C, L>(options: PoolCoreOptions<C, L>): PoolCore<L> {
  const { runtime, config, observer = {} } = options;
  const { id, type, clock, random, tenants, deadlines, counters, log, events, publisher, noAddress } = runtime;
  const driver = noAddress === undefined ? options.driver : unopenable(options.driver, noAddress);
  const probe = noAddress === undefined ? options.probe : undefined;
  const { resolve } = config.tenants;
  const resolveLimits = (tenantId: string): Partial<TenantLimits> | undefined => {
    const own = resolve?.(tenantId);
    if (own !== undefined)
      assertResolvedLimits(id, tenantId, own, { maxSize: engine.limits.maxSize, tenants: engine.tenantPolicy });
    return own;
  };
  const monitor = new PoolMonitor({
    probe: async (limits) => {
      const [slots, besides] = await Promise.allSettled([engine.probe(limits), probe?.(limits.timeoutMs)]);
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
      publisher.statusChanged(change);
    },
  });
  const engine = new ResourcePool<C, L>({
    id,
    driver,
    limits: config,
    tenants: resolve === undefined ? config.tenants : { ...config.tenants, resolve: resolveLimits },
    deadlines,
    counters,
    watcher: publisher,
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
        if (engine.numbers.open > 0 && driver.isServerFull?.(error) === true) monitor.serverFull(error);
        else monitor.connectFailed(error);
        log.connectFailed(error, before !== monitor.status);
        events.emit('connectError', error);
        observer.connectFailed?.(error);
      },
      destroyed: (connection, reason, error) => {
        if (reason === 'broken' || reason === 'fatal') monitor.connectionBroken(error);
        observer.destroyed?.(connection, reason, error);
        publisher.destroyed(reason, error);
      },
      leaked: (holder) => {
        log.leak(holder);
        events.emit('leak', { ...holder, poolId: id });
        publisher.leaked(holder);
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
    runtime,
    type,
    config,
    engine,
    monitor,
    requiresTenant: config.tenants.required,
    opensOnUse: false,
    isMisconfigured: (error) => driver.isMisconfigured?.(error) === true,
    unscopedUses: 0,
  };
}

/** A driver that never opens anything. What it shares between connections has been made, and is ended. */
function unopenable<C, L>(driver: PoolDriver<C, L>, reason: Error): PoolDriver<C, L> {
  return {
    open: () => Promise.reject(reason),
    close: () => Promise.resolve(),
    kill: () => undefined,
    ping: () => Promise.reject(reason),
    onBroken: () => undefined,
    isFatal: () => false,
    dispose: () => driver.dispose?.() ?? Promise.resolve(),
  };
}
