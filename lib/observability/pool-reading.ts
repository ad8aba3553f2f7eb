/**
 * The numbers of a manager's pools at one moment, as exporters need them: statistics, buckets of durations, tenants.
 */
import type { DurationHistogram } from '../engine/duration-histogram.js';
import type { ConnectionPoolManager } from '../manager/connection-pool-manager.js';
import type { PoolHandle } from '../pool/pool-handle.js';
import type { PoolStats } from '../pool/pool-stats.js';
import { TenantLedger, type TenantReading } from './tenant-ledger.js';

/** How often something took no longer than each of the bounds. */
export interface DurationReading {
  /** For each bound, how many took at most that long. */
  readonly counts: readonly number[];
  /** All of them. */
  readonly count: number;
  /** Over all of them, in milliseconds. */
  readonly sumMs: number;
}

/** Numbers that the statistics of some kinds of pool have, beside those of every pool. */
export interface NumbersOfKinds {
  readonly duplicates?: number;
  readonly ignoredEnds?: number;
}

/** The numbers of one pool. */
export interface PoolReading {
  readonly stats: PoolStats & NumbersOfKinds;
  /** Acquisitions that waited for a slot. */
  readonly waits: number;
  readonly wait: DurationReading;
  readonly use: DurationReading;
  readonly connect: DurationReading;
  /** Empty where tenants aren't told apart. */
  readonly tenants: readonly TenantReading[];
}

/** What is read, and how finely. */
export interface ReadingOptions {
  /** Upper bounds of the durations' buckets, in seconds, ascending. */
  readonly bounds: readonly number[];
  /** How many of each pool's tenants are shown by name; false: tenants aren't told apart. */
  readonly topTenants: number | false;
}

/** Reads the pools of one manager. A pool that was closed and created again under its name is a new one. */
export class PoolReader {
  readonly #manager: ConnectionPoolManager;
  readonly #options: ReadingOptions;
  readonly #ledgers = new Map<PoolHandle, TenantLedger>();

  constructor(manager: ConnectionPoolManager, options: ReadingOptions) {
    this.#manager = manager;
    this.#options = options;
  }

  /** Upper bounds of the durations' buckets, in seconds. */
  get bounds(): readonly number[] {
    return this.#options.bounds;
  }

  /** The pools that there are, at this moment. */
  read(): PoolReading[] {
    const pools = this.#manager.listPools().map(({ id }): PoolHandle => this.#manager.getPool(id));
    this.#forgetAllBut(pools);
    return pools.map((pool) => this.#readPool(pool));
  }

  /** Lets go of the pools. */
  close(): void {
    this.#forgetAllBut([]);
  }

  #readPool(pool: PoolHandle): PoolReading {
    const boundsMs = this.#options.bounds.map((bound) => bound * 1_000);
    const { immediate, wait, use, connect } = pool.engine.counters;
    return {
      stats: pool.stats(),
      waits: wait.count,
      // Acquisitions that did not wait are counted, and not recorded.
      wait: durations(wait, boundsMs, immediate),
      use: durations(use, boundsMs, 0),
      connect: durations(connect, boundsMs, 0),
      tenants: this.#ledgerOf(pool)?.read() ?? [],
    };
  }

  #ledgerOf(pool: PoolHandle): TenantLedger | undefined {
    const { topTenants } = this.#options;
    if (topTenants === false) return undefined;
    const known = this.#ledgers.get(pool);
    if (known !== undefined) return known;
    const ledger = new TenantLedger(pool.engine, topTenants);
    this.#ledgers.set(pool, ledger);
    return ledger;
  }

  #forgetAllBut(pools: readonly PoolHandle[]): void {
    for (const [pool, ledger] of this.#ledgers) {
      if (pools.includes(pool)) continue;
      ledger.close();
      this.#ledgers.delete(pool);
    }
  }
}

/** @param zeros further events that took no time at all, and are below each bound. */
function durations(histogram: DurationHistogram, boundsMs: readonly number[], zeros: number): DurationReading {
  return {
    counts: histogram.countsAtMost(boundsMs).map((count) => count + zeros),
    count: histogram.count + zeros,
    sumMs: histogram.sumMs,
  };
}
