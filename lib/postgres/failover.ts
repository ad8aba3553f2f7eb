/**
 * Finds out that connections lead to a server that takes no writes any more, though the pool used to write.
 *
 * After a failover behind a stable name (a proxy, DNS) old connections may live on and lead to what is a standby now:
 * every write fails with 25006 until each of them is replaced. So the first such error replaces them all. A pool of
 * connections to a standby, or of a user whose transactions are read-only by default, never wrote: it is left alone.
 */
import type { Clock } from '../engine/clock.js';
import { sqlStateOf } from './pg-errors.js';

/** read_only_sql_transaction */
const READ_ONLY = '25006';
/** As long as new connections lead to the standby too, replacing them more often than this helps nobody. */
const EVICT_AGAIN_MS = 5_000;

/** What a server reports of itself as a connection opens, by names of settings. */
export interface ServerReports {
  readonly in_hot_standby?: string | undefined;
  readonly default_transaction_read_only?: string | undefined;
}

export interface FailoverDependencies {
  readonly clock: Clock;
  /** Replaces every connection. */
  readonly evict: () => void;
  readonly warn: (message: string) => void;
  readonly poolId: string;
}

export class Failover {
  readonly #dependencies: FailoverDependencies;
  /** Whether any connection could ever write. */
  #couldWrite = false;
  #evictedAtMs = -Infinity;

  constructor(dependencies: FailoverDependencies) {
    this.#dependencies = dependencies;
  }

  /** A connection has opened. Servers before PostgreSQL 14 don't report: they count as able to write. */
  opened(reports: ServerReports): void {
    if (reports.in_hot_standby !== 'on' && reports.default_transaction_read_only !== 'on') this.#couldWrite = true;
  }

  /** Work that hadn't asked for a read-only transaction has failed with `error`. */
  failed(error: unknown): void {
    if (!this.#couldWrite || sqlStateOf(error) !== READ_ONLY) return;
    const { clock, evict, warn, poolId } = this.#dependencies;
    const nowMs = clock.now();
    if (nowMs - this.#evictedAtMs < EVICT_AGAIN_MS) return;
    this.#evictedAtMs = nowMs;
    warn(`Pool "${poolId}" used to write, and its server takes no writes any more: every connection is replaced`);
    evict();
  }
}
