/**
 * The options of an HTTP pool.
 */
import type { CreateAxiosDefaults } from 'axios';
import { z } from 'zod';

import { type Environment, isRecord } from '../options/environment.js';
import { count, durationMs, optionsObject, untouched } from '../options/option-types.js';
import { parsePool, type PoolKindOptions } from '../options/parse-pool.js';
import { hidden, namesOnly, seal } from '../options/sealed-options.js';
import { unsetAddressProblem } from '../options/unset-address.js';
import {
  basePoolShape,
  checkPool,
  healthCheckShape,
  namesElsewhere,
  type ResolvedBasePoolOptions,
  resolvePool,
  whenObject,
} from '../pool/pool-options.js';
import { proxyProblem, urlProblem } from './http-urls.js';

/** What can be said of one request beyond axios' own options. */
export interface HttpRequestOptions {
  /**
   * Total time of this request, from dispatch to the end of its body, in milliseconds; 0 or Infinity: as long as it
   * likes. What is no such number fails the request with the code ERR_BAD_OPTION_VALUE. Default: the pool's.
   */
  timeoutMs?: number;
  /**
   * How long this request waits for a slot, in milliseconds; 0: not at all. What is no such number fails the request
   * with the code ERR_BAD_OPTION_VALUE. Default: the pool's.
   */
  acquireTimeoutMs?: number;
}

/** Names of HTTP headers: the token of RFC 9110. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Anything but what would end the header and begin another. */
const HEADER_VALUE = /^[^\0\r\n]*$/;

export const httpHealthCheckShape = {
  ...healthCheckShape,
  /**
   * What a probe asks for: a path on `baseURL`, or a whole URL. Any answer below 500 means alive. Without it a probe
   * only opens a TCP connection to the host of `baseURL`, and closes it; not even that where a request was answered
   * within `intervalMs`.
   * @defaultValue none
   */
  path: z.string().min(1).optional(),
};

export interface HttpHealthCheckSchema extends z.ZodObject<typeof httpHealthCheckShape, z.core.$strict> {}
const healthCheckSchema: HttpHealthCheckSchema = optionsObject(httpHealthCheckShape, {
  interval: 'intervalMs',
  timeout: 'timeoutMs',
  url: 'path',
});

/** HTTP. */
export const httpPoolShape = {
  /** Requests that may be in flight at once. */
  maxSize: count(1).default(100),
  /**
   * What relative URLs of requests start with: an `http://` or `https://` URL without a fragment.
   * @defaultValue none: requests name whole URLs
   */
  baseURL: z.string().optional(),
  /** How long a request may take in all, from dispatch to the end of its body; 0: as long as it likes. */
  timeoutMs: durationMs(0).default(30_000),
  /**
   * How long an idle connection is kept for the next request, at most: a server can only shorten it. Less than the
   * server keeps it avoids resets (many close after 5 s).
   */
  keepAliveTimeoutMs: durationMs(1).default(4_000),
  /**
   * A slot that was idle for longer is probed before it is lent; 0: always.
   * @defaultValue never: a closed connection is replaced without a probe
   */
  validateAfterIdleMs: durationMs(0).default(Infinity),
  /** How the upstream is probed. */
  healthCheck: healthCheckSchema.prefault({}),
  /**
   * Headers of every request.
   * @defaultValue none
   */
  headers: z
    .record(
      z.string().regex(HEADER_NAME, { error: 'is not the name of a header' }),
      z.string().regex(HEADER_VALUE, { error: 'must be a text without line breaks' }),
    )
    .default({}),
  /** Options of axios that have no name above; they are passed on as they are, `adapter` included. */
  client: untouched<Readonly<CreateAxiosDefaults>>().default({}),
};

const shape = { type: z.literal('http'), ...basePoolShape, ...httpPoolShape };

/** The schema of an HTTP pool, with its `type`. */
export const httpPoolSchema = optionsObject(shape, {
  ...namesElsewhere,
  url: 'baseURL',
  baseUrl: 'baseURL',
  timeout: 'timeoutMs',
  maxSockets: 'maxSize',
  maxRedirects: 'client.maxRedirects',
  proxy: 'client.proxy',
  params: 'client.params',
  auth: 'client.auth',
})
  .superRefine((pool, context) => {
    checkPool(pool, context);
    checkAddresses(pool, context);
  }, whenObject)
  .transform((pool) =>
    seal(
      { ...resolvePool(pool), healthCheck: Object.freeze(pool.healthCheck) },
      { baseURL: hidden, headers: namesOnly, client: namesOnly },
    ),
  );

/** What can be set on an HTTP pool. */
export interface HttpPoolOptions extends z.input<
  z.ZodObject<Omit<typeof basePoolShape, keyof typeof httpPoolShape> & typeof httpPoolShape, z.core.$strict>
> {
  /** The kind of pool; needed in a registration's `pools` alone. */
  readonly type?: 'http';
}

/** What an HTTP pool is configured with. */
export interface ResolvedHttpPoolOptions
  extends Omit<ResolvedBasePoolOptions, 'healthCheck'>, z.output<typeof httpPoolSchema> {}

export const httpPoolKind: PoolKindOptions<typeof httpPoolSchema> = { type: 'http', schema: httpPoolSchema };

/**
 * Validates the options of an HTTP pool and fills in the defaults.
 *
 * @throws {PoolConfigError} with every problem, none of them with a secret in it.
 */
export function parseHttpPoolOptions(
  id: string,
  options: HttpPoolOptions,
  env: Environment = process.env,
): ResolvedHttpPoolOptions {
  return parsePool(httpPoolKind, id, options, env);
}

/** Options of axios that an instance doesn't pass on to its requests. */
const OF_ONE_REQUEST = ['url', 'data'];

interface Addresses {
  readonly baseURL?: unknown;
  readonly client?: unknown;
  readonly healthCheck?: unknown;
}

interface Reporter {
  addIssue(issue: { code: 'custom'; path: PropertyKey[]; message: string }): void;
}

/** Every address is looked at now: a wrong one would fail each request, with parts of it in the error. */
function checkAddresses({ baseURL, client, healthCheck }: Addresses, report: Reporter): void {
  const refuse = (path: PropertyKey[], message: string | undefined): void => {
    if (message !== undefined) report.addIssue({ code: 'custom', path, message });
  };
  const axios: Record<string, unknown> = isRecord(client) ? client : {};
  const base = baseURL ?? axios.baseURL;
  if (typeof baseURL === 'string') refuse(['baseURL'], unsetAddressProblem(baseURL) ?? urlProblem(baseURL));
  if (axios.baseURL !== undefined && baseURL !== undefined)
    refuse(['client', 'baseURL'], 'must be left out: baseURL is set');
  else if (axios.baseURL !== undefined)
    refuse(['client', 'baseURL'], typeof axios.baseURL === 'string' ? urlProblem(axios.baseURL) : 'must be a text');
  refuse(['client', 'proxy'], proxyProblem(axios.proxy));
  for (const name of OF_ONE_REQUEST)
    if (axios[name] !== undefined)
      refuse(['client', name], 'belongs to a request: axios does not take it from an instance');

  const path = isRecord(healthCheck) ? healthCheck.path : undefined;
  if (typeof path !== 'string') return;
  if (/^[a-z][a-z\d+.-]*:/i.test(path)) refuse(['healthCheck', 'path'], urlProblem(path.replace(/[?#].*$/s, '')));
  else if (base === undefined) refuse(['healthCheck', 'path'], 'must be a whole URL where there is no baseURL');
}
