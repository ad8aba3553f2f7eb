/**
 * pg.Pool's counts, read from the engine.
 */
import { PostgresEvents } from './pg-events.js';

/** The part of a PostgreSQL pool that counts its connections as pg.Pool does. */
export abstract class PostgresCounts extends PostgresEvents {
  /** Connections that are open or being opened; as in pg.Pool not those that were removed and are being closed. */
  get totalCount(): number {
    return this.core.engine.numbers.total - this.core.engine.numbers.closing;
  }

  /** Connections that are open and not in use. */
  get idleCount(): number {
    return this.core.engine.numbers.idle;
  }

  /** Callers waiting for a connection. */
  get waitingCount(): number {
    return this.core.engine.numbers.waiting;
  }

  /** Lent connections that are older than `maxLifetimeMs`; they are replaced when they come back. */
  get expiredCount(): number {
    const { maxLifetimeMs } = this.core.engine.limits;
    if (maxLifetimeMs === 0) return 0;
    return this.openedBefore(this.core.runtime.clock.now() - maxLifetimeMs);
  }

  /** @internal How many connections were opened before a moment of the pool's clock. */
  protected abstract openedBefore(atMs: number): number;
}
