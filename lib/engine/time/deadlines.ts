/**
 * The one coarse clock of a pool: every deadline in it shares one timer.
 *
 * A hashed timing wheel (Varghese & Lauck, 1987) for what is due within its span of ten seconds; what is due later
 * waits in a list apart, which is looked through once in half a span at most. Adding and removing cost O(1), because an
 * entry knows its place. The entries of a slot are in an array, not in a list: through it the garbage collector finds
 * many of them at once instead of one after the other.
 *
 * Promise: an entry expires within {@link TICK_MS} after its due time, never before it, at most once, and never after
 * `remove`. When the event loop was blocked, what has already arrived is delivered first. The timer is set for the next
 * entry that is due, however far away that is: nothing wakes the process in between. The cost of a clock that jumps
 * does not depend on how far it jumps.
 */
import { runOutside } from '../outside-context.js';
import type { Clock, TimerHandle } from './clock.js';

/** Resolution of every deadline, in milliseconds. */
export const TICK_MS = 10;

const SLOTS = 1024;
const MASK = SLOTS - 1;
/** Entries move from the list into the wheel this many ticks before they are due. */
const MOVE_AHEAD = SLOTS / 2;

/** Something with a due time. Extend it, so that a deadline costs no object of its own. */
export abstract class DeadlineEntry {
  /** @internal When it is due, and its place among those that are due with it; owned by {@link Deadlines}. */
  dueTick = -1;
  /** @internal */
  duePlace = -1;
  /** @internal Whether it is too far away for the wheel. */
  dueFar = false;

  /** Whether the process must stay alive until this is due or removed. */
  abstract get keepsProcessAlive(): boolean;

  /** Called once, after the due time. */
  abstract expire(nowMs: number): void;
}

/** What isn't a duration (NaN, less than nothing) is no time at all: something that never ended would be worse. */
export function durationOf(ms: number): number {
  return ms > 0 ? ms : 0;
}

export class Deadlines {
  readonly clock: Clock;
  readonly #originMs: number;
  /** What is due within the next SLOTS ticks: every entry of a slot is due in the same tick. */
  readonly #slots: DeadlineEntry[][] = Array.from({ length: SLOTS }, () => []);
  readonly #far: DeadlineEntry[] = [];
  /** No entry of #far is due before. */
  #farTick = Infinity;
  #doneTick = 0;
  #pending = 0;
  #keepingAlive = 0;
  #timer: TimerHandle | undefined;
  #armedTick = Infinity;

  constructor(clock: Clock) {
    this.clock = clock;
    this.#originMs = clock.now();
  }

  /** Entries that have neither expired nor been removed. */
  get pending(): number {
    return this.#pending;
  }

