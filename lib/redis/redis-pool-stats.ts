/**
 * The numbers of a Redis pool at one moment: those of its slots, and of what it has besides.
 */
import type { LendingEngine } from '../engine/lending-engine.js';
import { PoolStats, type StatsContext } from '../pool/pool-stats.js';

export interface BesidesSlots {
  readonly duplicates: number;
  readonly ignoredEnds: number;
}

/** The numbers of a Redis pool at one moment. */
export class RedisPoolStats extends PoolStats {
  /** Clients from `duplicate()` that are open. */
  readonly duplicates: number;
  /** How often `quit()` or `disconnect()` was called on the shared client, which doesn't end it. */
  readonly ignoredEnds: number;

  /** @internal Made by `stats()`. */
  constructor(engine: LendingEngine<unknown>, context: StatsContext, besides: BesidesSlots) {
    super(engine, context);
    this.duplicates = besides.duplicates;
    this.ignoredEnds = besides.ignoredEnds;
  }
}
