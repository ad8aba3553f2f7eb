/**
 * Durations by their size: what they were on average, at most, and how many were longer than what.
 *
 * Log-linear buckets, as in Gil Tene's HdrHistogram: 64 of equal width for each power of two, so that a percentile is
 * known to within 1 % at any size. Recording is some arithmetic and one addition; the histograms of
 * `node:perf_hooks` cost ten times that, twice an acquire, which is a fifth of it (bench/README.md).
 */

/** Microseconds in a millisecond: buckets are for whole numbers. */
const US = 1_000;
/** Longest duration that is told apart: one hour. */
const LONGEST_US = 3_600_000_000;
/** Below 2 × 64 µs every microsecond has a bucket of its own. */
const BUCKETS_A_DOUBLING = 64;
const LOG2_BUCKETS = Math.log2(BUCKETS_A_DOUBLING);

export class DurationHistogram {
  readonly #buckets = new Float64Array(bucketOf(LONGEST_US) + 1);
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;

  /** Durations recorded. */
  get count(): number {
    return this.#count;
  }

  /** 0 when nothing was recorded. */
  get meanMs(): number {
    return this.#count === 0 ? 0 : this.#sumMs / this.#count;
  }

  /** All durations together. */
  get sumMs(): number {
    return this.#sumMs;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  /** Adds a duration in milliseconds. */
  record(durationMs: number): void {
    const us = durationMs * US;
    const bucket = bucketOf(us < LONGEST_US ? us : LONGEST_US);
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
    this.#count++;
    this.#sumMs += durationMs;
    if (durationMs > this.#maxMs) this.#maxMs = durationMs;
  }

  /** What the share `percent` (0 to 100) of all durations didn't exceed, to within 1 %; 0 when nothing was recorded. */
  percentileMs(percent: number): number {
    const rank = Math.max(1, Math.ceil((percent / 100) * this.#count));
    let seen = 0;
    for (const [bucket, count] of this.#buckets.entries()) {
      seen += count;
      if (seen >= rank) return Math.min(middleOf(bucket) / US, this.#maxMs);
    }
    return this.#maxMs;
  }

  /**
   * How many durations were at most as long as each bound; the histogram of an exporter. A duration that equals a bound
   * is always counted with it. So are durations up to 1/64 above the bound, because the bucket that the bound lies in
   * is counted as a whole.
   *
   * @param boundsMs in milliseconds, ascending.
   */
  countsAtMost(boundsMs: readonly number[]): number[] {
    let next = 0;
    let seen = 0;
    return boundsMs.map((boundMs) => {
      const last = bucketOf(Math.min(boundMs * US, LONGEST_US));
      for (; next <= last; next++) seen += this.#buckets[next] ?? 0;
      return seen;
    });
  }
}

function bucketOf(us: number): number {
  const whole = us >>> 0;
  const shift = 31 - LOG2_BUCKETS - Math.clz32(whole | BUCKETS_A_DOUBLING);
  return shift * BUCKETS_A_DOUBLING + (whole >>> shift);
}

/** The middle of a bucket, in microseconds. */
function middleOf(bucket: number): number {
  const shift = Math.max(0, Math.floor(bucket / BUCKETS_A_DOUBLING) - 1);
  const least = (bucket - shift * BUCKETS_A_DOUBLING) * 2 ** shift;
  return least + 2 ** shift / 2;
}
