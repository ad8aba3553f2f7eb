/**
 * A transaction as the function that works in it sees it, and the parts of one that can fail by themselves.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

import { isError } from '../../engine/to-error.js';
import { TransactionAbortedError, TransactionEndedError } from '../../errors.js';
import type { LeasedClient } from '../session/leased-client.js';
import { LeaseStatement } from '../statement/lease-statement.js';
import type { QueryRequest } from '../statement/query-arguments.js';
import { Queryable } from '../statement/queryable.js';
import { SubmittableTask } from '../statement/submittable-task.js';
import { WatchedPromise } from '../statement/watched-promise.js';
import type { CommitBehind } from './commit-behind.js';

/** As it is when this is loaded: a test of an application may stop its own clock, and would stop COMMIT with it. */
const { nextTick } = process;

/** The nested transaction in whose function the running code is. */
const nestedAround = new AsyncLocalStorage<PgTransaction>();

/** A transaction that is under way. Calls on the pool itself use connections of their own. */
export class PgTransaction extends Queryable {
  readonly #client: LeasedClient;
  /** The transaction that this one is a part of. */
  readonly #outer: PgTransaction | undefined;
  /** Sends COMMIT with the last statement, where that can be. */
  readonly #commitBehind: CommitBehind | undefined;
  #savepoints = 0;
  #ended = false;
  /** Something of it was asked for. */
  #isUsed = false;
  /** The first statement that failed: what a swallowed error was. */
  #failure: Error | undefined = undefined;
  /**
   * The nested transactions so far. They take turns: a savepoint can't be undone without undoing what came after it.
   */
  #turns: Promise<unknown> = Promise.resolve();
  /** The nested transaction whose turn it is. */
  #current: PgTransaction | undefined = undefined;

  /** @internal */
  constructor(client: LeasedClient, outer?: PgTransaction, commitBehind?: CommitBehind) {
    super();
    this.#client = client;
    this.#outer = outer;
    this.#commitBehind = commitBehind;
  }

  /**
   * The connection, for libraries that want a pg client. Beginning and ending the transaction is not theirs to do.
   *
   * @throws TransactionEndedError once the transaction is over.
   */
  get client(): LeasedClient {
    if (this.#isOver) throw this.#endedError();
    this.#commitBehind?.giveUp();
    this.#begins(undefined);
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
    if (this.#isOver) throw this.#endedError();
    this.#commitBehind?.giveUp();
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

  /** @internal */
  protected override runQuery(request: QueryRequest): unknown {
    if (this.#isOver) return this.#refuse(request);
    this.#begins(request);
    const answer = this.#execute(request);
    if (answer instanceof Promise) {
      answer.catch((error: unknown) => {
        if (isError(error)) this.#failure ??= error;
      });
    }
    if (answer instanceof WatchedPromise) answer.watch();
    return answer;
  }

  #execute(request: QueryRequest): unknown {
    const behind = this.#commitBehind;
    const isPlain = request.submittable === undefined && request.callback === undefined;
    if (behind?.isPossible === true && isPlain) return behind.run(request);
    behind?.giveUp();
    return this.#client.execute(request);
  }

  /** Nothing more can be asked of it: its end has been asked for, or is on its way. */
  get #isOver(): boolean {
    return this.#ended || this.#commitBehind?.answer !== undefined;
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

  /** @internal Whether COMMIT may go behind the statement whose promise its function has returned. */
  endsWith(returned: unknown): boolean {
    const canFollow = this.#commitBehind?.canFollow(returned) === true;
    if (!canFollow) this.#commitBehind?.giveUp();
    return canFollow;
  }

  /** @internal Sends COMMIT behind that statement, if it still may when what the function has set off has run. */
  async commitBehind(returned: unknown): Promise<void> {
    await promisesHaveRun();
    if (this.endsWith(returned)) this.#commitBehind?.follow();
  }

  /** @internal */
  async commit(): Promise<void> {
    this.#ended = true;
    const { session } = this.#client;
    let answer = this.#commitBehind?.answer;
    if (answer === undefined) {
      if (this.#isUnused()) return;
      const endedBy = session.transactionEndedBy();
      // Its function has ended it: what it committed is committed, anything else was not what it returned for.
      if (endedBy === 'COMMIT' && session.transactionStatus === 'I') return;
      if (endedBy !== undefined) throw this.#endedError(endedBy);
      answer = this.#end('COMMIT');
    }
    const result = await answer;
    // The server answers COMMIT with ROLLBACK when something in the transaction has failed.
    if (session.leaseRejection !== undefined) throw session.leaseRejection;
    if (Array.isArray(result) || result.command === 'COMMIT') return;
    throw new TransactionAbortedError(this.#client.lease.poolId, { tenantId: this.tenantId, cause: this.#failure });
  }

  /** @internal */
  async rollback(): Promise<void> {
    this.#ended = true;
    const answer = this.#commitBehind?.answer;
    // The server has rolled back what it could not commit.
    if (answer !== undefined) await answer.catch(() => {});
    else if (!this.#isUnused()) await this.#end('ROLLBACK');
  }

  /** The transaction begins with `request`, or ahead of it; undefined: with what the caller does with the client. */
  #begins(request: QueryRequest | undefined): void {
    const top = this.#top();
    top.#isUsed = true;
    this.#client.beginAhead(request);
  }

  #top(): PgTransaction {
    return this.#outer === undefined ? this : this.#outer.#top();
  }

  /** Nothing was sent: there is no transaction to end. */
  #isUnused(): boolean {
    if (!this.#isUsed) this.#client.session.hygiene.binding.transactionEnds();
    return !this.#isUsed;
  }

  /** @internal */
  end(): void {
    this.#ended = true;
  }

  #run(text: string): Promise<unknown> {
    this.#begins({ submittable: undefined, text, values: undefined, config: undefined, callback: undefined });
    return this.#client.run(new LeaseStatement(this.#client, text, undefined, undefined));
  }

  #end(command: 'COMMIT' | 'ROLLBACK'): ReturnType<LeaseStatement['promise']> {
    this.#commitBehind?.giveUp();
    return this.#client.run(new LeaseStatement(this.#client, command, undefined, undefined, 'end'));
  }

  #endedError(endedBy = 'the end of its function'): TransactionEndedError {
    return new TransactionEndedError(this.#client.lease.poolId, endedBy, { tenantId: this.tenantId });
  }
}

/** Resolves when all that this turn of the event loop has set off by promises has run. */
function promisesHaveRun(): Promise<void> {
  return new Promise((resolve) => nextTick(resolve));
}
