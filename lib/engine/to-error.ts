/**
 * What was thrown, as an Error.
 *
 * `instanceof Error` alone fails for errors of another realm: under Jest every error that Node's own modules make
 * (ECONNREFUSED, ECONNRESET) is one.
 */
import { types } from 'node:util';

export function isError(thrown: unknown): thrown is Error {
  return thrown instanceof Error || types.isNativeError(thrown);
}

/** `thrown` itself if it is an error, else an error that says what it was. Never throws. */
export function toError(thrown: unknown): Error {
  return isError(thrown) ? thrown : new Error(textOf(thrown), { cause: thrown });
}

/** An object without a prototype, or one whose `toString` throws, can't be made a text of. */
export function textOf(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return `a thrown ${typeof thrown}`;
  }
}
