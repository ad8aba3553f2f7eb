/**
 * How long ioredis waits before it connects again, unless the application says so itself.
 */
import { YOUNG_MS } from '../engine/probation.js';
import type { Clock } from '../engine/time/clock.js';
import { guarded, type ReportThrown } from './caller-code.js';

/** The pauses, in milliseconds: of the first attempt, and the longest. */
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 2_000;

/**
 * Doubles with every attempt up to the last; half of it at random, so that clients of many processes don't come back in
 * step.
 */
export function backoffMs(attempt: number, random: () => number): number {
  const fullMs = Math.min(FIRST_RETRY_MS * 2 ** (attempt - 1), LAST_RETRY_MS);
  return fullMs / 2 + (fullMs / 2) * random();
}

/**
 * The retry strategy of one client. ioredis counts attempts anew with every connection that became ready; a server that
 * drops what it accepts would be met by twenty connects a second. So a connection that is lost within {@link YOUNG_MS}
 * counts as one more failed attempt.
 */
export function clientBackoff(random: () => number, clock: Clock): (times: number) => number {
  let attempt = 0;
  let triedAtMs = -Infinity;
  return (times) => {
    const nowMs = clock.now();
    const hasDiedYoung = times === 1 && nowMs - triedAtMs < YOUNG_MS;
    attempt = times > 1 || hasDiedYoung ? attempt + 1 : 1;
    const pauseMs = backoffMs(attempt, random);
    triedAtMs = nowMs + pauseMs;
    return pauseMs;
  };
}

/** As ioredis has them: of clients, of clusters and their nodes, of sentinels. */
type RetryStrategy = (times: number, reason?: Error) => number | null | void;

/** The strategies by which a pool's clients connect again. */
export class RetryStrategies {
  /** The pool's own, as its clients show it in their options. */
  readonly own: (times: number) => number;
  readonly #random: () => number;
  readonly #clock: Clock;
  readonly #report: ReportThrown;

  constructor(random: () => number, clock: Clock, report: ReportThrown) {
    this.own = (times) => backoffMs(times, random);
    this.#random = random;
    this.#clock = clock;
    this.#report = report;
  }

  /** What one client gets for `strategy`: in place of the pool's own one that counts for it; a caller's guarded. */
  of(strategy: RetryStrategy, name: string): RetryStrategy {
    return strategy === this.own
      ? clientBackoff(this.#random, this.#clock)
      : guarded(strategy, name, this.#report, this.own);
  }
}
