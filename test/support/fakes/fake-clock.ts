/**
 * A clock that stands still until a test moves it.
 */
import type { Clock, TimerHandle } from '../../../lib/engine/time/clock.js';

interface FakeTimer extends TimerHandle {
  readonly dueAtMs: number;
  readonly order: number;
  readonly callback: () => void;
  referenced: boolean;
}

export class FakeClock implements Clock {
  #nowMs: number;
  #order = 0;
  readonly #timers = new Set<FakeTimer>();
  readonly #afterPoll: (() => void)[] = [];

  constructor(startAtMs = 0) {
    this.#nowMs = startAtMs;
  }

  now(): number {
    return this.#nowMs;
  }

  setTimer(callback: () => void, delayMs: number): TimerHandle {
    const timer: FakeTimer = {
      dueAtMs: this.#nowMs + Math.max(0, delayMs),
      order: this.#order++,
      callback,
      referenced: false,
      ref: () => {
        timer.referenced = true;
      },
      unref: () => {
        timer.referenced = false;
      },
      cancel: () => {
        this.#timers.delete(timer);
      },
    };
    this.#timers.add(timer);
    return timer;
  }

  afterPoll(callback: () => void): void {
    this.#afterPoll.push(callback);
  }

  /** Timers that are set, and those that would keep a process alive. */
  get pendingTimers(): number {
    return this.#timers.size;
  }
  get keepsProcessAlive(): boolean {
    return [...this.#timers].some((timer) => timer.referenced);
  }

  /** Lets `durationMs` pass, timer by timer in their order; promises settle in between. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs;
    await settle();
    await this.#runAfterPoll();
    for (let timer = this.#next(untilMs); timer !== undefined; timer = this.#next(untilMs)) {
      this.#nowMs = Math.max(this.#nowMs, timer.dueAtMs);
      await this.#fire(timer);
    }
    this.#nowMs = untilMs;
    await settle();
  }

  /**
   * Moves the time without running anything: what a blocked event loop does. The timers run with the next `advance`.
   */
  block(durationMs: number): void {
    this.#nowMs += durationMs;
  }

  /** Fires the timers that are due now, but holds back what waits for the poll phase until `poll` has run. */
  async unblock(poll: () => void): Promise<void> {
    for (let timer = this.#next(this.#nowMs); timer !== undefined; timer = this.#next(this.#nowMs)) {
      this.#timers.delete(timer);
      timer.callback();
    }
    poll();
    await settle();
    await this.#runAfterPoll();
  }

  #next(untilMs: number): FakeTimer | undefined {
    let next: FakeTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.dueAtMs > untilMs) continue;
      if (
        next === undefined ||
        timer.dueAtMs < next.dueAtMs ||
        (timer.dueAtMs === next.dueAtMs && timer.order < next.order)
      )
        next = timer;
    }
    return next;
  }

  async #fire(timer: FakeTimer): Promise<void> {
    this.#timers.delete(timer);
    timer.callback();
    await settle();
    await this.#runAfterPoll();
  }

  async #runAfterPoll(): Promise<void> {
    for (const callback of this.#afterPoll.splice(0)) callback();
    await settle();
  }
}

/** Lets every promise that can settle do so. Node runs all microtasks before a setImmediate callback. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
