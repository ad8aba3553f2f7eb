/**
 * Tells when a response is over: sent, or given up because its client has gone.
 */
import { property } from './execution-arguments.js';

interface Emitter {
  once(event: string, listener: () => void): unknown;
}

function isEmitter(value: unknown): value is Emitter {
  return typeof property(value, 'once') === 'function';
}

export class ResponseWatch {
  /**
   * Responses that wait for their turn, by connection. While earlier ones of a pipelining client are being sent, a
   * response has no socket, and never learns that the connection has closed. The client chooses how many it pipelines,
   * so they share one listener.
   */
  readonly #queued = new WeakMap<object, Set<() => void>>();

  /**
   * Calls `listener` when the response is over, at once if it already is. It may be called more than once.
   *
   * @returns false where the response can't tell, and `listener` will never be called.
   */
  whenOver(request: unknown, response: unknown, listener: () => void): boolean {
    if (!isEmitter(response)) return false;
    if (isOver(response)) {
      listener();
      return true;
    }
    response.once('finish', listener);
    response.once('close', listener);
    if (property(response, 'socket') === null) this.#watchQueued(property(request, 'socket'), response, listener);
    return true;
  }

  #watchQueued(connection: unknown, response: Emitter, listener: () => void): void {
    if (typeof connection !== 'object' || connection === null || !isEmitter(connection)) return;
    if (property(connection, 'destroyed') === true) return listener();
    let listeners = this.#queued.get(connection);
    if (listeners === undefined) {
      const watching = new Set<() => void>();
      this.#queued.set(connection, watching);
      connection.once('close', () => {
        for (const each of watching) each();
      });
      listeners = watching;
    }
    const watching = listeners;
    watching.add(listener);
    response.once('close', () => watching.delete(listener));
  }
}

function isOver(response: Emitter): boolean {
  return (
    property(response, 'writableFinished') === true ||
    property(response, 'destroyed') === true ||
    property(response, 'closed') === true ||
    // HTTP/2: the response of a stream that was reset.
    property(property(response, 'stream'), 'destroyed') === true
  );
}
