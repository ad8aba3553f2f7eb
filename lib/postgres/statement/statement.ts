/**
 * One statement on its way through a connection: what goes over the wire, and the result that comes back.
 *
 * It takes the place of pg's own `Query` and gives the same results, errors included. It is leaner (one object, one
 * write), and what its session puts ahead of it goes out in the same round trip and the same implicit transaction,
 * which is everything before one Sync: if any of it fails, it rolls back as a whole.
 */
import type { AsyncResource } from 'node:async_hooks';

import type { Connection, QueryArrayResult, QueryResult } from 'pg';

import { DeadlineEntry } from '../../engine/time/deadlines.js';
import { toError } from '../../engine/to-error.js';
import type { TenantSetting } from '../isolation.js';
import type {
  CommandCompleteMessage,
  DataRowMessage,
  ResultBuilder,
  RowDescriptionMessage,
  TypeParsers,
  WireValue,
} from '../protocol/pg-module.js';
import type { SessionTask, TaskKind, WireSession } from '../session/session-queue.js';

/** A statement as callers hand it in: pg's query config, with a deadline and a signal. */
export interface StatementConfig {
  readonly text?: string | undefined;
  readonly values?: readonly unknown[] | undefined;
  readonly name?: string | undefined;
  readonly rowMode?: string | undefined;
  readonly types?: TypeParsers | undefined;
  readonly binary?: boolean | undefined;
  /** `extended` sends even a statement without values by the extended protocol. */
  readonly queryMode?: string | undefined;
  /** For the call as a whole, in milliseconds: waiting for a connection included. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a statement resolves to; an array when its text held several statements. */
export type StatementResult = QueryResult | QueryArrayResult;

/** What a statement needs of the session that runs it. */
export interface StatementSession extends WireSession {
  /** Whether something has to go out ahead of `task` in its own implicit transaction. */
  hasAhead(task: SessionTask): boolean;
  /** Writes that. @returns how many commands have to complete ahead of those of `task`. */
  writeAhead(task: SessionTask): number;
  /** One of the commands ahead of the active task has completed. */
  aheadCompleted(): void;
  /**
   * `task` has failed. @returns whether what went ahead of it has, and nothing of the task was executed: the connection
   * is destroyed then.
   */
  failedAheadOf(task: SessionTask, error: Error): boolean;
  /** The server has dropped every prepared statement, and the pool could not tell. */
  statementsForgotten(): void;
  /** A prepared statement has to be made anew. */
  replaceStatements(): void;
  /** Why nothing may run in the lease any more, if so. */
  readonly leaseRejection: Error | undefined;
  /** Rolls back what is open, and makes the session clean. */
  reset(): Promise<void>;
  /** Runs what is all there is to a lease. */
  runOneShot(statement: Statement): void;
  /** Why a task must not be sent, if so. */
  rejectionOf(task: SessionTask): Error | undefined;
  commandCompleted(task: SessionTask, tag: string, text: string | undefined): void;
  /** `error` of `operation` as the caller is told: a connection that ended is told as such. */
  toCallersError(error: Error, sent: boolean, operation?: string): Error;
  /** Has the server drop the plan of a statement that has just failed, and runs it ahead of everything that waits. */
  prepareAgain(statement: SessionTask): void;
  /** Cancels what is running. */
  interrupt(): void;
  /** pg has come to `statement`, which was sent behind others. */
  begins(statement: SessionTask): void;
  /** Whether the server works on `task`. */
  isActive(task: SessionTask): boolean;
  /** Calls `reached` when `task` has been answered to the end, unless it has already, or the connection is gone. */
  whenAnswered(task: SessionTask, reached: () => void): void;
  /** Whether a statement may be cancelled by a request that was meant for one ahead of it. */
  readonly mayBeHit: boolean;
  /** The server has answered with an error. */
  noteError(error: Error): void;
  /** The answers are not those that were asked for. */
  lostStep(error: Error): void;
  kill(reason: Error): void;
}

const NOTHING: readonly WireValue[] = [];

export abstract class Statement extends DeadlineEntry implements SessionTask {
  override readonly keepsProcessAlive = true;
  abstract readonly kind: TaskKind;
  /** Instrumentation may put a comment into it. */
  text: string | undefined;
  readonly values: readonly unknown[] | undefined;
  readonly config: StatementConfig | undefined;
  /** As the server knows it; pg keeps its list of parsed statements by it. */
  name: string | undefined;
  /** The caller's, where running it calls code of the caller's: `toPostgres` of its values, its type parsers. */
  protected context: AsyncResource | undefined = undefined;
  /** Binds just this statement to a tenant. */
  binding: TenantSetting | undefined = undefined;
  /** Where it runs, once it has a connection. */
  session: StatementSession | undefined = undefined;
  /** Why it must not be sent any more. */
  rejection: Error | undefined = undefined;
  /** It is on the wire. */
  #written = false;
  /** Results of what is ahead of it that are still to come, and not for the caller. */
  #resultsToSkip = 0;
  /** How its text went out; neither: it has been encoded in a way of its own. */
  #extended = false;
  #simple = false;
  /** Commands that the server has reported as done. */
  #commandsDone = 0;
  #result: ResultBuilder | undefined = undefined;
  #results: ResultBuilder[] | undefined = undefined;
  #rowError: Error | undefined = undefined;

