/**
 * Makes axios work inside the slots of a pool: its adapters take a slot for each request, or use the one of a lease.
 *
 * The adapter is the seam because everything passes through it: observables, `axiosRef`, interceptors, retries.
 */
import type { AxiosAdapter, AxiosInstance, AxiosResponse, AxiosStatic, InternalAxiosRequestConfig } from 'axios';
import type { LeaseInfo } from '../engine/driver.js';
import type { LeaseScope } from '../engine/lease-scope.js';
import { AdapterTransport } from './adapter-call.js';
import { LeaseSlotSource, PooledSlotSource, type HttpEngine } from './slot-sources.js';
import { boundAxios, type AdapterChoice } from './bound-axios.js';
import { PooledRequest, type SlotSource, type PooledRequestDependencies } from './pooled-request.js';
import type { HttpSlot } from './http-slot.js';
import type { Transport } from './transport.js';

export interface HttpClientDependencies extends PooledRequestDependencies {
  readonly engine: HttpEngine;
  /** What sends requests that name no adapter. */
  readonly transport: Transport;
  /** The instance that users know as `axiosRef`. */
  readonly instance: AxiosInstance;
  /** The adapter that the pool was configured with, if it was. */
  readonly configured: AdapterChoice | undefined;
  /** The scope of the running code's request. */
  readonly scope: () => LeaseScope | undefined;
}

export class HttpClient {
  readonly instance: AxiosInstance;
  readonly transport: Transport;
  readonly #dependencies: HttpClientDependencies;
  readonly #axios: AxiosStatic;
  readonly #ownAdapters = new WeakSet<object>();

  constructor(dependencies: HttpClientDependencies) {
    this.#dependencies = dependencies;
    this.#axios = dependencies.axios;
    this.instance = dependencies.instance;
    this.transport = dependencies.transport;
  }

  /**
   * An adapter that takes a slot for each request.
   *
   * @param tenant whom the request is for, asked at each request; may throw.
   * @param named the adapter that the request names itself, and that is to send it.
   */
  adapter(tenant: () => string | undefined, named?: AdapterChoice): AxiosAdapter {
    return this.#own(async (config) => this.#inPool(config, tenant(), named).response);
  }

  /** The same for one subscription, which may lose interest. */
  abandonable(tenantId: string | undefined, named: AdapterChoice | undefined): AbandonableAdapter {
    const chosen = this.#callersAdapter(named);
    const abandonable = new AbandonableAdapter((config) => this.#inPool(config, tenantId, chosen), this.#axios);
    this.#own(abandonable.adapter);
    return abandonable;
  }

  /** `axiosRef` of a view: the instance with another idea of whom it works for. */
  bound(tenant: () => string | undefined): AxiosInstance {
    return boundAxios(this.#axios, this.instance, (named) => this.adapter(tenant, this.#callersAdapter(named)));
  }

  /** What the borrower of a slot gets: the instance, with requests that go through this slot, one after the other. */
  lend(slot: HttpSlot, lease: LeaseInfo): AxiosInstance {
    const slotSource = new LeaseSlotSource(lease, slot);
    return boundAxios(this.#axios, this.instance, (named) => {
      const chosen = this.#callersAdapter(named);
      return this.#own(async (config) => this.#start(config, slotSource, chosen).response);
    });
  }

  /** Makes the instance take slots, for requests that name an adapter of their own as well. */
  install(tenant: () => string | undefined): void {
    this.instance.defaults.adapter = this.adapter(tenant);
    this.instance.interceptors.request.use(
      (config) => {
        const named = this.#callersAdapter(config.adapter);
        if (named !== undefined) config.adapter = this.adapter(tenant, named);
        return config;
      },
      null,
      { synchronous: true },
    );
  }

  /**
   * The adapter that a request names, or else the instance (a mock may have taken our place there), unless it is one of
   * ours.
   */
  #callersAdapter(named: AdapterChoice | undefined): AdapterChoice | undefined {
    const choice = named ?? this.instance.defaults.adapter;
    return typeof choice === 'function' && this.#ownAdapters.has(choice) ? undefined : choice;
  }

  #inPool(
    config: InternalAxiosRequestConfig,
    tenantId: string | undefined,
    named: AdapterChoice | undefined,
  ): PooledRequest {
    const { engine, scope } = this.#dependencies;
    const slotSource = new PooledSlotSource(engine, tenantId, scope());
    return this.#start(config, slotSource, named);
  }

  #start(config: InternalAxiosRequestConfig, slotSource: SlotSource, named: AdapterChoice | undefined): PooledRequest {
    const chosen = named ?? this.#dependencies.configured;
    const transport = chosen === undefined ? this.transport : new AdapterTransport(this.#axios, chosen);
    return new PooledRequest(this.#dependencies, slotSource, transport, config);
  }

  #own(adapter: AxiosAdapter): AxiosAdapter {
    this.#ownAdapters.add(adapter);
    return adapter;
  }
}

/** An adapter whose request ends when its caller no longer wants the answer; a retry after that is not sent. */
export class AbandonableAdapter {
  readonly adapter: AxiosAdapter;
  readonly #axios: AxiosStatic;
  #pooledRequest: PooledRequest | undefined;
  #abandoned = false;

  constructor(start: (config: InternalAxiosRequestConfig) => PooledRequest, axios: AxiosStatic) {
    this.#axios = axios;
    this.adapter = async (config): Promise<AxiosResponse> => {
      if (this.#abandoned) throw new this.#axios.CanceledError(undefined, config);
      this.#pooledRequest = start(config);
      return this.#pooledRequest.response;
    };
  }

  abandon(): void {
    this.#abandoned = true;
    this.#pooledRequest?.abandon();
  }
}
