/**
 * A request through an adapter of axios: one that the caller named, or axios' own for Node.
 *
 * Promise: what the caller's functions throw while the adapter calls them (`validateStatus`, progress listeners, in
 * places where axios lets an exception end the process) ends the request with that error, and nothing else.
 */
import { AsyncResource } from 'node:async_hooks';

import type { AxiosAdapter, AxiosResponse, AxiosStatic, GenericAbortSignal, InternalAxiosRequestConfig } from 'axios';

import { isThenable } from '../engine/guard.js';
import { toError } from '../engine/to-error.js';
import type { AdapterChoice } from './bound-axios.js';
import type { HttpSlot } from './http-slot.js';
import { type StreamedBody, streamedBody } from './streamed-body.js';
import { axiosTimeoutMs } from './time-limits.js';
import type { Sent, Transport } from './transport.js';

/** Called before a caller's adapter: `signal` is on the request that the adapter gets. */
export type BeforeCall = (signal: AbortSignal, slot: HttpSlot) => void;

/** An adapter of the caller's, which may be a mock: its failures tell nothing of the upstream. */
export class AdapterTransport implements Transport {
  readonly #axios: AxiosStatic;
  readonly #choice: AdapterChoice;
  readonly #before: BeforeCall;

  constructor(axios: AxiosStatic, choice: AdapterChoice, before: BeforeCall) {
    this.#axios = axios;
    this.#choice = choice;
    this.#before = before;
  }

  send(config: InternalAxiosRequestConfig, slot: HttpSlot, uploadTaken: () => void): Sent {
    const cancel = new AbortController();
    const call = new AdapterCall(this.#axios.getAdapter(this.#choice, config), config, cancel);
    this.#before(cancel.signal, slot);
    // What the time-out means to a function of the caller's is the caller's business.
    const own = typeof this.#choice === 'function' ? {} : { timeout: axiosTimeoutMs(this.#axios, config) };
    const response = call.run(own, () => {});
    uploadTaken();
    return {
      countsAsFailure: false,
      response,
      get body() {
        return call.body;
      },
      abort: (reason) => call.abort(reason),
    };
  }
}

/** An AbortController, or what an adapter takes for one. */
export interface AbortSource {
  readonly signal: GenericAbortSignal;
  abort(): void;
}

/**
 * What axios' own adapter for Node needs of an AbortController, whose making and listeners cost as much as a tenth of a
 * request. For no adapter that hands the signal on: `fetch` refuses any but Node's own.
 */
export class PlainAbortSource implements AbortSource {
  readonly #listeners = new Set<() => void>();
  readonly signal = new PlainSignal(this.#listeners);

  abort(): void {
    this.signal.aborted = true;
    for (const listener of [...this.#listeners]) listener();
  }
}

class PlainSignal implements GenericAbortSignal {
  aborted = false;
  readonly #listeners: Set<() => void>;

  constructor(listeners: Set<() => void>) {
    this.#listeners = listeners;
  }

  addEventListener(_event: 'abort', listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_event: 'abort', listener: () => void): void {
    this.#listeners.delete(listener);
  }
}

export class AdapterCall {
  readonly #adapter: AxiosAdapter;
  readonly #config: InternalAxiosRequestConfig;
  readonly #cancel: AbortSource;
  readonly #context = new AsyncResource('HttpRequest', { requireManualDestroy: true });
  #aborted: Error | undefined;
  /** What the caller reads, once there is an answer. */
  body: StreamedBody | undefined = undefined;

  /** Made in the caller's context, in which its callbacks run, too. */
  constructor(adapter: AxiosAdapter, config: InternalAxiosRequestConfig, cancel: AbortSource) {
    this.#adapter = adapter;
    this.#config = config;
    this.#cancel = cancel;
  }

  get aborted(): boolean {
    return this.#aborted !== undefined;
  }

  abort(reason: Error): void {
    if (this.#aborted !== undefined) return;
    this.#aborted = reason;
    // The body first: the signal would end it too, with an error that doesn't say why.
    this.body?.destroy(reason);
    this.#cancel.abort();
  }

  /**
   * @param own options of this call alone, which the caller doesn't get to see.
   * @param received looks at each answer, also at that of an error, before its body is looked at.
   */
  async run(
    own: Partial<InternalAxiosRequestConfig>,
    received: (response: AxiosResponse) => void,
  ): Promise<AxiosResponse> {
    // The signal tells an abort once: the adapter would not see one that came before it listens, and would send the
    // request.
    this.#throwIfAborted();
    try {
      const config = { ...this.#config, signal: this.#cancel.signal, cancelToken: undefined };
      this.#guardCallbacks(config);
      const response = await this.#adapter(Object.assign(config, own));
      this.#take(response, received);
      this.#throwIfAborted();
      return response;
    } catch (error) {
      if (hasConfig(error)) {
        // A frozen error is passed on as it is: an assignment would throw.
        Reflect.set(error, 'config', this.#config);
        if (error.response !== undefined) this.#take(error.response, received);
      }
      throw this.#aborted ?? error;
    }
  }

  #throwIfAborted(): void {
    if (this.#aborted !== undefined) throw this.#aborted;
  }

  #take(response: AxiosResponse<unknown>, received: (response: AxiosResponse) => void): void {
    response.config = this.#config;
    received(response);
    this.body = streamedBody(response.data, this.#context);
    if (this.body === undefined) return;
    response.data = this.body.data;
    if (this.#aborted !== undefined) this.body.destroy(this.#aborted);
  }

  /** The caller's functions that axios calls from events: guarded, and bound to the caller's context. */
  #guardCallbacks(config: Partial<InternalAxiosRequestConfig>): void {
    const { validateStatus, onDownloadProgress, onUploadProgress, beforeRedirect } = this.#config;
    // What it throws ends the request; until then the answer counts as a good one.
    if (validateStatus) config.validateStatus = this.#guarded(validateStatus, true);
    if (onDownloadProgress) config.onDownloadProgress = this.#guarded(onDownloadProgress, undefined);
    if (beforeRedirect) config.beforeRedirect = this.#watched(beforeRedirect);
    if (onUploadProgress) config.onUploadProgress = this.#guarded(onUploadProgress, undefined);
  }

  /** As {@link #guarded}, but what it throws is for axios to report. */
  #watched<A extends unknown[], R>(fn: (...args: A) => R): (...args: A) => R {
    return (...args) =>
      this.#context.runInAsyncScope(() => {
        const result = fn(...args);
        if (isThenable(result)) this.#endsWith(result);
        return result;
      });
  }

  /** The caller's function is an async one: its failure ends the request too, and is handled here alone. */
  #endsWith(result: PromiseLike<unknown>): void {
    Promise.resolve(result).catch((error: unknown) => this.abort(toError(error)));
  }

  #guarded<A extends unknown[], R>(fn: (...args: A) => R, otherwise: R): (...args: A) => R {
    return (...args) =>
      this.#context.runInAsyncScope(() => {
        try {
          const result = fn(...args);
          if (isThenable(result)) this.#endsWith(result);
          return result;
        } catch (error) {
          this.abort(toError(error));
          return otherwise;
        }
      });
  }
}

/** What every error of axios has, and what matters of it here. */
interface RequestError {
  config: InternalAxiosRequestConfig;
  request?: unknown;
  response?: AxiosResponse;
}

export function hasConfig(error: unknown): error is RequestError {
  return typeof error === 'object' && error !== null && 'isAxiosError' in error && 'config' in error;
}
