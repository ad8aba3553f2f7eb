/**
 * A single deadline that is as patient as {@link Deadlines} are, for where there is no pool whose clock could be
 * shared: when its time has come, what has already arrived is delivered first, and may still cancel it.
 *
 * A plain timer fires before the poll phase. After the event loop was blocked, it would give up what was answered in
 * time.
 */
import { runOutside } from '../outside-context.js';
import type { Clock, TimerHandle } from './clock.js';

/**
 * Calls `expired` once, outside every caller's context, after `delayMs` and one poll phase; unless it is cancelled
 * before. Starts unreferenced. What isn't a duration (NaN, less than nothing) is no time at all; `Infinity`: never.
 *
 * @param expired is told by how many milliseconds the timer came late: for so long, at least, the event loop was
 * blocked.
 */
export function setDeadline(clock: Clock, expired: (lateByMs: number) => void, delayMs: number): TimerHandle {
  return new LateTimer(clock, expired, delayMs > 0 ? delayMs : 0);
}

class LateTimer implements TimerHandle {
  readonly #clock: Clock;
  readonly #expired: (lateByMs: number) => void;
  readonly #dueAtMs: number;
  #timer: TimerHandle;
  #referenced = false;
  #over = false;

  constructor(clock: Clock, expired: (lateByMs: number) => void, delayMs: number) {
    this.#clock = clock;
    this.#expired = expired;
    this.#dueAtMs = clock.now() + delayMs;
    this.#timer = this.#set(delayMs);
  }

  ref(): void {
    this.#referenced = true;
    this.#timer.ref();
  }

  unref(): void {
    this.#referenced = false;
    this.#timer.unref();
  }

  cancel(): void {
    this.#over = true;
    this.#timer.cancel();
  }

  #set(delayMs: number): TimerHandle {
    const timer = runOutside(() => this.#clock.setTimer(this.#onTimer, delayMs));
    if (this.#referenced) timer.ref();
    return timer;
  }

  readonly #onTimer = (): void => {
    const lateByMs = this.#clock.now() - this.#dueAtMs;
    // A delay beyond the range of a timer is waited for in parts. The fractions of a millisecond are the clock's.
    if (lateByMs < -1) {
      this.#timer = this.#set(-lateByMs);
      return;
    }
    this.#clock.afterPoll(() => {
      if (this.#over) return;
      this.#over = true;
      this.#expired(lateByMs);
    });
  };
}
