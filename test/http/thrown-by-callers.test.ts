// Whatever a caller's code throws while its request holds a slot is that caller's error: the slot comes back, and the
// next request is served.
import http from 'node:http';
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';

import { describe, expect, it } from '@jest/globals';
import type { AxiosRequestConfig } from 'axios';

import { LeaseScope } from '../../lib/engine/lease-scope.js';
import { LeaseReleasedError, RequestEndedError } from '../../lib/errors.js';
import type { HttpPoolRequestConfig } from '../../lib/http/http-pool.js';
import { eventually } from '../support/eventually.js';
import type { HttpFixture } from '../support/servers/index.js';
import type { MadePool } from './support/http-pools.js';
import { CLIENTS, withHttpPool } from './support/with-http-pool.js';

class Thrown extends Error {}
const fail = (): never => {
  throw new Thrown('thrown by the caller');
};

const failLater = (): never => Promise.reject(new Thrown('later')) as never;

/** What an adapter in JavaScript may forget to return. */
const nothing = (): never => JSON.parse('null') as never;

const brokenStream = (): Readable =>
  new Readable({
    read() {
      this.destroy(new Thrown('thrown by the caller'));
    },
  });

const CALLS: readonly (readonly [string, () => HttpPoolRequestConfig])[] = [
  ['validateStatus', () => ({ validateStatus: fail })],
  ['validateStatus of a stream', () => ({ responseType: 'stream', validateStatus: fail })],
  ['validateStatus of a compressed body', () => ({ url: '/gzip', validateStatus: fail })],
  ['paramsSerializer', () => ({ params: { a: 1 }, paramsSerializer: { serialize: fail } })],
  ['transformRequest', () => ({ method: 'post', data: 'x', transformRequest: fail })],
  ['transformResponse', () => ({ transformResponse: fail })],
  ['onDownloadProgress', () => ({ onDownloadProgress: fail })],
  ['onUploadProgress', () => ({ method: 'post', data: Buffer.alloc(300_000), onUploadProgress: fail })],
  ['beforeRedirect', () => ({ url: '/to-echo', beforeRedirect: fail })],
  ['lookup', () => ({ url: 'http://upstream.test:1/', lookup: fail })],
  ['the agent', () => ({ httpAgent: Object.assign(new http.Agent(), { createConnection: fail }) })],
  ['the queue of the agent', () => ({ httpAgent: Object.assign(new http.Agent(), { addRequest: fail }) })],
  ['the transport', () => ({ transport: { request: fail } })],
  ['an adapter', () => ({ adapter: fail })],
  ['an adapter, later', () => ({ adapter: () => Promise.reject(new Thrown('later')) })],
  ['an adapter without an answer', () => ({ adapter: () => Promise.resolve(nothing()) })],
  ['an adapter with a frozen answer', () => ({ adapter: (config) => Promise.resolve(Object.freeze(mocked(config))) })],
  [
    'an adapter with a frozen error',
    () => ({
      adapter: () => Promise.reject(Object.freeze(Object.assign(new Thrown(), { isAxiosError: true, config: {} }))),
    }),
  ],
  [
    'an answer whose body throws',
    () => ({
      adapter: (config) => Promise.resolve(Object.defineProperty({ ...mocked(config) }, 'data', { get: fail })),
    }),
  ],
  ['an upload', () => ({ method: 'post', data: brokenStream() })],
  ['an upload that was over before', () => ({ method: 'post', data: new Readable().destroy() })],
  ['a negative time-out', () => ({ timeout: -5 })],
  ['a negative time-out of an adapter', () => ({ timeout: -5, adapter: 'http' })],
  ['a total time that is none', () => ({ timeoutMs: NaN })],
  ['a wait that is none', () => ({ acquireTimeoutMs: -1 })],
];

function mocked(config: Parameters<Extract<AxiosRequestConfig['adapter'], (...args: never[]) => unknown>>[0]) {
  return { data: 'mocked' as unknown, status: 200, statusText: 'OK', headers: {}, config };
}

