/**
 * How long a connection may live.
 */
import type { PoolLimits } from './limits.js';

/** Share of the maximum lifetime that is taken off at random, so that connections don't all go at once. */
const LIFETIME_JITTER = 0.025;

/** The lifetime of one connection, in milliseconds. @param random numbers in [0, 1). */
export function lifetimeMs({ maxLifetimeMs }: PoolLimits, random: () => number): number {
  return maxLifetimeMs === 0 ? Infinity : maxLifetimeMs * (1 - LIFETIME_JITTER * random());
}
