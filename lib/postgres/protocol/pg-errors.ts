/**
 * Tells errors that end a connection from those of a statement.
 *
 * A refused or failed statement says nothing about its connection: destroying it (as pg-pool does) turns every typing
 * error into a reconnect. The severity of the server's answer decides, not its SQLSTATE: RAISE, foreign data wrappers
 * and the parser itself report errors of class 08 in sessions that live on. An error that didn't come from the server
 * decides nothing either: it may be about a file, or another service's socket. That this connection's own socket has
 * died, the session is told by the socket.
 */
import { isError } from '../../engine/to-error.js';
import { isCertificateError } from '../../pool/certificate-errors.js';

/** What the server reports only as it ends a session. */
const SESSION_ENDED = new Set([
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57P04', // database_dropped
  '57P05', // idle_session_timeout
  '25P03', // idle_in_transaction_session_timeout
  '25P04', // transaction_timeout
]);

/** Severities in English. Those that are no errors can't come with one, but RAISE may invent anything. */
const SESSION_ENDING = new Set(['FATAL', 'PANIC']);
const SESSION_LIVES_ON = new Set(['ERROR', 'WARNING', 'NOTICE', 'DEBUG', 'INFO', 'LOG']);

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** Whether `error` came from the server, as an answer to a statement, and the session lives on. */
export function isStatementError(error: unknown): boolean {
  return isError(error) && sqlStateOf(error) !== undefined && !isFatalError(error);
}

/**
 * The SQLSTATE of an error that the server sent. Node's own codes (`EPIPE`) can look like one, but have no severity.
 */
export function sqlStateOf(error: unknown): string | undefined {
  if (!isError(error) || !('code' in error) || !('severity' in error)) return undefined;
  return typeof error.code === 'string' && SQLSTATE.test(error.code) ? error.code : undefined;
}

/**
 * Whether `error` ends the connection it was met on; `true` is a borrower's own word for it.
 *
 * pg shows the severity in the server's language (field S, not V). In another than English the SQLSTATE has to do, and
 * the socket, which such a server closes at once, tells of what that misses.
 */
export function isFatalError(error: unknown): boolean {
  if (!isError(error)) return error === true;
  const state = sqlStateOf(error);
  if (state === undefined || !('severity' in error) || typeof error.severity !== 'string') return false;
  if (SESSION_ENDING.has(error.severity)) return true;
  return !SESSION_LIVES_ON.has(error.severity) && SESSION_ENDED.has(state);
}

/** 40001 and 40P01: nothing is wrong with the transaction but its timing. */
export function isRetriable(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === '40001' || state === '40P01';
}

/** 25006, read_only_sql_transaction: the transaction, the session or the server takes no writes. */
export function isReadOnlyError(error: unknown): boolean {
  return sqlStateOf(error) === '25006';
}

/** feature_not_supported, for a plan, from one function of the server's alone: messages are translated. */
const STALE_PLAN = '0A000';
const STALE_PLAN_ROUTINE = 'RevalidateCachedQuery';

/**
 * A migration has changed what a prepared statement returns: "cached plan must not change result type". The server says
 * so before it executes anything of it, so outside a transaction it can be prepared again and sent once more.
 */
export function isStalePlan(error: Error): boolean {
  return sqlStateOf(error) === STALE_PLAN && 'routine' in error && error.routine === STALE_PLAN_ROUTINE;
}

/** too_many_connections: of the server, of the database or of the role. */
const TOO_MANY_CONNECTIONS = '53300';
/**
 * Poolers have other codes (PgBouncer's 08P01 and Supavisor's XX000 stand for any failure), so their words have to do.
 * They aren't translated. PgBouncer: `max_client_conn`, `max_db_client_connections`, `max_user_client_connections`, and
 * PostgreSQL's own rejection handed on; Supavisor: `EMAXCONN`, `MaxClientsInSessionMode` and older wordings.
 */
const POOLER_FULL =
  /no more connections allowed|client connections exceeded|max client(?:s| connections) reached|too many (?:clients already|connections for)|remaining connection slots are reserved/i;

/** @param error of a connect. @returns whether it refuses one connection more: the connections that there are go on. */
export function isServerFull(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state === TOO_MANY_CONNECTIONS) return true;
  return state !== undefined && isError(error) && POOLER_FULL.test(error.message);
}

/** What a server says to who may never come in, or to what was asked of the session and it does not know. */
const NOT_LET_IN = new Set([
  '28P01', // invalid_password
  '28000', // invalid_authorization_specification: no such role, or none that may log in; no entry in pg_hba.conf
  '3D000', // invalid_catalog_name: no such database
  '42501', // insufficient_privilege: no CONNECT on the database, or a role that must not be set
  '22023', // invalid_parameter_value: no such role to set
]);
/** undefined_object, of the session's own parameters; what `onConnect` misses, a migration may make. */
const UNKNOWN_PARAMETER = '42704';

/** What pg says before it asks the server: no password where one is needed, TLS where the server has none. */
const NOT_ASKED = /^SASL: .*client password must be a|^The server does not support SSL connections/;

/** @param error of a connect. @returns whether waiting mends nothing. */
export function isMisconfigured(error: unknown): boolean {
  if (!isError(error)) return false;
  const state = sqlStateOf(error);
  if (state === undefined) return NOT_ASKED.test(error.message) || isCertificateError(error);
  return NOT_LET_IN.has(state) || (state === UNKNOWN_PARAMETER && isFatalError(error));
}
