/**
 * An HTTP client with the limits, fairness, health and shutdown of a pool, used like `HttpService` of `@nestjs/axios`.
 *
 * A slot is a request in flight: from its dispatch until its body has been read, closed or aborted. A response with
 * `responseType: 'stream'` holds its slot until the stream has ended or was destroyed; one that is not read is cut by
 * `timeoutMs`.
 */
import type { HttpService } from '@nestjs/axios';
import type { AxiosInstance, AxiosRequestConfig, AxiosResponse } from 'axios';
import { Observable } from 'rxjs';

import { toError } from '../engine/to-error.js';
import { type PoolCore, PoolHandle, type TenantBinding } from '../pool/pool-handle.js';
import type { HttpDirectOptions, HttpDirectResponse } from './direct-options.js';
import type { DirectRequests } from './direct-requests.js';
import type { HttpClient } from './http-client.js';
import type { HttpRequestOptions } from './http-pool.options.js';

export type { HttpResponseBody } from './direct-body.js';
export type { HttpDirectOptions, HttpDirectResponse, HttpRequestBody } from './direct-options.js';
export type { HttpRequestOptions } from './http-pool.options.js';

/** A request's options: axios' own, and the pool's. */
export type HttpPoolRequestConfig<D = AxiosResponse['data']> = AxiosRequestConfig<D> & HttpRequestOptions;

interface HttpDependencies {
  readonly client: HttpClient;
  readonly service: HttpService;
  readonly direct: DirectRequests;
}

/**
 * What `@InjectPool` injects for a pool of type `http`.
 *
 * The tenant of a request is the one of the code that calls `get()` and its likes, not of the code that subscribes.
 * Unsubscribing aborts the request and frees its slot. What fails with axios fails with the same `AxiosError` here; on
 * top of that a request can fail with what `acquire()` fails with, with `OperationTimeoutError` (its `timeoutMs` has
 * passed) and with `PoolClosedError` (cut by the end of a shutdown).
 *
 * @example
 * const { data } = await firstValueFrom(this.billing.get<Invoice>('/invoices/7'));
 * const { data } = await this.billing.axiosRef.get<Invoice>('/invoices/7');
 */
export class HttpPool extends PoolHandle<AxiosInstance> {
  readonly #dependencies: HttpDependencies;
  #axiosRef: AxiosInstance | undefined;

  /** @internal Pools are made by `createHttpPool`. */
  constructor(core: PoolCore<AxiosInstance>, dependencies: HttpDependencies, binding?: TenantBinding) {
    super(core, binding);
    this.#dependencies = dependencies;
  }

