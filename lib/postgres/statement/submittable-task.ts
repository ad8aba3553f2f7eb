/**
 * Runs a caller's `Submittable` (pg-cursor, pg-query-stream, pg-copy-streams, pg's own Query) on a session.
 *
 * Promise: what it calls or emits runs in the async context of the call of `query`, not in that of the connection; what
 * it throws ends it and costs the connection, nothing else; and it always ends: one that is destroyed or closed before
 * its turn is not sent, one that is destroyed in the middle has some seconds to end by itself, and so has one whose
 * server has worked for too long. When the connection is lost its caller hears of it by a ConnectionLostError. Once it
 * is over it leads to no connection any more.
 */
import { AsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { Readable, Writable } from 'node:stream';

import type { Connection } from 'pg';

import { OperationTimeoutError } from '../../engine/errors.js';
import type { Clock } from '../../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../../engine/time/deadlines.js';
import { isError, toError } from '../../engine/to-error.js';
import type {
  CommandCompleteMessage,
  DataRowMessage,
  QueryCallback,
  RowDescriptionMessage,
  TypeParsers,
} from '../protocol/pg-module.js';
import type { Wire } from '../protocol/wire.js';
import type { SessionTask } from '../session/session-queue.js';
import { type CallerSubmittable, failHeldReads, giveUp, ignoreErrors, textOwner } from './caller-submittable.js';
import { takeConnection } from './ended-connection.js';
import type { ObservedCall } from './instrumentation.js';
import { ServerRounds } from './server-rounds.js';
import { SubmittableEnd } from './submittable-end.js';
import { throwLater } from './throw-later.js';

/** What a Submittable needs of the session that runs it. */
export interface SubmittableSession {
  readonly wire: Pick<Wire, 'binary' | 'isRead'>;
  /** Why a task must not be sent, if so. */
  rejectionOf(task: SessionTask): Error | undefined;
  commandCompleted(task: SessionTask, tag: string, text: string | undefined): void;
  finished(task: SessionTask): void;
  /** Calls `reached` when everything sent so far has been answered to the end, or the connection is gone. */
  whenReady(reached: () => void): void;
  noteError(error: Error): void;
  /** Cancels what is running. */
  interrupt(): void;
  kill(reason: Error): void;
  readonly rules: { readonly poolId: string };
  /** Why the connection can't be used any more, if so. */
  readonly lostBecause: Error | undefined;
  /** Whether the pool ends it. */
  readonly isEnding: boolean;
  /** `error` as the caller is told: a connection that ended is told as such. */
  toCallersError(error: Error, sent: boolean): Error;
}

/** What running one takes. */
export interface SubmittableTaskDependencies {
  readonly session: SubmittableSession;
  readonly tenantId: string | undefined;
  /** On each round of the server's work, in milliseconds. */
  readonly queryTimeoutMs: number | undefined;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** Of its lease. */
  readonly typeParsers: TypeParsers;
  readonly observed: ObservedCall | undefined;
  /** Called once the connection is ready again, or gone. */
  readonly over: ((error: Error | undefined) => void) | undefined;
}

/** How long one that was destroyed in the middle, or cancelled, may take to end. */
const END_GRACE_MS = 2_000;

export class SubmittableTask extends DeadlineEntry implements SessionTask {
  readonly kind = 'caller';
  override readonly keepsProcessAlive = true;
  readonly #query: CallerSubmittable;
  readonly #dependencies: SubmittableTaskDependencies;
  readonly #context = new AsyncResource('PostgresSubmittable');
  readonly #end: SubmittableEnd;
  readonly #rounds: ServerRounds | undefined;
  #connection: Connection | undefined = undefined;
  /** Those who waited for the server to be ready before it was submitted. */
  #waitedBefore: readonly unknown[] = [];
  /** Its caller has been told of its failure: what the server still answers is discarded. */
  #isTold = false;
  #isOver = false;
  /** Its lease has ended, and it has been given up. */
  #isLeaseOver = false;
  /** What its own code has thrown. */
  #thrown: Error | undefined = undefined;

  constructor(
    query: CallerSubmittable,
    callback: QueryCallback | undefined,
    dependencies: SubmittableTaskDependencies,
  ) {
    super();
    this.#query = query;
    this.#dependencies = dependencies;
    this.#end = new SubmittableEnd(query, () => this.#givenUp());
    const { queryTimeoutMs, deadlines, clock } = dependencies;
    if (queryTimeoutMs !== undefined)
      this.#rounds = new ServerRounds(queryTimeoutMs, deadlines, clock, () => this.#tooLong(queryTimeoutMs));
    const own = query.callback ?? callback;
    if (own !== undefined) query.callback = this.#context.bind(own);
    if (query instanceof EventEmitter) this.#emitInContext(query);
    const text = dependencies.observed?.text;
    if (text !== undefined) textOwner(query).text = text;
    const result: (object & { _types?: unknown }) | undefined = query._result;
    // As pg does, but so that it shows in nothing that is printed: the parsers lead to the connection.
    if (result !== undefined && !result._types)
      Object.defineProperty(result, '_types', {
        value: dependencies.typeParsers,
        writable: true,
        configurable: true,
        enumerable: false,
      });
  }

  /** Tells a Submittable that it will never run. */
  static refuse(query: CallerSubmittable, error: Error, callback: QueryCallback | undefined): void {
    if (query.callback === undefined && callback !== undefined) callback(error);
    // Before they are submitted they don't touch the connection.
    else query.handleError?.(error);
  }

  // pg reads and sets these on what it runs.
  get name(): string | undefined {
    return this.#query.name;
  }
  get text(): string | undefined {
    return textOwner(this.#query).text;
  }
  get binary(): boolean | undefined {
    return this.#query.binary;
  }
  set binary(binary: boolean | undefined) {
    this.#query.binary = binary;
  }
  get callback(): QueryCallback | undefined {
    return this.#query.callback;
  }

  submit(connection: Connection): Error | null {
    const { session } = this.#dependencies;
    // Asked again: what went ahead of it may have failed to bind the session.
    const rejection = session.rejectionOf(this);
    if (rejection !== undefined) return rejection;
    if (this.#end.isGivenUp) return new Error('The query was given up before it was sent');
    if (session.wire.binary && this.#query.binary !== true) this.#query.binary = true;
    this.#connection = connection;
    this.#waitedBefore = connection.rawListeners('readyForQuery');
    this.#rounds?.begin(connection);
    // Everything that the server's answers set off, listeners that the query puts on the connection included.
    this.#emitInContext(connection);
    try {
      const error: unknown = this.#context.runInAsyncScope(() => this.#query.submit(connection));
      // It has taken the socket over: when the server works and when the reader rests can't be told apart.
      if (!session.wire.isRead) this.#rounds?.stop();
      return isError(error) ? error : null;
    } catch (thrown) {
      // What it has written by then can't be known.
      const error = (this.#thrown = toError(thrown));
      session.kill(error);
      return error;
    }
  }

  handleRowDescription(message: RowDescriptionMessage): void {
    this.#rounds?.described();
    this.#guard(() => this.#query.handleRowDescription?.(message));
  }

  handleDataRow(message: DataRowMessage): void {
    this.#guard(() => this.#query.handleDataRow?.(message));
  }

  handlePortalSuspended(connection: Connection): void {
    this.#rounds?.paused();
    this.#guard(() => this.#query.handlePortalSuspended?.(connection));
  }

  handleEmptyQuery(connection: Connection): void {
    this.#guard(() => this.#query.handleEmptyQuery?.(connection));
  }

  handleCommandComplete(message: CommandCompleteMessage, connection: Connection): void {
    this.#dependencies.session.commandCompleted(this, message.text, textOwner(this.#query).text);
    this.#guard(() => this.#query.handleCommandComplete?.(message, connection));
  }

  handleCopyInResponse(connection: Connection): void {
    this.#rounds?.paused();
    this.#guard(() => this.#query.handleCopyInResponse?.(connection));
  }

  handleCopyData(message: unknown, connection: Connection): void {
    this.#guard(() => this.#query.handleCopyData?.(message, connection));
  }

  handleReadyForQuery(connection: Connection): void {
    this.#leaveContext();
    if (this.#isOver) return;
    this.#isOver = true;
    this.#dependencies.session.finished(this);
    if (!this.#isTold) throwLater(() => this.#query.handleReadyForQuery?.(connection));
    this.#finish(undefined);
    this.#takeConnection();
    this.#dependencies.over?.(undefined);
  }

  handleError(cause: Error, connection?: Connection): void {
    this.#leaveContext();
    if (this.#isOver) return;
    this.#isOver = true;
    const { session, over } = this.#dependencies;
    session.noteError(cause);
    const isLost = session.lostBecause !== undefined;
    const error = cause === this.#thrown ? cause : session.toCallersError(cause, this.#connection !== undefined);
    // Nothing comes on it any more.
    if (isLost) this.#takeConnection();
    this.#tell(error, connection);
    if (isLost) this.#endWithConnection(error);
    this.#finish(cause);
    session.whenReady(() => {
      // Until then it has had to tell the server that it has understood.
      this.#takeConnection();
      over?.(cause);
    });
  }

  #tell(error: Error, connection: Connection | undefined): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const query = this.#query;
    // A stream that was destroyed has told of its end, and one whose lease the pool has cut has lost its reader: an
    // error that nothing listens for would end the process.
    if (this.#end.isGivenUp || this.#dependencies.session.isEnding) ignoreErrors(query);
    // In its context also when it never got as far as the connection.
    this.#context.runInAsyncScope(() => {
      throwLater(() => query.handleError?.(error, connection));
      failHeldReads(textOwner(query), error);
    });
    this.#dependencies.observed?.finish(error, query._result ?? { rows: [] });
  }

  /** The connection is lost: no answer of the server's will end it. */
  #endWithConnection(error: Error): void {
    const connection = this.#connection;
    const query = this.#query;
    this.#context.runInAsyncScope(() => {
      for (const waiting of connection?.rawListeners('readyForQuery') ?? []) {
        if (!this.#waitedBefore.includes(waiting)) throwLater(() => void Reflect.apply(waiting, connection, []));
      }
      if (!(query instanceof Readable) || query instanceof Writable) return;
      // A COPY has said it already. Who begins to read it later must not wait for ever.
      if (!('cursor' in query)) query.destroy();
      // A reader that rests would hear of it by its next read only.
      else if (query.listenerCount('error') > 0) query.destroy(error);
    });
  }

  #takeConnection(): void {
    if (this.#connection !== undefined) takeConnection(this.#connection, this.#query, textOwner(this.#query));
  }

  /** Its lease is over: a reader that has stopped half way would keep the connection until it is destroyed. */
  leaseEnded(): boolean {
    if (this.#isLeaseOver) return true;
    if (this.#isOver || this.#connection === undefined) return false;
    this.#context.runInAsyncScope(() => throwLater(() => giveUp(this.#query)));
    // A query of pg's own can't be given up.
    if (!this.#end.isGivenUp) return false;
    this.#isLeaseOver = true;
    // Without waiting for its event: a stream that waits for the server closes only when that has answered.
    this.#limitEnd();
    return true;
  }

  override expire(): void {
    this.#dependencies.session.kill(new Error('A query that was given up in the middle did not end'));
  }

  /**
   * A round of the server's work has taken too long. The caller hears of it at once, even if the server says nothing.
   */
  #tooLong(limitMs: number): void {
    if (this.#isOver || this.#isTold) return;
    const { session, tenantId } = this.#dependencies;
    this.#tell(
      new OperationTimeoutError('A query', limitMs, { poolId: session.rules.poolId, tenantId }),
      this.#connection,
    );
    this.#limitEnd();
    session.interrupt();
  }

  /**
   * What a listener or a row parser throws ends the query. Left to pg, it would break off the reading of the socket.
   */
  #guard(handle: () => void): void {
    if (this.#isOver || this.#isTold) return;
    try {
      handle();
    } catch (thrown) {
      const error = (this.#thrown = toError(thrown));
      this.#dependencies.session.kill(error);
      this.handleError(error, this.#connection);
    }
  }

  #finish(error: Error | undefined): void {
    this.#end.stop();
    this.#rounds?.stop();
    this.#dependencies.deadlines.remove(this);
    if (!this.#isTold) this.#dependencies.observed?.finish(error, this.#query._result ?? { rows: [] });
  }

  /** Its reader or writer is gone. Before its turn, `submit` finds out. */
  #givenUp(): void {
    if (this.#isOver || this.#connection === undefined) return;
    const { session } = this.#dependencies;
    this.#rounds?.stop();
    if (session.wire.isRead) this.#limitEnd();
    // It has taken the socket over, and will neither read the rest nor give it back.
    else session.kill(new Error('A COPY was given up in the middle'));
  }

  #limitEnd(): void {
    const { clock, deadlines } = this.#dependencies;
    if (!this.#isOver) deadlines.add(this, clock.now() + END_GRACE_MS);
  }

  #emitInContext(emitter: EventEmitter): void {
    const context = this.#context;
    const emit = emitter.emit;
    emitter.emit = function emitInContext(event: string | symbol, ...values: unknown[]): boolean {
      return context.runInAsyncScope(emit, emitter, event, ...values);
    };
  }

  #leaveContext(): void {
    if (this.#connection === undefined) return;
    // The emitter's own method comes back from its prototype.
    Reflect.deleteProperty(this.#connection, 'emit');
  }
}
