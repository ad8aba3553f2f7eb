/**
 * `pool.query`: one statement that is all there is to its lease, or that shares it with others like it.
 *
 * One object does it all: it waits for the slot, carries the caller's promise, is the statement on the wire and gives
 * the slot back. It is given back before the caller is told, so that the next waiter loses no time, and never before
 * ReadyForQuery: a transaction that the statement left open is rolled back first.
 */
import { AsyncResource } from 'node:async_hooks';

import type { Connection } from 'pg';

import type { Lease } from '../../engine/lease.js';
import type { LeaseReceiver } from '../../engine/receivers.js';
import { toError } from '../../engine/to-error.js';
import { ConnectionLostError, RequestEndedError, TransactionLeftOpenError } from '../../errors.js';
import { isStalePlan, sqlStateOf } from '../protocol/pg-errors.js';
import type { ResultBuilder } from '../protocol/pg-module.js';
import type { ClientDependencies, LeasedClient } from '../session/leased-client.js';
import { BIND_STATEMENT } from '../session/session-hygiene.js';
import { Batch } from './batch.js';
import { isBatchable } from './batchable.js';
import { callsCaller } from './caller-code.js';
import { CallerStatement } from './caller-statement.js';
import type { StatementConfig, StatementSession } from './statement.js';

/** invalid_sql_statement_name */
const UNKNOWN_STATEMENT = '26000';
/** duplicate_prepared_statement */
const KNOWN_STATEMENT = '42P05';
/** query_canceled */
const CANCELLED = '57014';
/** How long a statement may take whose caller has given it up before its turn, in milliseconds. */
const UNWANTED_MS = 100;
export class OneShot extends CallerStatement implements LeaseReceiver<LeasedClient> {
  readonly kind = 'oneShot';
  protected override readonly poolId: string;
  protected override readonly tenantId: string | undefined;
  readonly #dependencies: ClientDependencies;
  /** What its caller waits for, when the end of a request may withdraw it: by then there may be no one to handle it. */
  withdrawable: Promise<unknown> | undefined = undefined;
  /** The limit of its call, in milliseconds, and since when it holds. */
  #callTimeoutMs: number | undefined = undefined;
  #calledAtMs = 0;
  /** How often it has been sent again. */
  #repeats = 0;
  #lease: Lease<LeasedClient> | undefined = undefined;
  /** Those that it shares its lease with. */
  #batch: Batch | undefined = undefined;
  /** Its caller has been answered, and it has not been cancelled yet. */
  #isToBeCancelled = false;

  constructor(
    poolId: string,
    tenantId: string | undefined,
    dependencies: ClientDependencies,
    text: string | undefined,
    values: readonly unknown[] | undefined,
    config: StatementConfig | undefined,
  ) {
    super(text, values, config);
    this.poolId = poolId;
    this.tenantId = tenantId;
    this.#dependencies = dependencies;
    // Instrumentation is told once the slot is there.
    const needsContext =
      dependencies.parsers.mayBeOwn ||
      dependencies.instrumentation?.isPresent() === true ||
      dependencies.queries.hasSubscribers ||
      callsCaller(values, config);
    if (needsContext) this.context = new AsyncResource('PostgresQuery');
  }

