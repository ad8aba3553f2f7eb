/**
 * Finds out that connections lead to a server that takes no writes any more, though the pool used to write.
 *
 * After a failover behind a stable name (a proxy, DNS) connections may lead to what is a standby now: every write fails
 * with 25006 until each of them is replaced. A statement fails with the same code in a transaction that the application
 * itself made read-only. So the connection is asked, when it has come back and outside of a transaction: a standby
 * replaces every connection, and a session that is read-only on a server that takes writes replaces its own alone.
 *
 * A pool of connections to a standby, or of a user whose transactions are read-only by default, never wrote: it is left
 * alone.
 */
import type { Clock } from '../engine/time/clock.js';
import type { PoolLogger } from '../pool/pool-log.js';
import type { WriteAccess } from './session/write-access.js';

/**
 * As long as new connections can't write either, replacing them more often than this changes nothing. Each of the two
 * reasons has a time of its own: a session that is read-only must not hide a failover.
 */
const REPLACE_AGAIN_MS = 5_000;

/** What a server reports of itself as a connection opens, by names of settings. */
export interface ServerReports {
  readonly in_hot_standby?: string | undefined;
  readonly default_transaction_read_only?: string | undefined;
}

export interface FailoverDependencies {
  readonly poolId: string;
  readonly clock: Clock;
  readonly logger: Pick<PoolLogger, 'warn'>;
}

/** What replaces every connection: the engine. */
export interface ConnectionOwner {
  evict(): void;
}

export class Failover {
  readonly #dependencies: FailoverDependencies;
  #connections: ConnectionOwner | undefined = undefined;
  /** Whether any connection could ever write. */
  #couldWrite = false;
  /** The connection that was opened last can write, says its server. */
  #newestWrites = false;
  /** When every connection was replaced last. */
  #evictedAtMs = -Infinity;
  /** When a connection was replaced last because its session was read-only. */
  #replacedAtMs = -Infinity;

  constructor(dependencies: FailoverDependencies) {
    this.#dependencies = dependencies;
  }

  /** From now on a failover replaces every connection of `connections`. Called before the first one opens. */
  attach(connections: ConnectionOwner): void {
    this.#connections = connections;
  }

  /** A connection has opened. Servers before PostgreSQL 14 don't report: they count as able to write. */
  opened(reports: ServerReports): void {
    const { in_hot_standby: isStandby, default_transaction_read_only: isReadOnly } = reports;
    if (isStandby !== 'on' && isReadOnly !== 'on') this.#couldWrite = true;
    this.#newestWrites = isStandby === 'off' && isReadOnly === 'off';
  }

  /** Whether it matters why a connection has refused a write. */
  get isWatching(): boolean {
    return this.#couldWrite;
  }

  /**
   * A connection that has refused a write has been asked.
   *
   * @returns whether it has to be replaced.
   */
  told(access: WriteAccess): boolean {
    if (access === 'writes' || !this.#couldWrite) return false;
    return access === 'standby' ? this.#metStandby() : this.#metReadOnly();
  }

  /** The connection that met it is always replaced: its server is not the one that the pool writes to. */
  #metStandby(): true {
    const { clock, logger, poolId } = this.#dependencies;
    const nowMs = clock.now();
    if (nowMs - this.#evictedAtMs < REPLACE_AGAIN_MS) return true;
    this.#evictedAtMs = nowMs;
    logger.warn(
      `Pool "${poolId}" used to write, and its server takes no writes any more: every connection is replaced`,
      { poolId },
    );
    this.#connections?.evict();
    return true;
  }

  #metReadOnly(): boolean {
    const { clock, logger, poolId } = this.#dependencies;
    const nowMs = clock.now();
    if (!this.#newestWrites && nowMs - this.#replacedAtMs < REPLACE_AGAIN_MS) return false;
    this.#replacedAtMs = nowMs;
    logger.warn(`Pool "${poolId}" used to write, and a connection takes no writes any more: it is replaced`, {
      poolId,
    });
    return true;
  }
}