  /**
   * The axios instance behind the pool. Its requests take slots, whether or not they name an adapter of their own, and
   * so do those of instances made with its `create()`. Interceptors and defaults are shared by all views of the pool.
   */
  get axiosRef(): AxiosInstance {
    const { client } = this.#dependencies;
    if (this.binding.kind === 'context') return client.instance;
    return (this.#axiosRef ??= client.bound(() => this.tenantFor(undefined, this.frame)));
  }

  /** Sends a request that is described by its options alone, as axios' `request`. */
  request<T = AxiosResponse['data']>(config: HttpPoolRequestConfig): Observable<AxiosResponse<T>>;
  /**
   * Sends a request round axios, at once: the same slots, tenants, limits and statistics, an answer as undici's, at a
   * fraction of the cost. No interceptors, no transforms, no redirects, no decompression; no status is an error.
   *
   * The slot is held until the body has arrived, was destroyed or discarded: read it, or `body.discard()`. Rejects with
   * what `acquire()` rejects with, OperationTimeoutError, ConnectionLostError, PoolClosedError, or the signal's reason.
   *
   * @param url a path on `baseURL`, or a whole URL.
   * @example
   * const { statusCode, body } = await this.billing.request('/invoices/7');
   * const invoice = await body.json<Invoice>();
   */
  request(url: string, options?: HttpDirectOptions): Promise<HttpDirectResponse>;
  request<T>(
    urlOrConfig: string | HttpPoolRequestConfig,
    options: HttpDirectOptions = {},
  ): Observable<AxiosResponse<T>> | Promise<HttpDirectResponse> {
    if (typeof urlOrConfig !== 'string') return this.#observe(urlOrConfig, (service, own) => service.request<T>(own));
    try {
      return this.#dependencies.direct.send(this.tenantFor(undefined, this.frame), urlOrConfig, options);
    } catch (error) {
      return Promise.reject(toError(error));
    }
  }

  /** Sends a GET request. It is sent when the Observable is subscribed to. */
  get<T = AxiosResponse['data'], D = AxiosResponse['data']>(
    url: string,
    config?: HttpPoolRequestConfig<D>,
  ): Observable<AxiosResponse<T, D>> {
    return this.#observe(config, (service, own) => service.get<T, D>(url, own));
  }

  /** Sends a DELETE request; see {@link get}. */
  delete<T = AxiosResponse['data'], D = AxiosResponse['data']>(
    url: string,
    config?: HttpPoolRequestConfig<D>,
  ): Observable<AxiosResponse<T, D>> {
    return this.#observe(config, (service, own) => service.delete<T, D>(url, own));
  }

  /** Sends a HEAD request; see {@link get}. */
  head<T = AxiosResponse['data'], D = AxiosResponse['data']>(
    url: string,
    config?: HttpPoolRequestConfig<D>,
  ): Observable<AxiosResponse<T, D>> {
    return this.#observe(config, (service, own) => service.head<T, D>(url, own));
  }

  /** Sends a POST request with `data` as its body; see {@link get}. */
  post<T = AxiosResponse['data'], D = AxiosResponse['data']>(
    url: string,
    data?: D,
    config?: HttpPoolRequestConfig<D>,
  ): Observable<AxiosResponse<T, D>> {
    return this.#observe(config, (service, own) => service.post<T, D>(url, data, own));
  }

  /** Sends a PUT request with `data` as its body; see {@link get}. */
  put<T = AxiosResponse['data'], D = AxiosResponse['data']>(
    url: string,
    data?: D,
    config?: HttpPoolRequestConfig<D>,
  ): Observable<AxiosResponse<T, D>> {
    return this.#observe(config, (service, own) => service.put<T, D>(url, data, own));
  }

  /** Sends a PATCH request with `data` as its body; see {@link get}. */
  patch<T = AxiosResponse['data'], D = AxiosResponse['data']>(
    url: string,
    data?: D,
    config?: HttpPoolRequestConfig<D>,
  ): Observable<AxiosResponse<T, D>> {
    return this.#observe(config, (service, own) => service.patch<T, D>(url, data, own));
  }

  /** Sends a POST request with `data` as `multipart/form-data`; see {@link get}. */
  postForm<T = AxiosResponse['data'], D = AxiosResponse['data']>(
    url: string,
    data?: D,
    config?: HttpPoolRequestConfig<D>,
  ): Observable<AxiosResponse<T, D>> {
    return this.#observe(config, (service, own) => service.postForm<T, D>(url, data, own));
  }

  /** Sends a PUT request with `data` as `multipart/form-data`; see {@link get}. */
  putForm<T = AxiosResponse['data'], D = AxiosResponse['data']>(
    url: string,
    data?: D,
    config?: HttpPoolRequestConfig<D>,
  ): Observable<AxiosResponse<T, D>> {
    return this.#observe(config, (service, own) => service.putForm<T, D>(url, data, own));
  }

  /** Sends a PATCH request with `data` as `multipart/form-data`; see {@link get}. */
  patchForm<T = AxiosResponse['data'], D = AxiosResponse['data']>(
    url: string,
    data?: D,
    config?: HttpPoolRequestConfig<D>,
  ): Observable<AxiosResponse<T, D>> {
    return this.#observe(config, (service, own) => service.patchForm<T, D>(url, data, own));
  }

  /** @internal */
  protected override view(binding: TenantBinding): this {
    return new HttpPool(this.core, this.#dependencies, binding) as this;
  }

  /**
   * `HttpService` makes the observable; ours adds the tenant of this moment, and the end that its own leaves out for
   * streams.
   */
  #observe<T, D>(
    config: HttpPoolRequestConfig<D> | undefined,
    call: (service: HttpService, own: AxiosRequestConfig<D>) => Observable<AxiosResponse<T, D>>,
  ): Observable<AxiosResponse<T, D>> {
    const { client, service } = this.#dependencies;
    let tenantId: string | undefined;
    let rejection: unknown;
    try {
      tenantId = this.tenantFor(undefined, this.frame);
    } catch (error) {
      rejection = error;
    }
    return new Observable((subscriber) => {
      if (rejection !== undefined) return subscriber.error(rejection);
      const request = client.abandonable(tenantId, config?.adapter);
      let delivered = false;
      const cancelToken = config?.cancelToken ?? request.token;
      const subscription = call(service, { ...config, adapter: request.adapter, cancelToken }).subscribe({
        next: (response) => {
          delivered = true;
          subscriber.next(response);
        },
        error: (error: unknown) => subscriber.error(error),
        complete: () => subscriber.complete(),
      });
      return () => {
        subscription.unsubscribe();
        if (!delivered) request.abandon();
      };
    });
  }
}
