/**
 * One deadline for all waiters with the same time-out: they came one after the other, so the first in line is due
 * first, and no other deadline needs looking at.
 *
 * Joining costs a place in an array, leaving the emptying of it, wherever in the line it is; no tick of the clock is
 * worked out for either. Through that array the garbage collector also finds a hundred thousand waiters at once,
 * instead of one after the other along their queue. Promise: each entry expires within a tick of the clock
 * after its due time, never before it, at most once, and never after `remove`.
 */
import { DeadlineEntry, type Deadlines, durationOf } from './deadlines.js';

/** An entry of the line. */
export interface InLine {
  /** Reading of the clock; those who join later have none that is earlier. */
  readonly enqueuedAtMs: number;
  /** @internal Place in the line; owned by {@link SharedDeadline}. */
  place: number;
}

/** Places of a line with few entries. A power of two, as all lengths are. */
const FEWEST_PLACES = 64;

export class SharedDeadline<W extends InLine> extends DeadlineEntry {
  readonly #deadlines: Deadlines;
  readonly #expired: (waiter: W, nowMs: number) => void;
  #timeoutMs: number;
  /**
   * A circular buffer: those in line stand in their order from #first on, among the empty places of those who have
   * left.
   */
  #places: (W | undefined)[] = emptyPlaces(FEWEST_PLACES);
  #first = 0;
  /** From the first in line to the last, empty places included. */
  #span = 0;
  #size = 0;
  override readonly keepsProcessAlive = true;

  constructor(deadlines: Deadlines, timeoutMs: number, expired: (waiter: W, nowMs: number) => void) {
    super();
    this.#deadlines = deadlines;
    this.#timeoutMs = durationOf(timeoutMs);
    this.#expired = expired;
  }

  /** Another time-out, for those who wait already too. */
  set timeoutMs(timeoutMs: number) {
    this.#timeoutMs = durationOf(timeoutMs);
    this.#arm();
  }

  add(waiter: W): void {
    if (this.#span === this.#places.length) this.#makeRoom();
    const place = (this.#first + this.#span) & (this.#places.length - 1);
    this.#places[place] = waiter;
    waiter.place = place;
    this.#span++;
    if (this.#size++ === 0) this.#arm();
  }

  remove(waiter: W): void {
    this.#places[waiter.place] = undefined;
    waiter.place = -1;
    this.#size--;
    if (this.#size === 0) return this.#empty();
    while (this.#places[this.#first] === undefined) {
      this.#first = (this.#first + 1) & (this.#places.length - 1);
      this.#span--;
    }
  }

  /** The due time of an entry that was once the first: the first entry now may be due later. */
  override expire(nowMs: number): void {
    try {
      for (let first = this.#places[this.#first]; first !== undefined; first = this.#places[this.#first]) {
        if (first.enqueuedAtMs + this.#timeoutMs > nowMs) return;
        this.#expired(first, nowMs);
      }
    } finally {
      this.#arm();
    }
  }

  #arm(): void {
    const first = this.#places[this.#first];
    if (first !== undefined) this.#deadlines.add(this, first.enqueuedAtMs + this.#timeoutMs);
  }

  #empty(): void {
    this.#deadlines.remove(this);
    this.#first = 0;
    this.#span = 0;
    // What a burst needed is not kept for ever.
    if (this.#places.length > FEWEST_PLACES) this.#places = emptyPlaces(FEWEST_PLACES);
  }

  /**
   * Moves those in line together, into twice to four times the places that they take: so many more can join before it
   * is to be done again that it costs each of them little.
   */
  #makeRoom(): void {
    const places = emptyPlaces<W>(Math.max(FEWEST_PLACES, 2 ** Math.ceil(Math.log2(2 * this.#size))));
    let place = 0;
    for (let step = 0; step < this.#span; step++) {
      const waiter = this.#places[(this.#first + step) & (this.#places.length - 1)];
      if (waiter === undefined) continue;
      places[place] = waiter;
      waiter.place = place++;
    }
    this.#places = places;
    this.#first = 0;
    this.#span = place;
  }
}

function emptyPlaces<W>(count: number): (W | undefined)[] {
  return new Array<W | undefined>(count).fill(undefined);
}