  /**
   * Lets `entry` expire at `dueAtMs` (a reading of the clock). An entry that is in already is moved. `Infinity`: never;
   * what is no time at all (NaN) has passed already.
   */
  add(entry: DeadlineEntry, dueAtMs: number): void {
    if (entry.dueTick >= 0) this.remove(entry);
    if (this.#pending === 0) this.#catchUp();
    const earliestTick = this.#doneTick + 1;
    const dueTick = Math.ceil((dueAtMs - this.#originMs) / TICK_MS);
    const tick = dueTick > earliestTick ? dueTick : earliestTick;
    this.#link(entry, tick);
    this.#pending++;
    if (tick < this.#armedTick || this.#timer === undefined) this.#arm(tick);
    if (entry.keepsProcessAlive && ++this.#keepingAlive === 1) this.#timer?.ref();
  }

  /** Takes `entry` out; without effect when it isn't in. */
  remove(entry: DeadlineEntry): void {
    if (entry.dueTick < 0) return;
    this.#unlink(entry);
    this.#pending--;
    if (this.#pending === 0) this.#farTick = Infinity;
    if (entry.keepsProcessAlive && --this.#keepingAlive === 0) this.#timer?.unref();
  }

  /** Nothing is pending: the ticks since then need no looking at. */
  #catchUp(): void {
    this.#doneTick = Math.max(this.#doneTick, this.#tickBefore(this.clock.now()));
  }

  #link(entry: DeadlineEntry, tick: number): void {
    entry.dueTick = tick;
    entry.dueFar = tick > this.#doneTick + SLOTS;
    if (entry.dueFar && tick < this.#farTick) this.#farTick = tick;
    const slot = this.#listOf(entry);
    entry.duePlace = slot.length;
    slot.push(entry);
  }

  #unlink(entry: DeadlineEntry): void {
    const slot = this.#listOf(entry);
    const last = slot.pop();
    if (last !== undefined && last !== entry) {
      slot[entry.duePlace] = last;
      last.duePlace = entry.duePlace;
    }
    entry.dueTick = -1;
  }

  #listOf(entry: DeadlineEntry): DeadlineEntry[] {
    return entry.dueFar ? this.#far : this.#slotOf(entry.dueTick);
  }

  #slotOf(tick: number): DeadlineEntry[] {
    return this.#slots[tick & MASK] ?? [];
  }

  #tickBefore(nowMs: number): number {
    return Math.floor((nowMs - this.#originMs) / TICK_MS);
  }

  #arm(tick: number): void {
    this.#timer?.cancel();
    this.#armedTick = tick;
    const delayMs = Math.max(0, this.#originMs + tick * TICK_MS - this.clock.now());
    // A timer inherits the async context that sets it: without runOutside, a caller's.
    this.#timer = runOutside(() => this.clock.setTimer(this.#onTick, delayMs));
    if (this.#keepingAlive > 0) this.#timer.ref();
  }

  readonly #onTick = (): void => {
    this.#timer = undefined;
    this.#armedTick = Infinity;
    // After a blocked loop the replies that free slots are already in the sockets: read them before deciding.
    this.clock.afterPoll(this.#expireDue);
  };

  readonly #expireDue = (): void => {
    const nowMs = this.clock.now();
    const nowTick = this.#tickBefore(nowMs);
    const due: DeadlineEntry[] = [];
    const lastSlotTick = Math.min(nowTick, this.#doneTick + SLOTS);
    for (let tick = this.#doneTick + 1; tick <= lastSlotTick; tick++) {
      for (const entry of this.#slotOf(tick)) if (entry.dueTick <= nowTick) due.push(entry);
    }
    if (this.#farTick <= nowTick) {
      const fromWheel = due.length;
      for (const entry of this.#far) if (entry.dueTick <= nowTick) due.push(entry);
      if (due.length > fromWheel) due.sort((a, b) => a.dueTick - b.dueTick);
    }
    this.#doneTick = Math.max(this.#doneTick, nowTick);
    this.#expireAll(due, nowTick, nowMs);
  };

  /** An expiry that throws is an uncaught exception, as in any timer; those behind it are due all the same. */
  #expireAll(due: readonly DeadlineEntry[], nowTick: number, nowMs: number): void {
    for (const [index, entry] of due.entries()) {
      // One expiry may have removed, or moved into the future, another that was due with it.
      if (entry.dueTick < 0 || entry.dueTick > nowTick) continue;
      this.remove(entry);
      try {
        entry.expire(nowMs);
      } catch (error) {
        this.clock.afterPoll(() => this.#expireAll(due.slice(index + 1), nowTick, nowMs));
        throw error;
      }
    }
    this.#armNext();
  }

  #armNext(): void {
    if (this.#pending === 0) return;
    if (this.#farTick <= this.#doneTick + MOVE_AHEAD) this.#moveIntoWheel();
    const tick = this.#nextTick();
    if (tick < this.#armedTick || this.#timer === undefined) this.#arm(tick);
  }

  /** No entry is due before. */
  #nextTick(): number {
    // What was too far away when it was added may be due before what is in the wheel.
    const lastTick = Math.min(this.#doneTick + SLOTS, this.#farTick - 1);
    for (let tick = this.#doneTick + 1; tick <= lastTick; tick++) {
      if (this.#slotOf(tick).length > 0) return tick;
    }
    return this.#farTick;
  }

  /** Those that the wheel has come near to. The others are too far away for the next half of its span. */
  #moveIntoWheel(): void {
    const far = this.#far.splice(0);
    this.#farTick = Infinity;
    for (const entry of far) this.#link(entry, entry.dueTick);
  }
}
