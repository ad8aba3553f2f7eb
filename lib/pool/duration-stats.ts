/**
 * A histogram's summary, in milliseconds.
 */
import type { DurationHistogram } from '../engine/duration-histogram.js';

/** How long something took, over all the times that it was measured. 0 where it never was. */
export interface DurationStats {
  /** How often it was measured. */
  readonly count: number;
  /** The mean, in milliseconds. */
  readonly meanMs: number;
  /** Half took no longer, in milliseconds. */
  readonly p50Ms: number;
  /** 95 % took no longer, in milliseconds. */
  readonly p95Ms: number;
  /** 99 % took no longer, in milliseconds. */
  readonly p99Ms: number;
  /** The longest, in milliseconds. */
  readonly maxMs: number;
}

/**
 * Summarises a histogram.
 *
 * @param zeros further events that took no time at all and were counted instead of being recorded.
 */
export function durationStats(histogram: DurationHistogram, zeros = 0): DurationStats {
  const recorded = histogram.count;
  const count = recorded + zeros;
  if (recorded === 0) return { count, meanMs: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 };
  const percentileMs = (percent: number): number => {
    const rank = (percent / 100) * count;
    if (rank <= zeros) return 0;
    return histogram.percentileMs(Math.min(100, ((rank - zeros) / recorded) * 100));
  };
  return {
    count,
    meanMs: (histogram.meanMs * recorded) / count,
    p50Ms: percentileMs(50),
    p95Ms: percentileMs(95),
    p99Ms: percentileMs(99),
    maxMs: histogram.maxMs,
  };
}
