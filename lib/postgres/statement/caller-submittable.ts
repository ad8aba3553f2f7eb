/**
 * What callers hand in as Submittables, and what has to be known of each kind (pg-cursor, pg-query-stream,
 * pg-copy-streams, pg's own Query) to read its text, to end it and to fail it.
 */
import { EventEmitter } from 'node:events';
import { Readable, Writable } from 'node:stream';

import type { Connection, Submittable } from 'pg';

import type {
  CommandCompleteMessage,
  DataRowMessage,
  QueryCallback,
  RowDescriptionMessage,
} from '../protocol/pg-module.js';
import { isClosable } from './submittable-end.js';
import { throwLater } from './throw-later.js';

/** What pg calls on a Submittable, and reads and writes of it. The types of pg know `submit` alone. */
export interface CallerSubmittable extends Submittable {
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

/** Where a Submittable keeps its text: a query stream has it in its cursor. */
export function textOwner(query: object): { text?: string | undefined } {
  if ('cursor' in query && typeof query.cursor === 'object' && query.cursor !== null) return query.cursor;
  return query;
}

/** An error that nothing listens for would end the process. */
export function ignoreErrors(query: object): void {
  if (query instanceof EventEmitter && query.listenerCount('error') === 0) query.on('error', () => {});
}

/** Ends what a caller has left open, without an error that nothing listens for. */
export function giveUp(query: object): void {
  ignoreErrors(query);
  if (query instanceof Readable || query instanceof Writable) {
    query.destroy();
  } else if (isClosable(query)) {
    const closed = query.close();
    if (closed instanceof Promise) closed.catch(() => {});
  }
}

/** A cursor that was closed during a read does not tell the callbacks that it holds of an error (pg-cursor 2.22). */
export function failHeldReads(cursor: object, error: Error): void {
  if (!('state' in cursor) || cursor.state !== 'done') return;
  const reads: unknown[] = [];
  if ('_cb' in cursor) {
    reads.push(cursor._cb);
    cursor._cb = null;
  }
  if ('_queue' in cursor && Array.isArray(cursor._queue)) {
    for (const queued of cursor._queue.splice(0)) if (Array.isArray(queued)) reads.push(queued[1]);
  }
  for (const read of reads) if (typeof read === 'function') throwLater(() => void Reflect.apply(read, cursor, [error]));
}
