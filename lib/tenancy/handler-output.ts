/**
 * Bodies that are produced while they are sent: streams, async generators, files.
 *
 * Nest reads them after the interceptors are through, each time in the async context of the event that made room for
 * more (a drained socket, a closed connection, another request's response). Promise: every step of a body runs in the
 * frame of the request whose handler returned it, its `finally` blocks included; what it throws is translated like an
 * error of the handler; and the request's scope stays open until it is done.
 */
import { finished, Readable } from 'node:stream';

import { HttpException, StreamableFile } from '@nestjs/common';

import { runOutside } from '../engine/outside-context.js';
import { isError } from '../engine/to-error.js';
import { property } from './execution-arguments.js';

/** The request that a body belongs to. */
export interface BodyOwner {
  /** Tells requests apart: two interceptors of one request own its bodies together. */
  readonly scope: object;
  /** Runs one step of the body. */
  run<T>(step: () => T): T;
  /** What the client is to be told in place of the error. */
  translate(error: unknown): unknown;
  /** Keeps the request's scope open until the returned function is called. */
  hold(stop: () => void): () => void;
}

export class ResponseBodies {
  /** The request that first sent a stream, and whether another did as well. */
  readonly #owned = new WeakMap<Readable, { readonly scope: object; shared: boolean }>();

  /**
   * The body to send in place of `value`: `value` itself, unless it is one that yields its parts when asked for them.
   */
  bind(value: unknown, owner: BodyOwner): unknown {
    if (value instanceof StreamableFile) {
      const stream: unknown = value.getStream();
      if (stream instanceof Readable) {
        this.#bindReadable(stream, owner);
        answerTranslatedErrors(value, owner);
      }
      return value;
    }
    if (value instanceof Readable) {
      this.#bindReadable(value, owner);
      return value;
    }
    if (value instanceof ReadableStream) return boundWebStream(value, owner);
    // One that came from fetch() is passed on as it is: Nest treats those in a way of their own, and nothing of ours
    // runs in them.
    if (value instanceof Response && value.type === 'default' && value.body !== null) {
      return new Response(boundWebStream(value.body, owner), {
        status: value.status,
        statusText: value.statusText,
        headers: value.headers,
      });
    }
    return isAsyncIterable(value) ? boundIterable(value, owner) : value;
  }

  /**
   * Changes the stream itself, because others know it by its identity. A stream that two requests send is neither's: it
   * is read without a tenant then, rather than as the wrong one, and neither request ends it for the other.
   */
  #bindReadable(stream: Readable, owner: BodyOwner): void {
    const known = this.#owned.get(stream);
    if (known !== undefined) {
      known.shared ||= known.scope !== owner.scope;
      return;
    }
    const owned = { scope: owner.scope, shared: false };
    this.#owned.set(stream, owned);
    const run = <T>(step: () => T): T => (owned.shared ? runOutside(step) : owner.run(step));
    const translate = (error: Error): Error => (owned.shared ? error : asError(owner.translate(error)));
    const { _read, _destroy } = stream;
    stream._read = (size) => run(() => _read.call(stream, size));
    stream._destroy = (error, done) =>
      run(() => _destroy.call(stream, error, (failure) => done(failure == null ? failure : translate(failure))));
    const closed = owner.hold(() => {
      if (owned.shared) closed();
      else if (!stream.readableEnded) stream.destroy();
    });
    runOutside(() => finished(stream, () => closed()));
  }
}

function asError(value: unknown): Error {
  return isError(value) ? value : new Error('A response body failed', { cause: value });
}

/**
 * Nest's own handler of a failing file answers 400 on Express to every error; one that has a translation has an
 * answer of its own.
 */
function answerTranslatedErrors(file: StreamableFile, owner: BodyOwner): void {
  const answerOthers = file.errorHandler;
  file.setErrorHandler((error, response) => {
    const translated = owner.translate(error);
    if (!(translated instanceof HttpException) || response.headersSent || response.destroyed)
      return answerOthers(error, response);
    const body = translated.getResponse();
    response.statusCode = translated.getStatus();
    response.send(typeof body === 'string' ? body : JSON.stringify(body));
  });
}

/** What is not awaited, but streamed: as Nest tells the two apart. */
function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return (
    typeof value === 'object' &&
    typeof property(value, Symbol.asyncIterator) === 'function' &&
    typeof property(value, 'then') !== 'function'
  );
}

function boundIterable(source: AsyncIterable<unknown>, owner: BodyOwner): AsyncIterableIterator<unknown> {
  let iterator: AsyncIterator<unknown> | undefined;
  const closed = owner.hold(() => {
    if (iterator === undefined) closed();
    else bound.return?.().catch(ignore);
  });
  const step = async (
    take: (iterator: AsyncIterator<unknown>) => Promise<IteratorResult<unknown>>,
  ): Promise<IteratorResult<unknown>> => {
    try {
      const result = await owner.run(() => take((iterator ??= source[Symbol.asyncIterator]())));
      if (result.done) closed();
      return result;
    } catch (error) {
      closed();
      throw owner.translate(error);
    }
  };
  const bound: AsyncIterableIterator<unknown> = {
    [Symbol.asyncIterator]: () => bound,
    next: () => step((from) => from.next()),
    return: (value?: unknown) => step(async (from) => (await from.return?.(value)) ?? { done: true, value }),
    throw: (error?: unknown) =>
      step(async (from) => {
        if (from.throw === undefined) throw error;
        return from.throw(error);
      }),
  };
  return bound;
}

function boundWebStream(source: ReadableStream, owner: BodyOwner): ReadableStream {
  let reader: ReadableStreamDefaultReader<unknown> | undefined;
  const stop = async (reason?: unknown): Promise<void> => {
    try {
      await owner.run(() => (reader ??= source.getReader()).cancel(reason));
    } finally {
      closed();
    }
  };
  const closed = owner.hold(() => void stop().catch(ignore));
  return new ReadableStream(
    {
      pull: async (controller) => {
        try {
          const result = await owner.run(() => (reader ??= source.getReader()).read());
          if (!result.done) return controller.enqueue(result.value);
          closed();
          controller.close();
        } catch (error) {
          closed();
          throw owner.translate(error);
        }
      },
      cancel: stop,
    },
    // Nothing is read before it is asked for.
    { highWaterMark: 0 },
  );
}

function ignore(): void {}
