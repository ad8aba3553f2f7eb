/**
 * One request and its answer on one undici connection.
 *
 * Promises: `answer` settles exactly once; after `abort` the socket is closed and no byte reaches the caller any more;
 * a body that the connection cut off is never taken for a whole one.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';

import type { Dispatcher } from 'undici';

import { errorCode } from './connection-errors.js';
import type { BodySource } from './direct-body.js';
import { afterArrivals } from './idle-socket-check.js';
import type { HeaderFields, OutgoingRequest } from './outgoing-request.js';
import { isRedirect } from './redirects.js';
import type { UndiciConnection } from './undici-connection.js';

export interface AnswerHead {
  readonly status: number;
  readonly statusText: string;
  /** Lower-case names; repeated fields as Node's own parser gives them. */
  readonly headers: HeaderFields;
}

/** How the body arrives: whole, as a stream, or not at all because the answer is a redirect that will be followed. */
export type Answer =
  | { readonly head: AnswerHead; readonly kind: 'whole'; readonly body: Buffer }
  | { readonly head: AnswerHead; readonly kind: 'stream'; readonly body: Readable }
  | { readonly head: AnswerHead; readonly kind: 'redirect'; readonly location: string };

/** What is sent. */
export type OutgoingMessage = Pick<OutgoingRequest, 'path' | 'method' | 'headers'> & {
  readonly body: Buffer | Readable | undefined;
};

/** A body on its way. */
export interface AnswerBody extends Readable {
  /** The next part. Returns whether more may follow at once. */
  receive(chunk: Buffer): boolean;
  /** Nothing follows. */
  complete(): void;
}

export interface ExchangeOptions {
  readonly followRedirects: boolean;
  /** Whether the caller gets the body as it arrives. */
  readonly streams: boolean;
  /** Whether a body that starts with this head should arrive as a stream. */
  readonly wantsStream: (head: AnswerHead) => boolean;
  /** A whole body longer than this ends the exchange with `tooLong()`; -1: no limit. */
  readonly maxBytes: number;
  readonly tooLong: () => Error;
  /** Makes the stream of a body. Default: one that a caller of axios gets. */
  readonly makeBody?: (source: BodySource) => AnswerBody;
  /** What a stream that was cut off by the connection fails with. */
  readonly explain: (error: Error) => Error;
  /** Called for each sign of life of the upstream. */
  readonly progress: () => void;
}

/**
 * A server that refuses an upload larger than this may not have read all of it. What of it the kernel still holds can't
 * be seen from here, and would be in the way of the next request.
 */
const LARGE_UPLOAD_BYTES = 64 * 1024;

export class Exchange implements Dispatcher.DispatchHandler {
  readonly answer: Promise<Answer>;
  readonly #connection: UndiciConnection;
  readonly #options: ExchangeOptions;
  #resolve!: (answer: Answer) => void;
  #reject!: (error: Error) => void;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #redirect: string | undefined;
  #stream: AnswerBody | undefined;
  #aborted: Error | undefined;
  #done = false;
  #uploadBytes = 0;
  #method = '';
  /** The request, or its beginning, is on the wire. */
  sent = false;
  /** The socket had served another request before. */
  reusedSocket = false;
  /** A byte of the answer has arrived. */
  answered = false;
  /** Status and headers, once they have. */
  head: AnswerHead | undefined = undefined;

