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

/** A slot, as its probation sees it. */
export interface Probationer {
  /** Its entry, while it is on probation; the end of the slot takes it out of the deadlines. */
  probation: DeadlineEntry | undefined;
}

export class Probation<S extends Probationer> {
  readonly #deadlines: Deadlines;
  readonly #passed: (slot: S, nowMs: number) => void;

  /** @param passed is told when a slot's time is over; it is on probation no longer then. */
  constructor(deadlines: Deadlines, passed: (slot: S, nowMs: number) => void) {
    this.#deadlines = deadlines;
    this.#passed = passed;
  }

  /** Looks at `slot` again at `untilMs`, a reading of the clock. */
  add(slot: S, untilMs: number): void {
    slot.probation = new ProbationEntry((nowMs) => {
      slot.probation = undefined;
      this.#passed(slot, nowMs);
    });
    this.#deadlines.add(slot.probation, untilMs);
  }

  /** Its time is over: it has passed. */
  remove(slot: S): void {
    if (slot.probation === undefined) return;
    this.#deadlines.remove(slot.probation);
    slot.probation = undefined;
  }
}

class ProbationEntry extends DeadlineEntry {
  readonly #over: (nowMs: number) => void;
  override readonly keepsProcessAlive = false;

  constructor(over: (nowMs: number) => void) {
    super();
    this.#over = over;
  }

  override expire(nowMs: number): void {
    this.#over(nowMs);
  }
}
