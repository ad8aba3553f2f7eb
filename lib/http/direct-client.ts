/**
 * The seam between a request that goes round axios and the client that sends it.
 */
import type { BodySource, DirectBody } from './direct-body.js';
import type { DirectMessage } from './direct-options.js';
import type { AnswerHead } from './exchange.js';
import type { HttpSlot } from './http-slot.js';

export interface DirectAnswer {
  readonly head: AnswerHead;
  /** What `makeBody` made. */
  readonly body?: unknown;
}

/** One sending of a request. */
export interface DirectAttempt {
  /** Settles exactly once, with the head of the answer. */
  readonly answer: Promise<DirectAnswer>;
  /** Whether the request, or its beginning, is on the wire. */
  readonly sent: boolean;
  readonly answered: boolean;
  /** The socket had served another request before. */
  readonly reusedSocket: boolean;
  /** Ends it in any phase, and closes its socket. */
  abort(reason: Error): void;
}

export interface DirectOptions {
  readonly makeBody: (source: BodySource) => DirectBody;
  /** What a body that was cut off by the connection fails with. */
  readonly explain: (error: Error) => Error;
}

export interface DirectClient {
  /** Called in the caller's async context. */
  send(message: DirectMessage, slot: HttpSlot, options: DirectOptions): DirectAttempt;
  /** Closes what an idle connection of this slot was lost on, so that the next attempt opens another. */
  reconnect(message: DirectMessage, slot: HttpSlot): void;
}
