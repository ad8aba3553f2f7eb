/**
 * Makes axios work inside the slots of a pool: each request takes one, whichever way it is made.
 */
import type { AxiosAdapter, AxiosInstance, AxiosResponse, AxiosStatic, InternalAxiosRequestConfig } from 'axios';

import type { TenantContext } from '../tenancy/tenant-context.js';
import { Abandonment } from './abandonment.js';
import { AdapterGuard } from './adapter-guard.js';
import type { AdapterChoice } from './bound-axios.js';
import type { PooledRequest } from './pooled-request.js';
import type { SlotAdapters } from './slot-adapters.js';
import { type HttpEngine, PooledSlotSource } from './slot-sources.js';

export interface HttpClientDependencies {
  readonly axios: AxiosStatic;
  readonly engine: HttpEngine;
  readonly adapters: SlotAdapters;
  /** The instance that users know as `axiosRef`. */
  readonly instance: AxiosInstance;
  /** Knows the scope of the running code's request. */
  readonly tenants: TenantContext;
}

export class HttpClient {
  readonly instance: AxiosInstance;
  readonly #dependencies: HttpClientDependencies;

  constructor(dependencies: HttpClientDependencies) {
    this.#dependencies = dependencies;
    this.instance = dependencies.instance;
  }

  /** An adapter that takes a slot for each request of one subscription, which may lose interest. */
  abandonable(tenantId: string | undefined, named: AdapterChoice | undefined): AbandonableAdapter {
    const { adapters, axios, instance } = this.#dependencies;
    const start = (config: InternalAxiosRequestConfig, chosen: AdapterChoice | undefined): PooledRequest =>
      adapters.start(config, () => this.#slotSource(tenantId), chosen);
    return new AbandonableAdapter(adapters, start, new Abandonment(axios), named ?? instance.defaults.adapter);
  }

  /**
   * `axiosRef` of a view: the instance, with requests of another tenant.
   *
   * @param tenant the tenant of a request, asked at each request; may throw.
   */
  bound(tenant: () => string | undefined): AxiosInstance {
    return this.#dependencies.adapters.bound((named) => this.#adapter(tenant, named));
  }

  /**
   * Makes the instance take slots, for requests that name an adapter of their own as well.
   *
   * @param tenant as for {@link bound}.
   */
  install(tenant: () => string | undefined): void {
    const { adapters, axios } = this.#dependencies;
    const adapter = this.#adapter(tenant, undefined);
    this.instance.defaults.adapter = adapter;
    new AdapterGuard(axios, adapters, adapter).watch(this.instance);
  }

  #adapter(tenant: () => string | undefined, named: AdapterChoice | undefined): AxiosAdapter {
    return this.#dependencies.adapters.from(() => this.#slotSource(tenant()), named);
  }

  #slotSource(tenantId: string | undefined): PooledSlotSource {
    const { engine, tenants } = this.#dependencies;
    return new PooledSlotSource(engine, tenantId, tenants.frame()?.scope);
  }
}

/** An adapter whose request ends when its caller no longer wants the answer; a retry after that is not sent. */
export class AbandonableAdapter {
  readonly adapter: AxiosAdapter;
  /** For requests without a cancel token of the caller's: ends one whose adapter an interceptor has replaced, too. */
  readonly token: Abandonment;
  #pooledRequest: PooledRequest | undefined;

  constructor(
    adapters: SlotAdapters,
    start: (config: InternalAxiosRequestConfig, chosen: AdapterChoice | undefined) => PooledRequest,
    token: Abandonment,
    named: AdapterChoice | undefined,
  ) {
    this.token = token;
    this.adapter = adapters.asOwn(async (config, chosen): Promise<AxiosResponse> => {
      token.throwIfRequested();
      this.#pooledRequest = start(config, chosen);
      return this.#pooledRequest.response;
    }, adapters.callersAdapter(named));
  }

  abandon(): void {
    this.token.happen(this.#pooledRequest?.config);
    this.#pooledRequest?.abandon();
  }
}
