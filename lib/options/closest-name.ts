/**
 * Finds the name that a misspelt one was meant to be, for "did you mean …?".
 *
 * Promise: suggests only what is plausibly a slip of the keys (a third of the letters at most), never a wild guess.
 */

/** Longer names are not compared: none is a mistyped name of ours, and the comparison is quadratic. */
const LONGEST = 64;

/** The candidate closest to `name`, or undefined when none is close. */
export function closestName(name: string, candidates: readonly string[]): string | undefined {
  if (name.length > LONGEST) return undefined;
  const wanted = fold(name);
  let best: string | undefined;
  let bestDistance = Infinity;
  for (const candidate of candidates) {
    const offered = fold(candidate);
    // `acquireTimeout` for `acquireTimeoutMs`: the unit forgotten counts as less than a slip.
    const distance = `${wanted}ms` === offered ? 0.5 : editDistance(wanted, offered);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  const allowed = Math.max(1, Math.floor(Math.min(wanted.length, best?.length ?? 0) / 3));
  return bestDistance <= allowed ? best : undefined;
}

/** `max_size`, `max-size` and `MaxSize` are all `maxsize`. */
function fold(name: string): string {
  return name.toLowerCase().replaceAll(/[-_\s]/g, '');
}

/** Letters to insert, drop, replace, or swap with their neighbour to get from one word to the other. */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let cost = Math.min(
        (last[column] ?? Infinity) + 1,
        (current[column - 1] ?? Infinity) + 1,
        (last[column - 1] ?? Infinity) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]) {
        cost = Math.min(cost, (beforeLast[column - 2] ?? Infinity) + 1);
      }
      current.push(cost);
    }
    beforeLast = last;
    last = current;
  }
  return last[to.length] ?? Infinity;
}