  protected constructor(
    text: string | undefined,
    values: readonly unknown[] | undefined,
    config: StatementConfig | undefined,
  ) {
    super();
    this.text = text;
    this.values = values;
    this.config = config;
    this.name = config?.name;
  }

  /** It is over, and the connection ready for the next one. */
  protected abstract completed(results: ResultBuilder | ResultBuilder[]): void;
  /** It has failed; the connection isn't ready yet. */
  protected abstract failed(error: Error): void;

  /** What to say when the server could not make the session ready for it, and so has executed nothing of it. */
  protected notExecuted(cause: Error): Error {
    return cause;
  }

  /** Whether it can only go by the simple protocol, alone: several statements in one text. */
  get isScript(): boolean {
    return (
      this.name === undefined &&
      (this.values === undefined || this.values.length === 0) &&
      hasSeveralStatements(this.text)
    );
  }

  /** Called by pg when it is this statement's turn. @returns why it can't be sent. */
  submit(_connection?: Connection): Error | null {
    // What the server has been sent, it answers for.
    if (this.#written) {
      this.session?.begins(this);
      return null;
    }
    if (this.rejection !== undefined) return this.rejection;
    const { session } = this;
    if (session === undefined) return new Error('A statement was submitted without a session');
    const error = this.#encodeWhole(session);
    if (error !== undefined) return error;
    this.#written = true;
    session.wire.send();
    return null;
  }

  /** If a value or a type parser of the caller's throws, no part of a message stays behind. */
  #encodeWhole(session: StatementSession): Error | undefined {
    const { wire } = session;
    const before = wire.length;
    let error: Error | undefined;
    try {
      error = this.encode(session);
    } catch (thrown) {
      error = toError(thrown);
    }
    if (error !== undefined) wire.rewind(before);
    return error;
  }

  /** Whether the server has it, or soon will. */
  get isSent(): boolean {
    return this.#written;
  }

  /** If it can't be written, nothing has been, and `submit` returns the error when pg calls it. */
  writeBehind(): void {
    const { session } = this;
    if (session === undefined || this.isScript) return;
    this.rejection ??= this.#encodeWhole(session);
    this.#written = this.rejection === undefined;
  }

  /** Its values as they go over the wire. */
  wireValues(session: StatementSession): readonly WireValue[] {
    if (this.values === undefined) return NOTHING;
    const { context, values } = this;
    return context === undefined
      ? prepareAll(values, session)
      : context.runInAsyncScope(() => prepareAll(values, session));
  }

  /** Makes it ready to be sent once more; what has come for it so far is dropped. */
  protected rewind(): void {
    this.#written = false;
    this.#resultsToSkip = 0;
    this.#extended = false;
    this.#simple = false;
    this.#commandsDone = 0;
    this.#result = undefined;
    this.#results = undefined;
  }

  /** @returns why it can't be put on the wire; nothing has been then. */
  protected encode(session: StatementSession): Error | undefined {
    const { text, name } = this;
    const problem = this.#problem(session);
    if (problem !== undefined) return problem;
    const { wire } = session;
    const hasAhead = session.hasAhead(this);
    if (!hasAhead && !this.#needsExtended()) {
      this.#simple = true;
      wire.query(text ?? '');
      return undefined;
    }
    let values: readonly WireValue[];
    try {
      values = this.wireValues(session);
    } catch (error) {
      return toError(error);
    }
    this.#extended = true;
    if (hasAhead) this.#resultsToSkip = session.writeAhead(this);
    wire.execute(name, text, values, this.config?.binary === true);
    return undefined;
  }

