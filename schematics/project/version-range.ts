/**
 * Versions of packages, as far as the schematics must compare them: ranges of `^`, `~`, `>=`, `<` and exact versions,
 * joined by spaces (and) and `||` (or), without pre-releases. `semver` would be a dependency of every application.
 */

export type Version = readonly [major: number, minor: number, patch: number];

/** The lowest version that a text begins with: of `^11.0.1` and `>=11.0.1 <12` it is 11.0.1. */
export function lowestVersion(text: string): Version | undefined {
  const match = /(\d+)(?:\.(\d+))?(?:\.(\d+))?/.exec(text);
  return match === null ? undefined : [Number(match[1]), Number(match[2] ?? 0), Number(match[3] ?? 0)];
}

export function compareVersions(a: Version, b: Version): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

export function isInRange(version: Version, range: string): boolean {
  return range.split('||').some((alternative) =>
    alternative
      .trim()
      .split(/\s+/)
      .every((comparator) => satisfies(version, comparator)),
  );
}

function satisfies(version: Version, comparator: string): boolean {
  const bound = lowestVersion(comparator);
  if (bound === undefined) return true;
  const difference = compareVersions(version, bound);
  if (comparator.startsWith('>=')) return difference >= 0;
  if (comparator.startsWith('<')) return difference < 0;
  if (comparator.startsWith('^')) return difference >= 0 && version[0] === bound[0];
  if (comparator.startsWith('~')) return difference >= 0 && version[0] === bound[0] && version[1] === bound[1];
  return difference === 0;
}
