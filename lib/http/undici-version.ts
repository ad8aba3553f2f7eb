/**
 * Which versions of undici may be used.
 *
 * 7.26.0 to 7.30.2 and 8.3.0 to 8.4.0 assert that the parser isn't paused when a connection ends: a server that closes
 * (or resets) the connection while a body waits for its reader ends the whole process. Later releases of 7 are not
 * known to be mended; those from 8.4.1 on are.
 */

/** Newest release of 7 that is known to be sound is 7.25. */
const LAST_SOUND_MINOR_OF_7 = 25;

/** What to install, in words. */
export const SOUND_UNDICI = '7.25.x, or 8.4.1 and later where Node runs it';

/**
 * Whether a server can't end the process through this version. Decided here and not by the peer range in package.json,
 * which takes any: npm would refuse to install this package beside an undici that the application, or one of its tools,
 * has for itself.
 */
export function isSoundUndici(version: string): boolean {
  const [major = NaN, minor = NaN, patch = NaN] = version.split(/[.+-]/, 3).map(Number);
  // Pre-releases are no promise.
  if (version.includes('-')) return false;
  if (major === 7) return minor <= LAST_SOUND_MINOR_OF_7;
  if (major === 8) return minor < 3 || minor > 4 || (minor === 4 && patch >= 1);
  return false;
}
