/**
 * pg.Pool's events, told from what the engine does.
 */
import type { PoolObserver } from '../engine/resource-pool.js';
import type { PoolEventMap, PoolEvents } from '../pool-events.js';
import type { LeasedClient } from './leased-client.js';
import type { PgSession } from './pg-session.js';

/** What a PostgreSQL pool tells besides what every pool does: pg.Pool's events, with its arguments. */
export interface PostgresEventMap extends PoolEventMap {
  /** A connection was opened. What a listener sets on it, one statement a query, stays set. */
  connect: [client: LeasedClient];
  /** A connection was lent. */
  acquire: [client: LeasedClient];
  /** A connection came back, perhaps with what the borrower says went wrong. The client is over by then. */
  release: [error: Error | boolean | undefined, client: LeasedClient | undefined];
  /** A connection was closed. The client is whoever had it last; undefined when nobody had. */
  remove: [client: LeasedClient | undefined];
  /** An idle connection broke. It has left the pool already; nothing needs to be done, and nobody has to listen. */
  error: [error: Error, client: LeasedClient | undefined];
}

/** @param events known once the pool is put together. */
export function pgEvents(events: () => PoolEvents): PoolObserver<PgSession, LeasedClient> {
  return {
    acquired: (session) => events().emit('acquire', session.borrower),
    released: (session, _lease, error) => events().emit('release', error, session.lastBorrower),
    destroyed: (session, reason, error) => {
      if (reason === 'broken' && session.borrower === undefined) events().emit('error', error, session.lastBorrower);
      events().emit('remove', session.lastBorrower);
    },
  };
}
