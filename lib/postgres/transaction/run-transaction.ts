/**
 * Transactions: bound to the tenant from their first moment, committed when the function returns, rolled back when it
 * throws, tried again when the server says that only their timing was wrong.
 */
import { isAsyncFunction } from 'node:util/types';

import type { Lease } from '../../engine/lease.js';
import type { Clock } from '../../engine/time/clock.js';
import { ConnectionLostError, TransactionAbortedError } from '../../errors.js';
import type { TenantSetting } from '../isolation.js';
import { isFatalError, isRetriable, sqlStateOf } from '../protocol/pg-errors.js';
import type { ClientDependencies, LeasedClient } from '../session/leased-client.js';
import { type StatementLimits, strictest } from '../statement/query-arguments.js';
import { CommitBehind } from './commit-behind.js';
import { PgTransaction } from './pg-transaction.js';
import { TransactionLimit } from './transaction-limit.js';
import { Opening } from './transaction-opening.js';

/** How a transaction runs, and how often it is tried. */
export interface TransactionOptions {
  /** Default: the server's. */
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable' | undefined;
  /** Whether the server refuses statements that write. Default: the server's. */
  readonly readOnly?: boolean | undefined;
  /** With `serializable` and `readOnly`: waits for a snapshot that can't fail. */
  readonly deferrable?: boolean | undefined;
  /** How often the function is called again after a serialization failure (40001) or a deadlock (40P01). Default: 0. */
  readonly retries?: number | undefined;
  /**
   * For the call as a whole, in milliseconds: waiting for a connection and retries included. `Infinity`, and what is
   * longer than a timer can run (24.8 days): none. What isn't a duration (NaN, less than 0): no time at all. Default:
   * none.
   */
  readonly timeoutMs?: number | undefined;
  /** Rolls the transaction back; the call rejects with QueryAbortedError. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** What a transaction needs of its pool. */
export interface TransactionHost extends ClientDependencies {
  readonly poolId: string;
  readonly clock: Clock;
  readonly random: () => number;
  acquire(limits: {
    readonly timeoutMs?: number | undefined;
    readonly signal?: AbortSignal | undefined;
  }): Promise<Lease<LeasedClient>>;
  /** Runs `fn` as the holder of `lease`. */
  holding<T>(lease: Lease<LeasedClient>, fn: () => T): T;
}

/** query_canceled: what the server answers when `statement_timeout` has passed. */
const QUERY_CANCELED = '57014';
const FIRST_RETRY_MS = 10;
const LONGEST_RETRY_MS = 1_000;

/** @returns what `fn` returned, after COMMIT. */
export async function runTransaction<T>(
  host: TransactionHost,
  fn: (tx: PgTransaction) => T | PromiseLike<T>,
  options: TransactionOptions,
): Promise<T> {
  const limit = new TransactionLimit(host, options);
  try {
    for (let attempt = 0; ; attempt++) {
      const progress: AttemptProgress = { isCommitting: false };
      try {
        return await attemptOnce(host, fn, options, limit, progress);
      } catch (error) {
        if (limit.error !== undefined) throw limit.error;
        if (limit.isDue && sqlStateOf(error) === QUERY_CANCELED) throw limit.timeout(error);
        if (attempt >= (options.retries ?? 0) || !isWorthRetrying(error, progress)) throw error;
        const ceilingMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt);
        await Promise.race([pause(host, ceilingMs * (0.5 + host.random() / 2)), limit.reached]);
      }
    }
  } finally {
    limit.remove();
  }
}

/** How far an attempt has come. */
interface AttemptProgress {
  isCommitting: boolean;
}

