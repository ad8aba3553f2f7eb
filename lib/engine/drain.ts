/**
 * The end of a pool: leases get until a deadline, then they are cut. Always ends, with a report.
 */
import { DeadlineEntry } from './time/deadlines.js';
import type { LeaseHolder } from './errors.js';

export interface CloseOptions {
  /** How long leases may go on, in milliseconds; 0: cut them now. */
  readonly deadlineMs: number;
}

/** How a pool ended. */
export interface CloseReport {
  /** The id of the pool. */
  readonly poolId: string;
  /** From the first `close()` until the last connection was gone. */
  readonly waitedMs: number;
  /** Leases that came back in time. */
  readonly finished: number;
  /** Leases that were still out at the deadline; their connections were killed. */
  readonly cut: number;
  /** Waiters that were refused. */
  readonly refused: number;
  /** Who held the leases that were cut. */
  readonly holders: readonly LeaseHolder[];
}

export class Drain extends DeadlineEntry {
  readonly #startedAtMs: number;
  readonly #cut: (nowMs: number) => void;
  readonly report: Promise<CloseReport>;
  #resolve: ((report: CloseReport) => void) | undefined;
  #cutAtMs = Infinity;
  finished = 0;
  refused = 0;
  readonly holders: LeaseHolder[] = [];
  override readonly keepsProcessAlive = true;

  constructor(startedAtMs: number, cut: (nowMs: number) => void) {
    super();
    this.#startedAtMs = startedAtMs;
    this.#cut = cut;
    this.report = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Whether `atMs` is sooner than what was set before; if so, it is the deadline now. */
  bringForward(atMs: number): boolean {
    if (atMs >= this.#cutAtMs) return false;
    this.#cutAtMs = atMs;
    return true;
  }

  /** Whether the deadline has passed. */
  isDue(nowMs: number): boolean {
    return nowMs >= this.#cutAtMs;
  }

  override expire(nowMs: number): void {
    this.#cut(nowMs);
  }

  /** Hands out the report. @returns false when that has been done before. */
  settle(poolId: string, nowMs: number): boolean {
    if (this.#resolve === undefined) return false;
    this.#resolve({
      poolId,
      waitedMs: nowMs - this.#startedAtMs,
      finished: this.finished,
      cut: this.holders.length,
      refused: this.refused,
      holders: this.holders,
    });
    this.#resolve = undefined;
    return true;
  }
}
