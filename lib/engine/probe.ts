/**
 * A health probe that found no idle connection and waits for one, ahead of the queue.
 */
import { DeadlineEntry } from './time/deadlines.js';

/**
 * `alive`: a connection answered. `recent`: none was free, but one has proved itself within the interval.
 * `saturated`: none came free in time, though some are in use.
 */
export type ProbeOutcome = 'alive' | 'recent' | 'saturated';

export interface ProbeOptions {
  /** How long the whole probe may take. */
  readonly timeoutMs: number;
  /** A success on any connection no longer ago than this counts, when none is idle. */
  readonly recentMs: number;
}

export class WaitingProbe extends DeadlineEntry {
  readonly outcome: Promise<ProbeOutcome>;
  readonly dueAtMs: number;
  readonly timeoutMs: number;
  readonly #expired: (probe: WaitingProbe) => void;
  #resolve: (outcome: ProbeOutcome) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;
  override readonly keepsProcessAlive = false;

  constructor(nowMs: number, timeoutMs: number, expired: (probe: WaitingProbe) => void) {
    super();
    this.dueAtMs = nowMs + timeoutMs;
    this.timeoutMs = timeoutMs;
    this.#expired = expired;
    this.outcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  override expire(): void {
    this.#expired(this);
  }

  settle(outcome: ProbeOutcome): void {
    this.#resolve(outcome);
  }

  fail(error: Error): void {
    this.#reject(error);
  }
}
