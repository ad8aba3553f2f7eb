/**
 * Sends axios requests over a slot's undici connections, with the results that axios' own adapter gives.
 *
 * Promises: redirects and the one retry of the keep-alive race stay inside the slot; a request that undici can't do as
 * axios does it goes to the fallback; axios' `timeout` runs until the answer begins and again between parts of its
 * body.
 */
import { AsyncResource } from 'node:async_hooks';
import type { Readable } from 'node:stream';

import type { AxiosResponse, AxiosResponseHeaders, AxiosStatic, InternalAxiosRequestConfig } from 'axios';

import { isThenable } from '../engine/guard.js';
import type { Clock } from '../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../engine/time/deadlines.js';
import { toError } from '../engine/to-error.js';
import { ConnectionLostError, PoolError } from '../errors.js';
import { errorCode, isConnectionLost } from './connection-errors.js';
import { type Answer, type AnswerHead, Exchange } from './exchange.js';
import type { Undici } from './http-packages.js';
import type { HttpSlot } from './http-slot.js';
import type { OutgoingRequest, OutgoingRequests } from './outgoing-request.js';
import { isParserCode, parserErrorCode } from './parser-errors.js';
import { DEFAULT_MAX_REDIRECTS, redirected } from './redirects.js';
import { RequestSummary } from './request-summary.js';
import { contentCoding, decompressed, limited, text, whole } from './response-body.js';
import { type StreamedBody, streamedBody } from './streamed-body.js';
import { axiosTimeoutMs } from './time-limits.js';
import { isIdempotent, type Sent, type Transport } from './transport.js';
import { type ConnectionSettings, UndiciConnection } from './undici-connection.js';
import type { UpstreamCheck } from './upstream-check.js';

export interface UndiciTransportDependencies {
  readonly poolId: string;
  readonly axios: AxiosStatic;
  readonly undici: Undici;
  readonly settings: ConnectionSettings;
  readonly requests: OutgoingRequests;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  /** Takes what undici can't do. */
  readonly fallback: Transport;
  /** Knows which requests say something about the pool's upstream, and is told where each answer came from. */
  readonly check: UpstreamCheck;
}

/** Names that mean nothing to an object of JavaScript. */
const PLAIN_NAME = /^[a-z]+(?:-[a-z\d]+)+$|^(?:date|server|etag|vary|age|via|link|allow|expires|location)$/;

export class UndiciTransport implements Transport {
  readonly #dependencies: UndiciTransportDependencies;

  constructor(dependencies: UndiciTransportDependencies) {
    this.#dependencies = dependencies;
  }

  send(config: InternalAxiosRequestConfig, slot: HttpSlot, uploadTaken: () => void): Sent {
    const request = this.#dependencies.requests.from(config);
    if (request === undefined) return this.#dependencies.fallback.send(config, slot, uploadTaken);
    return new UndiciRequest(this.#dependencies, config, slot, request);
  }
}

class UndiciRequest extends DeadlineEntry implements Sent {
  override readonly keepsProcessAlive = true;
  readonly response: Promise<AxiosResponse>;
  countsAsFailure = true;
  readonly #dependencies: UndiciTransportDependencies;
  readonly #config: InternalAxiosRequestConfig;
  readonly #slot: HttpSlot;
  readonly #timeoutMs: number;
  /** The one that is being sent: changes with each redirect. */
  #request: OutgoingRequest;
  #exchange: Exchange | undefined;
  /** Set when undici would not take the request after all. */
  #fallback: Sent | undefined;
  #body: StreamedBody | undefined;
  #aborted: Error | undefined;

  constructor(
    dependencies: UndiciTransportDependencies,
    config: InternalAxiosRequestConfig,
    slot: HttpSlot,
    request: OutgoingRequest,
  ) {
    super();
    this.#dependencies = dependencies;
    this.#config = config;
    this.#slot = slot;
    this.#request = request;
    this.#timeoutMs = axiosTimeoutMs(dependencies.axios, config);
    this.response = this.#run();
  }

