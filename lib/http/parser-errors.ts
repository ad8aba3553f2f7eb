/**
 * The codes that Node's HTTP client gives to answers that are no HTTP, for the same faults found by undici.
 *
 * Both use llhttp, with the same reasons in their messages; undici (7 and 8) leaves out the code.
 */
import { errorCode } from './connection-errors.js';

/** The first pattern that matches the reason decides. The pairs are those of llhttp 9. */
const CODES: readonly (readonly [RegExp, string])[] = [
  [/^Missing expected CR /, 'HPE_CR_EXPECTED'],
  [/^Missing expected LF /, 'HPE_LF_EXPECTED'],
  [/^Expected LF |chunk extensions/, 'HPE_STRICT'],
  [/chunk size/i, 'HPE_INVALID_CHUNK_SIZE'],
  [/^Expected HTTP\//, 'HPE_INVALID_CONSTANT'],
  [/ version$|^Expected dot/, 'HPE_INVALID_VERSION'],
  [/status|^Response overflow/, 'HPE_INVALID_STATUS'],
  [/^(?:Duplicate Content-Length|Content-Length already present)/, 'HPE_UNEXPECTED_CONTENT_LENGTH'],
  [/^Transfer-Encoding can't|invalid `Transfer-Encoding`/, 'HPE_INVALID_TRANSFER_ENCODING'],
  [/Content-Length/, 'HPE_INVALID_CONTENT_LENGTH'],
  [/^Unexpected space/, 'HPE_UNEXPECTED_SPACE'],
  [/^Data after/, 'HPE_CLOSED_CONNECTION'],
  [/header/i, 'HPE_INVALID_HEADER_TOKEN'],
];

/** Whether a code is one of the parser's. */
export function isParserCode(code: string | undefined): boolean {
  return code?.startsWith('HPE_') === true;
}

/** The reason, in undici's words around it. */
const REASON = /does not match the HTTP\/1\.1 protocol \((.*)\)$/;

/** Node's code for an error of undici's parser; `undefined`: it isn't one, or undici itself ended the parsing. */
export function parserErrorCode(error: unknown): string | undefined {
  if (errorCode(error) === 'UND_ERR_HEADERS_OVERFLOW') return 'HPE_HEADER_OVERFLOW';
  const message = typeof error === 'object' && error !== null && 'message' in error ? error.message : undefined;
  const reason = typeof message === 'string' ? REASON.exec(message)?.[1] : undefined;
  if (reason === undefined) return undefined;
  return CODES.find(([pattern]) => pattern.test(reason))?.[1];
}

/**
 * What Node's client would say of bytes that follow an answer and begin no other. undici closes the connection without
 * a word, of any content; an unsolicited second answer is no fault of the first in either.
 */
export function strayBytes(error: unknown): Error | undefined {
  if (typeof error !== 'object' || error === null || !('data' in error) || typeof error.data !== 'string')
    return undefined;
  const start = error.data.replace(/^[\r\n]+/, '').slice(0, ANSWER.length);
  if (ANSWER.startsWith(start)) return undefined;
  return Object.assign(new Error('Bytes that are no answer follow the answer', { cause: error }), {
    code: 'HPE_INVALID_CONSTANT',
  });
}

const ANSWER = 'HTTP/';

/** What Node's client says of bytes that follow the last answer of a connection. */
export function dataAfterClose(): Error {
  return Object.assign(new Error('Bytes follow the last answer of the connection'), { code: 'HPE_CLOSED_CONNECTION' });
}
