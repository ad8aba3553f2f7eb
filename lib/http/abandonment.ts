/**
 * That the subscriber of a request no longer wants its answer, as axios' cancel tokens say it.
 *
 * Promise: one that never happens costs an object and nothing else. A token of axios' own has a promise, and
 * `HttpService` gives each request one and cancels it after every success: an error, with its stack, for each answer.
 */
import type { AxiosStatic, Cancel, CanceledError, CancelToken, InternalAxiosRequestConfig } from 'axios';

export class Abandonment implements CancelToken {
  declare reason?: CanceledError<never>;
  readonly #axios: AxiosStatic;
  #listeners: ((reason: Cancel) => void)[] | undefined;
  #promise: Promise<Cancel> | undefined;

  constructor(axios: AxiosStatic) {
    this.#axios = axios;
  }

  /** Without effect when it has happened already. */
  happen(config?: InternalAxiosRequestConfig): void {
    if (this.reason !== undefined) return;
    const reason = new this.#axios.CanceledError<never>(undefined, config);
    this.reason = reason;
    const listeners = this.#listeners ?? [];
    this.#listeners = undefined;
    for (const listener of listeners) listener(reason);
  }

  get promise(): Promise<Cancel> {
    return (this.#promise ??= new Promise((resolve) => this.subscribe(resolve)));
  }

  throwIfRequested(): void {
    if (this.reason !== undefined) throw this.reason;
  }

  subscribe(listener: (reason: Cancel) => void): void {
    if (this.reason === undefined) (this.#listeners ??= []).push(listener);
    else listener(this.reason);
  }

  unsubscribe(listener: (reason: Cancel) => void): void {
    const place = this.#listeners?.indexOf(listener) ?? -1;
    if (place >= 0) this.#listeners?.splice(place, 1);
  }

  toAbortSignal(): AbortSignal {
    const controller = new AbortController();
    this.subscribe((reason) => controller.abort(reason));
    return controller.signal;
  }
}
