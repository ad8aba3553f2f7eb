/**
 * Runs a `Submittable` that isn't ours (pg-cursor, pg-query-stream, pg-copy-streams, pg's own Query) on a session.
 *
 * Promise: whatever it calls or emits runs in the async context of whoever handed it to `query`, not in that of whoever
 * opened the connection; and the session learns when it is over, which pg tells the query alone.
 */
import { AsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import type { Connection, Submittable } from 'pg';

import { isError, toError } from '../engine/thrown.js';
import type { CommandCompleteMessage, DataRowMessage, RowDescriptionMessage } from './pg-module.js';

export type QueryCallback = (error: Error | null | undefined, result?: unknown) => void;

/** What pg calls on a Submittable, and reads and writes of it. The types of pg know `submit` alone. */
export interface ForeignSubmittable extends Submittable {
  name?: string | undefined;
  text?: string | undefined;
  binary?: boolean | undefined;
  callback?: QueryCallback | undefined;
  _result?: object | undefined;
  handleRowDescription?(message: RowDescriptionMessage): void;
  handleDataRow?(message: DataRowMessage): void;
  handlePortalSuspended?(connection: Connection): void;
  handleEmptyQuery?(connection: Connection): void;
  handleCommandComplete?(message: CommandCompleteMessage, connection: Connection): void;
  handleReadyForQuery?(connection: Connection): void;
  handleError?(error: Error, connection?: Connection): void;
  handleCopyInResponse?(connection: Connection): void;
  handleCopyData?(message: unknown, connection: Connection): void;
}

/** Who is told how it ended. */
export interface ForeignQueryOwner {
  /** Why it must not be sent, if so. */
  refusal(): Error | undefined;
  /** It is over, and the connection ready for the next one. */
  finished(): void;
  /** It has failed; the connection isn't ready yet. */
  failed(error: Error): void;
  /** Its own `submit` threw: what it has written by then nobody knows. */
  threw(error: Error): void;
}

export class ForeignQuery implements Submittable {
  readonly #query: ForeignSubmittable;
  readonly #owner: ForeignQueryOwner;
  readonly #context = new AsyncResource('PostgresSubmittable');
  #connection: Connection | undefined = undefined;
  #over = false;

  constructor(query: ForeignSubmittable, owner: ForeignQueryOwner, callback: QueryCallback | undefined) {
    this.#query = query;
    this.#owner = owner;
    const own = query.callback ?? callback;
    if (own !== undefined) query.callback = this.#context.bind(own);
    if (query instanceof EventEmitter) this.#emitInContext(query);
  }

  /** Tells a Submittable that it will never run. */
  static refuse(query: ForeignSubmittable, error: Error, callback: QueryCallback | undefined): void {
    if (query.callback === undefined && callback !== undefined) callback(error);
    // Before they are submitted they don't touch the connection.
    else query.handleError?.(error);
  }

  // pg reads and sets these on what it runs.
  get name(): string | undefined {
    return this.#query.name;
  }
  get text(): string | undefined {
    return this.#query.text;
  }
  get binary(): boolean | undefined {
    return this.#query.binary;
  }
  set binary(binary: boolean | undefined) {
    this.#query.binary = binary;
  }
  get _result(): object | undefined {
    return this.#query._result;
  }
  get callback(): QueryCallback | undefined {
    return this.#query.callback;
  }

  submit(connection: Connection): Error | null {
    const refusal = this.#owner.refusal();
    if (refusal !== undefined) return refusal;
    this.#connection = connection;
    // Everything that the server's answers set off, listeners that the query puts on the connection included.
    this.#emitInContext(connection);
    try {
      const error: unknown = this.#context.runInAsyncScope(() => this.#query.submit(connection));
      return isError(error) ? error : null;
    } catch (thrown) {
      // Thrown on, the error would reach whoever happened to make it its turn.
      const error = toError(thrown);
      this.#owner.threw(error);
      return error;
    }
  }

  handleRowDescription(message: RowDescriptionMessage): void {
    this.#query.handleRowDescription?.(message);
  }

  handleDataRow(message: DataRowMessage): void {
    this.#query.handleDataRow?.(message);
  }

  handlePortalSuspended(connection: Connection): void {
    this.#query.handlePortalSuspended?.(connection);
  }

  handleEmptyQuery(connection: Connection): void {
    this.#query.handleEmptyQuery?.(connection);
  }

  handleCommandComplete(message: CommandCompleteMessage, connection: Connection): void {
    this.#query.handleCommandComplete?.(message, connection);
  }

  handleCopyInResponse(connection: Connection): void {
    this.#query.handleCopyInResponse?.(connection);
  }

  handleCopyData(message: unknown, connection: Connection): void {
    this.#query.handleCopyData?.(message, connection);
  }

  handleReadyForQuery(connection: Connection): void {
    this.#leaveContext();
    try {
      this.#query.handleReadyForQuery?.(connection);
    } finally {
      if (!this.#over) {
        this.#over = true;
        this.#owner.finished();
      }
    }
  }

  handleError(error: Error, connection: Connection): void {
    this.#leaveContext();
    const first = !this.#over;
    this.#over = true;
    try {
      // In its context also when it never got as far as the connection.
      this.#context.runInAsyncScope(() => this.#query.handleError?.(error, connection));
    } finally {
      if (first) this.#owner.failed(error);
    }
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
    this.#connection = undefined;
  }
}