  get body(): StreamedBody | undefined {
    return this.#fallback?.body ?? this.#body;
  }

  abort(reason: Error): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = reason;
    this.#fallback?.abort(reason);
    // The body first: what its connection would say of the end doesn't say why.
    this.#body?.destroy(reason);
    this.#exchange?.abort(reason);
  }

  /** axios' own `timeout` has passed. */
  override expire(): void {
    const { timeoutErrorMessage, transitional } = this.#config;
    const { AxiosError } = this.#dependencies.axios;
    const code = transitional?.clarifyTimeoutError === true ? AxiosError.ETIMEDOUT : AxiosError.ECONNABORTED;
    const message = timeoutErrorMessage ?? `timeout of ${this.#timeoutMs}ms exceeded`;
    this.abort(new AxiosError(message, code, this.#config, this.#summary()));
  }

  async #run(): Promise<AxiosResponse> {
    try {
      this.#checkBodyLength();
      const allowed = this.#config.maxRedirects ?? DEFAULT_MAX_REDIRECTS;
      let answer = await this.#answer();
      for (let redirects = 0; answer.kind === 'redirect'; redirects++) {
        this.#follow(answer, redirects < allowed);
        answer = await this.#answer();
      }
      const response = this.#respond(answer);
      return this.#validated(response instanceof Promise ? await response : response);
    } catch (error) {
      if (this.#isRefused(error)) return await this.#sendOtherwise();
      throw this.#failure(error);
    } finally {
      if (this.#body === undefined) this.#dependencies.deadlines.remove(this);
    }
  }

  /**
   * Whether undici found something in the request that it doesn't send, and that Node's client may, or has its own
   * words for.
   */
  #isRefused(error: unknown): boolean {
    const code = errorCode(error);
    const isRejection = code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED';
    return isRejection && this.#aborted === undefined && this.#exchange?.sent === false;
  }

  #sendOtherwise(): Promise<AxiosResponse> {
    this.#dependencies.deadlines.remove(this);
    this.#fallback = this.#dependencies.fallback.send(this.#config, this.#slot, () => {});
    return this.#fallback.response;
  }

  #follow({ head, location }: Extract<Answer, { kind: 'redirect' }>, isAllowed: boolean): void {
    if (!isAllowed) throw this.#failedRedirect('Maximum number of redirects exceeded', 'ERR_FR_TOO_MANY_REDIRECTS');
    const next = redirected(this.#request, head.status, location);
    if (next === undefined) throw this.#failedRedirect('Redirected request failed', 'ERR_FR_REDIRECTION_FAILURE');
    this.#request = next;
  }

  /** One exchange; two, when the server closed an idle connection just as an idempotent request set out on it. */
  #answer(): Promise<Answer> {
    const exchange = this.#send();
    return exchange.answer.catch((error: unknown) => {
      if (!this.#mayRepeat(exchange, error)) throw error;
      this.#connection().destroy();
      return this.#send().answer;
    });
  }

  #mayRepeat(exchange: Exchange, error: unknown): boolean {
    if (this.#aborted !== undefined || exchange.answered || !exchange.reusedSocket) return false;
    return isIdempotent(this.#request.method) && isConnectionLost(error);
  }

  #send(): Exchange {
    if (this.#aborted !== undefined) throw this.#aborted;
    const { decompress, maxContentLength = -1, maxRedirects, responseType } = this.#config;
    const streams = responseType === 'stream';
    const exchange = new Exchange(this.#connection(), {
      followRedirects: maxRedirects !== 0,
      streams,
      wantsStream: (head) => streams || (decompress !== false && head.headers['content-encoding'] !== undefined),
      maxBytes: maxContentLength,
      tooLong: () => this.#tooLong(),
      explain: (error) => this.#notHttp(error) ?? this.#lost(error),
      progress: () => this.#restartTimeout(),
    });
    this.#exchange = exchange;
    this.#restartTimeout();
    exchange.send(this.#request);
    return exchange;
  }

  #connection(): UndiciConnection {
    const { undici, settings } = this.#dependencies;
    return this.#slot.connection(this.#request.url.origin, (origin) => new UndiciConnection(undici, origin, settings));
  }

  #restartTimeout(): void {
    if (this.#timeoutMs <= 0 || this.#aborted !== undefined) return;
    this.#dependencies.deadlines.add(this, this.#dependencies.clock.now() + this.#timeoutMs);
  }

  #respond(answer: Exclude<Answer, { kind: 'redirect' }>): AxiosResponse | Promise<AxiosResponse> {
    const { head } = answer;
    this.#dependencies.check.answered(this.#request.url.origin);
    const { responseType, responseEncoding, decompress } = this.#config;
    const coding = decompress === false ? undefined : contentCoding(head, this.#request.method);
    const response = this.#response(head);
    if (answer.kind === 'whole') {
      response.data = responseType === 'arraybuffer' ? answer.body : text(answer.body, responseEncoding);
      return response;
    }
    const body = this.#readable(answer.body, coding);
    if (responseType === 'stream') {
      this.#body = streamedBody(body, new AsyncResource('HttpResponseBody', { requireManualDestroy: true }));
      body.once('close', () => this.#dependencies.deadlines.remove(this));
      response.data = body;
      return response;
    }
    return whole(body).then((bytes) => {
      response.data = responseType === 'arraybuffer' ? bytes : text(bytes, responseEncoding);
      return response;
    });
  }

  #response(head: AnswerHead): AxiosResponse<unknown> {
    return {
      data: undefined,
      status: head.status,
      statusText: head.statusText,
      headers: this.#headers(head.headers),
      config: this.#config,
      request: this.#summary(),
    };
  }

  /**
   * Field by field, because `AxiosHeaders` looks at all fields for each that it is given: these have lower-case names,
   * each once, with values that the parser has passed.
   */
  #headers(fields: AnswerHead['headers']): AxiosResponseHeaders {
    const headers = new this.#dependencies.axios.AxiosHeaders();
    for (const name of Object.keys(fields)) {
      const value = fields[name];
      if (PLAIN_NAME.test(name)) headers[name] = value;
      else headers.set(name, value);
    }
    return headers;
  }

