/**
 * What was thrown, as an Error.
 *
 * `instanceof Error` alone fails for errors of another realm: under Jest every error that Node's own modules make (ECONNREFUSED, ECONNRESET) is one.
 */
import { types } from 'node:util';

export function isError(thrown: unknown): thrown is Error {
  return thrown instanceof Error || types.isNativeError(thrown);
}

/** `thrown` itself if it is an error, else an error that says what it was. */
export function toError(thrown: unknown): Error {
  return isError(thrown) ? thrown : new Error(String(thrown), { cause: thrown });
}
