/**
 * What `pool.request(url, options)` is asked for, and what of it goes over the wire.
 */
import { AsyncResource } from 'node:async_hooks';
import { Readable } from 'node:stream';
import { isArrayBuffer } from 'node:util/types';

import { LONGEST_TIMER_MS } from '../engine/time/clock.js';
import { PoolConfigError } from '../errors.js';
import type { HttpResponseBody } from './direct-body.js';
import type { HttpRequestOptions } from './http-pool.options.js';
import { type HeaderFields, httpUrl } from './outgoing-request.js';

/** A body to send: as it is, nothing is serialized. A stream or an iterable is sent in chunks, and only once. */
export type HttpRequestBody =
  string | Uint8Array | ArrayBuffer | Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

/** Options of `pool.request(url, options)`. */
export interface HttpDirectOptions extends HttpRequestOptions {
  /** Default: GET. */
  readonly method?: string;
  /** Beside those of the pool; a name that both have goes by this one, and `undefined` takes the pool's away. */
  readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** Default: none. JSON is for the caller to make, with its `content-type`. */
  readonly body?: HttpRequestBody | null;
  /** Appended to the query of the URL. */
  readonly query?: Readonly<Record<string, string | number | boolean>>;
  /** Withdraws the wait for a slot (`AcquireAbortedError`), or ends the request with the signal's reason. */
  readonly signal?: AbortSignal;
  /** A longer body fails with the code UND_ERR_RES_EXCEEDED_MAX_SIZE. Default: `client.maxContentLength`, or none. */
  readonly maxContentLength?: number;
}

/** An answer, whose body is still to be read. */
export interface HttpDirectResponse {
  /** Any: no status is an error here, and redirects are not followed. */
  readonly statusCode: number;
  /** What the server says of the status; may be empty. */
  readonly statusText: string;
  /** Lower-case names; `set-cookie` is a list. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  /** As it was sent: not decompressed. */
  readonly body: HttpResponseBody;
}

/** What is sent, on either client. */
export interface DirectMessage {
  readonly url: URL;
  /** Upper case. */
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: HeaderFields;
  readonly body: Buffer | Readable | undefined;
}

/** What of a pool's options holds for these requests. */
export interface DirectDefaults {
  readonly baseURL: string | undefined;
  readonly headers: HeaderFields;
}

/** @throws TypeError for what can't be requested. */
export function directMessage(url: string, options: HttpDirectOptions, defaults: DirectDefaults): DirectMessage {
  const target = addressed(url, defaults.baseURL);
  for (const [name, value] of Object.entries(options.query ?? {})) target.searchParams.append(name, String(value));
  const method = options.method?.toUpperCase() ?? 'GET';
  if (method === 'CONNECT') throw new TypeError('CONNECT is not a request to a server');
  const { headers } = defaults;
  return {
    url: target,
    method,
    path: target.pathname + target.search,
    headers: withCredentials(options.headers === undefined ? headers : withFields(headers, options.headers), target),
    body: uploadOf(options.body),
  };
}

function addressed(url: string, baseURL: string | undefined): URL {
  const isAbsolute = /^[a-z][a-z\d+.-]*:\/\//i.test(url);
  const full = isAbsolute || baseURL === undefined ? url : joined(baseURL, url);
  const parsed = httpUrl(full);
  // Not in the message: a URL may hold secrets.
  if (parsed === undefined) throw new TypeError('The URL is neither an http(s) URL nor a path on baseURL');
  return parsed;
}

function joined(baseURL: string, path: string): string {
  return path === '' ? baseURL : `${baseURL.replace(/\/+$/, '')}/${path.replace(/^\/+/, '')}`;
}

/** Headers with others in their place or beside them. Names are compared without regard to case. */
export function withFields(defaults: HeaderFields, own: NonNullable<HttpDirectOptions['headers']>): HeaderFields {
  const fields: HeaderFields = { ...defaults };
  for (const [name, value] of Object.entries(own)) {
    for (const known of Object.keys(fields))
      if (known.length === name.length && known.toLowerCase() === name.toLowerCase()) delete fields[known];
    if (value !== undefined) fields[name] = typeof value === 'string' ? value : [...value];
  }
  return fields;
}

/** @param pair user and password, with a colon between them. */
export function basicAuthorization(pair: string): string {
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

function withCredentials(fields: HeaderFields, { username, password }: URL): HeaderFields {
  if (username === '' && password === '') return fields;
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return withFields(fields, { authorization: basicAuthorization(pair) });
}

function uploadOf(body: HttpRequestBody | null | undefined): Buffer | Readable | undefined {
  if (body === undefined || body === null) return undefined;
  if (typeof body === 'string') return Buffer.from(body);
  if (body instanceof Uint8Array) return Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (isArrayBuffer(body)) return Buffer.from(body);
  if (Symbol.asyncIterator in body) return Readable.from(inContext(body));
  if (Symbol.iterator in body) return Readable.from(body, { objectMode: false });
  throw new TypeError('The body must be a text, bytes, a stream or an iterable of those');
}

/** The caller's code runs in the caller's context, whenever the connection has room for more. */
function inContext(body: AsyncIterable<string | Uint8Array>): AsyncIterable<string | Uint8Array> {
  const context = new AsyncResource('HttpRequestBody', { requireManualDestroy: true });
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = body[Symbol.asyncIterator]();
      return {
        next: () => context.runInAsyncScope(() => iterator.next()),
        return: () =>
          context.runInAsyncScope(async (): Promise<IteratorReturnResult<undefined>> => {
            await iterator.return?.();
            return { done: true, value: undefined };
          }),
      };
    },
  };
}

/** @throws PoolConfigError when it is no number of milliseconds. */
export function limitMs(
  poolId: string,
  options: HttpDirectOptions,
  name: 'timeoutMs' | 'acquireTimeoutMs',
): number | undefined {
  const value: unknown = options[name];
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !(value >= 0))
    throw new PoolConfigError([{ key: name, rule: 'must be a number of milliseconds, at least 0' }], { poolId });
  return Math.min(value, LONGEST_TIMER_MS);
}
