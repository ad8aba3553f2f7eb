/**
 * What a handle and all its views share: the engine, the monitor, the events, and the surroundings of the manager.
 */
import type { Clock } from './engine/clock.js';
import type { PoolDriver } from './engine/driver.js';
import type { LendingEngine } from './engine/lending-engine.js';
import { describeError } from './engine/redact.js';
import type { PoolObserver } from './engine/pool-observer.js';
import { ResourcePool } from './engine/resource-pool.js';
import { PoolMonitor } from './health/pool-monitor.js';
import { PoolEvents } from './pool-events.js';
import type { ResolvedBasePoolOptions } from './pool-options.js';
import type { TenantContext } from './tenancy/tenant-context.js';

/** What a pool's connections lead to. */
export type PoolType = 'database' | 'redis' | 'http' | 'external';

/** Where a pool reports what needs a person's eye. Nest's Logger fits. */
export interface PoolLogger {
  log(message: string): void;
  warn(message: string): void;
  error(message: string): void;
  debug(message: string): void;
}

/** What the manager gives to all its pools. */
export interface PoolSurroundings {
  readonly tenants: TenantContext;
  readonly clock: Clock;
  /** Numbers in [0, 1). */
  readonly random: () => number;
  readonly logger: PoolLogger;
  /** Name of the application, for whatever the server shows of its clients. */
  readonly owner: string;
}

export interface PoolCore<L> {
  readonly id: string;
  readonly type: PoolType;
  readonly config: ResolvedBasePoolOptions;
  readonly engine: LendingEngine<L>;
  readonly monitor: PoolMonitor;
  readonly events: PoolEvents;
  readonly surroundings: PoolSurroundings;
  /** Whether it refuses to work without a tenant. */
  readonly requiresTenant: boolean;
  /** Acquires through `unscoped()` although a tenant is required. */
  unscopedUses: number;
}

export interface PoolParts<C, L> {
  readonly id: string;
  readonly type: PoolType;
  readonly config: ResolvedBasePoolOptions;
  readonly driver: PoolDriver<C, L>;
  readonly surroundings: PoolSurroundings;
  /** What the kind itself wants to know of the engine's work. */
  readonly observer?: PoolObserver<C, L> | undefined;
  /**
   * Asks what the kind has besides its slots, a shared client for one, whether it is alive; rejects within the time given
   * when it isn't. Resolves with an error when it is there, and says why it can't serve.
   */
  readonly probe?: ((timeoutMs: number) => Promise<Error | undefined>) | undefined;
  /** Whether the kind has told the log of the present outage already. */
  readonly outageTold?: (() => boolean) | undefined;
}

/** Puts a pool together. Nothing is opened. */
export function createPoolCore<C, L>(parts: PoolParts<C, L>): PoolCore<L> {
  const { id, type, config, driver, surroundings, observer = {} } = parts;
  const { logger, clock, random, tenants } = surroundings;
  const events = new PoolEvents((message) => logger.error(`Pool "${id}": ${message}`));
  const monitor = new PoolMonitor({
    probe: async (options) => {
      const [slots, besides] = await Promise.allSettled([engine.probe(options), parts.probe?.(options.timeoutMs)]);
      if (besides.status === 'rejected') throw besides.reason;
      // A server that says why it can't serve is there, whatever became of a connect to it.
      if (besides.value !== undefined) return besides.value;
      if (slots.status === 'rejected') throw slots.reason;
      return slots.value;
    },
    options: config.healthCheck,
    clock,
    random,
    onStatus: (change) => events.emit('status', change),
  });
  const engine = new ResourcePool<C, L>({
    id,
    driver,
    limits: config,
    tenants: config.tenants,
    clock,
    random,
    currentHolder: () => tenants.frame()?.holding,
    observer: {
      ...observer,
      opened: (connection) => {
        monitor.connected();
        observer.opened?.(connection);
      },
      connectFailed: (error) => {
        // An outage is said once: hundreds of connects may fail in it.
        logger[engine.connectFailures === 1 && parts.outageTold?.() !== true ? 'warn' : 'debug'](
          `Pool "${id}" could not connect: ${describeError(error)}`,
        );
        monitor.connectFailed(error);
        events.emit('connectError', error);
        observer.connectFailed?.(error);
      },
      destroyed: (connection, reason, error) => {
        if (reason === 'broken' || reason === 'fatal') monitor.connectionBroken(error);
        observer.destroyed?.(connection, reason, error);
      },
      leaked: (holder) => {
        logger.warn(
          `Pool "${id}": a lease ${holder.tenantId === undefined ? 'without a tenant' : `of tenant "${holder.tenantId}"`} ` +
            `has been out for ${Math.round(holder.heldMs)} ms; it was ${holder.stack ?? 'acquired elsewhere'}`,
        );
        events.emit('leak', { ...holder, poolId: id });
        observer.leaked?.(holder);
      },
      releasedTwice: (lease) => {
        logger.warn(
          `Pool "${id}": a lease was released twice; the second time did nothing. ${new Error('released again here').stack ?? ''}`,
        );
        observer.releasedTwice?.(lease);
      },
      driverFailed: (method, error) => {
        // That a connection couldn't be made clean is ordinary: it was replaced.
        logger[method === 'recycle' ? 'debug' : 'warn'](
          `Pool "${id}": ${method} of the driver failed with ${describeError(error)}`,
        );
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
    surroundings,
    requiresTenant: config.tenants.required,
    unscopedUses: 0,
  };
}
