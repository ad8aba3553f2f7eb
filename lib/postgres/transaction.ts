/**
 * Transactions: bound to the tenant from their first moment, committed when the function returns, rolled back when it
 * throws, tried again when the server says that only their timing was wrong.
 *
 * BEGIN, the tenant's setting and the server's own time limit go out in one round trip.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

import type { Clock } from '../engine/time/clock.js';
import { DeadlineEntry } from '../engine/time/deadlines.js';
import type { Lease } from '../engine/lease.js';
import { type AbortListener, listenForAbort, stopListeningForAbort } from '../engine/signals.js';
import { isError } from '../engine/to-error.js';
import {
  ConnectionLostError,
  OperationTimeoutError,
  QueryAbortedError,
  TransactionAbortedError,
  TransactionEndedError,
} from '../errors.js';
import { SubmittableTask } from './statement/submittable-task.js';
import { SET_LOCALLY, type TenantSetting } from './isolation.js';
import { LeaseStatement } from './statement/lease-statement.js';
import type { StatementSession } from './statement/statement.js';
import type { ClientDependencies, LeasedClient } from './session/leased-client.js';
import { isFatalError, isRetriable, sqlStateOf } from './protocol/pg-errors.js';
import type { ResultBuilder } from './protocol/pg-module.js';
import { Queryable } from './statement/queryable.js';
import { callLimitOf, type QueryRequest, type StatementLimits, strictest } from './statement/query-arguments.js';

export interface TransactionOptions {
  /** Default: the server's. */
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable' | undefined;
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

/** The nested transaction in whose function the running code is. */
const nestedAround = new AsyncLocalStorage<PgTransaction>();

/** A transaction that is under way. Calls on the pool itself use connections of their own. */
export class PgTransaction extends Queryable {
  readonly #client: LeasedClient;
  /** The transaction that this one is a part of. */
  readonly #outer: PgTransaction | undefined;
  #savepoints = 0;
  #ended = false;
  /** The first statement that failed: what a swallowed error was. */
  #failure: Error | undefined = undefined;
  /**
   * The nested transactions so far. They take turns: a savepoint can't be undone without undoing what came after it.
   */
  #turns: Promise<unknown> = Promise.resolve();
  /** The nested transaction whose turn it is. */
  #current: PgTransaction | undefined = undefined;

  /** @internal */
  constructor(client: LeasedClient, outer?: PgTransaction) {
    super();
    this.#client = client;
    this.#outer = outer;
  }