  constructor(connection: UndiciConnection, options: ExchangeOptions) {
    this.#connection = connection;
    this.#options = options;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /**
   * Sends the request. Failures come through `answer`.
   *
   * A connection that has served before first lets the event loop deliver what the server may have sent since: the end
   * of the connection, or unsolicited bytes, which would pass for the answer to this request.
   */
  send(request: OutgoingMessage): void {
    this.#uploadBytes = request.body instanceof Readable ? Infinity : (request.body?.length ?? 0);
    this.#method = request.method;
    if (!this.#connection.warm) return this.#dispatch(request);
    afterArrivals(() => {
      if (!this.#done) this.#dispatch(request);
    });
  }

  /** In the caller's context, which instrumentation of undici looks at; only the opening of sockets leaves it. */
  #dispatch(request: OutgoingMessage): void {
    const { client } = this.#connection;
    client.dispatch(
      {
        path: request.path,
        method: request.method,
        headers: request.headers,
        body: request.body ?? null,
        // By itself undici closes the socket after a HEAD.
        ...(request.method === 'HEAD' && { reset: false }),
      },
      this,
    );
  }

  /** Ends it now, in any phase. Without effect once the whole body is here. */
  abort(reason: Error): void {
    if (this.#done) return;
    this.#aborted = reason;
    this.#disconnect(reason);
    this.#fail(reason);
  }

  /**
   * Not by the controller of undici: a client whose request is aborted opens another socket at once, which no request
   * uses (undici 7.30).
   */
  #disconnect(reason: Error): void {
    this.#connection.destroy(reason);
  }

  onRequestStart(): void {
    this.sent = true;
    this.reusedSocket = this.#connection.begin();
  }

  /** The first byte of an answer is here (undici tells handlers that have this method). */
  onResponseStarted(): void {
    this.answered = true;
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
    statusText?: string,
  ): void {
    this.answered = true;
    // 100 Continue and 103 Early Hints precede the answer.
    if (status < 200) return;
    this.#options.progress();
    const head: AnswerHead = { status, statusText: statusText ?? '', headers: asNodeParses(headers) };
    this.head = head;
    const { location } = head.headers;
    if (this.#options.followRedirects && isRedirect(status, location)) {
      this.#redirect = location;
      // A body that came with the head leaves the socket usable; one that is still to come is not waited for.
      setImmediate(() => this.#leaveForRedirect(location));
      return;
    }
    if (!this.#options.wantsStream(head)) return;
    const source: BodySource = {
      resume: () => controller.resume(),
      abandoned: (reason) => this.#abandoned(reason),
    };
    this.#stream = this.#options.makeBody?.(source) ?? new BodyStream(source);
    this.#resolve({ head, kind: 'stream', body: this.#stream });
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#done) return;
    this.#options.progress();
    const stream = this.#stream;
    if (stream !== undefined) {
      if (!stream.receive(chunk)) controller.pause();
      return;
    }
    if (this.#redirect !== undefined) return;
    this.#bytes += chunk.length;
    const { maxBytes, tooLong } = this.#options;
    if (maxBytes > -1 && this.#bytes > maxBytes) {
      this.abort(tooLong());
      return;
    }
    this.#chunks.push(chunk);
  }

  /**
   * The answer isn't given before the parser has seen what came with its end: garbage there makes Node's client fail
   * it.
   */
  onResponseEnd(): void {
    const head = this.head;
    if (head === undefined || this.#done) return;
    // Now, because undici may close the socket before the microtask.
    const cutOff = this.#cutOff(head);
    queueMicrotask(() => this.#ended(head, cutOff));
  }

  #ended(head: AnswerHead, cutOff: Error | undefined): void {
    if (this.#done) return;
    // Node's client fails its request then, which a caller that has its stream already doesn't see.
    const fault = cutOff ?? (this.#options.streams ? undefined : this.#connection.fault);
    if (fault !== undefined) return this.#fail(this.#stream === undefined ? fault : this.#options.explain(fault));
    // Before the slot can go to a next request.
    if (this.#atRest(head)) this.#connection.rest();
    else this.#connection.retire();
    this.#complete(head);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    const head = this.head;
    if (this.#aborted === undefined && head !== undefined && isLengthOfNothing(head, error))
      return this.#complete(head);
    this.#fail(this.#aborted ?? (this.#stream === undefined ? error : this.#options.explain(error)));
  }

  #complete(head: AnswerHead): void {
    if (this.#done) return;
    this.#done = true;
    const stream = this.#stream;
    if (stream !== undefined) {
      stream.complete();
    } else if (this.#redirect !== undefined) {
      this.#resolve({ head, kind: 'redirect', location: this.#redirect });
    } else {
      const [first] = this.#chunks;
      const body = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks, this.#bytes);
      this.#resolve({ head, kind: 'whole', body });
    }
    this.#chunks = [];
  }

  /**
   * undici (7.25) takes the end of a connection, a reset included, for the end of every body on a connection that isn't
   * kept. That is right only for a body without a length, and only for an end in order; lengths it checks itself.
   */
  #cutOff(head: AnswerHead): Error | undefined {
    const { incoming } = this.#connection;
    if (incoming === 'open' || hasNoBody(head, this.#method)) return undefined;
    // Of several codings only the last says where the body ends.
    const isChunked = /\bchunked\s*$/i.test(String(head.headers['transfer-encoding'] ?? ''));
    const hasLength = head.headers['content-length'] !== undefined;
    if (incoming === 'ended' ? !isChunked : hasLength && !isChunked) return undefined;
    // Node's client, too, tells an end from a reset.
    const code = incoming === 'ended' ? 'UND_ERR_SOCKET' : 'ECONNRESET';
    return Object.assign(new Error('The connection ended before the body did'), { code });
  }

  /** Whether nothing of this exchange is under way any more, in either direction. */
  #atRest({ status }: AnswerHead): boolean {
    // The answer to a small request can be here before TLS says that the request has left.
    return this.#uploadBytes <= LARGE_UPLOAD_BYTES || (this.#connection.flushed && status < 400);
  }

  #leaveForRedirect(location: string): void {
    const head = this.head;
    if (this.#done || head === undefined) return;
    this.#done = true;
    this.#resolve({ head, kind: 'redirect', location });
    this.#disconnect(new Error('A redirect is followed; its body is not read to the end.'));
  }

  /** The caller destroyed the body before its end. */
  #abandoned(reason: Error | null): void {
    if (this.#done) return;
    this.#done = true;
    this.#disconnect(reason ?? new Error('The response body was destroyed before its end.'));
  }

  #fail(error: Error): void {
    if (this.#done) return;
    // What is wrong behind the head of a redirect is of no interest.
    if (this.#redirect !== undefined && this.#aborted === undefined) return this.#leaveForRedirect(this.#redirect);
    this.#done = true;
    this.#chunks = [];
    const stream = this.#stream;
    if (stream === undefined) this.#reject(error);
    else stream.destroy(error);
  }
}

/** Answers that have no body even if their headers announce one (RFC 9112, 6.3). */
function hasNoBody({ status }: AnswerHead, method: string): boolean {
  return method === 'HEAD' || status === 204 || status === 304;
}

/**
 * A 304 may, and a 204 of a careless server does, have the length of a body that doesn't follow (RFC 9110, 8.6); undici
 * fails them for it, and closes the socket.
 */
function isLengthOfNothing({ status }: AnswerHead, error: Error): boolean {
  return (status === 204 || status === 304) && errorCode(error) === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH';
}

/** The body of a streamed answer. Reading drives the socket; destroying it early closes the socket. */
class BodyStream extends Readable implements AnswerBody {
  readonly #source: BodySource;
  #complete = false;

  constructor(source: BodySource) {
    super({ highWaterMark: 64 * 1024 });
    this.#source = source;
  }

  receive(chunk: Buffer): boolean {
    return this.push(chunk);
  }

  complete(): void {
    this.#complete = true;
    this.push(null);
  }

  override _read(): void {
    this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    if (!this.#complete) this.#source.abandoned(error);
    callback(error);
  }
}

/** Fields of which Node keeps the first when a server repeats them. */
const SINGLE_FIELDS = new Set([
  'age',
  'authorization',
  'content-length',
  'content-type',
  'etag',
  'expires',
  'from',
  'host',
  'if-modified-since',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'referer',
  'retry-after',
  'server',
  'user-agent',
]);

/** Repeated fields joined, or the first kept, and `set-cookie` always a list: what `IncomingMessage.headers` has. */
function asNodeParses(headers: IncomingHttpHeaders): HeaderFields {
  const parsed: HeaderFields = {};
  for (const name of Object.keys(headers)) {
    const value = headers[name];
    if (value === undefined) continue;
    if (name === 'set-cookie') parsed[name] = typeof value === 'string' ? [value] : value;
    else if (!Array.isArray(value)) parsed[name] = value;
    else if (SINGLE_FIELDS.has(name)) parsed[name] = value[0] ?? '';
    else parsed[name] = value.join(name === 'cookie' ? '; ' : ', ');
  }
  return parsed;
}
