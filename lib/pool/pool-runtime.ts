/**
 * What driver, engine and handle of one pool share, made before any of them: one clock, one set of deadlines, one set
 * of counters, one log, one emitter a pool.
 */
import { PoolCounters } from '../engine/pool-counters.js';
import type { Clock } from '../engine/time/clock.js';
import { Deadlines } from '../engine/time/deadlines.js';
import type { TenantContext } from '../tenancy/tenant-context.js';
import { PoolEvents } from './pool-events.js';
import { PoolLog, type PoolLogger } from './pool-log.js';
import { PoolPublisher } from './pool-publisher.js';
import type { PoolType } from './pool-type.js';
import { type SlowLimits, SlowLog } from './slow-log.js';

/** What the manager gives to all its pools. */
export interface PoolDependencies {
  readonly tenants: TenantContext;
  readonly clock: Clock;
  /** Numbers in [0, 1). */
  readonly random: () => number;
  readonly logger: PoolLogger;
  /** Name of the application, for what the server shows of its clients. */
  readonly owner: string;
  /** Why nothing can be opened: the pool has no address. Undefined: it has one. */
  readonly noAddress?: Error | undefined;
  /**
   * Whether the application's options declare the pool, and it ends with the application; else it is the caller's who
   * creates it. Default false.
   */
  readonly isDeclared?: boolean;
}

export interface PoolRuntime extends PoolDependencies {
  /** The pool's. */
  readonly id: string;
  readonly type: PoolType;
  /** The coarse clock of everything in this pool that is bounded in time. */
  readonly deadlines: Deadlines;
  readonly counters: PoolCounters;
  readonly log: PoolLog;
  readonly events: PoolEvents;
  readonly publisher: PoolPublisher;
}

export function createPoolRuntime(
  id: string,
  type: PoolType,
  slow: SlowLimits,
  dependencies: PoolDependencies,
): PoolRuntime {
  const { clock, logger, owner } = dependencies;
  const log = new PoolLog(id, logger, clock);
  return {
    ...dependencies,
    id,
    type,
    deadlines: new Deadlines(clock),
    counters: new PoolCounters(),
    log,
    events: new PoolEvents((message) => log.error(message)),
    publisher: new PoolPublisher(
      { poolId: id, poolType: type, application: owner },
      clock,
      SlowLog.of(slow, log, clock),
    ),
  };
}
