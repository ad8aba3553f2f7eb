/**
 * What goes over the wire for one axios config: origin, path, headers and body, as axios' own Node adapter would send
 * them.
 *
 * Promise: `undefined` for everything that undici can't do exactly as axios does it; such a request goes through axios'
 * own adapter.
 */
import { isArrayBuffer } from 'node:util/types';

import type { AxiosStatic, InternalAxiosRequestConfig } from 'axios';

import { toError } from '../engine/to-error.js';

export type HeaderFields = Record<string, string | string[]>;

export interface OutgoingRequest {
  readonly url: URL;
  /** Upper case. */
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Of a redirect's target, with its `#`; never sent. */
  readonly fragment: string;
  readonly headers: HeaderFields;
  readonly body: Buffer | undefined;
}

/** Options that only Node's own client has an equivalent for. */
const NODE_ONLY_OPTIONS = [
  'httpAgent',
  'httpsAgent',
  'transport',
  'socketPath',
  'lookup',
  'family',
  'maxRate',
  'beforeRedirect',
  'sensitiveHeaders',
  'onUploadProgress',
  'onDownloadProgress',
  'insecureHTTPParser',
] as const;

/** Headers that undici refuses because they belong to the connection. */
const CONNECTION_HEADERS = /^(?:transfer-encoding|keep-alive|upgrade|expect|connection|proxy-connection|te|trailer)$/i;

const ACCEPT_ENCODING = 'gzip, compress, deflate, br';

/** Bytes that a header value can't hold; axios drops them too. */
const NOT_IN_HEADERS = /[^\t\u0020-\u007e\u0080-\u00ff]+/g;

export class OutgoingRequests {
  readonly #axios: AxiosStatic;
  /** An instance without defaults, for its URL builder. */
  readonly #urls: { getUri(config: object): string };
  readonly #throughProxy: boolean;

  /** @param environment where the proxy variables are looked for, once. */
  constructor(axios: AxiosStatic, environment: Readonly<Record<string, string | undefined>>) {
    this.#axios = axios;
    this.#urls = new axios.Axios({});
    this.#throughProxy = ['http_proxy', 'https_proxy', 'all_proxy'].some(
      (name) => (environment[name] ?? environment[name.toUpperCase()] ?? '') !== '',
    );
  }

  /** Whether a request may go through a proxy that the environment names. */
  get throughProxy(): boolean {
    return this.#throughProxy;
  }

  /** Where a request goes first; `undefined`: nowhere that HTTP leads to. */
  origin(config: InternalAxiosRequestConfig): string | undefined {
    try {
      return this.#parse(config)?.origin;
    } catch {
      return undefined;
    }
  }

  from(config: InternalAxiosRequestConfig): OutgoingRequest | undefined {
    if (this.#needsNode(config)) return undefined;
    const data: unknown = config.data;
    const body = bytesOf(data);
    if (body === undefined && isGiven(data)) return undefined;

    const url = this.#parse(config);
    if (url === undefined) return undefined;
    const method = (config.method ?? 'get').toUpperCase();
    if (method === 'CONNECT') return undefined;

    const headers = this.#headers(config, url, body);
    if (headers === undefined) return undefined;
    return { url, method, path: this.#path(url, config), fragment: '', headers, body };
  }

  #needsNode(config: InternalAxiosRequestConfig): boolean {
    for (const option of NODE_ONLY_OPTIONS) {
      const value: unknown = config[option];
      if (value !== undefined && value !== null && value !== false) return true;
    }
    if (config.httpVersion !== undefined && Number(config.httpVersion) !== 1) return true;
    if (config.proxy) return true;
    return this.#throughProxy && config.proxy !== false;
  }

  #parse(config: InternalAxiosRequestConfig): URL | undefined {
    const { baseURL, url, allowAbsoluteUrls } = config;
    return httpUrl(plainAddress(config) ?? this.#urls.getUri({ baseURL, url, allowAbsoluteUrls }));
  }

  // Parsed first and completed afterwards, in axios' order: the parser would encode characters that axios leaves alone.
  #path(url: URL, config: InternalAxiosRequestConfig): string {
    const path = url.pathname + url.search;
    const params: unknown = config.params;
    if (!isGiven(params)) return path;
    try {
      return this.#urls.getUri({ url: path, params, paramsSerializer: config.paramsSerializer });
    } catch (error) {
      throw this.#badParams(error, config);
    }
  }

  /** What a serializer throws, as axios' own adapter passes it on. */
  #badParams(error: unknown, config: InternalAxiosRequestConfig): Error {
    const { AxiosError } = this.#axios;
    const failed = AxiosError.from(toError(error), AxiosError.ERR_BAD_REQUEST, config);
    return Object.assign(failed, { url: config.url, exists: true });
  }

  /** Completes `config.headers`, as axios' adapter does, and returns them in a form for undici. */
  #headers(config: InternalAxiosRequestConfig, url: URL, body: Buffer | undefined): HeaderFields | undefined {
    const headers = this.#axios.AxiosHeaders.from(config.headers);
    headers.normalize(false);
    headers.set('User-Agent', `axios/${this.#axios.VERSION}`, false);
    headers.set('Accept-Encoding', ACCEPT_ENCODING, false);
    if (body !== undefined) headers.setContentLength(body.length, false);

    const fields: HeaderFields = {};
    for (const name of Object.keys(headers)) {
      const value: unknown = headers[name];
      if (value === undefined || value === null || value === false) continue;
      if (CONNECTION_HEADERS.test(name)) return undefined;
      fields[name] = Array.isArray(value) ? list(name, value.map(sendable)) : sendable(value);
    }
    if (!isPlain(headers.get('Accept-Encoding')) || !matches(headers.get('Content-Length'), body)) return undefined;

    const credentials = basicCredentials(config, url);
    if (credentials !== undefined) {
      for (const name of Object.keys(fields)) if (name.toLowerCase() === 'authorization') delete fields[name];
      fields.Authorization = credentials;
      headers.delete('authorization');
    }
    return fields;
  }
}

