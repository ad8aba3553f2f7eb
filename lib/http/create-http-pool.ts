/**
 * Puts an HTTP pool together: what needs only the pool's runtime first, then the driver, the engine, and what takes
 * slots from it.
 */
import type { AxiosInstance } from 'axios';

import { PoolConfigError, TenantRequiredError } from '../errors.js';
import { createPoolCore } from '../pool/pool-core.js';
import type { PoolDependencies } from '../pool/pool-handle.js';
import { createPoolRuntime } from '../pool/pool-runtime.js';
import { DirectOverNode } from './direct-over-node.js';
import { DirectOverUndici } from './direct-over-undici.js';
import { directDefaults, DirectRequests } from './direct-requests.js';
import { HttpClient } from './http-client.js';
import { HttpDriver } from './http-driver.js';
import { loadHttpPackages } from './http-packages.js';
import { HttpPool } from './http-pool.js';
import type { ResolvedHttpPoolOptions } from './http-pool.options.js';
import type { HttpSlot } from './http-slot.js';
import { environmentProxyProblem } from './http-urls.js';
import { NodeTransport } from './node-transport.js';
import { OutgoingRequests } from './outgoing-request.js';
import { SlotAdapters } from './slot-adapters.js';
import { UndiciTransport } from './undici-transport.js';
import { UpstreamCheck } from './upstream-check.js';

/**
 * Builds an HTTP pool. Nothing is opened before its `start()`.
 *
 * @throws MissingDriverError when `axios` or `@nestjs/axios` isn't installed. `undici` is optional, and makes it
 * faster.
 */
export async function createHttpPool(
  id: string,
  config: ResolvedHttpPoolOptions,
  dependencies: PoolDependencies,
): Promise<HttpPool> {
  const { axios, HttpService, undici } = await loadHttpPackages(id, dependencies.logger);
  const runtime = createPoolRuntime(id, 'http', config, dependencies);
  const { tenants, clock, deadlines } = runtime;
  const { baseURL, headers, timeoutMs, keepAliveTimeoutMs, connectTimeoutMs } = config;
  const { adapter: configured, ...axiosOptions } = config.client;
  checkEnvironment(id, config, process.env);
  const instance = axios.create({
    ...axiosOptions,
    ...(baseURL !== undefined && { baseURL }),
    headers: { ...axiosOptions.headers, ...headers },
  });

  const requests = new OutgoingRequests(axios, process.env);
  const { path, intervalMs } = config.healthCheck;
  const check = new UpstreamCheck({
    axios,
    instance,
    path,
    throughProxy: requests.throughProxy,
    clock,
    recentMs: intervalMs,
  });
  const settings = undici && {
    connect: undici.buildConnector({ allowH2: false, timeout: 0 }),
    connectTimeoutMs,
    keepAliveTimeoutMs,
    deadlines,
    clock,
  };
  const node = new NodeTransport({ axios, deadlines, clock, requests, check });
  const transport =
    undici === undefined || settings === undefined
      ? node
      : new UndiciTransport({
          poolId: id,
          axios,
          undici,
          settings,
          requests,
          deadlines,
          clock,
          fallback: node,
          check,
        });
  const adapters = new SlotAdapters({
    poolId: id,
    axios,
    deadlines,
    clock,
    timeoutMs,
    transport,
    instance,
    configured,
  });

  const driver = new HttpDriver({
    poolId: id,
    keepAliveTimeoutMs,
    isWaitedFor: config.startup === 'wait',
    check,
    transport,
    adapters,
  });
  const core = createPoolCore<HttpSlot, AxiosInstance>({
    runtime,
    config,
    driver,
    observer: {
      destroyed: (_slot, reason) => {
        if (reason === 'fatal') driver.requireCheck();
      },
    },
  });

  const client = new HttpClient({ axios, engine: core.engine, adapters, instance, tenants });
  client.install(() => {
    const tenantId = tenants.current();
    if (tenantId === undefined && core.requiresTenant) throw new TenantRequiredError(id);
    return tenantId;
  });
  const direct = new DirectRequests({
    poolId: id,
    client:
      undici === undefined || settings === undefined ? new DirectOverNode() : new DirectOverUndici(undici, settings),
    defaults: directDefaults(config.client, baseURL, headers),
    options: config.client,
    throughProxy: requests.throughProxy,
    deadlines,
    clock,
    timeoutMs,
    maxContentLength: config.client.maxContentLength ?? -1,
    check,
    engine: core.engine,
    tenants,
  });
  return new HttpPool(core, { client, service: new HttpService(instance), direct });
}

/** axios reads the proxy variables at each request, and would fail each with the variable's text in its error. */
function checkEnvironment(
  id: string,
  { baseURL, client }: ResolvedHttpPoolOptions,
  environment: NodeJS.ProcessEnv,
): void {
  if (client.proxy === false) return;
  const found = environmentProxyProblem(environment, baseURL ?? client.baseURL);
  if (found === undefined) return;
  throw new PoolConfigError([{ key: found.variable, rule: `${found.problem}, or client.proxy be false` }], {
    poolId: id,
  });
}
