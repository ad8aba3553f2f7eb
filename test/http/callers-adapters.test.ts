// Whichever adapter sends a request, and however a caller comes to choose it, the request has a slot, belongs to the
// tenant for whom it was made, is counted, and ends at its deadline.
import type { Readable } from 'node:stream';
import { text as readText } from 'node:stream/consumers';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type {
  AxiosAdapter,
  AxiosInstance,
  AxiosRequestTransformer,
  AxiosResponse,
  InternalAxiosRequestConfig,
} from 'axios';
import axios from 'axios';
import { firstValueFrom } from 'rxjs';

import { OperationTimeoutError, PoolClosedError } from '../../lib/errors.js';
import type { HttpPool } from '../../lib/http/http-pool.js';
import { type HttpFixture, startHttpServer } from '../support/servers/index.js';
import { httpPool, type MadePool } from './support/http-pools.js';

let server: HttpFixture;
beforeAll(async () => {
  server = await startHttpServer({
    handler: (request, response) => {
      if (request.url !== '/redirect') return false;
      response.writeHead(302, { location: '/echo' }).end();
      return true;
    },
  });
});
afterAll(() => server.close());

/** How a request is made for acme while globex' code runs. */
const WAYS: readonly [string, (made: MadePool) => Promise<unknown>][] = [
  ['get() of a view', ({ pool }) => firstValueFrom(pool.forTenant('acme').get('/echo'))],
  ['request(config) of a view', ({ pool }) => firstValueFrom(pool.forTenant('acme').request({ url: '/echo' }))],
  ['post() of a view', ({ pool }) => firstValueFrom(pool.forTenant('acme').post('/echo', { a: 1 }))],
  ["a view's axiosRef", ({ pool }) => pool.forTenant('acme').axiosRef.get('/echo')],
  ['get() by the code of acme', ({ pool, tenants }) => firstValueFrom(tenants.run('acme', () => pool.get('/echo')))],
  ["the pool's axiosRef", ({ pool, tenants }) => tenants.run('acme', () => pool.axiosRef.get('/echo'))],
  ["a lease's client", ({ pool }) => pool.forTenant('acme').use((client) => client.get('/echo'))],
];

/** The adapter of the caller, which counts what the pool says while it runs. */
function seen(pool: HttpPool, active: number[]): AxiosAdapter {
  return (config) => {
    active.push(pool.stats().tenant('acme')?.active ?? 0);
    return Promise.resolve({ data: 'mocked', status: 200, statusText: 'OK', headers: {}, config });
  };
}

/** How a caller has its requests sent by an adapter. */
const CHOICES: readonly [string, (instance: AxiosInstance, adapter: AxiosAdapter) => void][] = [
  ['the defaults', ({ defaults }, adapter) => void (defaults.adapter = adapter)],
  ['a list in the defaults', ({ defaults }, adapter) => void (defaults.adapter = [adapter, 'http'])],
  ['an interceptor', (instance, adapter) => replace(instance, (config) => Object.assign(config, { adapter }))],
  [
    'an interceptor that copies',
    (instance, adapter) => replace(instance, (config) => Object.freeze({ ...config, adapter })),
  ],
  [
    'an interceptor that waits',
    ({ interceptors }, adapter) => {
      interceptors.request.use(async (config) => {
        await Promise.resolve();
        return { ...config, adapter };
      });
    },
  ],
  [
    'an interceptor in the order of new versions of axios',
    (instance, adapter) => {
      instance.defaults.transitional = { ...instance.defaults.transitional, legacyInterceptorReqResOrdering: false };
      replace(instance, (config) => Object.assign(config, { adapter }));
    },
  ],
  [
    'an interceptor after all others were removed',
    (instance, adapter) => {
      instance.interceptors.request.eject(0);
      instance.interceptors.request.clear();
      replace(instance, (config) => Object.assign(config, { adapter }));
    },
  ],
  [
    'transformRequest',
    ({ defaults }, adapter) => {
      defaults.transformRequest = function (data: unknown) {
        this.adapter = adapter;
        return data;
      };
    },
  ],
  [
    'transformRequest of an interceptor',
    (instance, adapter) =>
      replace(instance, (config) => {
        const choose = function (this: InternalAxiosRequestConfig, data: unknown): unknown {
          this.adapter = adapter;
          return data;
        };
        return { ...config, transformRequest: [choose] };
      }),
  ],
];

