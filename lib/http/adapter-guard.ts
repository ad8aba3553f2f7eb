/**
 * Keeps the requests of axios instances in their slots, whichever adapter their callers choose for them.
 *
 * Interceptors and `transformRequest` may replace the adapter of a request; axios would then send it without a slot. So
 * the guard notes the pool's adapter of a request, which knows the slot source of the request, before the caller's
 * functions run. After the last of them it puts a replaced adapter into a slot of that source.
 */
import type { AxiosAdapter, AxiosInstance, AxiosStatic, InternalAxiosRequestConfig } from 'axios';

import type { AdapterChoice } from './bound-axios.js';

/** What tells the pool's adapters from others. */
export interface AdapterFamily {
  /** Whether `adapter` takes slots of this pool. */
  isOwn(adapter: unknown): adapter is AxiosAdapter;
  /** An adapter with the slot source of `own`, whose requests `choice` sends; `undefined`: the pool's transport. */
  through(own: AxiosAdapter, choice: AdapterChoice | undefined): AxiosAdapter;
}

type Transforms = NonNullable<InternalAxiosRequestConfig['transformRequest']>;
type Transform = Exclude<Transforms, readonly unknown[]>;

export class AdapterGuard {
  readonly #axios: AxiosStatic;
  readonly #family: AdapterFamily;
  readonly #default: AxiosAdapter;
  /** The adapters of requests while the caller's `transformRequest` runs. */
  readonly #noted = new WeakMap<object, AxiosAdapter>();

  /** @param ownDefault the pool's adapter for requests that have none of the pool's. */
  constructor(axios: AxiosStatic, family: AdapterFamily, ownDefault: AxiosAdapter) {
    this.#axios = axios;
    this.#family = family;
    this.#default = ownDefault;
  }

  /** Watches the requests of `instance`, and of all instances that are made from it. */
  watch(instance: AxiosInstance): void {
    const { request } = instance.interceptors;
    if (!isVisited(request)) throw new TypeError('The interceptors of this version of axios have no forEach');
    const forEach = request.forEach.bind(request);
    // Not by `use`, which puts an interceptor where callers can remove it, and where an option of axios decides whether
    // it is the last one.
    request.forEach = (visit) => {
      const guarded = new GuardedRequest(this);
      visit(guarded.lastWhenReversed);
      forEach(visit);
      visit(guarded.lastInOrder);
    };
    const create = instance.create.bind(instance);
    instance.create = (defaults) => {
      const created = create(defaults);
      this.watch(created);
      return created;
    };
  }

  /** The pool's adapter that knows the slot source of a request which was made with `adapter`. */
  ownOf(adapter: unknown): AxiosAdapter {
    return this.#family.isOwn(adapter) ? adapter : this.#default;
  }

  /** The request, which will be sent in a slot of the slot source of `own`. */
  kept(config: InternalAxiosRequestConfig, own: AxiosAdapter): InternalAxiosRequestConfig {
    const transforms = listed(config.transformRequest);
    const sealed = this.#isChanged(transforms) ? changed(config, 'transformRequest', this.#sealed(transforms)) : config;
    return sealed.adapter === own ? sealed : changed(sealed, 'adapter', this.#back(sealed.adapter, own));
  }

  /**
   * `adapter` in a slot of the slot source of `own`. Another of the pool's adapters says only which slot source it has:
   * the pool's transport sends the request in its place.
   */
  #back(adapter: AdapterChoice | undefined, own: AxiosAdapter): AxiosAdapter {
    return this.#family.through(own, this.#family.isOwn(adapter) ? undefined : adapter);
  }

  /** Whether there are functions besides axios' own. That one is on each request, and replaces no adapter. */
  #isChanged(list: readonly unknown[]): list is readonly Transform[] {
    const [own] = listed(this.#axios.defaults.transformRequest);
    return list.length > 0 && !(list.length === 1 && list[0] === own) && list.every(isTransform);
  }

  /** A request that is repeated may have an earlier seal, with functions that the caller has added around it. */
  #sealed(list: readonly Transform[]): Transform[] {
    const unsealed = list.filter((transform) => transform !== this.#note && transform !== this.#restore);
    return [this.#note, ...unsealed, this.#restore];
  }

  /** Runs before the caller's functions, whose `this` is the request. */
  readonly #note = transform((config) => void this.#noted.set(config, this.ownOf(config.adapter)));

  /** Runs after them. */
  readonly #restore = transform((config) => {
    const own = this.#noted.get(config);
    if (own !== undefined && config.adapter !== own) config.adapter = this.#back(config.adapter, own);
  });
}

/** A function among those of `transformRequest` that leaves the body as it is. */
function transform(look: (config: InternalAxiosRequestConfig) => void): Transform {
  return function (data: unknown): unknown {
    look(this);
    return data;
  };
}

/** What axios visits for each request. It calls `runWhen` at once, and `fulfilled` in the order of interceptors. */
interface RequestInterceptor {
  readonly synchronous: true;
  readonly fulfilled: (config: InternalAxiosRequestConfig) => InternalAxiosRequestConfig;
  readonly rejected: null;
  runWhen(config: InternalAxiosRequestConfig): boolean;
}

/** One request. axios runs its interceptors in reverse order, unless `legacyInterceptorReqResOrdering` is false. */
class GuardedRequest {
  readonly #guard: AdapterGuard;
  #own: AxiosAdapter | undefined;
  readonly lastWhenReversed: RequestInterceptor;
  readonly lastInOrder: RequestInterceptor;

  constructor(guard: AdapterGuard) {
    this.#guard = guard;
    const fulfilled = (config: InternalAxiosRequestConfig): InternalAxiosRequestConfig =>
      // What an interceptor returns may be anything; axios has its own error for what is no request.
      typeof config === 'object' && config !== null ? guard.kept(config, this.#own ?? guard.ownOf(undefined)) : config;
    this.lastWhenReversed = this.#interceptor(fulfilled, false);
    this.lastInOrder = this.#interceptor(fulfilled, true);
  }

  /** @param firstFor the value of the option for which it would be the first. Some versions of axios have no option. */
  #interceptor(fulfilled: RequestInterceptor['fulfilled'], firstFor: boolean): RequestInterceptor {
    return {
      synchronous: true,
      fulfilled,
      rejected: null,
      runWhen: ({ adapter, transitional }) => {
        this.#own ??= this.#guard.ownOf(adapter);
        return transitional?.legacyInterceptorReqResOrdering !== firstFor;
      },
    };
  }
}

interface VisitedInterceptors {
  forEach(visit: (interceptor: RequestInterceptor) => void): void;
}

/** axios' own classes visit the interceptors of each request so; its declarations leave it out. */
function isVisited(interceptors: object): interceptors is VisitedInterceptors {
  return 'forEach' in interceptors && typeof interceptors.forEach === 'function';
}

/** axios takes `null` for no function, which its declarations leave out. */
function listed(transforms: Transforms | null | undefined): readonly unknown[] {
  if (transforms === undefined || transforms === null) return [];
  return Array.isArray(transforms) ? transforms : [transforms];
}

function isTransform(value: unknown): value is Transform {
  return typeof value === 'function';
}

/** A frozen request is copied. */
function changed<K extends 'adapter' | 'transformRequest'>(
  config: InternalAxiosRequestConfig,
  key: K,
  value: InternalAxiosRequestConfig[K],
): InternalAxiosRequestConfig {
  return Reflect.set(config, key, value) ? config : { ...config, [key]: value };
}
