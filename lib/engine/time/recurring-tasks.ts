/**
 * Work of a pool on its coarse clock that isn't asked for by anyone: idle time-outs, lifetimes, keepalive, leak
 * reports, running charges.
 */
import { DeadlineEntry, type Deadlines } from './deadlines.js';

/** Work that is done again and again, with the same pause in between, until there is none. */
export class RecurringTask extends DeadlineEntry {
  readonly #deadlines: Deadlines;
  readonly #run: (nowMs: number) => boolean;
  readonly #periodMs: number;
  override readonly keepsProcessAlive = false;

  /** @param run does the work; false: not again until the next `wake`. */
  constructor(deadlines: Deadlines, periodMs: number, run: (nowMs: number) => boolean) {
    super();
    this.#deadlines = deadlines;
    this.#periodMs = periodMs;
    this.#run = run;
  }

  /** Sees to it that the work is done one period from now at the latest. */
  wake(nowMs: number): void {
    if (this.dueTick < 0) this.#deadlines.add(this, nowMs + this.#periodMs);
  }

  stop(): void {
    this.#deadlines.remove(this);
  }

  override expire(nowMs: number): void {
    let again = true;
    try {
      again = this.#run(nowMs);
    } finally {
      if (again) this.#deadlines.add(this, nowMs + this.#periodMs);
    }
  }
}

/** Work whose next due time is known: a pool with nothing to keep sets no timer. */
export class DueTask extends DeadlineEntry {
  readonly #deadlines: Deadlines;
  readonly #run: (nowMs: number) => number;
  /** When it runs next; a reading of the clock. */
  dueAtMs = Infinity;
  override readonly keepsProcessAlive = false;

  /**
   * @param run does what is due and returns when there will be more to do; `Infinity`: not before the next call of
   * `by`.
   */
  constructor(deadlines: Deadlines, run: (nowMs: number) => number) {
    super();
    this.#deadlines = deadlines;
    this.#run = run;
  }

  /** Sees to it that it runs at `atMs` at the latest. */
  by(atMs: number): void {
    if (atMs >= this.dueAtMs) return;
    this.dueAtMs = atMs;
    this.#deadlines.add(this, atMs);
  }

  stop(): void {
    this.dueAtMs = Infinity;
    this.#deadlines.remove(this);
  }

  override expire(nowMs: number): void {
    this.dueAtMs = Infinity;
    this.by(this.#run(nowMs));
  }
}