  /**
   * Takes over the limits of its call. While the call waits for a connection `timeoutMs` limits the acquire, later what
   * is left of it limits the statement: one deadline at a time, so that it is certain which error tells of it.
   */
  limitCall(timeoutMs: number | undefined, signal: AbortSignal | undefined): void {
    const { deadlines, clock } = this.#dependencies;
    this.#callTimeoutMs = timeoutMs;
    this.#calledAtMs = clock.now();
    this.limit(deadlines, this.#calledAtMs, undefined, signal);
  }

  granted(lease: Lease<LeasedClient>): void {
    if (this.answered) return lease.release();
    const { batching, clock } = this.#dependencies;
    const client = lease.connection;
    if (!lease.tenantWaits || batching.most === 1 || !this.#isFit(client.session)) return this.#start(lease, client);
    const batch = new Batch(lease, batching, clock);
    client.batch = batch;
    batch.gather(client.session, () => this.shared(lease));
    client.batch = undefined;
  }

  canShare(lease: Lease<LeasedClient>): boolean {
    return !this.answered && this.#isFit(lease.connection.session);
  }

  shared(lease: Lease<LeasedClient>): void {
    const client = lease.connection;
    this.#batch = client.batch;
    this.#batch?.joined();
    this.#start(lease, client);
  }

  #start(lease: Lease<LeasedClient>, client: LeasedClient): void {
    this.#lease = lease;
    // Behind others the pool's limit counts from its turn on; the call's goes on.
    if (this.#batch === undefined) this.#limitWork();
    else if (this.#callTimeoutMs !== undefined)
      this.limit(this.#dependencies.deadlines, this.#calledAtMs, this.#callTimeoutMs, undefined);
    try {
      if (!this.#observedBy(client)) return this.#giveBack(undefined);
      client.session.runOneShot(this);
    } catch (error) {
      this.#giveBack(true);
      this.reject(toError(error));
    }
  }

  /**
   * Asked when its turn has come: instrumentation may have changed the text. One that is sent again goes alone: if a
   * cancel request that is meant for another hit it, it could not be sent a third time.
   */
  get canBatch(): boolean {
    return this.#batch !== undefined && this.#repeats === 0 && this.session !== undefined && this.#isFit(this.session);
  }

  /** Whether it can go in one packet with others, to that session. */
  #isFit({ wire }: StatementSession): boolean {
    const { text, name, values } = this;
    // What can't be cancelled costs the connection when it is given up, and what is behind it with it.
    if (!wire.canCancel) return false;
    if (name !== undefined && wire.preparedText(name) === undefined) return false;
    const known = text ?? (name === undefined ? undefined : wire.preparedText(name));
    return typeof known === 'string' && !this.isScript && isBatchable(known, values);
  }

  /** Its turn has come. */
  override submit(connection?: Connection): Error | null {
    if (this.#batch !== undefined && this.#repeats === 0 && !this.answered) this.#limitWork();
    return super.submit(connection);
  }

  /** Of the pool's limit on the statement and what is left of its call's, the stricter one holds. */
  #limitWork(): void {
    const { deadlines, clock, limits } = this.#dependencies;
    if (this.#callTimeoutMs === undefined && limits.queryTimeoutMs === undefined) return;
    const nowMs = clock.now();
    const callEndsMs = this.#callTimeoutMs === undefined ? Infinity : this.#calledAtMs + this.#callTimeoutMs;
    const { queryTimeoutMs = Infinity } = limits;
    if (nowMs + queryTimeoutMs < callEndsMs) this.limit(deadlines, nowMs, queryTimeoutMs, undefined);
    else this.limit(deadlines, this.#calledAtMs, this.#callTimeoutMs, undefined);
  }

  #observedBy(client: LeasedClient): boolean {
    return this.context?.runInAsyncScope(() => client.observe(this)) ?? true;
  }

  refused(error: Error): void {
    if (error instanceof RequestEndedError) this.withdrawable?.catch(() => {});
    this.reject(error);
  }

  protected override completed(result: ResultBuilder | ResultBuilder[]): void {
    this.#batch?.answered();
    if (this.session?.wire.transactionStatus !== 'I') return this.#leftOpen();
    this.#giveBack(undefined);
    this.fulfil(result);
  }

  protected override failed(error: Error): void {
    const { session } = this;
    if (session !== undefined && this.#mayResend(error)) {
      session.statementsForgotten();
      return this.#resend(session);
    }
    if (session !== undefined && this.#isPreparedAlready(error)) {
      this.#repeats++;
      this.rewind();
      return session.prepareAgain(this);
    }
    if (session !== undefined && this.#mayRepeat && this.name !== undefined && isStalePlan(error)) {
      session.replaceStatements();
      return this.#resend(session);
    }
    if (session !== undefined && session.mayBeHit && this.#mayRepeat && sqlStateOf(error) === CANCELLED)
      return this.#resend(session);
    // Refused while it waited for its turn, or the connection is gone: either way it has had its answer.
    session?.whenAnswered(this, () => {
      this.#batch?.answered();
      if (session.wire.transactionStatus !== 'I') return this.#leftOpen(error);
      this.#giveBack(error);
      this.reject(error);
    });
  }

  protected override notExecuted(cause: Error): Error {
    return new ConnectionLostError(this.poolId, 'a query', false, { tenantId: this.tenantId, cause });
  }

  /**
   * A function that ran in the session before has made the server forget its prepared statements, and the pool could
   * not tell. The whole implicit transaction has been rolled back, so it can be sent again.
   */
  #mayResend(error: Error): boolean {
    const isPrepared = this.binding !== undefined || this.name !== undefined;
    if (!isPrepared || sqlStateOf(error) !== UNKNOWN_STATEMENT) return false;
    // Another one of the batch may have called such a function again. It may have been the statement's own, too.
    return this.#mayRepeat || (this.#mayRepeatOnceMore && this.#isNamedIn(error));
  }

  /** What it was prepared as the server has still: it was taken to have forgotten it, together with another. */
  #isPreparedAlready(error: Error): boolean {
    return this.#mayRepeatOnceMore && sqlStateOf(error) === KNOWN_STATEMENT && this.#isNamedIn(error);
  }

  /** Whether an error is about what it is bound by, or prepared as. Names are not translated. */
  #isNamedIn({ message }: Error): boolean {
    return (
      (this.binding !== undefined && message.includes(BIND_STATEMENT)) ||
      (this.name !== undefined && message.includes(this.name))
    );
  }

  get #mayRepeat(): boolean {
    return this.#repeats === 0 && !this.answered;
  }

  /** Each of its batch may be the reason for one. */
  get #mayRepeatOnceMore(): boolean {
    return this.#repeats <= this.#dependencies.batching.most && !this.answered;
  }

  #resend(session: StatementSession): void {
    this.#repeats++;
    this.rewind();
    session.whenReady(() => {
      if (this.answered) this.#giveBack(undefined);
      else session.runOneShot(this);
    });
  }

