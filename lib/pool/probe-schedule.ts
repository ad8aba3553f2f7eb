/**
 * When a pool's next probe comes.
 *
 * Promise: it comes outside any tenant's context, and its timer keeps no process alive.
 */
import { runOutside } from '../engine/outside-context.js';
import type { Clock, TimerHandle } from '../engine/time/clock.js';

/**
 * A pool that isn't well is probed ten times as often, but not more than once a second (unless its interval is shorter
 * still).
 */
const FASTER = 10;
const FASTEST_INTERVAL_MS = 1_000;

/**
 * Scheduled probes come up to this share of their interval early or late, so that pools and processes don't probe in
 * step.
 */
const JITTER = 0.1;
/** Those of a pool that isn't well more so: an outage is what puts many processes in step. */
const FASTER_JITTER = 0.5;

export interface ProbeScheduleOptions {
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** Time between two probes; 0: no probes. */
  readonly intervalMs: number;
}

export class ProbeSchedule {
  readonly #options: ProbeScheduleOptions;
  readonly #probe: () => void;
  #timer: TimerHandle | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;

  constructor(options: ProbeScheduleOptions, probe: () => void) {
    this.#options = options;
    this.#probe = probe;
  }

  /** Puts the next probe where the present status wants it, never later than it already was to come. */
  schedule(isHealthy: boolean): void {
    const { clock, random, intervalMs } = this.#options;
    if (intervalMs <= 0) return;
    const fasterMs = Math.min(intervalMs, Math.max(FASTEST_INTERVAL_MS, intervalMs / FASTER));
    const jitter = isHealthy ? JITTER : FASTER_JITTER;
    const delayMs = (isHealthy ? intervalMs : fasterMs) * (1 - jitter + 2 * jitter * random());
    const dueAtMs = clock.now() + delayMs;
    if (this.#timer !== undefined) {
      if (this.#dueAtMs <= dueAtMs) return;
      this.#timer.cancel();
    }
    this.#dueAtMs = dueAtMs;
    this.#timer = runOutside(() =>
      clock.setTimer(() => {
        this.#timer = undefined;
        this.#probe();
      }, delayMs),
    );
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
