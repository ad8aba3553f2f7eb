/**
 * The events of a leased client: those of the connection, for as long as the lease lasts.
 *
 * Promise: listeners run in the async context in which they were added, and not one of them stays on the connection for
 * the next borrower. The emitter behind it is only made for the first listener.
 */
import { AsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';

import type { Client } from 'pg';

import { Queryable } from '../statement/queryable.js';
import { throwLater } from '../statement/throw-later.js';

/** A listener as in EventEmitter's own types: what it is called with depends on the event. */
export type PgListener = Parameters<EventEmitter['on']>[1];

/** What pg's clients emit. */
const CONNECTION_EVENTS = ['error', 'notice', 'notification', 'drain', 'end'] as const;

/** Those that may have been caused by what the tenant before left in the session. */
const OF_A_TENANT: ReadonlySet<string> = new Set(['notice', 'notification']);

/** The part of a {@link LeasedClient} that emits the events of its connection, while the lease lasts. */
export abstract class LeaseEvents extends Queryable {
  #emitter: EventEmitter | undefined = undefined;
  #forwarders: [name: (typeof CONNECTION_EVENTS)[number], forward: PgListener][] = [];

  /**
   * @internal Whether what arrives is meant for this lease: not before a reset that the session owes has been
   * confirmed.
   */
  protected abstract get hearsConnection(): boolean;

  /** @internal The connection, @throws LeaseReleasedError after release. */
  protected abstract source(): Client;

  /**
   * Listens to the connection: `error`, `notice`, `notification`, `drain` and `end`. The listener runs in the async
   * context of this call.
   *
   * @throws LeaseReleasedError after release.
   */
  on(event: string | symbol, listener: PgListener): this {
    this.#listening().on(event, inThisContext(listener));
    return this;
  }

  /** The same as `on`. */
  addListener(event: string | symbol, listener: PgListener): this {
    return this.on(event, listener);
  }

  /** As `on`, ahead of the listeners that are there. */
  prependListener(event: string | symbol, listener: PgListener): this {
    this.#listening().prependListener(event, inThisContext(listener));
    return this;
  }

  /** Listens to the next event of that name alone. */
  once(event: string | symbol, listener: PgListener): this {
    const emitter = this.#listening();
    emitter.on(event, onceOf(emitter, event, listener));
    return this;
  }

  /** As `once`, ahead of the listeners that are there. */
  prependOnceListener(event: string | symbol, listener: PgListener): this {
    const emitter = this.#listening();
    emitter.prependListener(event, onceOf(emitter, event, listener));
    return this;
  }

  /** Removes a listener. */
  off(event: string | symbol, listener: PgListener): this {
    this.#emitter?.off(event, listener);
    return this;
  }

  /** The same as `off`. */
  removeListener(event: string | symbol, listener: PgListener): this {
    return this.off(event, listener);
  }

  /** Removes all listeners of this lease, or those of one event. */
  removeAllListeners(event?: string | symbol): this {
    if (event === undefined) this.#emitter?.removeAllListeners();
    else this.#emitter?.removeAllListeners(event);
    return this;
  }

  /**
   * Calls the listeners of this lease.
   *
   * @returns whether there were any.
   */
  emit(event: string | symbol, ...values: unknown[]): boolean {
    return this.#emitter?.emit(event, ...values) ?? false;
  }

  /** The events that have listeners. */
  eventNames(): (string | symbol)[] {
    return this.#emitter?.eventNames() ?? [];
  }

  /** How many listeners an event has. */
  listenerCount(event: string | symbol, listener?: PgListener): number {
    return this.#emitter?.listenerCount(event, listener) ?? 0;
  }

  /** The listeners of an event, as they were added. */
  listeners(event: string | symbol): ReturnType<EventEmitter['listeners']> {
    return this.#emitter?.listeners(event).map(asAdded) ?? [];
  }

  /** The listeners of an event, as they are called. */
  rawListeners(event: string | symbol): ReturnType<EventEmitter['rawListeners']> {
    return this.#emitter?.rawListeners(event) ?? [];
  }

  /** How many listeners an event may have before Node warns of a leak. */
  setMaxListeners(count: number): this {
    this.#listening().setMaxListeners(count);
    return this;
  }

  /** How many listeners an event may have before Node warns of a leak. Default: Node's. */
  getMaxListeners(): number {
    return this.#emitter?.getMaxListeners() ?? EventEmitter.defaultMaxListeners;
  }

  /** @internal The lease is over: nothing of it stays on the connection. */
  protected stopListening(client: Client): void {
    for (const [event, forward] of this.#forwarders) client.removeListener(event, forward);
    this.#forwarders = [];
    this.#emitter?.removeAllListeners();
    // One that is kept would take the listeners of a stale client, and never call them.
    this.#emitter = undefined;
  }

  #listening(): EventEmitter {
    if (this.#emitter !== undefined) return this.#emitter;
    const client = this.source();
    const emitter = new EventEmitter();
    for (const event of CONNECTION_EVENTS) {
      const forward = (value?: unknown): void => {
        if (OF_A_TENANT.has(event) && !this.hearsConnection) return;
        // An error without a listener must not end the process; the pool knows of it anyway.
        if (emitter.listenerCount(event) > 0) throwLater(() => void emitter.emit(event, value));
      };
      client.addListener(event, forward);
      this.#forwarders.push([event, forward]);
    }
    this.#emitter = emitter;
    return emitter;
  }
}

/** Bound to the caller's context; the emitter finds it by the `listener` property when it is to be removed. */
function inThisContext(listener: PgListener): PgListener {
  return Object.assign(new AsyncResource('PostgresListener').bind(listener), { listener });
}

function onceOf(emitter: EventEmitter, event: string | symbol, listener: PgListener): PgListener {
  const bound = new AsyncResource('PostgresListener').bind(listener);
  const once = (...values: unknown[]): void => {
    emitter.removeListener(event, once);
    bound(...values);
  };
  return Object.assign(once, { listener });
}

function asAdded<T>(listener: T): T {
  return typeof listener === 'function' && 'listener' in listener ? (listener.listener as T) : listener;
}
