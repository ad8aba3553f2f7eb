/**
 * Hides credentials in text that may reach a log, an error message or a public answer.
 *
 * Promise: the part between `://` and `@` of a URL, and the value of `password=`-like pairs, never survive.
 */
import { isError, textOf } from './to-error.js';

// Starts at the colon: a pattern that tried every letter as the start of a scheme would take quadratic time on a long
// word.
const CREDENTIALS_IN_URL = /(:\/\/)[^\s/?#]*@/g;
const SECRET_PAIR =
  /\b(password|passwd|pwd|pass|secret|token|authorization|api[-_]?key)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s&;,"']+)/gi;

/** Returns `text` with the credentials of URLs and of `key=value` pairs replaced by `***`. */
export function redact(text: string): string {
  return text.replace(CREDENTIALS_IN_URL, '$1***@').replace(SECRET_PAIR, '$1$2***');
}

/** One line that describes an unknown thrown value: name, code and redacted message. Never throws. */
export function describeError(error: unknown): string {
  if (!isError(error)) return redact(textOf(error));
  try {
    return describe(error);
  } catch {
    // A getter of an error of someone else's.
    return 'an error that cannot be described';
  }
}

function describe(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? ` [${error.code}]` : '';
  // Node's AggregateError (happy eyeballs) has an empty message of its own; the parts say what happened.
  const message = error.message || (error instanceof AggregateError ? error.errors.map(describeError).join('; ') : '');
  return redact(`${error.name}${code}: ${message}`);
}
