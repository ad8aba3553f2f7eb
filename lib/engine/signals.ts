/**
 * Listens to AbortSignals that many calls share: of a request, of an application that stops.
 *
 * A listener each would be a warning of Node's from the eleventh on, and leaving one of many costs a look through all
 * of them. Here a signal has one listener, which knows all that wait for it: joining and leaving cost O(1).
 *
 * Promise: a listener is told once, in the order in which they joined, and never after it has left. One that throws
 * becomes a warning of the process; the others are told all the same. A signal without waiting callers has no listener,
 * so that Node may collect it.
 */
import { warn } from './guard.js';

/** Who is told that a signal has aborted. */
export interface AbortListener {
  /** @param reason the signal's. */
  aborted(reason: unknown): void;
}

const audiences = new WeakMap<AbortSignal, Audience>();

/**
 * Lets `listener` know when `signal` aborts; without effect if it is listening already. Whether the signal has aborted
 * before is for the caller to see: no listener is told of that.
 *
 * @throws TypeError when `signal` is no AbortSignal.
 */
export function listenForAbort(signal: AbortSignal, listener: AbortListener): void {
  let audience = audiences.get(signal);
  if (audience === undefined) {
    audience = new Audience(signal);
    signal.addEventListener('abort', audience);
    audiences.set(signal, audience);
  }
  audience.listeners.add(listener);
}

/** `listener` is told of nothing any more; without effect if it wasn't listening. */
export function stopListeningForAbort(signal: AbortSignal, listener: AbortListener): void {
  const audience = audiences.get(signal);
  if (audience === undefined || !audience.listeners.delete(listener) || audience.listeners.size > 0) return;
  audience.end();
}

/** All that listen to one signal. An object with `handleEvent` is a listener itself, which saves a closure. */
class Audience {
  readonly listeners = new Set<AbortListener>();
  readonly #signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  handleEvent(): void {
    // Who is told may make another leave, or join.
    for (const listener of this.listeners) {
      this.listeners.delete(listener);
      try {
        listener.aborted(this.#signal.reason);
      } catch (error) {
        warn('PoolAbortListenerWarning', 'A listener of an AbortSignal', error);
      }
    }
    this.end();
  }

  end(): void {
    audiences.delete(this.#signal);
    this.#signal.removeEventListener('abort', this);
  }
}
