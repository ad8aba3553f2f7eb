/**
 * The end of a transaction: COMMIT in the round trip of the last statement.
 *
 * A function that returns the promise of its last statement, as `(tx) => tx.query('update …')` does, has nothing left
 * to decide: the transaction is committed when the statement works, and rolled back when it fails. The server does the
 * same with a COMMIT that it gets behind the statement: in a failed transaction it answers that with ROLLBACK. COMMIT
 * is a message of its own behind the statement's Sync, because the server skips all messages between an error and the
 * next Sync.
 *
 * COMMIT is never sent before the function has returned and all that this turn of the event loop has set off by
 * promises has run, and it goes behind the statement only where
 *  - the function has returned the promise itself, and nothing else waits for it: `promise.then(() => tx.query(…))`
 *    asks for one more statement, which belongs to the transaction;
 *  - all that was asked of the transaction are statements that read and write rows: none of them ends the transaction,
 *    or gives up its tenant, under which deferred constraints are checked at COMMIT;
 *  - nothing on the client's side can reject the call after the server has committed. So neither the statement nor the
 *    transaction has a time limit or a signal: they could fire after the server has committed. And no rows are
 *    converted: a type parser may throw. A read-only transaction may return rows: no row that it could have changed is
 *    committed.
 *
 * A lost connection is the exception: the server may have committed before the answer to the statement has come. The
 * call rejects then as when the connection is lost under a COMMIT that went by itself: {@link CommitBehind.lossOf}.
 */
import { ConnectionLostError } from '../../errors.js';
import { isRetriable } from '../protocol/pg-errors.js';
import type { LeasedClient } from '../session/leased-client.js';
import { isPlain, returnsNoRows } from '../statement/batchable.js';
import { LeaseStatement, TRANSACTION_END } from '../statement/lease-statement.js';
import type { TextRequest } from '../statement/query-arguments.js';
import type { WatchedPromise } from '../statement/watched-promise.js';

type Answer = ReturnType<LeaseStatement['promise']>;

interface Asked {
  readonly statement: LeaseStatement;
  readonly promise: WatchedPromise<unknown>;
}

export class CommitBehind {
  readonly #client: LeasedClient;
  readonly #isReadOnly: boolean;
  /** What was asked of the transaction so far; undefined once COMMIT can't go behind any of it. */
  #asked: Asked[] | undefined = [];
  #statement: LeaseStatement | undefined = undefined;
  #commit: LeaseStatement | undefined = undefined;
  #answer: Answer | undefined = undefined;

  constructor(client: LeasedClient, isReadOnly: boolean) {
    this.#client = client;
    this.#isReadOnly = isReadOnly;
  }

  /** Whether COMMIT may still go behind what is asked for next. */
  get isPossible(): boolean {
    return this.#asked !== undefined;
  }

  /** Runs a statement of the function's. */
  run({ text, values, config }: TextRequest): WatchedPromise<unknown> {
    const statement = new LeaseStatement(this.#client, text, values, config);
    const promise = statement.watchedPromise();
    this.#asked?.push({ statement, promise });
    this.#client.runStatement(statement);
    return promise;
  }

  /** COMMIT waits until the function's work is over. Without effect once COMMIT has been sent. */
  giveUp(): void {
    this.#asked = undefined;
    if (this.#statement !== undefined) this.#statement.follower = undefined;
  }

  /** Whether COMMIT can go behind the statement whose promise the function has returned. */
  canFollow(returned: unknown): boolean {
    const last = this.#asked?.at(-1);
    return last !== undefined && last.promise === returned && this.#mayCommitBehind(last.statement);
  }

  #mayCommitBehind(last: LeaseStatement): boolean {
    const { hygiene, lostBecause, leaseRejection } = this.#client.session;
    if (lostBecause !== undefined || leaseRejection !== undefined) return false;
    if (this.#asked?.every((asked) => this.#onlyTouchesRows(asked)) !== true) return false;
    return this.#isReadOnly || returnsNoRows(hygiene.textOf(last) ?? '');
  }

  #onlyTouchesRows({ statement, promise }: Asked): boolean {
    const { hygiene } = this.#client.session;
    const { config, answered, rejection, isScript } = statement;
    if (promise.isAwaited || answered || rejection !== undefined || isScript) return false;
    if (config?.timeoutMs !== undefined || config?.signal !== undefined) return false;
    const text = hygiene.textOf(statement);
    return text !== undefined && isPlain(text) && hygiene.binding.isKeptBy(text);
  }

  /** Has COMMIT sent behind that statement, at once or with it. {@link giveUp} takes it back until then. */
  follow(): void {
    const statement = this.#asked?.at(-1)?.statement;
    if (statement === undefined) return;
    this.#asked = undefined;
    const { session } = this.#client;
    const commit = new LeaseStatement(this.#client, 'COMMIT', undefined, undefined, 'end');
    this.#answer = commit.promise();
    // The statement may fail first: its error is the caller's.
    this.#answer.catch(() => {});
    commit.session = session;
    this.#commit = commit;
    this.#statement = statement;
    statement.follower = commit;
    session.sendFollowerOf(statement);
  }

  /** The server's answer to COMMIT, once that has been sent. */
  get answer(): Answer | undefined {
    return this.#commit?.isSent === true ? this.#answer : undefined;
  }

  /**
   * What the transaction's caller is told instead of `error`, with which its last statement has failed, where COMMIT
   * may have been carried out: the connection was lost before the statement was answered. An error that says that only
   * the timing was wrong is the server's answer to the statement: it has not come to COMMIT. Any other may be that of a
   * pooler, which has lost its own connection to the server.
   */
  lossOf(error: unknown): ConnectionLostError | undefined {
    if (this.answer === undefined || !(error instanceof ConnectionLostError)) return undefined;
    if (isRetriable(error.cause)) return undefined;
    const { poolId, tenantId } = this.#client.lease;
    return new ConnectionLostError(poolId, TRANSACTION_END, true, { tenantId, cause: error.cause });
  }
}
