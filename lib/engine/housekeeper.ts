/**
 * Recurring work of a pool on its coarse clock: idle time-outs, lifetimes, keepalive, leak reports, running charges.
 */
import { DeadlineEntry, TICK_MS, type Deadlines } from './deadlines.js';

export class RecurringTask extends DeadlineEntry {
  readonly #deadlines: Deadlines;
  readonly #run: (nowMs: number) => boolean;
  /** Milliseconds between two runs. */
  periodMs: number;
  override readonly keepsProcessAlive = false;

  /** @param run does the work; false: not again until the next `wake`. */
  constructor(deadlines: Deadlines, periodMs: number, run: (nowMs: number) => boolean) {
    super();
    this.#deadlines = deadlines;
    this.periodMs = periodMs;
    this.#run = run;
  }

  /** Sees to it that the work is done one period from now at the latest. */
  wake(nowMs: number): void {
    if (this.dueTick < 0) this.#deadlines.add(this, nowMs + this.periodMs);
  }

  stop(): void {
    this.#deadlines.remove(this);
  }

  override expire(nowMs: number): void {
    let again = true;
    try {
      again = this.#run(nowMs);
    } finally {
      if (again) this.#deadlines.add(this, nowMs + this.periodMs);
    }
  }
}

/** Longest pause between two looks at the idle connections. */
const LONGEST_PAUSE_MS = 1_000;

/** A pause that notices each of these durations (0: off) within a quarter of it. */
export function housekeepingPeriodMs(...durationsMs: readonly number[]): number {
  const shortest = Math.min(...durationsMs.filter((duration) => duration > 0), LONGEST_PAUSE_MS * 4);
  return Math.max(TICK_MS, shortest / 4);
}
