/**
 * The way into pg's client that nothing wraps.
 *
 * Instrumentation replaces `Client.prototype.query`: it makes a span of each call, changes the text, and may queue
 * statements of its own in front. What goes out for the pool's own ends (resets, bindings, BEGIN, pings) and what is
 * written together with it must not pass there, or an answer reaches a statement that did not ask for it. So everything
 * is put into pg's queue directly; lib/postgres/statement/instrumentation.ts tells the wrappers of the caller's
 * statements.
 */
import type { Client } from 'pg';

import type { ActiveQuery } from './pg-module.js';

/** The parts of pg's client in use here, checked when a connection opens. */
interface QueueingClient {
  readonly _queryQueue: ActiveQuery[];
  _pulseQueryQueue(): void;
  readonly _queryable: boolean;
  readonly _ending: boolean;
}

export class PgQueue {
  readonly #client: QueueingClient;

  /** @throws Error when this version of pg works differently. */
  constructor(client: Client) {
    if (!isQueueing(client)) {
      throw new Error(
        'This version of the package "pg" queues its queries differently from what PostgreSQL pools know (8.21 and later). ' +
          'Install a "pg" of the range in the peer dependencies.',
      );
    }
    this.#client = client;
  }

  /** Why nothing can be sent any more, in pg's own words. */
  get rejection(): Error | undefined {
    if (!this.#client._queryable) return new Error('Client has encountered a connection error and is not queryable');
    if (this.#client._ending) return new Error('Client was closed and is not queryable');
    return undefined;
  }

  /** Gives pg what has been written, or is to be written, behind all that it has; {@link start} comes next. */
  add(next: ActiveQuery): void {
    this.#client._queryQueue.push(next);
  }

  /** Takes back what pg has not come to yet: pg gives none of them an answer that arrives from now on. */
  takeBack(): readonly ActiveQuery[] {
    return this.#client._queryQueue.splice(0);
  }

  /** Has pg begin with what it was given. */
  start(): void {
    this.#client._pulseQueryQueue();
  }

  /** Gives pg what runs next; with `ahead`, that first. Nothing can come between the two. */
  submit(ahead: ActiveQuery | undefined, next: ActiveQuery): void {
    if (ahead !== undefined) this.add(ahead);
    this.add(next);
    this.start();
  }
}

function isQueueing(client: object): client is QueueingClient {
  return (
    '_queryQueue' in client &&
    Array.isArray(client._queryQueue) &&
    '_pulseQueryQueue' in client &&
    typeof client._pulseQueryQueue === 'function' &&
    '_queryable' in client &&
    '_ending' in client
  );
}
