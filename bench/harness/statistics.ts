/**
 * Figures made of many values.
 */

/** The value that the share `q` of all values doesn't exceed (nearest rank); `NaN` when there are none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))] ?? Number.NaN;
}

/** Jain's index of fairness: 1 when all have the same, 1/n when one has everything. */
export function jainIndex(values: readonly number[]): number {
  let sum = 0;
  let squares = 0;
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  return sum ** 2 / (values.length * squares);
}
