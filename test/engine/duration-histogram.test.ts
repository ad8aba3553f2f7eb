import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { DurationHistogram } from '../../lib/engine/duration-histogram.js';

/** What the share of all values doesn't exceed (nearest rank). */
function exact(sorted: readonly number[], percent: number): number {
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0;
}

describe('a histogram of durations', () => {
  it('says nothing took any time before anything was recorded', () => {
    const histogram = new DurationHistogram();
    expect([histogram.count, histogram.meanMs, histogram.maxMs, histogram.percentileMs(99)]).toEqual([0, 0, 0, 0]);
  });

  it('tells count, mean and maximum exactly and percentiles to within 1 %, from a microsecond to an hour', () => {
    const durationsMs = fc.array(fc.double({ min: 0.001, max: 3_600_000, noNaN: true }), {
      minLength: 1,
      maxLength: 200,
    });
    fc.assert(
      fc.property(durationsMs, fc.constantFrom(1, 50, 95, 99, 100), (values, percent) => {
        const histogram = new DurationHistogram();
        for (const value of values) histogram.record(value);
        const sorted = [...values].sort((a, b) => a - b);
        expect(histogram.count).toBe(values.length);
        expect(histogram.maxMs).toBe(sorted.at(-1));
        expect(histogram.meanMs).toBeCloseTo(values.reduce((a, b) => a + b, 0) / values.length, 3);
        const wanted = exact(sorted, percent);
        // Below 128 microseconds a bucket is a whole microsecond wide.
        const tolerance = Math.max(0.01 * wanted, 0.001);
        expect(Math.abs(histogram.percentileMs(percent) - wanted)).toBeLessThanOrEqual(tolerance);
      }),
      { numRuns: 500 },
    );
  });

  it('counts what took longer than an hour with the longest', () => {
    const histogram = new DurationHistogram();
    histogram.record(3 * 3_600_000);
    expect(histogram.count).toBe(1);
    expect(histogram.maxMs).toBe(3 * 3_600_000);
    expect(histogram.percentileMs(50)).toBeGreaterThanOrEqual(3_550_000);
  });

  it('counts as many at or below each bound as there were, and none that is more than 1/64 longer', () => {
    const durationsMs = fc.array(fc.double({ min: 0, max: 3_600_000, noNaN: true }), { maxLength: 200 });
    const boundsMs = fc.uniqueArray(fc.double({ min: 0.01, max: 4_000_000, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(durationsMs, boundsMs, (values, unsorted) => {
        const histogram = new DurationHistogram();
        for (const value of values) histogram.record(value);
        const bounds = [...unsorted].sort((a, b) => a - b);
        const counts = histogram.countsAtMost(bounds);
        for (const [index, boundMs] of bounds.entries()) {
          const count = counts[index] ?? NaN;
          expect(count).toBeGreaterThanOrEqual(values.filter((value) => value <= boundMs).length);
          // Below 128 microseconds a bucket is a whole microsecond wide.
          const longestMs = Math.max(boundMs * (1 + 1 / 64), boundMs + 0.001);
          expect(count).toBeLessThanOrEqual(values.filter((value) => value <= longestMs).length);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('counts what took exactly as long as a bound with that bound, and tells the sum', () => {
    const histogram = new DurationHistogram();
    for (const durationMs of [1, 5, 5, 25, 10_000]) histogram.record(durationMs);
    expect(histogram.countsAtMost([0.5, 1, 5, 10, 25, 10_000])).toEqual([0, 1, 3, 3, 4, 5]);
    expect(histogram.sumMs).toBe(10_036);
  });

  it('counts all that took longer than an hour at the bound of an hour and above it', () => {
    const histogram = new DurationHistogram();
    histogram.record(3 * 3_600_000);
    expect(histogram.countsAtMost([3_000_000, 3_600_000, Infinity])).toEqual([0, 1, 1]);
  });
});
