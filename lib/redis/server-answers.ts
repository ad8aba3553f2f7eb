/**
 * What an error that ioredis gives says of the server and of the connection.
 *
 * ioredis has neither classes nor codes for most of them, so they are told apart by their words, here and nowhere else.
 */
import { isError } from '../engine/to-error.js';
import { isCertificateError } from '../pool/certificate-errors.js';

/** Words by which ioredis says that a connection is gone. */
const CONNECTION_GONE = [
  'Connection is closed.',
  "Stream isn't writeable and enableOfflineQueue options is false",
  'Command aborted due to connection close',
  "Cluster isn't ready and enableOfflineQueue options is false",
  'Cluster is ended.',
  'None of startup nodes is available',
];

const SOCKET_CODES: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
]);

/** Whether an error says no more than that there is no connection: it never explains why. */
export function isGenericCloseError(error: Error): boolean {
  return CONNECTION_GONE.includes(error.message);
}

/** Whether the server sent it as its reply. */
export function isReply(error: unknown): error is Error {
  return isError(error) && error.name === 'ReplyError';
}

/** Whether an error says that the connection is gone, rather than that the server refused the command. */
export function isConnectionError(error: unknown): error is Error {
  if (!isError(error)) return false;
  if (isGenericCloseError(error) || error.name === 'MaxRetriesPerRequestError' || isOutOfStep(error)) return true;
  return 'code' in error && typeof error.code === 'string' && SOCKET_CODES.has(error.code);
}

/**
 * ioredis adds this to what its parser throws; and this is how it says that a reply came to which there was no command.
 */
const NOT_PARSED = 'Please report this.';
const NOT_ASKED_FOR = 'Command queue state error.';

/**
 * Whether what the server sent was no reply to what had been asked: its replies can't be matched with commands any
 * more.
 */
export function isOutOfStep(error: Error): boolean {
  return error.message.endsWith(NOT_PARSED) || error.message.startsWith(NOT_ASKED_FOR);
}

/** Answers of a server that can't serve: still loading, or no longer (or never) the one to write to. */
const UNFIT_SERVER = /^(READONLY|LOADING|MASTERDOWN|NOAUTH|UNBLOCKED) /;

/** Whether a reply means that this connection leads to the wrong server, or to one that is not ready. */
export function isUnfitServer(error: unknown): boolean {
  return isReply(error) && UNFIT_SERVER.test(error.message);
}

/** Whether a reply means that the server used to be the one to write to, and has been made a replica. */
export function isReadOnly(error: unknown): boolean {
  return isReply(error) && error.message.startsWith('READONLY ');
}

/** Whether a connection was accepted and then dropped, as far as the error of its connect tells. */
export function isDropped(error: unknown): boolean {
  if (!isError(error)) return false;
  return isGenericCloseError(error) || ('code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE'));
}

const FULL = 'ERR max number of clients reached';

/** In the words of the server, which a connect that it refuses seldom gets to see. */
export function serverFull(cause: unknown): Error {
  return new Error(FULL, { cause });
}

/** Whether the server is up and has no room for one more connection. */
export function isServerFull(error: unknown): boolean {
  return isError(error) && error.message.startsWith(FULL);
}

/** What a server says to who may never come in, and of a database that it does not have. */
const NOT_LET_IN =
  /^(WRONGPASS|NOAUTH|NOPERM|DENIED) |^ERR (invalid password|DB index is out of range|invalid DB index)/;

/** @param error of a connect. @returns whether waiting mends nothing. */
export function isMisconfigured(error: unknown): boolean {
  return (isReply(error) && NOT_LET_IN.test(error.message)) || isCertificateError(error);
}

/** PING itself is forbidden, or has another name: that says nothing of other commands. */
const ABOUT_PING_ONLY = /^(NOPERM|ERR unknown command)/;

/**
 * What an error in place of PONG means. Any reply proves that the server is there.
 *
 * @returns `undefined` when the server may serve all the same, else the reply: why it can't serve at the moment.
 * @throws the error, when it is no reply: the server has not been heard of.
 */
export function reasonNotToServe(error: unknown): Error | undefined {
  if (!isReply(error)) throw error;
  return ABOUT_PING_ONLY.test(error.message) ? undefined : error;
}

/** Commands whose arguments are, or contain, a password. */
const WITH_PASSWORD: ReadonlySet<string> = new Set(['auth', 'hello', 'acl', 'config', 'migrate']);

/**
 * Takes out of an error what its reader must not see: ioredis gives the failed command with its arguments (in the
 * handshake, the password), and what of other callers' replies it could not parse.
 */
export function withoutSecrets(error: Error): Error {
  const command: unknown = Reflect.get(error, 'command');
  if (isNamed(command) && WITH_PASSWORD.has(command.name.toLowerCase()))
    Reflect.set(error, 'command', { name: command.name, args: [] });
  if (isOutOfStep(error)) {
    Reflect.deleteProperty(error, 'buffer');
    if (error.message.startsWith(NOT_ASKED_FOR)) error.message = 'A reply came to which there was no command.';
  }
  return error;
}

function isNamed(value: unknown): value is { readonly name: string } {
  return typeof value === 'object' && value !== null && 'name' in value && typeof value.name === 'string';
}