function replace(
  { interceptors }: AxiosInstance,
  change: (config: InternalAxiosRequestConfig) => InternalAxiosRequestConfig,
): void {
  interceptors.request.use(change, null, { synchronous: true });
}

describe.each(CHOICES)("a caller's adapter, chosen by %s", (_choice, choose) => {
  it.each(WAYS)('works in the slot of a request through %s', async (_way, ask) => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1, tenants: { required: true } });
    const active: number[] = [];
    choose(made.pool.axiosRef, seen(made.pool, active));
    expect(await made.tenants.run('globex', () => ask(made))).toMatchObject({ data: 'mocked' });
    expect(active).toEqual([1]);
    expectOneOf(made, 'acme');
  });

  it.each<[string, (made: MadePool) => AxiosInstance]>([
    ['an instance made from axiosRef', ({ pool }) => pool.axiosRef.create()],
    ['an instance made from an instance made from axiosRef', ({ pool }) => pool.axiosRef.create().create()],
    ["an instance made from a view's axiosRef", ({ pool }) => pool.forTenant('acme').axiosRef.create()],
  ])('works in the slot of a request through %s', async (_way, create) => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1, tenants: { required: true } });
    const active: number[] = [];
    const instance = create(made);
    choose(instance, seen(made.pool, active));
    expect(await made.tenants.run('acme', () => instance.get('/echo'))).toMatchObject({ data: 'mocked' });
    expect(active).toEqual([1]);
    expectOneOf(made, 'acme');
  });
});

describe.each(['http', 'fetch', ['fetch', 'http']])("axios' adapter %s", (adapter) => {
  it.each(WAYS)('works in the slot of a request through %s', async (_way, ask) => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1, tenants: { required: true } });
    made.pool.axiosRef.interceptors.request.use((config) => ({ ...config, adapter }));
    expect(await made.tenants.run('globex', () => ask(made))).toMatchObject({ status: 200 });
    expectOneOf(made, 'acme');
  });

  it('works in slots for instances that are made with it', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1, tenants: { required: true } });
    const { pool, tenants } = made;
    const instances = [pool.axiosRef.create({ adapter }), pool.forTenant('acme').axiosRef.create({ adapter })];
    for (const instance of instances) await tenants.run('acme', () => instance.get('/echo'));
    await tenants.run('acme', () => pool.axiosRef.create().get('/echo', { adapter }));
    expect(pool.stats()).toMatchObject({ acquisitions: 3, active: 0 });
  });
});

it.each(WAYS)("the pool's own adapter, set by an interceptor, works for the tenant of %s", async (_way, ask) => {
  await using made = await httpPool({ baseURL: server.url, maxSize: 1, tenants: { required: true } });
  const { adapter } = made.pool.axiosRef.defaults;
  made.pool.axiosRef.interceptors.request.use((config) => Object.assign(config, { adapter }));
  expect(await made.tenants.run('globex', () => ask(made))).toMatchObject({ status: 200 });
  expectOneOf(made, 'acme');
});

it.each(WAYS)('an adapter that an interceptor takes away is the one of the pool, for %s', async (_way, ask) => {
  await using made = await httpPool({ baseURL: server.url, maxSize: 1, tenants: { required: true } });
  made.pool.axiosRef.interceptors.request.use((config) => Object.assign(config, { adapter: undefined }));
  expect(await made.tenants.run('globex', () => ask(made))).toMatchObject({ status: 200 });
  expectOneOf(made, 'acme');
});

