/**
 * The one-shot statements that share a lease. They go out in one packet, each with a Sync of its own: each is a
 * transaction for itself, and none is touched by what becomes of the others.
 *
 * Promise: the lease is given back once, when all of them have been answered to the end; at once when one of them has
 * left the connection in an unknown state.
 */
import type { Lease } from '../../engine/lease.js';
import type { Clock } from '../../engine/time/clock.js';
import type { Batching } from './batching.js';

/** The session of the lease. */
export interface BatchSession {
  /** Lets `ask` ask for several statements, and starts none of them before it is over. */
  gather(ask: () => void): void;
}

export class Batch {
  readonly #lease: Lease<unknown>;
  readonly #batching: Batching;
  readonly #clock: Clock;
  #size = 0;
  #left = 0;
  /** Since when the server has worked on what is answered next; a reading of the clock. */
  #sinceMs: number;
  #hasAnswered = false;
  #error: unknown = undefined;
  /** One of them has left a transaction open: what was executed behind it is rolled back with it. */
  isRolledBack = false;

  constructor(lease: Lease<unknown>, batching: Batching, clock: Clock) {
    this.#lease = lease;
    this.#batching = batching;
    this.#clock = clock;
    this.#sinceMs = lease.startedAtMs;
  }

  /** Asks for `first`, and lets the tenant's next statements share the lease as long as they can. */
  gather(session: BatchSession, first: () => void): void {
    const most = this.#batching.sizeFor(this.#lease.tenantMemory);
    // Until all are in.
    this.#left = 1;
    try {
      session.gather(() => {
        first();
        while (this.#size < most && this.#lease.shareWithNext());
      });
    } finally {
      this.ended(undefined);
    }
  }

  /** One more statement is in. */
  joined(): void {
    this.#size++;
    this.#left++;
  }

  /** One of them has been answered to the end. */
  answered(): void {
    const nowMs = this.#clock.now();
    const tookMs = nowMs - this.#sinceMs;
    const { tenantMemory } = this.#lease;
    if (this.#hasAnswered) this.#batching.nextAnswered(tenantMemory, tookMs);
    else this.#batching.firstAnswered(tenantMemory, tookMs);
    this.#hasAnswered = true;
    this.#sinceMs = nowMs;
  }

  /** One of them is over. @param error as for the release of a lease. */
  ended(error: unknown): void {
    this.#left--;
    this.#error ??= error;
    if (error === true) this.#release(true);
    else if (this.#left === 0) this.#release(this.#error);
  }

  #release(error: unknown): void {
    if (!this.#lease.released) this.#lease.release(error);
  }
}
