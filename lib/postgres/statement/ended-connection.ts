/**
 * Takes pg's connection away from a Submittable that is over.
 *
 * Cursors and streams keep the connection that they were submitted on. What they send there once they are over
 * would reach the next borrower's session, and what they wait for there never comes when the connection is lost. So
 * they get a stand-in: it sends nothing, and answers at once what is waited for.
 */
import type { Connection } from 'pg';

type Listener = (...values: unknown[]) => void;

/** What Submittables call on the socket below a connection. */
const ENDED_SOCKET = {
  writable: false,
  read: (): null => null,
  write: (): boolean => true,
  once: answerSoon,
  on: answerSoon,
  removeListener: (): void => {},
};

/** What Submittables call on a connection: pg-cursor waits for its `readyForQuery` and its `end`. */
const ENDED_CONNECTION = {
  stream: ENDED_SOCKET,
  once: answerSoon,
  on: answerSoon,
  removeListener: (): void => {},
  query: (): void => {},
  parse: (): void => {},
  bind: (): void => {},
  describe: (): void => {},
  execute: (): void => {},
  flush: (): void => {},
  sync: (): void => {},
  close: (): void => {},
  end: (): void => {},
  sendCopyFail: (): void => {},
};

function answerSoon(_event: string, listener: Listener): void {
  setImmediate(listener);
}

/** Takes `connection` from each of `owners` that keeps it. */
export function takeConnection(connection: Connection, ...owners: readonly object[]): void {
  for (const owner of owners) {
    if ('connection' in owner && owner.connection === connection) owner.connection = ENDED_CONNECTION;
  }
}
