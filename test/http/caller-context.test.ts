// Every callback of a request, however long it waited and whoever gave its slot back, runs as the tenant that made it.
import { AsyncLocalStorage } from 'node:async_hooks';
import diagnostics from 'node:diagnostics_channel';
import dns from 'node:dns';
import http from 'node:http';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';

import { describe, expect, it } from '@jest/globals';
import type { AxiosInstance, AxiosRequestConfig } from 'axios';
import { firstValueFrom } from 'rxjs';

import type { HttpFixture } from '../support/servers/index.js';
import type { MadePool } from './support/http-pools.js';
import { CLIENTS, withHttpPool } from './support/with-http-pool.js';

const TENANTS = ['acme', 'globex', 'initech', 'umbrella'];
/** What the application keeps in a context of its own: a trace, for one. */
const traces = new AsyncLocalStorage<string>();

/** Notes in whose context it is called. */
type Note = () => void;
type Wire = (note: Note) => AxiosRequestConfig;

const CALLBACKS: readonly (readonly [string, Wire])[] = [
  ['paramsSerializer', (note) => ({ params: { a: 1 }, paramsSerializer: { serialize: () => (note(), 'a=1') } })],
  ['validateStatus', (note) => ({ validateStatus: () => (note(), true) })],
  ['transformRequest', (note) => ({ method: 'post', data: 'x', transformRequest: (data: unknown) => (note(), data) })],
  ['transformResponse', (note) => ({ transformResponse: (data: unknown) => (note(), data) })],
  ['onDownloadProgress', (note) => ({ onDownloadProgress: note })],
  ['onUploadProgress', (note) => ({ method: 'post', data: Buffer.alloc(300_000), onUploadProgress: note })],
  ['beforeRedirect', (note) => ({ url: '/to-echo', beforeRedirect: note })],
  [
    'lookup',
    (note) => ({
      url: 'http://upstream.test:PORT/last',
      lookup: (_host: string, options: object, done: (error: Error | null, address: string, family: 4) => void) => {
        note();
        dns.lookup('127.0.0.1', options, () => done(null, '127.0.0.1', 4));
      },
    }),
  ],
  [
    'an adapter',
    (note) => ({
      adapter: async (config) => {
        note();
        await Promise.resolve();
        note();
        return { data: 'mocked', status: 200, statusText: 'OK', headers: {}, config };
      },
    }),
  ],
  ['a stream', (note) => ({ responseType: 'stream', transformResponse: (data: unknown) => watched(data, note) })],
  [
    'an upload',
    (note) => ({
      method: 'post',
      data: Readable.from(
        (function* () {
          for (let i = 0; i < 20; i++) {
            note();
            yield Buffer.alloc(20_000);
          }
        })(),
      ),
    }),
  ],
  [
    "the caller's agent",
    (note) => ({
      httpAgent: Object.assign(new http.Agent(), {
        getName: (options: { host?: string; port?: number }) => (note(), `${options.host}:${options.port}`),
      }),
    }),
  ],
];

function watched(data: unknown, note: Note): unknown {
  if (data instanceof Readable) for (const event of ['data', 'end', 'close']) data.on(event, note);
  return data;
}

const WAYS: readonly (readonly [string, (made: MadePool, config: AxiosRequestConfig) => Promise<unknown>])[] = [
  ['axiosRef', ({ pool }, config) => pool.axiosRef.request(config)],
  ['the observables', ({ pool }, config) => firstValueFrom(pool.request(config))],
  ['a view', ({ pool, tenants }, config) => pool.forTenant(tenants.current() ?? '').axiosRef.request(config)],
  [
    'a lease',
    ({ pool }, config) =>
      pool.use(async (client) => {
        const response = await client.request<unknown>(config);
        if (response.data instanceof Readable) await finished(response.data.resume());
        return response;
      }),
  ],
];

describe.each(CLIENTS)('over %s', (client) => {
  let server: HttpFixture;
  let made: MadePool;
  withHttpPool(client, (both) => ({ server, made } = both));

  /** Sends one request for each tenant at once, through one slot, and returns who was seen where. */
  async function seen(
    run: (config: AxiosRequestConfig) => Promise<unknown>,
    wire: Wire,
  ): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
    const byTenant = new Map<string, Set<string>>();
    await Promise.all(
      TENANTS.map((tenant) =>
        traces.run(`trace of ${tenant}`, () =>
          made.tenants.run(tenant, async () => {
            const notes = new Set<string>();
            byTenant.set(tenant, notes);
            const note = (): void => void notes.add(`${made.tenants.current()}, ${traces.getStore()}`);
            const { url = '/echo', ...config } = wire(note);
            const response = await run({ url: url.replace('PORT', `${server.port}`), ...config });
            const body = (response as { data?: unknown }).data;
            if (body instanceof Readable && !body.destroyed) await finished(body.resume());
            note();
          }),
        ),
      ),
    );
    return byTenant;
  }

  const asMade = new Map(TENANTS.map((tenant) => [tenant, new Set([`${tenant}, trace of ${tenant}`])]));

  describe.each(WAYS)('through %s', (_way, run) => {
    it.each(CALLBACKS)('%s is called as the tenant of its request', async (_what, wire) => {
      let called = 0;
      const counted: Wire = (note) => wire(() => (called++, note()));
      expect(await seen((config) => run(made, config), counted)).toEqual(asMade);
      expect(called).toBeGreaterThanOrEqual(TENANTS.length);
    });

    it('interceptors are called as the tenant of their request', async () => {
      const notes: string[] = [];
      const note = <T>(passed: T): T => {
        notes.push(`${made.tenants.current()}, ${traces.getStore()}`);
        return passed;
      };
      const { interceptors }: AxiosInstance = made.pool.axiosRef;
      const request = interceptors.request.use(note);
      const response = interceptors.response.use(note);
      await seen(
        (config) => run(made, config),
        () => ({}),
      );
      interceptors.request.eject(request);
      interceptors.response.eject(response);
      expect(notes.sort()).toEqual(
        TENANTS.flatMap((tenant) => [`${tenant}, trace of ${tenant}`, `${tenant}, trace of ${tenant}`]).sort(),
      );
    });

    it('instrumentation sees the request in the context of its caller', async () => {
      const channel = client === 'undici' ? 'undici:request:create' : 'http.client.request.start';
      const traced: string[] = [];
      const onRequest = (): void => void traced.push(String(traces.getStore()));
      diagnostics.subscribe(channel, onRequest);
      await seen(
        (config) => run(made, config),
        () => ({}),
      );
      diagnostics.unsubscribe(channel, onRequest);
      expect(traced.sort()).toEqual(TENANTS.map((tenant) => `trace of ${tenant}`).sort());
    });
  });

  it('the end of a stream that is cut by a deadline comes in the context of its caller', async () => {
    await made.tenants.run('acme', async () => {
      const { data } = await made.pool.axiosRef.get<Readable>('/silent?everyMs=20', {
        responseType: 'stream',
        ...{ timeoutMs: 300 },
      });
      const notes = new Set<string | undefined>();
      for (const event of ['data', 'error', 'close']) data.on(event, () => notes.add(made.tenants.current()));
      await expect(finished(data)).rejects.toMatchObject({ code: 'POOL_OPERATION_TIMEOUT' });
      expect([...notes]).toEqual(['acme']);
    });
  });
});