  /**
   * A transaction is open behind it. In a batch the first one that finds it so has left it, and is rolled back with
   * all that was executed behind it: those are sent again.
   */
  #leftOpen(error?: Error): void {
    const { session } = this;
    if (this.#batch?.isRolledBack === true && session !== undefined && this.#mayRepeat) return this.#resend(session);
    if (this.#batch !== undefined) this.#batch.isRolledBack = true;
    this.#rollBack(error);
  }

  /** What it left open must not reach another borrower; nor must the caller think that it is going on. */
  #rollBack(error?: Error): void {
    const answer = error ?? new TransactionLeftOpenError(this.poolId, { tenantId: this.tenantId });
    this.session?.reset().then(
      () => {
        this.#giveBack(error);
        this.reject(answer);
      },
      (resetError: unknown) => {
        this.#giveBack(true);
        this.reject(error ?? new TransactionLeftOpenError(this.poolId, { tenantId: this.tenantId, cause: resetError }));
      },
    );
  }

  #giveBack(error: unknown): void {
    this.lastWord();
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease === undefined) return;
    if (this.#batch !== undefined) this.#batch.ended(error);
    else if (!lease.released) lease.release(error);
  }

  protected override abandoned(): void {
    // Without a lease it is still waiting for one; the waiter has the same deadline and signal.
    if (this.#lease === undefined) return;
    // Not sent yet: it never will be.
    this.rejection = new Error('The query was given up before it was sent');
    // The server works on one ahead of it, which has limits of its own.
    if (this.#batch !== undefined && this.session?.isActive(this) !== true) return;
    this.awaitLastWord(this.#dependencies.deadlines, this.#dependencies.clock.now());
    if (this.isSent) this.session?.interrupt();
  }

  /** Nothing waits for it any more but the connection: it gets the time of a short statement, and is cancelled then. */
  begun(): void {
    if (!this.answered) return;
    const { deadlines, clock } = this.#dependencies;
    this.#isToBeCancelled = true;
    this.awaitLastWord(deadlines, clock.now(), UNWANTED_MS);
  }

  override expire(): void {
    if (!this.#isToBeCancelled) return super.expire();
    this.#isToBeCancelled = false;
    this.awaitLastWord(this.#dependencies.deadlines, this.#dependencies.clock.now());
    this.session?.interrupt();
  }

  protected override stuck(): void {
    this.#giveBack(true);
  }
}
