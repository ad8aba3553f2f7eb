/**
 * Tells errors that condemn a connection from those of a statement.
 *
 * A refused or failed statement says nothing about its connection: destroying it (as pg-pool does) turns every typing
 * error into a reconnect. Only when the server says that the session is over, or the socket does, is it.
 */
import { isError } from '../engine/thrown.js';

/** Session-ending states outside class 08: shutdowns, and time-outs that end the session rather than the statement. */
const SESSION_ENDED = new Set([
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57P04', // database_dropped
  '57P05', // idle_session_timeout
  '25P03', // idle_in_transaction_session_timeout
  '25P04', // transaction_timeout
]);

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** Whether `error` came from the server, as an answer to a statement, and the session lives on. */
export function isStatementError(error: unknown): boolean {
  return isError(error) && sqlStateOf(error) !== undefined && !isFatalError(error);
}

/** The SQLSTATE of an error that the server sent. Node's own codes (`EPIPE`) can look like one, but have no severity. */
export function sqlStateOf(error: unknown): string | undefined {
  if (!isError(error) || !('code' in error) || !('severity' in error)) return undefined;
  return typeof error.code === 'string' && SQLSTATE.test(error.code) ? error.code : undefined;
}

/** Whether `error` condemns the connection it was met on. */
export function isFatalError(error: unknown): boolean {
  if (!isError(error)) return error === true;
  const state = sqlStateOf(error);
  if (state !== undefined) {
    if (state.startsWith('08') || SESSION_ENDED.has(state)) return true;
    return 'severity' in error && (error.severity === 'FATAL' || error.severity === 'PANIC');
  }
  if ('syscall' in error || ('code' in error && typeof error.code === 'string' && SOCKET_CODES.has(error.code)))
    return true;
  return error.message.startsWith('Connection terminated') || error.message.endsWith('is not queryable');
}

const SOCKET_CODES = new Set([
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ERR_STREAM_DESTROYED',
]);

/** 40001 and 40P01: nothing is wrong with the transaction but its timing. */
export function isRetriable(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === '40001' || state === '40P01';
}

/** 53300, too_many_connections: of the server, of the database or of the role. The connections that there are go on. */
export function isServerFull(error: unknown): boolean {
  return sqlStateOf(error) === '53300';
}
