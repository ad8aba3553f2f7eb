/**
 * The numbers of a PostgreSQL pool at one moment: those of its slots, and of how it is used.
 */
import type { LendingEngine } from '../engine/lending-engine.js';
import { PoolStats, type StatsContext } from '../pool/pool-stats.js';

/** The numbers of a PostgreSQL pool at one moment. */
export class PostgresPoolStats extends PoolStats {
  /** How often `end()` was called on a declared pool or a tenant's view, which doesn't end it. */
  readonly ignoredEnds: number;

  /** @internal Made by `stats()`. */
  constructor(engine: LendingEngine<unknown>, context: StatsContext, ignoredEnds: number) {
    super(engine, context);
    this.ignoredEnds = ignoredEnds;
  }
}
