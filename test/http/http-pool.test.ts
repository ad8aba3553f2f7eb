// HttpPool as its users hold it: like HttpService, and with tenants.
import http from 'node:http';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import axios, { type AxiosResponse } from 'axios';
import { firstValueFrom, lastValueFrom, type Observable, retry } from 'rxjs';

import { LeaseReleasedError, NestedAcquireError, TenantRequiredError } from '../../lib/errors.js';
import { PoolHandle } from '../../lib/pool/pool-handle.js';
import { type HttpFixture, startHttpServer } from '../support/servers/index.js';
import { httpPool } from './support/http-pools.js';

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

describe('HttpPool', () => {
  let server: HttpFixture;

  beforeAll(async () => {
    server = await startHttpServer();
  });

  afterAll(async () => {
    await server.close();
  });

  const data = async (response: Observable<AxiosResponse<Echo>>): Promise<Echo> =>
    (await firstValueFrom(response)).data;

  it('has the methods of HttpService, each on the base URL with the default headers', async () => {
    await using made = await httpPool({ baseURL: `${server.url}/echo`, headers: { 'x-api-version': '7' } });
    const { pool } = made;
    const seen: Echo[] = [
      await data(pool.request<Echo>({ url: '/a', method: 'options' })),
      await data(pool.get<Echo>('/a', { params: { q: 1 } })),
      await data(pool.delete<Echo>('/a')),
      await data(pool.post<Echo>('/a', { x: 1 })),
      await data(pool.put<Echo>('/a', { x: 1 })),
      await data(pool.patch<Echo>('/a', { x: 1 })),
      await data(pool.postForm<Echo>('/a', { x: 1 })),
      await data(pool.putForm<Echo>('/a', { x: 1 })),
      await data(pool.patchForm<Echo>('/a', { x: 1 })),
    ];
    expect(seen.map(({ method }) => method)).toEqual([
      'OPTIONS',
      'GET',
      'DELETE',
      'POST',
      'PUT',
      'PATCH',
      'POST',
      'PUT',
      'PATCH',
    ]);
    expect(seen.map(({ headers }) => headers['x-api-version'])).toEqual(seen.map(() => '7'));
    expect(seen[1]?.url).toBe('/echo/a?q=1');
    expect(seen[3]?.body).toBe('{"x":1}');
    for (const form of seen.slice(6)) expect(form.headers['content-type']).toMatch(/^multipart\/form-data/);
    expect((await firstValueFrom(pool.head('/a'))).status).toBe(200);
    expect(made.pool).toBeInstanceOf(PoolHandle);
  });

  it('sends a request for each subscription and none without', async () => {
    await using made = await httpPool({ baseURL: server.url });
    const before = server.counters.requests;
    const request = made.pool.get('/echo');
    expect(server.counters.requests).toBe(before);
    await lastValueFrom(request);
    await lastValueFrom(request);
    expect(server.counters.requests).toBe(before + 2);
    await expect(lastValueFrom(made.pool.get('/status/500').pipe(retry(2)))).rejects.toMatchObject({ status: 500 });
    expect(server.counters.requests).toBe(before + 5);
  });

  it('works for the tenant of the code that calls, not of the code that subscribes', async () => {
    await using made = await httpPool({ baseURL: server.url, tenants: { required: true } });
    const { pool, tenants } = made;
    const request = tenants.run('acme', () => pool.get('/echo'));
    await tenants.run('globex', () => firstValueFrom(request));
    expect(pool.stats().tenant('acme')).toMatchObject({ acquisitions: 1 });
    expect(pool.stats().tenant('globex')?.acquisitions ?? 0).toBe(0);
  });

  it('fails closed without a tenant where one is required', async () => {
    await using made = await httpPool({ baseURL: server.url, tenants: { required: true } });
    const { pool } = made;
    await expect(firstValueFrom(pool.get('/echo'))).rejects.toBeInstanceOf(TenantRequiredError);
    await expect(pool.axiosRef.get('/echo')).rejects.toBeInstanceOf(TenantRequiredError);
    await expect(pool.axiosRef.get('/echo', { adapter: 'http' })).rejects.toBeInstanceOf(TenantRequiredError);
    await expect(pool.acquire()).rejects.toBeInstanceOf(TenantRequiredError);
    expect((await pool.unscoped().axiosRef.get('/echo')).status).toBe(200);
    expect((await firstValueFrom(pool.unscoped().get('/echo'))).status).toBe(200);
  });

  it('has views that fix the tenant, with the interceptors and defaults of the pool', async () => {
    await using made = await httpPool({ baseURL: server.url, tenants: { required: true } });
    const { pool, tenants } = made;
    pool.axiosRef.interceptors.request.use((config) => {
      config.headers.set('x-intercepted', 'yes');
      return config;
    });
    const view = pool.forTenant('acme');
    pool.axiosRef.defaults.headers.common['x-late'] = 'yes';
    const ways = [
      () => firstValueFrom(view.get<Echo>('/echo')),
      () => view.axiosRef.get<Echo>('/echo'),
      () => view.axiosRef<Echo>('/echo'),
      () => view.axiosRef<Echo>({ url: '/echo' }),
      () => view.axiosRef.create().get<Echo>(`${server.url}/echo`),
      () => view.axiosRef.get<Echo>('/echo', { adapter: 'http' }),
      () => view.use((client) => client.get<Echo>('/echo')),
    ];
    await tenants.run('globex', async () => {
      for (const way of ways) expect((await way()).status).toBe(200);
      expect((await view.axiosRef.get<Echo>('/echo')).data.headers).toMatchObject({
        'x-intercepted': 'yes',
        'x-late': 'yes',
      });
    });
    expect(pool.stats().tenant('acme')).toMatchObject({ acquisitions: ways.length + 1 });
    expect(pool.stats().tenant('globex')?.acquisitions ?? 0).toBe(0);
    expect(view.axiosRef.getUri({ url: '/a', params: { b: 1 } })).toBe(`${server.url}/a?b=1`);
  });

  it('keeps the tenant through interceptors that wait and requests that are repeated', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
    const { pool, tenants } = made;
    const asked: (string | undefined)[] = [];
    pool.axiosRef.interceptors.request.use(async (config) => {
      await Promise.resolve();
      asked.push(tenants.current());
      return config;
    });
    pool.axiosRef.interceptors.response.use(undefined, async (error: unknown) => {
      if (axios.isAxiosError(error) && error.config && asked.length < 3) return pool.axiosRef.request(error.config);
      throw error;
    });
    await tenants.run('acme', () =>
      expect(firstValueFrom(pool.get('/status/503'))).rejects.toMatchObject({ status: 503 }),
    );
    expect(asked).toEqual(['acme', 'acme', 'acme']);
    expect(pool.stats().tenant('acme')).toMatchObject({ acquisitions: 3, active: 0 });
  });

  it('takes slots for a mocked adapter as well', async () => {
    await using made = await httpPool({ baseURL: 'http://nowhere.invalid', maxSize: 1 });
    const { pool } = made;
    let active = 0;
    pool.axiosRef.defaults.adapter = (config) => {
      active = pool.stats().active;
      return Promise.resolve({ data: 'mocked', status: 200, statusText: 'OK', headers: {}, config });
    };
    expect((await firstValueFrom(pool.get('/x'))).data).toBe('mocked');
    expect(active).toBe(1);
    expect((await pool.axiosRef.get('/x')).data).toBe('mocked');
    expect(pool.stats()).toMatchObject({ active: 0, acquisitions: 2 });
  });

  it('uses the adapter that it was configured with, in every way, unless a request names another', async () => {
    let calls = 0;
    await using made = await httpPool({
      baseURL: server.url,
      client: {
        adapter: (config) => {
          calls++;
          return Promise.resolve({ data: 'configured', status: 200, statusText: 'OK', headers: {}, config });
        },
      },
    });
    const { pool } = made;
    const ways = [
      () => pool.axiosRef.get('/echo'),
      () => firstValueFrom(pool.get('/echo')),
      () => pool.forTenant('acme').axiosRef.get('/echo'),
      () => pool.axiosRef.create().get('/echo'),
      () => pool.use((client) => client.get('/echo')),
    ];
    for (const way of ways) expect((await way()).data).toBe('configured');
    expect((await pool.axiosRef.get<Echo>('/echo', { adapter: 'http' })).data.method).toBe('GET');
    expect(calls).toBe(ways.length);
    expect(pool.stats()).toMatchObject({ acquisitions: ways.length + 1, active: 0 });
  });

  it('uses an agent of the caller inside its slots, and leaves it open', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
    const agent = new http.Agent({ keepAlive: true });
    await made.pool.axiosRef.get('/echo', { httpAgent: agent });
    expect(Object.keys(agent.freeSockets)).toHaveLength(1);
    expect(made.pool.stats()).toMatchObject({ acquisitions: 1, active: 0 });
    agent.destroy();
  });

  it('sends requests to a proxy when told so', async () => {
    await using made = await httpPool({
      baseURL: 'http://upstream.invalid',
      client: { proxy: { host: server.host, port: server.port } },
    });
    const { data: seen } = await firstValueFrom(made.pool.get<Echo>('/echo'));
    expect(seen).toMatchObject({ headers: { host: 'upstream.invalid' } });
    expect(await made.pool.healthCheck()).toMatchObject({ outcome: 'alive' });
  });

  it('detects a request from inside use() that could never be sent', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
    const { pool } = made;
    await expect(pool.use(() => pool.axiosRef.get('/echo'))).rejects.toBeInstanceOf(NestedAcquireError);
    await expect(pool.use(() => firstValueFrom(pool.get('/echo')))).rejects.toBeInstanceOf(NestedAcquireError);
  });

  it('does not let a lease go on with work after use()', async () => {
    await using made = await httpPool({ baseURL: server.url });
    const left = await made.pool.use((client) => Promise.resolve({ late: () => client.get('/echo') }));
    await expect(left.late()).rejects.toBeInstanceOf(LeaseReleasedError);
  });
});