  #readable(source: Readable, coding: ReturnType<typeof contentCoding>): Readable {
    const { maxContentLength = -1 } = this.#config;
    const readable = coding === undefined ? source : decompressed(source, coding);
    return maxContentLength > -1 ? limited(readable, maxContentLength, () => this.#tooLong()) : readable;
  }

  /** What axios does with a response: its `validateStatus` decides. */
  #validated(response: AxiosResponse): AxiosResponse {
    const { validateStatus } = response.config;
    if (!response.status || !validateStatus || this.#validates(response.status, validateStatus)) return response;
    const { AxiosError } = this.#dependencies.axios;
    const isClientError = response.status >= 400 && response.status < 500;
    throw new AxiosError(
      `Request failed with status code ${response.status}`,
      isClientError ? AxiosError.ERR_BAD_REQUEST : AxiosError.ERR_BAD_RESPONSE,
      response.config,
      response.request,
      response,
    );
  }

  /** What the caller's function throws is what the caller gets; the body will not be read. */
  #validates(status: number, validateStatus: (status: number) => boolean): boolean {
    try {
      const isValid: unknown = validateStatus(status);
      // A promise counts as a yes, as in axios; its failure ends the request.
      if (isThenable(isValid)) Promise.resolve(isValid).catch((error: unknown) => this.abort(toError(error)));
      return Boolean(isValid);
    } catch (error) {
      this.abort(toError(error));
      throw error;
    }
  }

  #checkBodyLength(): void {
    const { maxBodyLength = -1 } = this.#config;
    if (maxBodyLength < 0 || this.#request.body === undefined || this.#request.body.length <= maxBodyLength) return;
    const { AxiosError } = this.#dependencies.axios;
    throw new AxiosError('Request body larger than maxBodyLength limit', AxiosError.ERR_BAD_REQUEST, this.#config);
  }

  #tooLong(): Error {
    const { AxiosError } = this.#dependencies.axios;
    return new AxiosError(
      `maxContentLength size of ${this.#config.maxContentLength} exceeded`,
      AxiosError.ERR_BAD_RESPONSE,
      this.#config,
      this.#summary(),
    );
  }

  #failedRedirect(message: string, code: string): Error {
    return new this.#dependencies.axios.AxiosError(message, code, this.#config, this.#summary());
  }

  /** What the caller gets: axios' own kind of error, with Node's codes. */
  #failure(error: unknown): unknown {
    const { AxiosError } = this.#dependencies.axios;
    if (this.#aborted !== undefined) return this.#aborted;
    this.#blame(this.#request.url.origin);
    if (error instanceof AxiosError || error instanceof PoolError) return error;
    const head = this.#exchange?.head;
    const response = head === undefined ? undefined : this.#response(head);
    // A reset leaves nothing of an answer; an end in the middle of its body does.
    if (isConnectionLost(error))
      return response === undefined || isReset(error) ? this.#lost(error) : this.#cutBody(response);
    const notHttp = this.#notHttp(error);
    if (notHttp !== undefined) return notHttp;
    if (errorCode(error) === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH' && response !== undefined)
      return this.#cutBody(response);
    return AxiosError.from(error, this.#code(error), this.#config, this.#summary(), response);
  }

  /** An answer that is no HTTP has no response, however far it had got. */
  #notHttp(error: unknown): Error | undefined {
    const code = parserErrorCode(error) ?? (isParserCode(errorCode(error)) ? errorCode(error) : undefined);
    if (code === undefined) return undefined;
    return this.#dependencies.axios.AxiosError.from(error, code, this.#config, this.#summary());
  }

  #code(error: unknown): string | undefined {
    const code = errorCode(error);
    switch (code) {
      case 'UND_ERR_CONNECT_TIMEOUT':
        return 'ETIMEDOUT';
      // undici asserts of a status that it is above 101.
      case 'ERR_ASSERTION':
        return this.#dependencies.axios.AxiosError.ERR_BAD_RESPONSE;
      default:
        return code;
    }
  }

  #summary(): RequestSummary {
    const { url, method, path, fragment } = this.#request;
    const responseUrl = this.#config.maxRedirects === 0 ? undefined : url.origin + path + fragment;
    return new RequestSummary({ method, protocol: url.protocol, host: url.hostname, path, responseUrl });
  }

  #cutBody(response: AxiosResponse): Error {
    const { AxiosError } = this.#dependencies.axios;
    const code = AxiosError.ERR_BAD_RESPONSE;
    return new AxiosError('stream has been aborted', code, this.#config, response.request, response);
  }

  /** What another host than the pool's own does says nothing about the upstream. */
  #blame(origin: string): void {
    if (!this.#dependencies.check.watches(origin)) this.countsAsFailure = false;
  }

  #lost(error: unknown): Error {
    const { axios, poolId } = this.#dependencies;
    const { method, url } = this.#request;
    const exchange = this.#exchange;
    if (exchange?.reusedSocket === true && !exchange.answered) this.countsAsFailure = false;
    const lost = new ConnectionLostError(poolId, `${method} ${url.pathname}`, exchange?.sent === true, {
      cause: error,
    });
    return axios.AxiosError.from(lost, 'ECONNRESET', this.#config, this.#summary());
  }
}

function isReset(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ECONNRESET' || code === 'EPIPE';
}
