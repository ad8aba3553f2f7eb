/**
 * Has every connection replaced when the server takes no writes any more.
 *
 * After a failover behind a stable name, or behind sentinels, connections may lead to what is a replica now: every
 * write fails with READONLY until each of them is replaced, not only the one whose command was refused. As long as new
 * connections can't write either, they are replaced after pauses that grow.
 */
import type { Clock } from '../engine/time/clock.js';

/** How long connections are kept at least, in milliseconds; doubled as long as writes go on being refused. */
const FIRST_REPLACEMENT_MS = 1_000;
const LAST_REPLACEMENT_MS = 60_000;

export class Failover {
  readonly #clock: Clock;
  #evict: (() => void) | undefined;
  #pauseMs = FIRST_REPLACEMENT_MS;
  #evictedAtMs = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Has `evict` replace every connection. Until this is called, refused writes have no consequences. */
  attach(evict: () => void): void {
    this.#evict = evict;
  }

  /** A server has refused to write: it is not, or no longer, the one to write to. */
  writeRefused(): void {
    const evict = this.#evict;
    if (evict === undefined) return;
    const nowMs = this.#clock.now();
    const sinceMs = nowMs - this.#evictedAtMs;
    if (sinceMs < this.#pauseMs) return;
    this.#pauseMs =
      sinceMs > LAST_REPLACEMENT_MS ? FIRST_REPLACEMENT_MS : Math.min(2 * this.#pauseMs, LAST_REPLACEMENT_MS);
    this.#evictedAtMs = nowMs;
    evict();
  }
}
