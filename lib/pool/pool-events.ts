/**
 * A pool's events. Each listener runs in the async context in which it was added: a pool's own work has none.
 *
 * A listener that throws is logged. It can't disturb the pool, nor the other listeners.
 */
import { AsyncResource } from 'node:async_hooks';
import { EventEmitter } from 'node:events';

import type { LeaseHolder } from '../engine/errors.js';
import type { CloseReport } from '../engine/lending-engine.js';
import { describeError } from '../engine/redact.js';
import type { StatusChange } from './pool-health.js';

/** A lease that has been out for longer than `leakDetectionMs`, with the stack of its acquire. */
export interface LeakReport extends LeaseHolder {
  /** The id of the pool. */
  readonly poolId: string;
}

/** What every pool tells. Kinds add their own. */
export interface PoolEventMap {
  /** The status has changed. */
  status: [change: StatusChange];
  /** A lease is out for longer than `leakDetectionMs`. Once a lease. */
  leak: [report: LeakReport];
  /** A connection could not be opened. The error may name hosts. */
  connectError: [error: Error];
  /** The pool has closed. */
  close: [report: CloseReport];
}

/** The emitter behind a pool's handle and its views; the handle gives the events their types. */
export class PoolEvents {
  readonly #emitter = new EventEmitter();
  readonly #onListenerError: (message: string) => void;

  constructor(onListenerError: (message: string) => void) {
    this.#onListenerError = onListenerError;
    // A pool injected into many services has many listeners; that is no leak.
    this.#emitter.setMaxListeners(0);
  }

  add<A extends unknown[]>(event: string, listener: (...args: A) => void, { once }: { readonly once: boolean }): void {
    const inContext: (...args: A) => unknown = AsyncResource.bind(listener);
    const invoke = (...args: A): unknown => {
      if (once) this.#emitter.off(event, registered);
      return inContext(...args);
    };
    const report = (error: unknown): void =>
      this.#onListenerError(`A listener of the event "${event}" threw ${describeError(error)}`);
    const call = (...args: A): void => {
      try {
        const result = invoke(...args);
        // An unhandled rejection would end the process.
        if (isThenable(result)) result.then(undefined, report);
      } catch (error) {
        report(error);
      }
    };
    // EventEmitter finds a wrapped listener by this property.
    const registered = Object.assign(call, { listener, invoke });
    this.#emitter.on(event, registered);
  }

  /**
   * Calls every listener at once, then waits for those that return a promise.
   *
   * @throws what the first of them threw, once all are done.
   */
  async emitAndWait(event: string, ...args: readonly unknown[]): Promise<void> {
    const calls = this.#emitter.rawListeners(event).map(async (registered): Promise<void> => {
      if (isInvocable(registered)) await registered.invoke(...args);
    });
    for (const outcome of await Promise.allSettled(calls)) if (outcome.status === 'rejected') throw outcome.reason;
  }

  remove<A extends unknown[]>(event: string, listener: (...args: A) => void): void {
    this.#emitter.off(event, listener);
  }

  removeAll(event: string | symbol | undefined): void {
    if (event === undefined) this.#emitter.removeAllListeners();
    else this.#emitter.removeAllListeners(event);
  }

  /** As they were added. */
  listeners(event: string | symbol): ReturnType<EventEmitter['listeners']> {
    return this.#emitter
      .listeners(event)
      .map((registered) =>
        'listener' in registered && typeof registered.listener === 'function' ? registered.listener : registered,
      );
  }

  names(): (string | symbol)[] {
    return this.#emitter.eventNames();
  }

  listenerCount(event: string | symbol): number {
    return this.#emitter.listenerCount(event);
  }

  emit(event: string, ...args: readonly unknown[]): void {
    if (this.#emitter.listenerCount(event) > 0) this.#emitter.emit(event, ...args);
  }
}

/** What {@link PoolEvents.add} has registered. */
function isInvocable(registered: object): registered is { invoke: (...args: readonly unknown[]) => unknown } {
  return 'invoke' in registered && typeof registered.invoke === 'function';
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
