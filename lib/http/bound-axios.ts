/**
 * An axios instance that works like another one, defaults and interceptors included, with an adapter of its own: for
 * the views of a pool, whose tenant is fixed, and for leases, whose slot is.
 */
import type { AxiosAdapter, AxiosInstance, AxiosRequestConfig, AxiosStatic, CreateAxiosDefaults } from 'axios';

export type AdapterChoice = NonNullable<AxiosRequestConfig['adapter']>;

/** The adapter for one request; `named` is the one that the request itself names. */
export type ChooseAdapter = (named: AdapterChoice | undefined) => AxiosAdapter;

/** Nothing is made before the first use, because every lease has one. */
export function boundAxios(axios: AxiosStatic, base: AxiosInstance, choose: ChooseAdapter): AxiosInstance {
  return new Proxy(base, new Binding(axios, base, choose));
}

class Binding implements ProxyHandler<AxiosInstance> {
  readonly #axios: AxiosStatic;
  readonly #base: AxiosInstance;
  readonly #choose: ChooseAdapter;
  #made: InstanceType<AxiosStatic['Axios']> | undefined;

  constructor(axios: AxiosStatic, base: AxiosInstance, choose: ChooseAdapter) {
    this.#axios = axios;
    this.#base = base;
    this.#choose = choose;
  }

  apply(_target: AxiosInstance, _this: unknown, args: unknown[]): unknown {
    const context = this.#context();
    return Reflect.apply(context.request, context, args);
  }

  get(target: AxiosInstance, key: string | symbol): unknown {
    if (key === 'create') return (defaults?: CreateAxiosDefaults) => this.#create(defaults);
    const context = this.#context();
    if (!(key in context)) return Reflect.get(target, key);
    const value: unknown = Reflect.get(context, key);
    return typeof value === 'function' ? (...args: unknown[]): unknown => Reflect.apply(value, context, args) : value;
  }

  #create(defaults: CreateAxiosDefaults | undefined): AxiosInstance {
    return boundAxios(this.#axios, this.#base.create(defaults), this.#choose);
  }

  /**
   * What the methods of axios work on: shares defaults and interceptors with the base, and adds the adapter to each
   * request.
   */
  #context(): InstanceType<AxiosStatic['Axios']> {
    if (this.#made !== undefined) return this.#made;
    const { Axios } = this.#axios;
    const context = new Axios();
    context.defaults = this.#base.defaults;
    context.interceptors = this.#base.interceptors;
    // axios' own methods all end in `this.request`.
    const request = (urlOrConfig: unknown, config?: AxiosRequestConfig): unknown =>
      Reflect.apply(Axios.prototype.request, context, [this.#bound(urlOrConfig, config)]);
    Object.defineProperty(context, 'request', { value: request });
    this.#made = context;
    return context;
  }

  #bound(urlOrConfig: unknown, config: AxiosRequestConfig | undefined): AxiosRequestConfig {
    const bound: AxiosRequestConfig =
      typeof urlOrConfig === 'string' ? { ...config, url: urlOrConfig } : { ...asConfig(urlOrConfig) };
    bound.adapter = this.#choose(bound.adapter);
    return bound;
  }
}

function asConfig(value: unknown): AxiosRequestConfig {
  return typeof value === 'object' && value !== null ? value : {};
}