  /**
   * The connection, for libraries that want a pg client. Beginning and ending the transaction is not theirs to do.
   *
   * @throws TransactionEndedError once the transaction is over.
   */
  get client(): LeasedClient {
    if (this.#ended) throw this.#endedError();
    return this.#client;
  }

  /** The tenant it works for. */
  get tenantId(): string | undefined {
    return this.#client.lease.tenantId;
  }

  /**
   * A part that can fail by itself: a savepoint, rolled back to when `fn` throws. Parts that are begun side by side run
   * one after the other.
   *
   * Rejects with what `fn` throws, with what the server says, or with TransactionEndedError.
   *
   * @returns what `fn` returns.
   */
  async transaction<T>(fn: (tx: PgTransaction) => T | PromiseLike<T>): Promise<T> {
    if (this.#ended) throw this.#endedError();
    const inner = this.#runningPart();
    // Waiting for the part around it to end would be waiting for itself.
    if (inner !== undefined) return inner.transaction(fn);
    const part = this.#turns.then(() => this.#runPart(fn));
    this.#turns = part.catch(() => {});
    return part;
  }

  /** The part of this transaction in whose function the running code is. */
  #runningPart(): PgTransaction | undefined {
    for (let around = nestedAround.getStore(); around !== undefined; around = around.#outer) {
      if (around.#outer === this) return around === this.#current && !around.#ended ? around : undefined;
    }
    return undefined;
  }

  async #runPart<T>(fn: (tx: PgTransaction) => T | PromiseLike<T>): Promise<T> {
    if (this.#ended) throw this.#endedError();
    const name = `pool_savepoint_${++this.#savepoints}`;
    await this.#run(`SAVEPOINT ${name}`);
    const inner = new PgTransaction(this.#client, this);
    inner.#savepoints = this.#savepoints;
    this.#current = inner;
    try {
      const result = await nestedAround.run(inner, async () => fn(inner));
      inner.#ended = true;
      await this.#run(`RELEASE SAVEPOINT ${name}`);
      return result;
    } catch (error) {
      inner.#ended = true;
      // Leaves the outer transaction usable. Should that fail, the outer one can't be committed either.
      await this.#run(`ROLLBACK TO SAVEPOINT ${name}`).catch(() => {});
      throw error;
    } finally {
      this.#current = undefined;
      this.#savepoints = inner.#savepoints;
    }
  }

  protected override runQuery(request: QueryRequest): unknown {
    if (this.#ended) return this.#refuse(request);
    const answer = this.#client.execute(request);
    if (answer instanceof Promise) {
      answer.catch((error: unknown) => {
        if (isError(error)) this.#failure ??= error;
      });
    }
    return answer;
  }

  /** As the server would: by the promise, the callback, or the Submittable's own way. */
  #refuse(request: QueryRequest): unknown {
    const error = this.#endedError();
    const { callback } = request;
    if (request.submittable !== undefined) {
      const { submittable } = request;
      process.nextTick(() => SubmittableTask.refuse(submittable, error, callback));
      return submittable;
    }
    if (callback === undefined) return Promise.reject(error);
    process.nextTick(callback, error);
    return undefined;
  }

  /** @internal */
  async commit(): Promise<void> {
    this.#ended = true;
    const { session } = this.#client;
    const endedBy = session.transactionEndedBy();
    // Its function has ended it: what it committed is committed, anything else was not what it returned for.
    if (endedBy === 'COMMIT' && session.transactionStatus === 'I') return;
    if (endedBy !== undefined) throw this.#endedError(endedBy);
    const result = await this.#end('COMMIT');
    // The server answers COMMIT with ROLLBACK when something in the transaction has failed.
    if (Array.isArray(result) || result.command === 'COMMIT') return;
    throw new TransactionAbortedError(this.#client.lease.poolId, { tenantId: this.tenantId, cause: this.#failure });
  }

  /** @internal */
  async rollback(): Promise<void> {
    this.#ended = true;
    await this.#end('ROLLBACK');
  }

  /** @internal */
  end(): void {
    this.#ended = true;
  }

  #run(text: string): Promise<unknown> {
    return this.#client.run(new LeaseStatement(this.#client, text, undefined, undefined));
  }

  #end(command: 'COMMIT' | 'ROLLBACK'): ReturnType<LeaseStatement['promise']> {
    return this.#client.run(new LeaseStatement(this.#client, command, undefined, undefined, 'end'));
  }

  #endedError(endedBy = 'the end of its function'): TransactionEndedError {
    return new TransactionEndedError(this.#client.lease.poolId, endedBy, { tenantId: this.tenantId });
  }
}

/** BEGIN with everything that is to hold inside, in one round trip. */
class TransactionOpening extends LeaseStatement {
  readonly #settings: readonly TenantSetting[];
  readonly #begin: string;
  readonly #tenant: TenantSetting | undefined;

  constructor(
    client: LeasedClient,
    begin: string,
    tenant: TenantSetting | undefined,
    settings: readonly TenantSetting[],
  ) {
    super(client, begin, undefined, undefined, 'begin');
    this.#begin = begin;
    this.#tenant = tenant;
    this.#settings = settings;
  }

  protected override encode(session: StatementSession): undefined {
    const { wire } = session;
    session.writeAhead(this);
    wire.command(this.#begin);
    if (this.#tenant !== undefined) wire.command(SET_LOCALLY, [this.#tenant.name, this.#tenant.value]);
    for (const { name, value } of this.#settings) wire.command(SET_LOCALLY, [name, value]);
    wire.sync();
    return undefined;
  }

  override handleRowDescription(): void {}
  override handleDataRow(): void {}

  protected override completed(result: ResultBuilder | ResultBuilder[]): void {
    this.session?.transactionBegan(this.#tenant);
    super.completed(result);
  }
}

/** Ends a transaction at its deadline, or when its caller's signal fires. */
class TransactionLimit extends DeadlineEntry implements AbortListener {
  override readonly keepsProcessAlive = true;
  readonly reached: Promise<never>;
  readonly #host: TransactionHost;
  readonly #signal: AbortSignal | undefined;
  readonly #timeoutMs: number | undefined;
  readonly #dueAtMs: number;
  #reject: (error: Error) => void = () => {};
  error: Error | undefined = undefined;

  constructor(host: TransactionHost, options: TransactionOptions) {
    super();
    this.#host = host;
    this.#signal = options.signal;
    this.#timeoutMs = callLimitOf(options.timeoutMs);
    this.#dueAtMs = this.#timeoutMs === undefined ? Infinity : host.clock.now() + this.#timeoutMs;
    this.reached = new Promise((_, reject) => {
      this.#reject = reject;
    });
    // No caller may be waiting when it comes.
    this.reached.catch(() => {});
    if (this.#timeoutMs === 0) this.#end(this.timeout());
    else if (this.#timeoutMs !== undefined) host.deadlines.add(this, this.#dueAtMs);
    const { signal } = options;
    if (signal === undefined) return;
    if (signal.aborted) this.aborted(signal.reason);
    else listenForAbort(signal, this);
  }

  get remainingMs(): number | undefined {
    return this.#timeoutMs === undefined ? undefined : Math.max(1, this.#dueAtMs - this.#host.clock.now());
  }

  /** The server's own clock may notice first. */
  get isDue(): boolean {
    return this.#host.clock.now() + TIMEOUT_SLACK_MS >= this.#dueAtMs;
  }

  timeout(cause?: unknown): OperationTimeoutError {
    return new OperationTimeoutError('A transaction', this.#timeoutMs ?? 0, {
      poolId: this.#host.poolId,
      cause,
    });
  }

  override expire(): void {
    this.#end(this.timeout());
  }

  aborted(reason: unknown): void {
    this.#end(new QueryAbortedError(this.#host.poolId, { cause: reason }));
  }

  remove(): void {
    this.#host.deadlines.remove(this);
    if (this.#signal !== undefined) stopListeningForAbort(this.#signal, this);
  }

  #end(error: Error): void {
    this.error = error;
    this.#reject(error);
  }
}

/** query_canceled: what the server answers when `statement_timeout` has passed. */
const QUERY_CANCELED = '57014';
/** How much earlier than ours the server's clock may run out. */
const TIMEOUT_SLACK_MS = 20;
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
  const tx = new PgTransaction(client);
  let destroyReason: unknown;
  try {
    client.bindNothing();
    await Promise.race([client.run(opening(client, host.limits, options, limit)), limit.reached]);
    const work = host.holding(lease, async () => fn(tx));
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
    throw error;
  } finally {
    // A rollback that no caller waited for is the first thing to happen to the returned connection.
    if (!lease.released) lease.release(destroyReason);
  }
}

function opening(
  client: LeasedClient,
  { statementTimeoutMs }: StatementLimits,
  options: TransactionOptions,
  limit: TransactionLimit,
): TransactionOpening {
  const modes = [
    options.isolation === undefined ? '' : ` ISOLATION LEVEL ${ISOLATION_LEVELS[options.isolation]}`,
    options.readOnly === undefined ? '' : options.readOnly ? ' READ ONLY' : ' READ WRITE',
    options.deferrable === undefined ? '' : options.deferrable ? ' DEFERRABLE' : ' NOT DEFERRABLE',
  ].join('');
  // The server keeps the shorter one: the pool's must not become longer by it.
  const timeout = limit.remainingMs === undefined ? undefined : strictest(limit.remainingMs, statementTimeoutMs);
  const settings = timeout === undefined ? [] : [{ name: 'statement_timeout', value: String(Math.ceil(timeout)) }];
  return new TransactionOpening(
    client,
    `BEGIN${modes}`,
    client.session.rules.isolation.settingFor(client.lease.tenantId),
    settings,
  );
}

// A caller without types could put anything here: only these words reach the server.
const ISOLATION_LEVELS = {
  'read committed': 'READ COMMITTED',
  'repeatable read': 'REPEATABLE READ',
  serializable: 'SERIALIZABLE',
} as const;

/** A connection that the server ended for a matter of timing (FATAL 40001) counts too, unless COMMIT had been sent. */
function isWorthRetrying(error: unknown, { isCommitting }: AttemptProgress): boolean {
  if (error instanceof ConnectionLostError) return !(isCommitting && error.sent) && isRetriable(error.cause);
  return isRetriable(error instanceof TransactionAbortedError ? error.cause : error);
}

function pause(host: TransactionHost, delayMs: number): Promise<void> {
  return new Promise((resolve) => host.clock.setTimer(resolve, delayMs).ref());
}
