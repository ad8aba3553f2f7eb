/**
 * An axios instance that works like another one, defaults and interceptors included, with an adapter of its own: for
 * the views of a pool, whose tenant is fixed, and for leases, whose slot is.
 */
import type { AxiosAdapter, AxiosInstance, AxiosRequestConfig, AxiosStatic, CreateAxiosDefaults } from 'axios';

export type AdapterChoice = NonNullable<AxiosRequestConfig['adapter']>;

/** The adapter for one request; `named` is the one that the request names, or else the instance's default. */
export type ChooseAdapter = (named: AdapterChoice | undefined) => AxiosAdapter;

export function boundAxios(axios: AxiosStatic, base: AxiosInstance, choose: ChooseAdapter): AxiosInstance {
  return new Proxy(base, new Binding(axios, base, choose));
}

class Binding implements ProxyHandler<AxiosInstance> {
  readonly #axios: AxiosStatic;
  readonly #base: AxiosInstance;
  readonly #choose: ChooseAdapter;
  /**
   * What the methods of axios work on: shares defaults and interceptors with the base, and adds the adapter to each
   * request.
   */
  readonly #context: InstanceType<AxiosStatic['Axios']>;

  constructor(axios: AxiosStatic, base: AxiosInstance, choose: ChooseAdapter) {
    this.#axios = axios;
    this.#base = base;
    this.#choose = choose;
    this.#context = new axios.Axios();
    this.#context.defaults = base.defaults;
    this.#context.interceptors = base.interceptors;
    // axios' own methods all end in `this.request`.
    Object.defineProperty(this.#context, 'request', {
      value: (urlOrConfig: unknown, config?: AxiosRequestConfig) => this.#request(urlOrConfig, config),
    });
  }

  apply(_target: AxiosInstance, _this: unknown, [urlOrConfig, config]: [unknown, AxiosRequestConfig?]): unknown {
    return this.#request(urlOrConfig, config);
  }

  get(target: AxiosInstance, key: string | symbol): unknown {
    if (key === 'create') return (defaults?: CreateAxiosDefaults) => this.#create(defaults);
    if (!(key in this.#context)) return Reflect.get(target, key);
    const value: unknown = Reflect.get(this.#context, key);
    return typeof value === 'function' ? value.bind(this.#context) : value;
  }

  #create(defaults: CreateAxiosDefaults | undefined): AxiosInstance {
    return boundAxios(this.#axios, this.#base.create(defaults), this.#choose);
  }

  #request(urlOrConfig: unknown, config: AxiosRequestConfig | undefined): Promise<unknown> {
    const bound: AxiosRequestConfig =
      typeof urlOrConfig === 'string' ? { ...config, url: urlOrConfig } : { ...asConfig(urlOrConfig) };
    bound.adapter = this.#choose(bound.adapter ?? this.#base.defaults.adapter);
    return this.#axios.Axios.prototype.request.call(this.#context, bound);
  }
}

function asConfig(value: unknown): AxiosRequestConfig {
  return typeof value === 'object' && value !== null ? value : {};
}
