/**
 * Notices that a caller has given up a Submittable: a stream was destroyed, a cursor was closed.
 *
 * Streams say so by an event. A cursor that has not been submitted says nothing when it is closed, and would open its
 * portal all the same as soon as its turn came, with nothing left to read or close it (pg-cursor 2.22).
 */
import { EventEmitter } from 'node:events';
import { Readable, Writable } from 'node:stream';

type Closing = (...values: never[]) => unknown;

export class SubmittableEnd {
  readonly #query: object;
  readonly #givenUp: () => void;
  #isGivenUp = false;
  /** The method of the query that is watched. */
  #watched: 'close' | 'destroy' | undefined = undefined;

  /** @param givenUp called at most once, and not after {@link stop}. */
  constructor(query: object, givenUp: () => void) {
    this.#query = query;
    this.#givenUp = givenUp;
    if (query instanceof EventEmitter && 'destroyed' in query) query.once('close', this.#closed);
    // One that is written to closes only when the server has heard of its end (pg-copy-streams 7), and a query stream
    // when the server has answered (pg-query-stream 4).
    if (query instanceof Writable || (query instanceof Readable && 'cursor' in query))
      this.#watch('destroy', query.destroy);
    else if (!(query instanceof Readable) && isClosable(query)) this.#watch('close', query.close);
  }

  get isGivenUp(): boolean {
    return this.#isGivenUp || ('destroyed' in this.#query && this.#query.destroyed === true);
  }

  stop(): void {
    if (this.#query instanceof EventEmitter) this.#query.removeListener('close', this.#closed);
    // The method comes back from its prototype.
    if (this.#watched !== undefined) Reflect.deleteProperty(this.#query, this.#watched);
    this.#watched = undefined;
  }

  #watch(method: 'close' | 'destroy', original: Closing): void {
    const query = this.#query;
    const closed = this.#closed;
    this.#watched = method;
    const watched = (...values: unknown[]): unknown => {
      const answer: unknown = Reflect.apply(original, query, values);
      closed();
      return answer;
    };
    Object.defineProperty(query, method, { value: watched, configurable: true, writable: true });
  }

  readonly #closed = (): void => {
    if (this.#isGivenUp) return;
    this.#isGivenUp = true;
    this.#givenUp();
  };
}

export function isClosable(query: object): query is { close: () => unknown } {
  return 'close' in query && typeof query.close === 'function';
}
