/**
 * Sends axios requests through axios' own adapter for Node, with the slot's keep-alive agents. For what undici can't do
 * (proxies, own agents, uploads from streams, progress events, …), and for everything where undici isn't installed.
 *
 * Promise: what the caller gets, body and errors included, leads to no socket, agent or request of Node's client,
 * because the next borrower of the slot uses the same ones.
 */
import { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { PassThrough, pipeline } from 'node:stream';
import { TLSSocket } from 'node:tls';

import type { AxiosAdapter, AxiosResponse, AxiosStatic, InternalAxiosRequestConfig } from 'axios';

import type { Clock } from '../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../engine/time/deadlines.js';
import { AdapterCall, hasConfig, PlainAbortSource } from './adapter-call.js';
import { isConnectionLost } from './connection-errors.js';
import type { HttpSlot } from './http-slot.js';
import { afterArrivals } from './idle-socket-check.js';
import { httpUrl, type OutgoingRequests } from './outgoing-request.js';
import { RequestSummary } from './request-summary.js';
import type { StreamedBody } from './streamed-body.js';
import { axiosTimeoutMs } from './time-limits.js';
import { checkUpload, isIdempotent, type Sent, type Transport } from './transport.js';
import { destroyUnsent, type SendingRequest } from './unsent-request.js';
import type { UpstreamCheck } from './upstream-check.js';

export interface NodeTransportDependencies {
  readonly axios: AxiosStatic;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  readonly requests: OutgoingRequests;
  /** Knows which requests say something about the pool's upstream, and is told where each answer came from. */
  readonly check: UpstreamCheck;
}

export class NodeTransport implements Transport {
  readonly #dependencies: NodeTransportDependencies;
  readonly #adapter: AxiosAdapter;

  constructor(dependencies: NodeTransportDependencies) {
    this.#dependencies = dependencies;
    this.#adapter = dependencies.axios.getAdapter('http');
  }

  send(config: InternalAxiosRequestConfig, slot: HttpSlot, uploadTaken: () => void): Sent {
    return new NodeRequest(this.#dependencies, this.#adapter, config, slot, uploadTaken);
  }
}

class NodeRequest extends DeadlineEntry implements Sent {
  override readonly keepsProcessAlive = true;
  readonly response: Promise<AxiosResponse>;
  countsAsFailure = true;
  readonly #dependencies: NodeTransportDependencies;
  readonly #config: InternalAxiosRequestConfig;
  readonly #slot: HttpSlot;
  readonly #call: AdapterCall;
  readonly #timeoutMs: number;
  readonly #uploadTaken: () => void;
  /** What had gone over the slot's sockets when the time-out began anew. */
  #bytesMoved = 0;

  constructor(
    dependencies: NodeTransportDependencies,
    adapter: AxiosAdapter,
    config: InternalAxiosRequestConfig,
    slot: HttpSlot,
    uploadTaken: () => void,
  ) {
    super();
    this.#uploadTaken = uploadTaken;
    this.#dependencies = dependencies;
    this.#config = config;
    this.#slot = slot;
    this.#timeoutMs = axiosTimeoutMs(dependencies.axios, config);
    this.#call = new AdapterCall(adapter, config, new PlainAbortSource());
    this.response = this.#run();
  }

  get body(): StreamedBody | undefined {
    return this.#call.body;
  }

  abort(reason: Error): void {
    this.#call.abort(reason);
  }

  /**
   * axios' `timeout`: so long without a sign of life. Its own timers would fire after a blocked event loop although the
   * answer has arrived; the caller's agents, whose sockets can't be seen from here, are left to them.
   */
  override expire(nowMs: number): void {
    const moved = this.#slot.agents().bytesMoved();
    if (moved !== this.#bytesMoved) {
      this.#bytesMoved = moved;
      this.#dependencies.deadlines.add(this, nowMs + this.#timeoutMs);
      return;
    }
    const { timeoutErrorMessage, transitional } = this.#config;
    const { AxiosError } = this.#dependencies.axios;
    const code = transitional?.clarifyTimeoutError === true ? AxiosError.ETIMEDOUT : AxiosError.ECONNABORTED;
    const message = timeoutErrorMessage ?? `timeout of ${this.#timeoutMs}ms exceeded`;
    this.abort(new AxiosError(message, code, this.#config));
  }

  async #run(): Promise<AxiosResponse> {
    const { deadlines, clock } = this.#dependencies;
    if (this.#timeoutMs > 0 && this.#ownsAgents) deadlines.add(this, clock.now() + this.#timeoutMs);
    try {
      return await this.#answer();
    } catch (error) {
      if (!this.#dependencies.check.watches(this.#origin(error))) this.countsAsFailure = false;
      throw error;
    } finally {
      const { body } = this.#call;
      if (body === undefined) deadlines.remove(this);
      else body.onEnd(() => deadlines.remove(this));
    }
  }

  /** Where the request failed, or was answered: the end of its redirects, if there were any. */
  #origin(outcome: unknown): string | undefined {
    const request = hasRequest(outcome) ? outcome.request : undefined;
    const url = request instanceof RequestSummary ? httpUrl(request.res.responseUrl ?? '') : undefined;
    return url?.origin ?? this.#dependencies.requests.origin(this.#config);
  }

  /**
   * The answer; to a second attempt, when the server closed an idle connection just as an idempotent request set out on
   * it.
   */
  async #answer(): Promise<AxiosResponse> {
    if (this.#ownsAgents && this.#slot.agents().connected) await this.#letArrive();
    const idle = this.#ownsAgents ? idleSockets(this.#slot) : [];
    try {
      return await this.#attempt();
    } catch (error) {
      const lostIdle = idle.some(({ socket, bytesRead }) => socket.destroyed && isUnanswered(socket, bytesRead));
      if (this.#call.aborted || !lostIdle || !this.#mayRepeat(error)) {
        if (lostIdle && isConnectionLost(error)) this.countsAsFailure = false;
        throw error;
      }
    }
    this.#slot.dropAgents();
    return this.#attempt();
  }

  /**
   * Lets the event loop deliver what the server may have sent on an idle socket: the end of the connection, or
   * unsolicited bytes, which would pass for the answer to this request. After that the agent also has the socket of the
   * slot's last request back, which it gets only when Node has reported that request as sent.
   */
  async #letArrive(): Promise<void> {
    await new Promise<void>(afterArrivals);
    checkUpload(this.#dependencies.axios, this.#config);
  }

  async #attempt(): Promise<AxiosResponse> {
    const agents = this.#ownsAgents ? this.#slot.agents() : undefined;
    try {
      const answer = this.#call.run(
        agents === undefined
          ? { timeout: this.#timeoutMs }
          : { httpAgent: agents.http, httpsAgent: agents.https, timeout: 0 },
        (response) => this.#detach(response),
      );
      this.#uploadTaken();
      return await answer;
    } catch (error) {
      if (hasConfig(error) && error.request !== undefined) error.request = RequestSummary.of(error.request);
      throw error;
    }
  }

  /** Replaces what of an answer belongs to Node's client. */
  #detach(response: AxiosResponse<unknown>): void {
    const request: unknown = response.request;
    response.request = RequestSummary.of(request);
    if (this.#dependencies.check.asksWhoAnswers) this.#dependencies.check.answered(this.#origin(response));
    const message = response.data;
    // A body that is decompressed or counted is a stream apart already.
    if (message instanceof IncomingMessage) response.data = pipeline(message, new PassThrough(), () => {});
    if (isSending(request)) this.#endUpload(response.data, request);
  }

  /** An answer can be over before the upload that it answers is. */
  #endUpload(body: unknown, request: SendingRequest): void {
    const end = (): void =>
      destroyUnsent(request, () => {
        const upload: unknown = this.#config.data;
        if (isDestroyable(upload)) upload.destroy();
      });
    if (body instanceof PassThrough || isDestroyable(body)) body.once('close', end);
    else end();
  }

  /** Whether no agent was given to us. */
  get #ownsAgents(): boolean {
    const httpAgent: unknown = this.#config.httpAgent;
    const httpsAgent: unknown = this.#config.httpsAgent;
    return (httpAgent ?? httpsAgent ?? undefined) === undefined;
  }

  #mayRepeat(error: unknown): boolean {
    const answered = hasConfig(error) && error.response !== undefined;
    return (
      !answered &&
      isConnectionLost(error) &&
      isIdempotent(this.#config.method ?? 'get') &&
      isRepeatable(this.#config.data)
    );
  }
}

function hasRequest(outcome: unknown): outcome is { readonly request: unknown } {
  return typeof outcome === 'object' && outcome !== null && 'request' in outcome;
}

function isSending(request: unknown): request is SendingRequest {
  return typeof request === 'object' && request !== null && 'writableFinished' in request && !request.writableFinished;
}

interface Destroyable {
  once(event: 'close', listener: () => void): void;
  destroy(): void;
}

function isDestroyable(value: unknown): value is Destroyable {
  return typeof value === 'object' && value !== null && 'destroy' in value && 'once' in value && 'pipe' in value;
}

interface IdleSocket {
  readonly socket: Socket;
  readonly bytesRead: number;
}

function idleSockets(slot: HttpSlot): IdleSocket[] {
  return slot
    .agents()
    .idleSockets()
    .map((socket) => ({ socket, bytesRead: socket.bytesRead }));
}

/** Of a TLS socket the bytes don't tell: its close is announced by some. */
function isUnanswered(socket: Socket, bytesReadBefore: number): boolean {
  return socket instanceof TLSSocket || socket.bytesRead === bytesReadBefore;
}

/** A stream can be read only once. */
function isRepeatable(data: unknown): boolean {
  return !(typeof data === 'object' && data !== null && 'pipe' in data);
}
