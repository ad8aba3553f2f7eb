// What is expected of `pool.request(url)`, over either client.
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { LeaseScope } from '../../../lib/engine/lease-scope.js';
import {
  AcquireAbortedError,
  AcquireTimeoutError,
  ConnectionLostError,
  LeaseReleasedError,
  OperationTimeoutError,
  PoolClosedError,
  PoolConfigError,
  RequestEndedError,
} from '../../../lib/errors.js';
import type { HttpDirectOptions, HttpPool, HttpRequestBody } from '../../../lib/index.js';
import { type HttpFixture, startHttpServer } from '../../support/servers/index.js';
import { httpPool } from './http-pools.js';

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const LARGE = '/stream?chunks=64&bytes=65536';

export function expectDirectRequests(): void {
  let server: HttpFixture;

  beforeAll(async () => {
    server = await startHttpServer({
      handler: (request, response) => {
        if (request.url === '/redirect') response.writeHead(302, { location: '/echo' }).end();
        else if (request.url === '/gzip')
          response.writeHead(200, { 'content-encoding': 'gzip', 'set-cookie': 'a=1' }).end(gzipSync('text'));
        else if (request.url === '/bom') response.end('\ufeff{"a":1}');
        else return false;
        return true;
      },
    });
  });

  afterAll(async () => {
    await server.close();
  });

  const echo = async (pool: HttpPool, url: string, options?: HttpDirectOptions): Promise<Echo> =>
    (await pool.request(url, options)).body.json<Echo>();
  const idle = (pool: HttpPool): void => expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
  /** Until the slot is back: the end of the body tells its reader first. */
  const untilIdle = async (pool: HttpPool): Promise<void> => {
    while (pool.stats().active > 0) await new Promise((resolve) => setImmediate(resolve));
  };

  describe('what is sent', () => {
    it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'get'])('%s', async (method) => {
      await using made = await httpPool({ baseURL: server.url });
      expect(await echo(made.pool, '/echo', { method })).toMatchObject({ method: method.toUpperCase() });
      await untilIdle(made.pool);
    });

    it('HEAD, whose answer has no body', async () => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      const { statusCode, headers, body } = await made.pool.request('/echo', { method: 'HEAD' });
      expect(statusCode).toBe(200);
      expect(headers['content-type']).toBe('application/json');
      expect(await body.text()).toBe('');
      idle(made.pool);
      expect((await echo(made.pool, '/echo')).method).toBe('GET');
    });

    it.each<[string, () => HttpRequestBody]>([
      ['a text', () => 'grüße'],
      ['JSON by hand', () => JSON.stringify('grüße').slice(1, -1)],
      ['a Buffer', () => Buffer.from('grüße')],
      ['a typed array', () => new TextEncoder().encode('grüße')],
      ['an ArrayBuffer', () => new TextEncoder().encode('grüße').buffer],
      ['a stream', () => Readable.from([Buffer.from('grü'), Buffer.from('ße')])],
      ['an iterable', () => new Set(['grü', 'ße'])],
      [
        'an async iterable',
        async function* () {
          yield 'grü';
          await Promise.resolve();
          yield 'ße';
        },
      ],
    ])('%s as the body', async (_kind, body) => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      for (let turn = 0; turn < 2; turn++)
        expect(await echo(made.pool, '/echo', { method: 'POST', body: body() })).toMatchObject({ body: 'grüße' });
    });

    it('goes to the base URL with the headers of the pool, or to a whole URL', async () => {
      await using made = await httpPool({
        baseURL: `${server.url}/echo/`,
        headers: { 'X-Version': '7', 'x-own': 'pool' },
        client: { headers: { common: { 'x-common': 'c' }, 'x-own': 'axios' }, auth: { username: 'u', password: 'p' } },
      });
      const { pool } = made;
      const seen = await echo(pool, '/a?x=1', {
        query: { q: 'ä b', n: 2 },
        headers: { 'x-version': '8', 'x-list': ['a', 'b'], 'x-common': undefined },
      });
      expect(seen.url).toBe('/echo/a?x=1&q=%C3%A4+b&n=2');
      expect(seen.headers).toMatchObject({
        'x-version': '8',
        'x-own': 'pool',
        'x-list': 'a, b',
        authorization: `Basic ${Buffer.from('u:p').toString('base64')}`,
      });
      expect(seen.headers).not.toHaveProperty('x-common');
      expect((await echo(pool, `${server.url}/echo/whole`)).url).toBe('/echo/whole');
      const withCredentials = `http://me:s%40@${server.host}:${server.port}/echo`;
      expect((await echo(pool, withCredentials)).headers.authorization).toBe(
        `Basic ${Buffer.from('me:s@').toString('base64')}`,
      );
    });

    it.each<[string, HttpDirectOptions]>([
      ['ftp://host/x', {}],
      ['/echo', { method: 'CONNECT' }],
      ['/echo', { method: 'NO SUCH' }],
      ['/echo', { headers: { 'bad name': 'x' } }],
      ['/echo', { timeoutMs: -1 }],
      ['/echo', { acquireTimeoutMs: NaN }],
    ])('refuses %s with %j, and keeps no slot', async (url, options) => {
      await using made = await httpPool({ baseURL: server.url });
      await expect(made.pool.request(url, options)).rejects.toHaveProperty('message');
      await untilIdle(made.pool);
    });

    it('does not leave the way that axios is configured to take', async () => {
      await using made = await httpPool({ baseURL: server.url, client: { proxy: { host: 'proxy.invalid', port: 1 } } });
      const error: unknown = await made.pool.request('/echo').catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(PoolConfigError);
      expect(String(error)).toContain('client.proxy');
    });
  });

  describe('the answer', () => {
    it('is any, as it was sent', async () => {
      await using made = await httpPool({ baseURL: server.url });
      const { pool } = made;
      const failed = await pool.request('/status/500');
      expect(failed).toMatchObject({ statusCode: 500, statusText: 'Internal Server Error' });
      expect(await failed.body.json()).toEqual({ status: 500 });
      const redirect = await pool.request('/redirect');
      expect(redirect).toMatchObject({ statusCode: 302, headers: { location: '/echo' } });
      redirect.body.discard();
      const { headers, body } = await pool.request('/gzip');
      expect(headers).toMatchObject({ 'content-encoding': 'gzip', 'set-cookie': ['a=1'] });
      expect(await body.bytes()).toEqual(gzipSync('text'));
      expect(await (await pool.request('/bom')).body.json()).toEqual({ a: 1 });
      expect(new Uint8Array(await (await pool.request('/bom')).body.arrayBuffer())).toHaveLength(10);
    });

    it('is read as a stream, by its methods, and once', async () => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      const { pool } = made;
      for (let turn = 0; turn < 3; turn++) {
        const { body } = await pool.request(LARGE);
        expect(await buffer(body)).toHaveLength(64 * 65_536);
        expect(body.bodyUsed).toBe(true);
      }
      const { body } = await pool.request(LARGE);
      const all = body.bytes();
      await expect(body.text()).rejects.toBeInstanceOf(TypeError);
      expect(await all).toHaveLength(64 * 65_536);
      await untilIdle(pool);
      expect(server.counters.openSockets).toBe(1);
    });

    it('is limited', async () => {
      await using made = await httpPool({ baseURL: server.url, client: { maxContentLength: 1_000 } });
      const { pool } = made;
      const { body } = await pool.request(LARGE);
      await expect(body.bytes()).rejects.toMatchObject({ code: 'UND_ERR_RES_EXCEEDED_MAX_SIZE' });
      await untilIdle(pool);
      const longer = await pool.request(LARGE, { maxContentLength: 64 * 65_536 });
      expect(await longer.body.bytes()).toHaveLength(64 * 65_536);
    });
  });

  describe('the slot', () => {
    it('is free again once a small body has arrived, read or not', async () => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      const unread = [];
      for (let turn = 0; turn < 5; turn++) unread.push(await made.pool.request('/echo'));
      await untilIdle(made.pool);
      for (const { body } of unread) expect(await body.json()).toMatchObject({ method: 'GET' });
    });

    it('is held by a large body that is not read until timeoutMs cuts it, which ends no process', async () => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      const { pool } = made;
      const { body } = await pool.request(LARGE, { timeoutMs: 50 });
      expect(pool.stats().active).toBe(1);
      expect((await echo(pool, '/echo')).method).toBe('GET');
      await expect(body.bytes()).rejects.toBeInstanceOf(OperationTimeoutError);
      idle(pool);
    });

    it('is free at once when the body is discarded or destroyed', async () => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      const { pool } = made;
      (await pool.request(LARGE)).body.discard();
      (await pool.request('/silent')).body.destroy();
      for await (const _chunk of (await pool.request(LARGE)).body) break;
      const { body } = await pool.request('/silent');
      const reading = body.text();
      body.discard();
      await expect(reading).rejects.toThrow('discarded');
      expect((await echo(pool, '/echo')).method).toBe('GET');
      await untilIdle(pool);
    });

    it('is taken within the limits of the tenant, in turn', async () => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 2, tenants: { max: 1 } });
      const { pool, tenants } = made;
      const header = (id: string) => ({ headers: { 'x-tenant-id': id } });
      const first = tenants.run('acme', () => pool.request('/held', header('acme')));
      const second = tenants.run('acme', () => pool.request('/held', header('acme')));
      const other = pool.forTenant('globex').request('/held', header('globex'));
      await server.waitForHeld(2);
      expect(pool.stats()).toMatchObject({ active: 2, waiting: 1 });
      await expect(pool.forTenant('acme').request('/echo', { acquireTimeoutMs: 0 })).rejects.toBeInstanceOf(
        AcquireTimeoutError,
      );
      server.releaseHeld();
      expect(await (await first).body.json()).toEqual({ held: true });
      await server.waitForHeld(1);
      server.releaseHeld();
      for (const { body } of [await second, await other]) expect(await body.json()).toEqual({ held: true });
      expect(server.tenant('acme').maxInFlight).toBe(1);
      await untilIdle(pool);
      expect(pool.stats().tenant('acme')).toMatchObject({ acquisitions: 2 });
    });
  });

  describe('the end', () => {
    it.each(['/never', '/silent'])('comes by timeoutMs at %s', async (path) => {
      await using made = await httpPool({ baseURL: server.url, timeoutMs: 50 });
      const answer = made.pool.request(path).then(({ body }) => body.text());
      await expect(answer).rejects.toBeInstanceOf(OperationTimeoutError);
      await untilIdle(made.pool);
    });

    it('comes by the signal at every moment', async () => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      const { pool } = made;
      const reason = new Error('enough');
      const before = server.counters.requests;
      await expect(pool.request('/echo', { signal: AbortSignal.abort(reason) })).rejects.toMatchObject({
        constructor: AcquireAbortedError,
        cause: reason,
      });
      expect(server.counters.requests).toBe(before);

      const asked = new AbortController();
      const unanswered = pool.request('/held', { signal: asked.signal });
      await server.waitForHeld(1);
      const waits = new AbortController();
      const waiting = pool.request('/echo', { signal: waits.signal });
      waits.abort(reason);
      await expect(waiting).rejects.toMatchObject({ constructor: AcquireAbortedError, cause: reason });
      asked.abort(reason);
      await expect(unanswered).rejects.toBe(reason);

      const reads = new AbortController();
      const { body } = await pool.request('/silent', { signal: reads.signal });
      const text = body.text();
      reads.abort(reason);
      await expect(text).rejects.toBe(reason);

      const late = new AbortController();
      const whole = await pool.request('/echo', { signal: late.signal });
      await untilIdle(pool);
      late.abort(reason);
      expect(await whole.body.json()).toMatchObject({ method: 'GET' });
      idle(pool);
    });

    it('comes by a server that resets', async () => {
      await using made = await httpPool({ baseURL: server.url });
      const { pool } = made;
      await expect(pool.request('/hang-up')).rejects.toMatchObject({ constructor: ConnectionLostError, sent: true });
      const { body } = await pool.request('/truncated');
      await expect(body.text()).rejects.toBeInstanceOf(ConnectionLostError);
      const { body: streamed } = await pool.request('/truncated');
      await expect(buffer(streamed)).rejects.toBeInstanceOf(ConnectionLostError);
      await untilIdle(pool);
    });

    it('does not come by a connection that the server was closing, where repeating does no harm', async () => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      const { pool } = made;
      await (await pool.request('/last')).body.text();
      expect((await echo(pool, '/echo')).method).toBe('GET');
      await (await pool.request('/last')).body.text();
      await expect(pool.request('/echo', { method: 'POST', body: 'x' })).rejects.toBeInstanceOf(ConnectionLostError);
      idle(pool);
    });

    it('comes by a server that is not there, which counts against the pool', async () => {
      const gone = await startHttpServer();
      await gone.close();
      await using made = await httpPool({ baseURL: gone.url });
      await expect(made.pool.request('/echo')).rejects.toMatchObject({
        constructor: ConnectionLostError,
        sent: false,
        cause: { code: 'ECONNREFUSED' },
      });
      expect(made.pool.stats().toJSON()).toMatchObject({ destroyed: { fatal: 1 } });
    });

    it('comes by the close of the pool', async () => {
      await using made = await httpPool({ baseURL: server.url });
      const { pool } = made;
      const { body } = await pool.request('/silent');
      const text = body.text();
      const unread = await pool.request(LARGE);
      const whole = await pool.request('/echo');
      const { body: arrived } = whole;
      await expect(Promise.all([text, pool.close({ deadlineMs: 0 })])).rejects.toBeInstanceOf(PoolClosedError);
      await expect(unread.body.bytes()).rejects.toBeInstanceOf(PoolClosedError);
      expect(await arrived.json()).toMatchObject({ method: 'GET' });
      await expect(pool.request('/echo')).rejects.toBeInstanceOf(PoolClosedError);
    });

    it('comes by an upload that fails', async () => {
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      const { pool } = made;
      const broken = new Error('broken');
      const upload = (): Readable =>
        Readable.from(
          (async function* () {
            yield 'a';
            await Promise.resolve();
            throw broken;
          })(),
        );
      await expect(pool.request('/echo', { method: 'POST', body: upload() })).rejects.toThrow('broken');
      await untilIdle(pool);
      expect((await echo(pool, '/echo')).method).toBe('GET');
    });
  });

  it('ends with the incoming request that it was made for: its wait, and its body', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
    const { pool, tenants } = made;
    const inRequest = <T>(scope: LeaseScope, fn: () => T): T =>
      tenants.runFrame({ tenantId: 'acme', scope, holding: undefined }, fn);
    const reads = new LeaseScope();
    const { body } = await inRequest(reads, () => pool.request('/silent'));
    const waits = new LeaseScope();
    const waiting = inRequest(waits, () => pool.request('/echo'));
    expect(waits.end()).toMatchObject([{ state: 'waiting', tenantId: 'acme' }]);
    await expect(waiting).rejects.toBeInstanceOf(RequestEndedError);
    expect(reads.end()).toMatchObject([{ state: 'leased', tenantId: 'acme' }]);
    await expect(body.text()).rejects.toBeInstanceOf(LeaseReleasedError);
    idle(pool);
    const ended = new LeaseScope();
    const { body: whole } = await inRequest(ended, () => pool.request('/echo'));
    await untilIdle(pool);
    expect(ended.end()).toEqual([]);
    expect(await whole.json()).toMatchObject({ method: 'GET' });
  });

  it('no longer waits for a slot when its upload has failed', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
    const { pool } = made;
    const held = pool.request('/held');
    await server.waitForHeld(1);
    const upload = new Readable({ read: () => {} });
    const waiting = pool.request('/echo', { method: 'POST', body: upload });
    expect(pool.stats().waiting).toBe(1);
    upload.destroy(new Error('broken'));
    await expect(waiting).rejects.toThrow('broken');
    expect(pool.stats().waiting).toBe(0);
    server.releaseHeld();
    expect(await (await held).body.json()).toEqual({ held: true });
  });

  it('runs what the caller hands in as the caller, on a connection of another tenant', async () => {
    await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
    const { pool, tenants } = made;
    const seen: (string | undefined)[] = [];
    const use = (id: string): Promise<void> =>
      tenants.run(id, async () => {
        const upload = async function* () {
          for (let part = 0; part < 20; part++) {
            seen.push(tenants.current());
            yield Buffer.alloc(65_536);
            await new Promise((resolve) => setImmediate(resolve));
          }
        };
        const { body } = await pool.request('/echo', { method: 'POST', body: upload() });
        await new Promise<void>((resolve, reject) => {
          body.on('data', () => seen.push(tenants.current()));
          body.on('end', () => {
            seen.push(tenants.current());
            resolve();
          });
          body.on('error', reject);
        });
        seen.push(tenants.current());
      });
    await use('acme');
    await Promise.all([use('globex'), use('initech')]);
    expect(new Set(seen)).toEqual(new Set(['acme', 'globex', 'initech']));
    const runs = seen.filter((tenant, at) => tenant !== seen[at - 1]);
    expect(runs).toHaveLength(3);
  });
}
