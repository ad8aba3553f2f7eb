/**
 * One listener for each AbortSignal or CancelToken, however many requests share it.
 *
 * A signal warns of more than ten listeners, and looks at all of them whenever one is added or removed: with thousands
 * of requests on one signal that is a quadratic cost.
 */
import type { CancelToken, GenericAbortSignal } from 'axios';

import { Abandonment } from './abandonment.js';

/** Called once, with the abort event or with the token's reason. */
export type CancelListener = (reason: unknown) => void;

/** Weak: a signal that is forgotten takes its entry with it. */
const shared = new WeakMap<object, SharedListener>();

class SharedListener {
  readonly listeners = new Set<CancelListener>();

  readonly fire = (reason: unknown): void => {
    const listeners = [...this.listeners];
    this.listeners.clear();
    for (const listener of listeners) listener(reason);
  };
}

/** Calls `listener` when the signal aborts; one that has aborted already is for the caller to see. */
export function onAbort(signal: GenericAbortSignal, listener: CancelListener): void {
  listenersOf(signal, (fire) => void signal.addEventListener?.('abort', fire, { once: true })).add(listener);
}

export function offAbort(signal: GenericAbortSignal, listener: CancelListener): void {
  drop(signal, listener, (fire) => void signal.removeEventListener?.('abort', fire));
}

/** Calls `listener` when the token is cancelled, at once if it has been. */
export function onCancelToken(token: CancelToken, listener: CancelListener): void {
  // Of one subscription, so that hardly more than one request ever listens.
  if (token instanceof Abandonment) return token.subscribe(listener);
  const { reason } = token;
  if (reason !== undefined) return listener(reason);
  listenersOf(token, (fire) => token.subscribe(fire)).add(listener);
}

export function offCancelToken(token: CancelToken, listener: CancelListener): void {
  if (token instanceof Abandonment) return token.unsubscribe(listener);
  drop(token, listener, (fire) => token.unsubscribe(fire));
}

function listenersOf(source: object, attach: (fire: CancelListener) => void): Set<CancelListener> {
  let entry = shared.get(source);
  if (entry === undefined) {
    entry = new SharedListener();
    attach(entry.fire);
    shared.set(source, entry);
  }
  return entry.listeners;
}

function drop(source: object, listener: CancelListener, detach: (fire: CancelListener) => void): void {
  const entry = shared.get(source);
  if (entry === undefined || !entry.listeners.delete(listener) || entry.listeners.size > 0) return;
  shared.delete(source);
  detach(entry.fire);
}