  #problem(session: StatementSession): Error | undefined {
    const { text, name, values } = this;
    if (typeof text !== 'string' && typeof name !== 'string')
      return new Error('A query must have either a text or a name.');
    if (text !== undefined && (typeof text !== 'string' || text.includes('\0')))
      return new TypeError('The text of a query must be a string without NUL characters');
    if (values !== undefined && !Array.isArray(values)) return new TypeError('Query values must be an array');
    if (name === undefined) return undefined;
    if (typeof name !== 'string' || name.includes('\0'))
      return new TypeError('The name of a query must be a string without NUL characters');
    const known = session.wire.preparedText(name);
    if (known !== undefined && text && known !== text) {
      return new Error(
        `Prepared statements must be unique: "${this.config?.name ?? name}" was used for a different statement`,
      );
    }
    return undefined;
  }

  #needsExtended(): boolean {
    return (
      this.name !== undefined ||
      (this.values !== undefined && this.values.length > 0) ||
      this.config?.queryMode === 'extended'
    );
  }

  handleRowDescription(message: RowDescriptionMessage): void {
    const { context } = this;
    try {
      const result = this.#resultOfNext();
      if (context === undefined) result.addFields(message.fields);
      else context.runInAsyncScope(() => result.addFields(message.fields));
    } catch (error) {
      // Thrown by type parsers of the caller's.
      this.#rowError ??= toError(error);
    }
  }

  handleDataRow(message: DataRowMessage): void {
    if (this.#resultsToSkip > 0 || this.#rowError !== undefined) return;
    const result = this.#current();
    const { context } = this;
    try {
      const row =
        context === undefined
          ? result.parseRow(message.fields)
          : context.runInAsyncScope(() => result.parseRow(message.fields));
      result.addRow(row);
    } catch (error) {
      this.#rowError = toError(error);
    }
  }

  handleCommandComplete(message: CommandCompleteMessage): void {
    if (this.#resultsToSkip > 0) {
      this.#resultsToSkip--;
      return this.session?.aheadCompleted();
    }
    this.#commandsDone++;
    // One more than it has: the answer to what was sent behind it.
    if (this.#commandsDone > 1 && (this.#extended || (this.#simple && !this.isScript))) return this.#lostStep();
    this.#resultOfNext().addCommandComplete(message);
    this.session?.commandCompleted(this, message.text, this.text);
  }

  handleEmptyQuery(): void {
    this.#commandsDone++;
    this.#current();
  }

  handlePortalSuspended(): void {
    // Never: every portal is run to its end.
  }

  handleCopyInResponse(): void {
    const { session } = this;
    if (session === undefined) return;
    const { wire } = session;
    wire.refuseCopy('COPY … FROM STDIN needs a stream: pass one of pg-copy-streams to query()', this.#extended);
    wire.send();
  }

  handleCopyData(): void {
    // COPY … TO STDOUT without a stream: its rows have nowhere to go, as in pg.
  }

  handleReadyForQuery(): void {
    // An answer to something else: taken for this one's, it would give one caller another's rows.
    if (this.#commandsDone === 0 || this.#resultsToSkip > 0) return this.#lostStep();
    this.session?.finished(this);
    if (this.#rowError !== undefined) this.failed(this.#rowError);
    else if (this.#results === undefined) this.completed(this.#finish(this.#current()));
    else this.completed(this.#results.map((result) => this.#finish(result)));
  }

  handleError(error: Error): void {
    const { session } = this;
    if (session?.failedAheadOf(this, error) === true) return this.failed(this.notExecuted(error));
    session?.noteError(error);
    this.failed(this.#rowError ?? error);
  }

  /** The server answers something that was not asked: the connection is of no use any more. */
  #lostStep(): void {
    const error = new Error('The server sent an answer that belongs to no statement');
    this.session?.lostStep(error);
    this.failed(error);
  }

  /** The result being filled; made on first use. */
  #current(): ResultBuilder {
    return (this.#result ??= this.#newResult());
  }

  /** Like {@link #current}; a result that has its command already was an earlier statement's of the same text. */
  #resultOfNext(): ResultBuilder {
    const current = this.#result;
    if (current === undefined) return (this.#result = this.#newResult());
    if (!current.command) return current;
    this.#results ??= [current];
    this.#result = this.#newResult();
    this.#results.push(this.#result);
    return this.#result;
  }

  #newResult(): ResultBuilder {
    const { session } = this;
    if (session === undefined) throw new Error('A statement got a result without a session');
    return new session.wire.Result(this.config?.rowMode, this.config?.types ?? this.typeParsers(session));
  }

  /** What the result was built with leads to the connection: nothing of it is handed out. */
  #finish(result: ResultBuilder): ResultBuilder {
    result._types = undefined;
    result._parsers = undefined;
    return result;
  }

  protected typeParsers(session: StatementSession): TypeParsers {
    return session.wire.typeParsers;
  }
}

function prepareAll(values: readonly unknown[], { wire }: StatementSession): readonly WireValue[] {
  const prepared = new Array<WireValue>(values.length);
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    prepared[index] = typeof value === 'string' ? value : wire.prepareValue(value);
  }
  return prepared;
}

/**
 * A semicolon with something behind it. A text that has one only in a literal is taken for several statements too:
 * that costs it a round trip and changes nothing else.
 */
const SEMICOLON_INSIDE = /;\s*\S/;

export function hasSeveralStatements(text: string | undefined): text is string {
  return typeof text === 'string' && SEMICOLON_INSIDE.test(text);
}
