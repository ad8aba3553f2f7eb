/**
 * Answers those who wait for ReadyForQuery on a connection that is gone.
 *
 * A cursor that is closed waits for it (pg-cursor 2.22), and a query stream ends only when its cursor is closed: without
 * an answer the reader of a stream whose connection was lost would wait for ever, and not even hear of the error.
 */
import type { Connection } from 'pg';

const READY = 'readyForQuery';

/** Listeners of pg's client itself stay as they are: it waits for nothing any more. */
export function endReadyWaits(connection: Connection): void {
  for (const listener of connection.rawListeners(READY)) {
    if ('listener' in listener && isListener(listener.listener)) answer(connection, listener.listener);
  }
  connection.on('newListener', (event: unknown, listener: unknown) => {
    if (event === READY && isListener(listener)) answer(connection, listener);
  });
}

/** Once it has been added, and unless it has been removed by then. */
function answer(connection: Connection, listener: () => void): void {
  process.nextTick(() => {
    if (!connection.listeners(READY).includes(listener)) return;
    connection.removeListener(READY, listener);
    listener();
  });
}

function isListener(value: unknown): value is () => void {
  return typeof value === 'function';
}
