/**
 * Which errors of a request are those of its connection.
 */

/** Codes of a connection that could not be made, or ended before its time. */
const CONNECTION_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'ENETDOWN',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EADDRNOTAVAIL',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Codes of a connection that ended while a request was on it. */
const LOST_CODES = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET']);

/** Without `instanceof`: in Jest the errors of Node's core are not instances of the `Error` that we see. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Whether the backend could not be reached, or broke the connection. What it answers with never counts. The cause is
 * looked at too: axios has one code for its own time-out and for a connect that took too long.
 */
export function isConnectionError(error: unknown): boolean {
  return CONNECTION_CODES.has(errorCode(error) ?? '') || CONNECTION_CODES.has(errorCode(causeOf(error)) ?? '');
}

function causeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'cause' in error ? error.cause : undefined;
}

export function isConnectionLost(error: unknown): boolean {
  const code = errorCode(error);
  return code !== undefined && LOST_CODES.has(code);
}
