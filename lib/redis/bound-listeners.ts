/**
 * The event listeners that callers add to a client of ours.
 *
 * Promise: each runs in the async context of the code that added it (a connection's own events run outside every
 * request's), and what it throws is logged; those added through one facade can all be removed, and no others; `off`
 * finds them by the function that was passed to `on`.
 */
import { AsyncResource } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';

import { guardedCallback, type ReportThrown } from './caller-code.js';

export type Listener = (...args: unknown[]) => void;
type EventName = string | symbol;

/** Events whose first argument is a node. */
const NODE_EVENTS: ReadonlySet<EventName> = new Set(['+node', '-node']);

interface Registration {
  readonly event: EventName;
  readonly bound: Listener & { readonly listener: Listener };
}

export class BoundListeners {
  readonly #report: ReportThrown;
  readonly #presented: (node: unknown) => unknown;
  #emitter: EventEmitter;
  #added: Registration[] = [];

  /** @param presented what listeners get of a cluster's node, which is an argument of some events. */
  constructor(emitter: EventEmitter, report: ReportThrown, presented: (node: unknown) => unknown) {
    this.#emitter = emitter;
    this.#report = report;
    this.#presented = presented;
  }

  add(event: EventName, listener: Listener, options: { readonly once: boolean; readonly first: boolean }): void {
    const guarded = guardedCallback(listener, `a listener of the event "${String(event)}"`, this.#report);
    const told: Listener = NODE_EVENTS.has(event)
      ? (node, ...args) => guarded(this.#presented(node), ...args)
      : guarded;
    const inContext = AsyncResource.bind(told);
    const call: Listener = options.once
      ? (...args) => {
          this.#drop(registration);
          inContext(...args);
        }
      : inContext;
    // EventEmitter looks at `listener` when it searches for a function, and shows it in listeners().
    const registration: Registration = { event, bound: Object.assign(call, { listener }) };
    this.#added.push(registration);
    if (options.first) this.#emitter.prependListener(event, registration.bound);
    else this.#emitter.on(event, registration.bound);
  }

  /** Removes the newest registration of `listener`, as EventEmitter does. */
  remove(event: EventName, listener: Listener): void {
    const registration = this.#added.findLast(
      (candidate) => candidate.event === event && candidate.bound.listener === listener,
    );
    if (registration !== undefined) this.#drop(registration);
  }

  /** Removes what was added here: for one event, or for all. */
  removeAll(event?: EventName): void {
    for (const registration of this.#added) {
      if (event === undefined || registration.event === event)
        this.#emitter.off(registration.event, registration.bound);
    }
    this.#added = event === undefined ? [] : this.#added.filter((registration) => registration.event !== event);
  }

  /** Goes on with another emitter, which takes the first one's place. */
  moveTo(emitter: EventEmitter): void {
    emitter.setMaxListeners(this.#emitter.getMaxListeners());
    for (const { event, bound } of this.#added) {
      this.#emitter.off(event, bound);
      emitter.on(event, bound);
    }
    this.#emitter = emitter;
  }

  #drop(registration: Registration): void {
    const index = this.#added.indexOf(registration);
    if (index >= 0) this.#added.splice(index, 1);
    this.#emitter.off(registration.event, registration.bound);
  }
}
