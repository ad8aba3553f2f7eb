/**
 * New connections that have yet to show that they are of use.
 *
 * A backend may accept a connection and drop it at once: a proxy without a healthy upstream, a server that shuts down.
 * Until a connection has served a lease, answered a ping or stayed alive for {@link SETTLE_MS}, no observer is told
 * that the backend is there; a connection that dies within {@link YOUNG_MS} is a failed connect.
 */
import { DeadlineEntry, type Deadlines } from './time/deadlines.js';

/** How long a connection stays alive that isn't dropped at once, in milliseconds. */
export const SETTLE_MS = 50;
/** A connection that dies by itself within this time is a failed connect, in milliseconds. */
export const YOUNG_MS = 1_000;

export class Probation<S> {
  readonly #deadlines: Deadlines;
  readonly #passed: (slot: S, nowMs: number) => void;
  readonly #entries = new Map<S, ProbationEntry<S>>();

  /** @param passed is told when a slot's time is over; it is on probation no longer then. */
  constructor(deadlines: Deadlines, passed: (slot: S, nowMs: number) => void) {
    this.#deadlines = deadlines;
    this.#passed = passed;
  }

  /** Looks at `slot` again at `untilMs`, a reading of the clock. */
  add(slot: S, untilMs: number): void {
    const entry = new ProbationEntry(slot, (nowMs) => {
      this.#entries.delete(slot);
      this.#passed(slot, nowMs);
    });
    this.#entries.set(slot, entry);
    this.#deadlines.add(entry, untilMs);
  }

  /** Its time is over: it has passed or failed. */
  remove(slot: S): void {
    const entry = this.#entries.get(slot);
    if (entry === undefined) return;
    this.#entries.delete(slot);
    this.#deadlines.remove(entry);
  }
}

class ProbationEntry<S> extends DeadlineEntry {
  readonly slot: S;
  readonly #over: (nowMs: number) => void;
  override readonly keepsProcessAlive = false;

  constructor(slot: S, over: (nowMs: number) => void) {
    super();
    this.slot = slot;
    this.#over = over;
  }

  override expire(nowMs: number): void {
    this.#over(nowMs);
  }
}