it.each(CHOICES)('the deadline of a request ends an adapter chosen by %s', async (_choice, choose) => {
  await using made = await httpPool({ baseURL: server.url, maxSize: 1, timeoutMs: 20 });
  choose(
    made.pool.axiosRef,
    ({ signal }) =>
      new Promise((_, reject) => void signal?.addEventListener?.('abort', () => reject(new Error('cut')))),
  );
  const view = made.pool.forTenant('acme');
  await expect(firstValueFrom(view.get('/echo'))).rejects.toBeInstanceOf(OperationTimeoutError);
  await expect(view.axiosRef.get('/echo')).rejects.toBeInstanceOf(OperationTimeoutError);
  expect(made.pool.stats()).toMatchObject({ active: 0, acquisitions: 2 });
});

it('a redirect that the caller looks at stays in the slot of its request', async () => {
  await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
  const active: number[] = [];
  await made.pool.forTenant('acme').axiosRef.get('/redirect', {
    beforeRedirect: () => void active.push(made.pool.stats().active),
  });
  expect(active).toEqual([1]);
  expectOneOf(made, 'acme');
});

it('a request that is repeated keeps the adapter that its caller named, and its tenant', async () => {
  await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
  const { pool, tenants } = made;
  const view = pool.forTenant('acme');
  const active: number[] = [];
  const { config } = await view.axiosRef.get('/echo', { adapter: seen(pool, active) });
  for (const instance of [pool.axiosRef, view.axiosRef])
    expect(await tenants.run('globex', () => instance.request<unknown>(config))).toMatchObject({ data: 'mocked' });
  expect(active).toEqual([1, 1, 1]);
  expect(pool.stats().tenant('acme')?.acquisitions).toBe(3);
});

it('a request without functions in transformRequest is sent as axios sends it', async () => {
  await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
  Reflect.set(made.pool.axiosRef.defaults, 'transformRequest', null);
  expect(await made.pool.axiosRef.get('/echo')).toMatchObject({ status: 200 });
  expect(made.pool.stats()).toMatchObject({ acquisitions: 1, active: 0 });
});

describe.each<[string, (list: AxiosRequestTransformer[], added: AxiosRequestTransformer) => AxiosRequestTransformer[]]>(
  [
    ['behind', (list, added) => [...list, added]],
    ['before', (list, added) => [added, ...list]],
  ],
)('a function that is added %s those of transformRequest of a request that is repeated', (_where, add) => {
  it('has no way past the pool', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
    const { pool } = made;
    const active: number[] = [];
    const adapter = seen(pool, active);
    const { axiosRef } = pool.forTenant('acme');
    const { config } = await axiosRef.get('/echo', { transformRequest: (data: unknown) => data });
    config.transformRequest = add([config.transformRequest ?? []].flat(), function (data: unknown) {
      this.adapter = adapter;
      return data;
    });
    expect(await axiosRef.request<unknown>(config)).toMatchObject({ data: 'mocked' });
    expect(active).toEqual([1]);
    expect(pool.stats().tenant('acme')).toMatchObject({ acquisitions: 2, active: 0 });
  });
});

/** How a caller has its own adapter pass requests on to the pool's. */
const WRAPS: readonly [string, (instance: AxiosInstance) => void][] = [
  [
    'the defaults',
    ({ defaults }) => {
      const original = axios.getAdapter(defaults.adapter);
      defaults.adapter = (config) => original(config);
    },
  ],
  [
    'the defaults, with a copy of the request',
    ({ defaults }) => {
      const original = axios.getAdapter(defaults.adapter);
      defaults.adapter = (config) => original({ ...config });
    },
  ],
  [
    'the defaults, twice',
    ({ defaults }) => {
      for (let times = 0; times < 2; times++) {
        const original = axios.getAdapter(defaults.adapter);
        defaults.adapter = async (config) => original(config);
      }
    },
  ],
  [
    'an interceptor, around the adapter of the request',
    (instance) =>
      replace(instance, (config) => {
        const original = axios.getAdapter(config.adapter);
        return { ...config, adapter: (given) => original(given) };
      }),
  ],
];

