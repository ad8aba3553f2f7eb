/**
 * How many one-shot statements of a tenant travel in one packet.
 *
 * Statements that wait for a connection go together, in the lease that is granted to the first of them. A statement
 * behind a slow one waits for it, which it would not do on a connection of its own. So
 *  - a batch is only as large as is expected to be executed in {@link BATCH_MS}, by the mean of the tenant's
 *    statements: the time between an answer and the next of the same batch, in which the network has no part. A tenant
 *    whose mean allows none still sends two together now and then, or its mean would never be known to have fallen;
 *  - for {@link ALONE} statements of a tenant after a slow one, each goes alone. Where more than one in a thousand is
 *    slow, hardly any is sent behind another; where fewer are, those behind them are no hundredth of all: neither way
 *    do they decide what p99 the short ones have. Slow is what takes much longer than statements of the pool take at
 *    this time: when the process, the network or the server is short of time, all of them take long.
 */
import type { TenantMemory } from '../../engine/lease.js';

/** How long a batch may be expected to be executed, in milliseconds. */
const BATCH_MS = 4;
/** Weight of the newest time in the mean of a tenant's statements. */
const SMOOTHING = 0.1;
/** A slow statement takes longer than so many times what is usual, and so many milliseconds. */
const SLOW_TIMES = 4;
const SLOW_MS = 10;
/** Weight of the newest time in what is usual. */
const USUAL_SMOOTHING = 0.05;
/** After a slow one, so many statements go alone. */
const ALONE = 700;
/** Of statements whose mean allows no batch, one in so many is followed by another. */
const PROBED = 100;

export class Batching {
  /** Statements in one batch at most. */
  readonly most: number;
  /** Moving average of what a statement takes from its lease on, of any tenant. */
  #usualMs = 0;

  /** @param most statements in one batch; 1: each goes alone. */
  constructor(most: number) {
    this.most = most;
  }

  /** How many statements of a tenant the next batch may have. */
  sizeFor(tenant: TenantMemory): number {
    return Math.min(this.most, paceOf(tenant).nextSize());
  }

  /** The first statement of a batch, or one that went alone, has been answered after so long. */
  firstAnswered(tenant: TenantMemory, tookMs: number): void {
    if (this.#isSlow(tookMs)) paceOf(tenant).slow();
    this.#usualMs += USUAL_SMOOTHING * (tookMs - this.#usualMs);
  }

  /** A statement of a batch has been answered so long after the one ahead of it. */
  nextAnswered(tenant: TenantMemory, tookMs: number): void {
    const pace = paceOf(tenant);
    pace.add(tookMs);
    if (this.#isSlow(tookMs)) pace.slow();
  }

  #isSlow(tookMs: number): boolean {
    return tookMs > SLOW_MS + SLOW_TIMES * this.#usualMs;
  }
}

function paceOf(tenant: TenantMemory): StatementPace {
  if (tenant.memory instanceof StatementPace) return tenant.memory;
  const pace = new StatementPace();
  tenant.memory = pace;
  return pace;
}

/** What is known of how long a tenant's statements take. */
class StatementPace {
  /** Undefined while none has been measured. */
  #meanMs: number | undefined = undefined;
  /** So many go alone. */
  #alone = 0;
  /** Since two were last sent together in spite of the mean. */
  #sinceProbe = 0;

  nextSize(): number {
    if (this.#alone > 0) {
      this.#alone--;
      return 1;
    }
    // Nothing is known: two will tell.
    if (this.#meanMs === undefined) return 2;
    const size = Math.floor(BATCH_MS / this.#meanMs);
    if (size > 1) return size;
    this.#sinceProbe = (this.#sinceProbe + 1) % PROBED;
    return this.#sinceProbe === 0 ? 2 : 1;
  }

  add(tookMs: number): void {
    this.#meanMs = this.#meanMs === undefined ? tookMs : this.#meanMs + SMOOTHING * (tookMs - this.#meanMs);
  }

  slow(): void {
    this.#alone = ALONE;
  }
}