async function attemptOnce<T>(
  host: TransactionHost,
  fn: (tx: PgTransaction) => T | PromiseLike<T>,
  options: TransactionOptions,
  limit: TransactionLimit,
  progress: AttemptProgress,
): Promise<T> {
  const lease = await host.acquire({ timeoutMs: limit.remainingMs, signal: options.signal });
  const client = lease.connection;
  const commitBehind = mayCommitBehind(host.limits, fn, options)
    ? new CommitBehind(client, options.readOnly === true)
    : undefined;
  const tx = new PgTransaction(client, undefined, commitBehind);
  let destroyReason: unknown;
  try {
    client.bindNothing();
    client.session.hygiene.binding.beginWith(opening(client, host.limits, options, limit));
    // Reached while it waited for a connection.
    if (limit.error !== undefined) throw limit.error;
    const work = host.holding(lease, async () => {
      const returned = fn(tx);
      if (tx.endsWith(returned)) await tx.commitBehind(returned);
      return returned;
    });
    const result = await Promise.race([work, limit.reached]);
    // Once COMMIT is on its way its outcome counts, not the clock.
    progress.isCommitting = true;
    await tx.commit();
    return result;
  } catch (error) {
    tx.end();
    if (limit.error !== undefined) client.session.breakOff(limit.error);
    else if (client.session.lostBecause !== undefined || isFatalError(error)) destroyReason = true;
    else await tx.rollback().catch(() => (destroyReason = true));
    const lost = commitBehind?.lossOf(error);
    if (lost !== undefined) throw lost;
    throw error;
  } finally {
    // A rollback that no caller waited for is the first thing to happen to the returned connection.
    if (!lease.released) lease.release(destroyReason);
  }
}

/** An async function never returns the promise of a statement itself; see commit-behind.ts for the limits. */
function mayCommitBehind({ queryTimeoutMs }: StatementLimits, fn: object, options: TransactionOptions): boolean {
  const hasLimit = queryTimeoutMs !== undefined || options.timeoutMs !== undefined || options.signal !== undefined;
  return !hasLimit && !isAsyncFunction(fn);
}

function opening(
  client: LeasedClient,
  { statementTimeoutMs }: StatementLimits,
  options: TransactionOptions,
  limit: TransactionLimit,
): Opening {
  const modes = [
    options.isolation === undefined ? '' : ` ISOLATION LEVEL ${ISOLATION_LEVELS[options.isolation]}`,
    options.readOnly === undefined ? '' : options.readOnly ? ' READ ONLY' : ' READ WRITE',
    options.deferrable === undefined ? '' : options.deferrable ? ' DEFERRABLE' : ' NOT DEFERRABLE',
  ].join('');
  const settings = (): TenantSetting[] => {
    // The server keeps the shorter one: the pool's must not become longer by it.
    const timeout = limit.remainingMs === undefined ? undefined : strictest(limit.remainingMs, statementTimeoutMs);
    return timeout === undefined ? [] : [{ name: 'statement_timeout', value: String(Math.ceil(timeout)) }];
  };
  return new Opening(`BEGIN${modes}`, client.session.rules.isolation.settingFor(client.lease.tenantId), settings);
}

// A caller without types could put anything here: only these words reach the server.
const ISOLATION_LEVELS = {
  'read committed': 'READ COMMITTED',
  'repeatable read': 'REPEATABLE READ',
  serializable: 'SERIALIZABLE',
} as const;

/**
 * A connection that the server ended for a matter of timing (FATAL 40001) counts too, unless that may have been the
 * answer to COMMIT. Where COMMIT went with the last statement, it may be so only once that statement has been answered:
 * a server that ends the session in answer to the statement has not come to COMMIT. A connection that is lost without
 * a word is never retried.
 */
function isWorthRetrying(error: unknown, { isCommitting }: AttemptProgress): boolean {
  if (error instanceof ConnectionLostError) return !(isCommitting && error.sent) && isRetriable(error.cause);
  return isRetriable(error instanceof TransactionAbortedError ? error.cause : error);
}

function pause(host: TransactionHost, delayMs: number): Promise<void> {
  return new Promise((resolve) => host.clock.setTimer(resolve, delayMs).ref());
}