describe.each(CLIENTS)('over %s', (client) => {
  let server: HttpFixture;
  let made: MadePool;
  withHttpPool(client, (both) => ({ server, made } = both));

  async function nothingIsLost(): Promise<void> {
    await eventually(() => made.pool.stats().active === 0);
    expect((await made.pool.axiosRef.get('/echo')).status).toBe(200);
    expect(made.pool.status).toBe('healthy');
  }

  it.each(CALLS)('%s: at once', async (_what, config) => {
    await expect(made.pool.axiosRef.request({ url: '/echo', ...config() })).rejects.toBeInstanceOf(Object);
    await nothingIsLost();
  });

  it.each(CALLS)('%s: after a wait for the slot', async (_what, config) => {
    const first = made.pool.axiosRef.get('/held');
    await server.waitForHeld(1);
    const waiting = expect(made.pool.axiosRef.request({ url: '/echo', ...config() })).rejects.toBeInstanceOf(Object);
    server.releaseHeld();
    await first;
    await waiting;
    await nothingIsLost();
  });

  it.each(CALLS)('%s: in a lease', async (_what, config) => {
    await made.pool.use(async (lent) => {
      await expect(lent.request({ url: '/echo', ...config() })).rejects.toBeInstanceOf(Object);
      expect((await lent.get('/echo')).status).toBe(200);
    });
    await nothingIsLost();
  });

  it.each<[string, () => HttpPoolRequestConfig]>([
    ['validateStatus', () => ({ validateStatus: failLater })],
    ['onDownloadProgress', () => ({ onDownloadProgress: failLater })],
    ['onUploadProgress', () => ({ method: 'post', data: Buffer.alloc(300_000), onUploadProgress: failLater })],
    ['beforeRedirect', () => ({ url: '/to-echo', beforeRedirect: failLater })],
  ])('%s that returns a promise leaves no rejection unhandled', async (_what, config) => {
    const unhandled: unknown[] = [];
    const listener = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', listener);
    await made.pool.axiosRef.request({ url: '/echo', ...config() }).catch(() => {});
    await nothingIsLost();
    process.off('unhandledRejection', listener);
    expect(unhandled).toEqual([]);
  });

  it.each([
    ['destroyed', (upload: Readable, reason: Error) => void upload.destroy(reason)],
    ['only said to have failed', (upload: Readable, reason: Error) => void upload.emit('error', reason)],
  ])('an upload that fails while an idle socket is looked at fails its request: %s', async (_, fail) => {
    // A streamed upload goes over Node's client: so must the request that leaves an idle socket for it.
    await made.pool.axiosRef.get('/echo', { family: 4 });
    const before = server.counters.requests;
    const upload = new Readable({ read: () => {} });
    const reason = new Thrown('lost');
    const outcome = expect(made.pool.axiosRef.post('/echo', upload)).rejects.toMatchObject({
      isAxiosError: true,
      message: 'lost',
      cause: reason,
    });
    await new Promise((resolve) => setImmediate(resolve));
    fail(upload, reason);
    await outcome;
    expect(server.counters.requests).toBe(before);
    await nothingIsLost();
  });

  it('an upload that fails while it waits for a slot fails its request', async () => {
    const first = made.pool.axiosRef.get('/held');
    await server.waitForHeld(1);
    const upload = new Readable({ read: () => {} });
    const reason = new Thrown('lost');
    const waiting = expect(made.pool.axiosRef.post('/echo', upload)).rejects.toMatchObject({
      isAxiosError: true,
      message: 'lost',
      cause: reason,
    });
    await eventually(() => made.pool.stats().waiting === 1);
    upload.destroy(reason);
    await waiting;
    server.releaseHeld();
    await first;
    await nothingIsLost();
  });

  it("the body of axios' fetch adapter holds the slot until it has been read", async () => {
    const { data } = await made.pool.axiosRef.get<ReadableStream<Uint8Array>>('/stream?chunks=5&bytes=1000', {
      adapter: 'fetch',
      responseType: 'stream',
    });
    expect(made.pool.stats().active).toBe(1);
    let bytes = 0;
    for await (const chunk of data) bytes += chunk.length;
    expect(bytes).toBe(5_000);
    await nothingIsLost();
  });

  it("the body of axios' fetch adapter gives the slot back when it is cancelled or cut", async () => {
    const config: AxiosRequestConfig = { adapter: 'fetch', responseType: 'stream' };
    const cancelled = await made.pool.axiosRef.get<ReadableStream>('/silent?everyMs=20', config);
    await cancelled.data.cancel();
    await nothingIsLost();
    const cut = await made.pool.axiosRef.get<ReadableStream>('/silent?everyMs=20', {
      ...config,
      ...{ timeoutMs: 200 },
    });
    await expect(
      (async () => {
        for await (const _chunk of cut.data);
      })(),
    ).rejects.toMatchObject({ code: 'POOL_OPERATION_TIMEOUT' });
    await nothingIsLost();
  });

  it('a stream that outlives the request it was made in is cut, and what waits behind it is withdrawn', async () => {
    const scope = new LeaseScope();
    const inRequest = <T>(work: () => Promise<T>): Promise<T> =>
      made.tenants.runFrame({ tenantId: 'acme', scope, holding: undefined }, work);
    const stream = inRequest(() => made.pool.axiosRef.get<Readable>('/silent?everyMs=20', { responseType: 'stream' }));
    const waiting = inRequest(() => made.pool.axiosRef.get('/echo'));
    const outcome = expect(waiting).rejects.toBeInstanceOf(RequestEndedError);
    const { data } = await stream;
    expect(scope.end()).toHaveLength(2);
    await expect(finished(data)).rejects.toBeInstanceOf(LeaseReleasedError);
    await outcome;
    await nothingIsLost();
  });

  it('a request that is under way when the one it was made in ends goes on', async () => {
    const scope = new LeaseScope();
    const { status } = await made.tenants.runFrame({ tenantId: 'acme', scope, holding: undefined }, () =>
      made.pool.axiosRef.get('/echo', { validateStatus: () => scope.end().length === 0 }),
    );
    expect(status).toBe(200);
    await nothingIsLost();
  });
});
