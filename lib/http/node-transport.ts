/**
 * Sends axios requests through an adapter of axios: its own one for Node, with the slot's keep-alive agents, or one that the
 * caller named. For what undici can't do (proxies, own agents, uploads from streams, progress events, …), and for everything
 * where undici isn't installed.
 */
import { Readable } from 'node:stream';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { AxiosAdapter, AxiosResponse, InternalAxiosRequestConfig } from 'axios';
import type { HttpSlot } from './http-slot.js';
import { isConnectionLost, isIdempotent, type Sent, type Transport } from './transport.js';

export class NodeTransport implements Transport {
  readonly #adapter: AxiosAdapter;
  readonly #whose: 'own' | "the caller's";

  /** @param whose an adapter of the caller's may be a mock: its failures tell nothing of the upstream. */
  constructor(adapter: AxiosAdapter, whose: 'own' | "the caller's") {
    this.#adapter = adapter;
    this.#whose = whose;
  }

  send(config: InternalAxiosRequestConfig, slot: HttpSlot): Sent {
    return new NodeRequest(this.#adapter, config, slot, this.#whose !== 'own');
  }
}

class NodeRequest implements Sent {
  readonly response: Promise<AxiosResponse>;
  blameless: boolean;
  readonly #adapter: AxiosAdapter;
  readonly #config: InternalAxiosRequestConfig;
  readonly #slot: HttpSlot;
  readonly #cancel = new AbortController();
  #aborted: Error | undefined;
  #body: Readable | undefined;

  constructor(adapter: AxiosAdapter, config: InternalAxiosRequestConfig, slot: HttpSlot, blameless: boolean) {
    this.blameless = blameless;
    this.#adapter = adapter;
    this.#config = config;
    this.#slot = slot;
    this.response = this.#run();
  }

  abort(reason: Error): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = reason;
    // The body first: the signal would end it too, with an error that doesn't say why.
    this.#body?.destroy(reason);
    this.#cancel.abort();
  }

  async #run(): Promise<AxiosResponse> {
    try {
      const response = await this.#answer();
      this.#track(response);
      return response;
    } catch (error) {
      if (this.#aborted !== undefined) throw this.#aborted;
      if (hasConfig(error)) {
        error.config = this.#config;
        if (error.response !== undefined) this.#track(error.response);
      }
      throw error;
    }
  }

  /** The answer; to a second attempt, when the server closed an idle connection just as an idempotent request set out on it. */
  async #answer(): Promise<AxiosResponse> {
    const idle = this.#ownsAgents ? idleSockets(this.#slot) : [];
    try {
      return await this.#attempt();
    } catch (error) {
      const lostIdle = idle.some(({ socket, bytesRead }) => socket.destroyed && isUnanswered(socket, bytesRead));
      if (this.#aborted !== undefined || !lostIdle || !this.#mayRepeat(error)) {
        this.blameless ||= lostIdle && isConnectionLost(error);
        throw error;
      }
    }
    this.#slot.dropAgents();
    return this.#attempt();
  }

  async #attempt(): Promise<AxiosResponse> {
    const agents = this.#ownsAgents ? this.#slot.agents() : undefined;
    return this.#adapter({
      ...this.#config,
      ...(agents !== undefined && { httpAgent: agents.http, httpsAgent: agents.https }),
      signal: this.#cancel.signal,
      cancelToken: undefined,
    });
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

  #track(response: AxiosResponse): void {
    response.config = this.#config;
    const body: unknown = response.data;
    if (body instanceof Readable) this.#body = body;
  }
}

/** What every error of axios has, and what matters of it here. */
interface RequestError {
  config: InternalAxiosRequestConfig;
  response?: AxiosResponse;
}

function hasConfig(error: unknown): error is RequestError {
  return typeof error === 'object' && error !== null && 'isAxiosError' in error && 'config' in error;
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
