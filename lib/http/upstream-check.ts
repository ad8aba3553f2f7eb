/**
 * Whether the upstream of an HTTP pool is alive, found out in a way that doesn't surprise it.
 *
 * With `healthCheck.path`: a GET of it; any answer below 500 means alive. Else a TCP connection to the host of `baseURL`,
 * closed at once. Without either, or behind a proxy, there is nothing to ask, and the check passes.
 */
import net from 'node:net';
import { Readable } from 'node:stream';
import type { AxiosInstance, AxiosStatic } from 'axios';
import type { HttpSlot } from './http-slot.js';
import type { Sent, Transport } from './transport.js';

export interface UpstreamCheckParts {
  readonly axios: AxiosStatic;
  /** Whose defaults the check has: base URL, headers, credentials. */
  readonly instance: AxiosInstance;
  readonly transport: Transport;
  readonly path: string | undefined;
  /** Whether requests go through a proxy, so that the host of `baseURL` needn't be reachable from here. */
  readonly throughProxy: boolean;
}

export class UpstreamCheck {
  readonly #parts: UpstreamCheckParts;

  constructor(parts: UpstreamCheckParts) {
    this.#parts = parts;
  }

  /** Whether there is a path to ask for, and so a way for the upstream to say that it is alive. */
  get asks(): boolean {
    return this.#parts.path !== undefined;
  }

  /** Rejects with what is wrong. */
  async run(slot: HttpSlot, signal: AbortSignal): Promise<void> {
    const { path } = this.#parts;
    if (path !== undefined) return this.#get(path, slot, signal).catch((error: unknown) => this.#fail(error));
    const address = this.#address();
    if (address !== undefined) return connects(address, signal);
  }

  /** An AxiosError has the request with it, credentials included, and this one goes to listeners, logs and health answers. */
  #fail(error: unknown): never {
    if (!this.#parts.axios.isAxiosError(error)) throw error;
    throw Object.assign(new Error(error.message), { name: error.name, code: error.code });
  }

  async #get(path: string, slot: HttpSlot, signal: AbortSignal): Promise<void> {
    const { axios, instance, transport } = this.#parts;
    let sent: Sent | undefined;
    const stop = (): void => sent?.abort(new Error(`GET ${path} was given up`));
    signal.addEventListener('abort', stop, { once: true });
    try {
      // The same defaults without the interceptors: those are made for requests that somebody waits for.
      const context = new axios.Axios();
      context.defaults = instance.defaults;
      const response = await context.request<unknown>({
        url: path,
        method: 'get',
        responseType: 'stream',
        validateStatus: null,
        maxRedirects: 0,
        decompress: false,
        adapter: (config) => (sent = transport.send(config, slot)).response,
      });
      // Read to its end, so that the connection can serve the next request.
      if (response.data instanceof Readable) for await (const _chunk of response.data);
      if (response.status >= 500) throw new Error(`GET ${path} was answered with ${response.status}`);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  #address(): { readonly host: string; readonly port: number } | undefined {
    const { instance, throughProxy } = this.#parts;
    const { baseURL, proxy } = instance.defaults;
    if (baseURL === undefined || proxy || (throughProxy && proxy !== false) || !URL.canParse(baseURL)) return undefined;
    const { hostname, port, protocol } = new URL(baseURL);
    // Brackets belong to URLs, not to IPv6 addresses.
    return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || (protocol === 'https:' ? 443 : 80) };
  }
}

/** Opens a TCP connection and closes it. */
function connects(address: { readonly host: string; readonly port: number }, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(address);
    const stop = (): void => void socket.destroy(new Error('The connection attempt was given up'));
    signal.addEventListener('abort', stop, { once: true });
    socket.once('connect', () => socket.end());
    socket.once('error', reject);
    socket.once('close', (failed) => {
      signal.removeEventListener('abort', stop);
      if (!failed) resolve();
    });
    // Nothing is expected; without reading, the other side's end would not be noticed.
    socket.resume();
  });
}
