/**
 * A histogram's summary, in milliseconds.
 */
import type { RecordableHistogram } from 'node:perf_hooks';

export interface DurationStats {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

const US_PER_MS = 1_000;

/**
 * Summarises a histogram of microseconds.
 *
 * @param zeros further events that took no time at all and were counted instead of being recorded.
 */
export function durationStats(histogram: RecordableHistogram, zeros = 0): DurationStats {
  const recorded = histogram.count;
  const count = recorded + zeros;
  if (recorded === 0) return { count, meanMs: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 };
  const percentileMs = (percent: number): number => {
    const rank = (percent / 100) * count;
    if (rank <= zeros) return 0;
    return histogram.percentile(Math.min(100, ((rank - zeros) / recorded) * 100)) / US_PER_MS;
  };
  return {
    count,
    meanMs: (histogram.mean * recorded) / count / US_PER_MS,
    p50Ms: percentileMs(50),
    p95Ms: percentileMs(95),
    p99Ms: percentileMs(99),
    maxMs: histogram.max / US_PER_MS,
  };
}