it('requests that an adapter passes on at once are sent one after the other', async () => {
  await using made = await httpPool({ baseURL: server.url, maxSize: 1, acquireTimeoutMs: 100 });
  const { defaults } = made.pool.axiosRef;
  const original = axios.getAdapter(defaults.adapter);
  defaults.adapter = async (config) => {
    const [first] = await Promise.all([original(config), original(config), original(config)]);
    return first;
  };
  const before = server.counters.socketsAccepted;
  expect(await made.pool.forTenant('acme').axiosRef.get('/echo')).toMatchObject({ status: 200 });
  expect(server.counters.socketsAccepted - before).toBe(1);
  expectOneOf(made, 'acme');
});

describe.each(WRAPS)("a caller's adapter that passes requests on to the pool's, set by %s", (_choice, wrap) => {
  it.each(WAYS)('sends a request through %s in one slot', async (_way, ask) => {
    await using made = await httpPool({
      baseURL: server.url,
      maxSize: 1,
      acquireTimeoutMs: 100,
      timeoutMs: 5_000,
      tenants: { required: true },
    });
    wrap(made.pool.axiosRef);
    expect(await made.tenants.run('globex', () => ask(made))).toMatchObject({ status: 200 });
    expectOneOf(made, 'acme');
  });

  it('gives the slot back at the deadline', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1, acquireTimeoutMs: 100, timeoutMs: 30 });
    wrap(made.pool.axiosRef);
    const view = made.pool.forTenant('acme');
    await expect(view.axiosRef.get('/never')).rejects.toBeInstanceOf(OperationTimeoutError);
    expectOneOf(made, 'acme');
  });

  it('gives the slot back when its body has been read', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1, acquireTimeoutMs: 100 });
    wrap(made.pool.axiosRef);
    const { axiosRef } = made.pool.forTenant('acme');
    const { data } = await axiosRef.get<Readable>('/echo', { responseType: 'stream' });
    expect(made.pool.stats().active).toBe(1);
    await readText(data);
    expectOneOf(made, 'acme');
  });
});

it('a request that an adapter passes on and does not wait for keeps the slot until it is over', async () => {
  await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
  const { pool } = made;
  const original = axios.getAdapter(pool.axiosRef.defaults.adapter);
  const passedOn: Promise<AxiosResponse>[] = [];
  const mocked = seen(pool, []);
  const adapter: AxiosAdapter = (config) => {
    passedOn.push(original(config));
    return mocked(config);
  };
  const { axiosRef } = pool.forTenant('acme');
  expect(await axiosRef.get<unknown>('/echo', { adapter })).toMatchObject({ data: 'mocked' });
  expect(pool.stats().active).toBe(1);
  expect(await Promise.all(passedOn)).toMatchObject([{ status: 200 }]);
  expectOneOf(made, 'acme');
});

it('a request that an adapter passes on and does not wait for is cut with the pool', async () => {
  const made = await httpPool({ baseURL: server.url, maxSize: 1 });
  const { pool } = made;
  const original = axios.getAdapter(pool.axiosRef.defaults.adapter);
  const outcomes: Promise<unknown>[] = [];
  const mocked = seen(pool, []);
  const adapter: AxiosAdapter = (config) => {
    outcomes.push(original(config).catch((error: unknown) => error));
    return mocked(config);
  };
  await pool.axiosRef.get('/never', { adapter });
  await made[Symbol.asyncDispose]();
  expect(await Promise.all(outcomes)).toEqual([expect.any(PoolClosedError)]);
});

it('a request that is passed on after the answer takes a slot of its own', async () => {
  await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
  const { pool } = made;
  const original = axios.getAdapter(pool.axiosRef.defaults.adapter);
  const given: InternalAxiosRequestConfig[] = [];
  const mocked = seen(pool, []);
  const adapter: AxiosAdapter = (config) => {
    given.push(config);
    return mocked(config);
  };
  await pool.axiosRef.get('/echo', { adapter });
  for (const config of given) expect(await original(config)).toMatchObject({ status: 200 });
  expect(pool.stats()).toMatchObject({ acquisitions: 2, active: 0 });
});

function expectOneOf({ pool }: MadePool, tenantId: string): void {
  expect(pool.stats()).toMatchObject({ acquisitions: 1, active: 0 });
  expect(pool.stats().tenant(tenantId)).toMatchObject({ acquisitions: 1 });
}