/**
 * What axios makes of the two commonest addresses, without its merging of configurations: a path on the base URL, and a
 * whole URL. `undefined`: another, which is left to axios.
 */
function plainAddress({ baseURL, url, allowAbsoluteUrls }: InternalAxiosRequestConfig): string | undefined {
  if (typeof url !== 'string') return undefined;
  if (/^https?:\/\//i.test(url)) return baseURL && allowAbsoluteUrls === false ? undefined : url;
  if (typeof baseURL !== 'string' || !/^\/(?!\/)/.test(url) || !/^https?:\/\//i.test(baseURL)) return undefined;
  return baseURL.endsWith('/') ? undefined : baseURL + url;
}

/** `undefined` for what isn't an absolute `http:` or `https:` URL. */
export function httpUrl(text: string, base?: URL): URL | undefined {
  let url: URL;
  try {
    url = new URL(text, base);
  } catch {
    return undefined;
  }
  return url.protocol === 'http:' || url.protocol === 'https:' ? url : undefined;
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== '' && value !== false && value !== 0;
}

/** The bytes of a body that can be sent, and sent again; `undefined` for streams, forms and what axios will refuse. */
function bytesOf(data: unknown): Buffer | undefined {
  if (typeof data === 'string') return data === '' ? undefined : Buffer.from(data, 'utf8');
  if (Buffer.isBuffer(data)) return data;
  if (isArrayBuffer(data)) return Buffer.from(data);
  return undefined;
}

/**
 * Several fields, but for cookies, of which there may be one field only (RFC 6265, 5.4): Node's client joins them too.
 */
function list(name: string, values: string[]): string | string[] {
  return name.toLowerCase() === 'cookie' ? values.join('; ') : values;
}

function sendable(value: unknown): string {
  return String(value).replace(NOT_IN_HEADERS, '').trim();
}

/** Encodings that {@link ACCEPT_ENCODING} does not name are left to Node's client. */
function isPlain(acceptEncoding: unknown): boolean {
  return typeof acceptEncoding === 'string' && !/\bzstd\b/i.test(acceptEncoding);
}

/** A length that the caller set and that isn't the body's is for Node's client to complain about. */
function matches(contentLength: unknown, body: Buffer | undefined): boolean {
  if (contentLength === undefined || contentLength === null) return true;
  return Number(contentLength) === (body?.length ?? 0);
}

function basicCredentials(config: InternalAxiosRequestConfig, url: URL): string | undefined {
  const { auth } = config;
  let pair: string | undefined;
  if (auth) pair = `${auth.username || ''}:${auth.password || ''}`;
  else if (url.username !== '' || url.password !== '') pair = `${decoded(url.username)}:${decoded(url.password)}`;
  return pair === undefined ? undefined : `Basic ${Buffer.from(pair).toString('base64')}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
