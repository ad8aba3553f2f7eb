/**
 * What a pool is made of.
 */
import type { PoolDriver } from './driver.js';
import type { EngineWatcher } from './engine-watcher.js';
import type { Lease } from './lease.js';
import type { PoolLimits, TenantPolicy } from './limits.js';
import type { PoolCounters } from './pool-counters.js';
import type { PoolObserver } from './pool-observer.js';
import type { Deadlines } from './time/deadlines.js';

export interface ResourcePoolOptions<C, L> {
  readonly id: string;
  readonly driver: PoolDriver<C, L>;
  readonly limits: PoolLimits;
  readonly tenants: TenantPolicy;
  readonly observer?: PoolObserver<C, L> | undefined;
  /** Default: none. */
  readonly watcher?: EngineWatcher | undefined;
  /** The pool's coarse clock, if it is shared with others. Default: one of its own. */
  readonly deadlines?: Deadlines | undefined;
  /** What the pool counts in, if it is shared with others. Default: counters of its own. */
  readonly counters?: PoolCounters | undefined;
  /** Numbers in [0, 1). */
  readonly random?: (() => number) | undefined;
  /** The lease in whose `use` or `transaction` the running code is, of whichever pool. */
  readonly currentHolder?: (() => Lease<unknown> | undefined) | undefined;
}
