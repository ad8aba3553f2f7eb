/**
 * The way round axios: what a pool needs to send requests of `pool.request(url, options)`.
 */
import type { CreateAxiosDefaults } from 'axios';

import { PoolConfigError } from '../errors.js';
import type { TenantContext } from '../tenancy/tenant-context.js';
import {
  basicAuthorization,
  type DirectDefaults,
  type HttpDirectOptions,
  type HttpDirectResponse,
  withFields,
} from './direct-options.js';
import { type DirectDependencies, DirectRequest } from './direct-request.js';
import type { HeaderFields } from './outgoing-request.js';
import { type HttpEngine, PooledSlotSource } from './slot-sources.js';

/** Options of axios by which requests take another way than a connection to the host of their URL. */
const OTHER_WAYS = ['proxy', 'httpAgent', 'httpsAgent', 'transport', 'lookup', 'socketPath', 'family'] as const;

export interface DirectRequestsDependencies extends DirectDependencies {
  readonly engine: HttpEngine;
  readonly tenants: TenantContext;
  /** Whether the environment names a proxy. */
  readonly throughProxy: boolean;
  /** The pool's options of axios. */
  readonly options: Readonly<CreateAxiosDefaults>;
}

export class DirectRequests {
  readonly #dependencies: DirectRequestsDependencies;
  /** An option that these requests would not respect. */
  readonly #otherWay: string | undefined;

  constructor(dependencies: DirectRequestsDependencies) {
    this.#dependencies = dependencies;
    this.#otherWay = otherWay(dependencies);
  }

  /** Sends one for `tenantId`. */
  async send(tenantId: string | undefined, url: string, options: HttpDirectOptions): Promise<HttpDirectResponse> {
    const { engine, tenants, poolId } = this.#dependencies;
    if (this.#otherWay !== undefined) {
      const rule = 'is an option of axios, which request(url) goes round: use axiosRef, or request(config)';
      throw new PoolConfigError([{ key: `client.${this.#otherWay}`, rule }], { poolId });
    }
    const slotSource = new PooledSlotSource(engine, tenantId, tenants.frame()?.scope);
    return new DirectRequest(this.#dependencies, slotSource, url, options).response;
  }
}

/** A request that left the configured way would be worse than none. */
function otherWay({ options, throughProxy }: DirectRequestsDependencies): string | undefined {
  const named = OTHER_WAYS.find((name) => options[name] !== undefined && options[name] !== null && options[name]);
  return named ?? (throughProxy && options.proxy !== false ? 'proxy' : undefined);
}

/** Headers that a pool gives to axios by name, and its credentials: not those that axios adds by itself. */
export function directDefaults(
  { headers: ofAxios, auth, baseURL: base }: Readonly<CreateAxiosDefaults>,
  baseURL: string | undefined,
  headers: Readonly<Record<string, string>>,
): DirectDefaults {
  const given: Readonly<Record<string, unknown>> = { ...ofAxios };
  let fields: HeaderFields = {};
  for (const [name, value] of Object.entries({ ...asFields(given.common), ...given, ...headers }))
    fields = withFields(fields, { [name]: fieldOf(value) });
  if (auth) fields = withFields(fields, { Authorization: basicAuthorization(`${auth.username}:${auth.password}`) });
  return { baseURL: baseURL ?? base, headers: fields };
}

/** Undefined for what is no value of a header. */
function fieldOf(value: unknown): string | string[] | undefined {
  if (Array.isArray(value)) return value.map(String);
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

function asFields(value: unknown): object {
  return typeof value === 'object' && value !== null ? value : {};
}
