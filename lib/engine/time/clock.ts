/**
 * Time as the engine sees it. Injected, so that tests decide when it passes.
 */
import { performance } from 'node:perf_hooks';

// How long this process has been running: the same reading as `performance.now()`, without the check of the receiver in
// front of it, which costs an acquire and its release a tenth.
const { nodeTiming } = performance;

/** One timer of a {@link Clock}. */
export interface TimerHandle {
  /** While referenced, a pending timer keeps the process alive. */
  ref(): void;
  /** While unreferenced, a pending timer lets the process end. */
  unref(): void;
  /** The callback is not called any more. Harmless when it has been called already. */
  cancel(): void;
}

/** Where a pool takes its time from. A test may bring its own. */
export interface Clock {
  /** Monotonic milliseconds, with fractions; the origin is arbitrary. */
  now(): number;
  /** Runs `callback` once, not before `delayMs` have passed. Starts unreferenced: it doesn't keep the process alive. */
  setTimer(callback: () => void, delayMs: number): TimerHandle;
  /** Runs `callback` after the event loop has delivered the I/O that had already arrived. */
  afterPoll(callback: () => void): void;
}

/** The longest delay of `setTimeout`, in milliseconds: beyond it Node fires at once. Some 24.8 days. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The process's own clock; a timer of more than 24.8 days runs after that time. */
export const systemClock: Clock = {
  now: () => nodeTiming.duration,
  setTimer(callback, delayMs) {
    // Beyond what setTimeout can take it would run at once.
    const timeout = setTimeout(callback, Math.min(delayMs, LONGEST_TIMER_MS)).unref();
    return {
      ref: () => void timeout.ref(),
      unref: () => void timeout.unref(),
      cancel: () => clearTimeout(timeout),
    };
  },
  afterPoll(callback) {
    setImmediate(callback);
  },
};

/** Wall-clock epoch milliseconds of a monotonic reading of {@link systemClock}. */
export function epochMs(monotonicMs: number): number {
  return performance.timeOrigin + monotonicMs;
}
