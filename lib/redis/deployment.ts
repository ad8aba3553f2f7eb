/**
 * Where the data is, and what clients are made for it: what one server (or a group that sentinels watch over) and a
 * cluster have in common.
 *
 * Promise: what the pool must decide itself (reconnecting, queueing, repeating) is decided by a deployment and in no
 * other place; all other options of ioredis reach it as they were given, functions among them guarded. Clients are made
 * unconnected, but for duplicates that are not lazy.
 */
import { guarded, type ReportThrown } from './caller-code.js';
import type { Credentials } from './credentials.js';
import type { RedisClient } from './redis-client.js';

/** A client, and the options that it shows its callers: its duplicates have those too. */
export interface Made<C extends RedisClient> {
  readonly client: C;
  readonly shown: object;
  /** Whether it connects with the pool's own credentials, which may be rotated. */
  readonly ownCredentials: boolean;
}

export interface Deployment<C extends RedisClient> {
  /** For ordinary commands of everybody: reconnects, queues nothing. */
  shared(): C;
  /** What the shared client shows as its options. */
  readonly shown: object;
  /** For one borrower: never reconnects, queues nothing, repeats nothing. */
  exclusive(): C;
  /**
   * For a caller of its own: like `original` (by default the shared client as it shows itself), with the caller's
   * options on top; `args` as ioredis' `duplicate()` takes them. Connects by itself unless it is lazy.
   */
  duplicate(args: readonly unknown[], original?: Made<C>): Made<C>;
  readonly credentials: Credentials;
  /** The database that every connection is on. */
  readonly database: number;
  /** Whether what was unanswered when a connection was lost is sent again. */
  readonly resends: boolean;
  /** Errors after which the command is to be sent again over a new connection: `reconnectOnError` has said 2. */
  readonly repeatable: WeakSet<Error>;
  /** The caller's own say on which errors cost a connection. */
  readonly reconnectOnError: ReconnectOnError | undefined;
  /** Whether a server that says it is read-only is the wrong one. */
  readonly writes: boolean;
}

export type ReconnectOnError = (error: Error) => boolean | 1 | 2;

/**
 * How long ioredis lets the other side take to close; its timer keeps the process alive even when there is no socket
 * any more.
 */
export const DISCONNECT_TIMEOUT_MS = 500;

/**
 * Turns ioredis' own connect time-out off: {@link ConnectDeadline} bounds connects without cutting those that a blocked
 * event loop delays.
 */
export const NO_TIMEOUT = 0;

/** A caller's `reconnectOnError`; when it throws, the error costs no connection. */
export function guardedReconnectOnError(
  own: ReconnectOnError | null | undefined,
  report: ReportThrown,
): ReconnectOnError | undefined {
  return own == null ? undefined : guarded(own, 'reconnectOnError', report, () => false);
}

/**
 * Reconnects as `own` says. A command that is to be sent again is noted rather than left to ioredis, which would give
 * it to the connection that it has just begun to close.
 */
export function repeating(own: ReconnectOnError, repeatable: WeakSet<Error>): ReconnectOnError {
  return (error) => {
    const verdict = own(error);
    if (verdict !== 2) return verdict;
    repeatable.add(error);
    return 1;
  };
}

export function setsCredentials(options: { readonly username?: unknown; readonly password?: unknown }): boolean {
  return options.username !== undefined || options.password !== undefined;
}

export function isOptions<T extends object>(value: unknown): value is T {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
