/**
 * How long ioredis waits before it connects again, unless the application says so itself.
 */
import { YOUNG_MS } from '../engine/probation.js';
import { type Clock, systemClock } from '../engine/time/clock.js';

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
export function clientBackoff(random: () => number, clock: Clock = systemClock): (times: number) => number {
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
