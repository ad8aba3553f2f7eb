/**
 * One statement on its way through a connection: what goes over the wire, and the result that comes back.
 *
 * It takes the place of pg's own `Query` and gives the same results, errors included. It is leaner (one object, one
 * write) and can carry three things in front of the statement in the same round trip:
 *  - the reset that the session owes its former borrower; unless it works nothing of the statement is executed;
 *  - a guard, which does the same for a reset that has been sent just before;
 *  - a tenant's setting, local to the implicit transaction that everything before one Sync is. If any of it fails, it
 *    rolls back as a whole, and nothing of the setting survives on the session.
 */
import type { AsyncResource } from 'node:async_hooks';
import type { Connection, QueryArrayResult, QueryResult } from 'pg';

import { DeadlineEntry } from '../../engine/time/deadlines.js';
import { toError } from '../../engine/to-error.js';
import type { TenantSetting } from '../isolation.js';
import { sqlStateOf } from '../protocol/pg-errors.js';
import type {
  CommandCompleteMessage,
  DataRowMessage,
  ResultBuilder,
  RowDescriptionMessage,
  TypeParsers,
  WireValue,
} from '../protocol/pg-module.js';
import type { LeaseBinding } from '../session/lease-binding.js';
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
  readonly binding: LeaseBinding;
  /** The prepared statement that binds a transaction to a tenant. */
  readonly bindStatement: string;
  lacksBindStatement(task: SessionTask): boolean;
  prepareBinding(): void;
  /** Writes the reset that a statement takes along. */
  resetInPassing(): void;
  /** What took a reset along has failed. */
  oweReset(): void;
  /** The server has confirmed a reset. */
  cleaned(): void;
  /** The server drops every prepared statement. */
  forgetStatements(): void;
  /** Resets it now, in a round trip of its own. */
  reset(): Promise<void>;
  /** Runs what is all there is to a lease. */
  runOneShot(statement: Statement): void;
  /** Why a task must not be sent, if so. */
  rejectionOf(task: SessionTask): Error | undefined;
  commandCompleted(task: SessionTask, tag: string, text: string | undefined): void;
  /** `error` as the caller is told: a connection that ended is told as such. */
  toCallersError(error: Error, sent: boolean): Error;
  /** Has the server drop the plan of a statement that has just failed, and runs it ahead of everything that waits. */
  prepareAgain(statement: SessionTask): void;
  /** Cancels what is running. */
  interrupt(): void;
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
  /** The reset that the session owes goes out with it. */
  resetsSession = false;
  /** Why it must not be sent any more. */
  rejection: Error | undefined = undefined;
  /** Its messages are on the wire, alone or behind those of a reset. */
  #written = false;
  /** Results of what is in front of it that are still to come, and not for the caller. */
  #resultsToSkip = 0;
  /** The reset in front of it hasn't been executed yet. */
  #resetting = false;
  #extended = false;
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
    if (this.#written) return null;
    if (this.rejection !== undefined) return this.rejection;
    const { session } = this;
    if (session === undefined) return new Error('A statement was submitted without a session');
    const error = this.#encodeWhole(session, undefined);
    if (error !== undefined) return error;
    this.#written = true;
    session.wire.send();
    return null;
  }

  /** If a value or a type parser of the caller's throws, no part of a message stays behind. */
  #encodeWhole(session: StatementSession, guard: string | undefined): Error | undefined {
    const { wire } = session;
    const before = wire.length;
    let error: Error | undefined;
    try {
      error = this.encode(session, guard);
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

  /**
   * Writes its messages into the buffer behind those of a session reset. They begin with a Bind of `guard`, the
   * prepared statement that the reset creates as its last step: if the reset fails, the server executes nothing of this
   * statement. If encoding fails, the buffer is unchanged, and `submit` returns the error when pg calls it.
   *
   * @param guard `undefined`: its own tenant binding uses the prepared statement that the reset creates.
   */
  encodeBehind(session: StatementSession, guard: string | undefined): void {
    this.rejection ??= this.#encodeWhole(session, guard);
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
    this.resetsSession = false;
    this.#resetting = false;
    this.#extended = false;
    this.#commandsDone = 0;
    this.#result = undefined;
    this.#results = undefined;
  }

  /** @returns why it can't be put on the wire; nothing has been then. */
  protected encode(session: StatementSession, guard: string | undefined): Error | undefined {
    const { text, name, binding } = this;
    const problem = this.#problem(session);
    if (problem !== undefined) return problem;
    const { wire } = session;
    if (guard === undefined && binding === undefined && !this.resetsSession && !this.#needsExtended()) {
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
    if (guard !== undefined) wire.guard(guard);
    if (this.resetsSession) this.#encodeReset(session);
    if (binding !== undefined) this.#encodeBinding(session, binding);
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

  #encodeReset(session: StatementSession): void {
    session.resetInPassing();
    if (session.lacksBindStatement(this)) session.prepareBinding();
    this.#resetting = true;
    this.#resultsToSkip++;
  }

  #encodeBinding({ wire, bindStatement }: StatementSession, binding: TenantSetting): void {
    wire.executePrepared(bindStatement, [binding.name, binding.value]);
    this.#resultsToSkip++;
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
      if (this.#resetting) this.session?.cleaned();
      this.#resetting = false;
      return;
    }
    this.#commandsDone++;
    if (this.#extended && this.#commandsDone > 1) return this.#lostStep();
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
    // Only an answer of the server's tells that the reset failed; when the connection is lost the statement may have
    // run.
    if (this.#resetting && sqlStateOf(error) !== undefined) {
      this.session?.kill(error);
      return this.failed(this.notExecuted(error));
    }
    if (this.resetsSession) this.session?.oweReset();
    this.session?.noteError(error);
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
