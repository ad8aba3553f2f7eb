/**
 * Whether the upstream of an HTTP pool is alive, found out in a way that doesn't surprise it.
 *
 * With `healthCheck.path`: a GET of it; any answer below 500 means alive. Else a TCP connection to the host of
 * `baseURL`, closed at once; none where the upstream has answered a request within the interval, because a connection
 * takes a place in the queue of a server that is busy, and a short queue is full soon. Without either, or where
 * requests take another way than a connection to that host (a proxy, agents, a look-up or a socket of the caller's),
 * there is nothing to ask: the check passes, and no failed request counts against the pool, because no check could
 * clear it again.
 */
import { connect } from 'node:net';
import { Readable } from 'node:stream';

import type { AxiosInstance, AxiosStatic } from 'axios';

import type { Clock } from '../engine/time/clock.js';
import type { HttpSlot } from './http-slot.js';
import { httpUrl } from './outgoing-request.js';
import type { Sent, Transport } from './transport.js';

export interface UpstreamCheckDependencies {
  readonly axios: AxiosStatic;
  /** Whose defaults the check has: base URL, headers, credentials. */
  readonly instance: AxiosInstance;
  readonly path: string | undefined;
  /** Whether requests go through a proxy, so that the host of `baseURL` needn't be reachable from here. */
  readonly throughProxy: boolean;
  readonly clock: Clock;
  /** For how long an answer to a request says what a connection would, in milliseconds. */
  readonly recentMs: number;
}

/** Options with which requests don't connect to the host of their URL. */
const OTHER_WAYS = ['httpAgent', 'httpsAgent', 'transport', 'lookup', 'socketPath'] as const;

export class UpstreamCheck {
  readonly #dependencies: UpstreamCheckDependencies;
  #answeredAtMs = -Infinity;

  constructor(dependencies: UpstreamCheckDependencies) {
    this.#dependencies = dependencies;
  }

  /** Whether there is a path to ask for, and so a way for the upstream to say that it is alive. */
  get asks(): boolean {
    return this.#dependencies.path !== undefined;
  }

  /** Whether there is anything to ask. */
  get reaches(): boolean {
    return this.asks || this.#host() !== undefined;
  }

  /** Whether what happens to a request to `origin` says something about what the check asks. */
  watches(origin: string | undefined): boolean {
    const { path, instance } = this.#dependencies;
    const base = httpUrl(instance.defaults.baseURL ?? '');
    const asked = path === undefined ? this.#host() : httpUrl(path, base);
    return asked !== undefined && asked.origin === origin;
  }

  /** Whether it matters now where an answer came from. */
  get asksWhoAnswers(): boolean {
    return !this.asks && !this.#answeredWithin(this.#dependencies.recentMs / 2);
  }

  /** A request to `origin` was answered. */
  answered(origin: string | undefined): void {
    if (this.asksWhoAnswers && this.watches(origin)) this.#answeredAtMs = this.#dependencies.clock.now();
  }

  /** The upstream was found unreachable: what it answered before counts no more. */
  requireCheck(): void {
    this.#answeredAtMs = -Infinity;
  }

  #answeredWithin(ms: number): boolean {
    return this.#dependencies.clock.now() - this.#answeredAtMs < ms;
  }

  /** Rejects with what is wrong. */
  async run(slot: HttpSlot, transport: Transport, signal: AbortSignal): Promise<void> {
    const { path } = this.#dependencies;
    if (path !== undefined) {
      return this.#get(path, slot, transport, signal).catch((error: unknown) => this.#fail(error));
    }
    const host = this.#host();
    if (host !== undefined && !this.#answeredWithin(this.#dependencies.recentMs)) return connects(host, signal);
  }

  /**
   * An AxiosError has the request with it, credentials included, and this one goes to listeners, logs and health
   * answers.
   */
  #fail(error: unknown): never {
    if (!this.#dependencies.axios.isAxiosError(error)) throw error;
    throw Object.assign(new Error(error.message), { name: error.name, code: error.code });
  }

  async #get(path: string, slot: HttpSlot, transport: Transport, signal: AbortSignal): Promise<void> {
    const { axios, instance } = this.#dependencies;
    let sent: Sent | undefined;
    const stop = (): void => sent?.abort(new Error(`GET ${withoutSecrets(path)} was given up`));
    signal.addEventListener('abort', stop, { once: true });
    try {
      // The same defaults without the interceptors: those are made for requests that a caller waits for.
      const context = new axios.Axios();
      context.defaults = instance.defaults;
      const response = await context.request<unknown>({
        url: path,
        method: 'get',
        responseType: 'stream',
        validateStatus: null,
        maxRedirects: 0,
        decompress: false,
        adapter: (config) => (sent = transport.send(config, slot, () => {})).response,
      });
      // Read to its end, so that the connection can serve the next request.
      if (response.data instanceof Readable) for await (const _chunk of response.data);
      if (response.status >= 500) throw new Error(`GET ${withoutSecrets(path)} was answered with ${response.status}`);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Where a TCP connection shows whether the upstream is there. */
  #host(): URL | undefined {
    const { instance, throughProxy } = this.#dependencies;
    const { defaults } = instance;
    const { baseURL, proxy } = defaults;
    if (baseURL === undefined || proxy || (throughProxy && proxy !== false)) return undefined;
    for (const option of OTHER_WAYS) {
      const value: unknown = defaults[option];
      if (value !== undefined && value !== null) return undefined;
    }
    return httpUrl(baseURL);
  }
}

/** A URL's query may hold secrets, as its credentials do. */
function withoutSecrets(path: string): string {
  const url = httpUrl(path);
  return url === undefined ? path.replace(/[?#].*$/s, '') : url.origin + url.pathname;
}

/** Opens a TCP connection and leaves at once: a busy server may take its time to notice. */
function connects({ hostname, port, protocol }: URL, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    // Brackets belong to URLs, not to IPv6 addresses.
    const host = hostname.replace(/^\[|\]$/g, '');
    const socket = connect({ host, port: Number(port) || (protocol === 'https:' ? 443 : 80) });
    const stop = (): void => void socket.destroy(new Error('The connection attempt was given up'));
    signal.addEventListener('abort', stop, { once: true });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.on('error', reject);
    socket.once('close', () => signal.removeEventListener('abort', stop));
  });
}
