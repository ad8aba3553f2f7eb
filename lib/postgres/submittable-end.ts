/**
 * Notices that a caller has given up a Submittable: a stream was destroyed, a cursor was closed.
 *
 * Streams say so by an event. A cursor that has not been submitted says nothing when it is closed, and would open its
 * portal all the same as soon as its turn came, with nothing left to read or close it (pg-cursor 2.22).
 */
import { EventEmitter } from 'node:events';

interface Closable {
  close(...values: unknown[]): unknown;
}

export class SubmittableEnd {
  readonly #query: object;
  readonly #givenUp: () => void;
  #isGivenUp = false;

  /** @param givenUp called at most once, and not after {@link stop}. */
  constructor(query: object, givenUp: () => void) {
    this.#query = query;
    this.#givenUp = givenUp;
    if (query instanceof EventEmitter && 'destroyed' in query) query.once('close', this.#closed);
    else if (isClosable(query)) this.#watchClose(query);
  }

  get isGivenUp(): boolean {
    return this.#isGivenUp || ('destroyed' in this.#query && this.#query.destroyed === true);
  }

  stop(): void {
    if (this.#query instanceof EventEmitter) this.#query.removeListener('close', this.#closed);
    // The method comes back from its prototype.
    if (this.#watched) Reflect.deleteProperty(this.#query, 'close');
    this.#watched = false;
  }

  #watched = false;

  #watchClose(query: Closable): void {
    // A second watch goes on from the first.
    const close = query.close;
    const closed = this.#closed;
    this.#watched = true;
    query.close = function closeWatched(...values: unknown[]): unknown {
      const answer: unknown = close.apply(query, values);
      closed();
      return answer;
    };
  }

  readonly #closed = (): void => {
    if (this.#isGivenUp) return;
    this.#isGivenUp = true;
    this.#givenUp();
  };
}

function isClosable(query: object): query is Closable {
  return 'close' in query && typeof query.close === 'function';
}
