/**
 * pg.Pool's events, told from what the engine does, and the face of an EventEmitter that its users may expect.
 */
import type { EventEmitter } from 'node:events';

import type { PoolClient } from 'pg';

import type { PoolObserver } from '../engine/pool-observer.js';
import type { PoolEventMap, PoolEvents } from '../pool/pool-events.js';
import { PoolHandle, type PoolListener } from '../pool/pool-handle.js';
import type { PgListener } from './session/lease-events.js';
import type { LeasedClient, PoolSession } from './session/leased-client.js';

/** What a PostgreSQL pool tells besides what every pool does: pg.Pool's events, with its arguments. */
export interface PostgresEventMap extends PoolEventMap {
  /**
   * A connection was opened. A promise that a listener returns is awaited; an error refuses the connection. What it
   * sets on it, one statement a query, stays set, and so do type parsers and listeners.
   */
  connect: [client: LeasedClient];
  /** A connection was lent. */
  acquire: [client: LeasedClient];
  /** A connection came back, perhaps with what the borrower says went wrong. The client is over by then. */
  release: [error: Error | boolean | undefined, client: LeasedClient | undefined];
  /** A connection was closed. The client is that of its last lease; undefined when it was never lent. */
  remove: [client: LeasedClient | undefined];
  /** An idle connection broke. It has left the pool already; nothing needs to be done, and no listener is needed. */
  error: [error: Error, client: LeasedClient | undefined];
}

export function pgEvents(events: PoolEvents): PoolObserver<PoolSession, LeasedClient> {
  // The engine removes what came back broken before it says that it came back; pg.Pool tells in the order of events.
  const tellRelease = (client: LeasedClient, error: unknown): void => {
    if (client.releaseTold) return;
    client.releaseTold = true;
    events.emit('release', client.releasedWith ?? (error === false ? undefined : error), client);
  };
  return {
    acquired: (session) => events.emit('acquire', session.borrower),
    released: ({ lastBorrower }, _lease, error) => {
      if (lastBorrower !== undefined) tellRelease(lastBorrower, error);
    },
    destroyed: (session, reason, error) => {
      const { lastBorrower } = session;
      if (lastBorrower !== undefined) tellRelease(lastBorrower, error);
      if (reason === 'broken' && session.borrower === undefined) events.emit('error', error, lastBorrower);
      events.emit('remove', lastBorrower);
    },
  };
}

/** The part of a PostgreSQL pool that tells what happens. */
export abstract class PostgresEvents extends PoolHandle<LeasedClient, PostgresEventMap> {
  /** Listens to the pool. The listener runs in the async context of this call. */
  override on<K extends keyof PostgresEventMap>(event: K, listener: PoolListener<PostgresEventMap[K]>): this;
  /** As pg.Pool's types have it, so that a PostgresPool can be given to a library that asks for a pg.Pool. */
  override on<K extends 'error' | 'release' | 'connect' | 'acquire' | 'remove'>(
    event: K,
    listener: K extends 'error' | 'release' ? (error: Error, client: PoolClient) => void : (client: PoolClient) => void,
  ): this;
  override on(event: string, listener: PgListener): this {
    return this.addListener(event, listener);
  }

  /** The same as `on`. */
  addListener(event: string | symbol, listener: PgListener): this {
    this.core.runtime.events.add(String(event), listener, { once: false });
    return this;
  }

  /** The same as `off`. */
  removeListener(event: string | symbol, listener: PgListener): this {
    this.core.runtime.events.remove(String(event), listener);
    return this;
  }

  /** Removes all listeners, or those of one event. */
  removeAllListeners(event?: string | symbol): this {
    this.core.runtime.events.removeAll(event);
    return this;
  }

  /** Listeners are called in the order in which they were added, these too. */
  prependListener(event: string | symbol, listener: PgListener): this {
    return this.addListener(event, listener);
  }

  /** The same as `once`. */
  prependOnceListener(event: string | symbol, listener: PgListener): this {
    this.core.runtime.events.add(String(event), listener, { once: true });
    return this;
  }

  /**
   * Calls the listeners of an event.
   *
   * @returns whether there were any.
   */
  emit(event: string | symbol, ...values: unknown[]): boolean {
    const heard = this.listenerCount(event) > 0;
    this.core.runtime.events.emit(String(event), ...values);
    return heard;
  }

  /** The events that have listeners. */
  eventNames(): (string | symbol)[] {
    return this.core.runtime.events.names();
  }

  /** How many listeners an event has. */
  listenerCount(event: string | symbol): number {
    return this.core.runtime.events.listenerCount(event);
  }

  /** The listeners of an event, as they were added. */
  listeners(event: string | symbol): ReturnType<EventEmitter['listeners']> {
    return this.core.runtime.events.listeners(event);
  }

  /** The same as `listeners`. */
  rawListeners(event: string | symbol): ReturnType<EventEmitter['listeners']> {
    return this.core.runtime.events.listeners(event);
  }

  /** There is no maximum: a pool has as many listeners as services use it. */
  setMaxListeners(_count: number): this {
    return this;
  }

  /** Always `Infinity`. */
  getMaxListeners(): number {
    return Infinity;
  }
}
