// Upstreams that are slow, silent, gone, or that close connections at the wrong moment; and pools that close.
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { inspect } from 'node:util';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import axios from 'axios';
import { firstValueFrom } from 'rxjs';

import {
  BackendUnavailableError,
  ConnectionLostError,
  OperationTimeoutError,
  PoolClosedError,
} from '../../lib/errors.js';
import type { HttpPoolOptions } from '../../lib/http/http-pool.options.js';
import { eventually } from '../support/eventually.js';
import { freePort, type HttpFixture, startHttpServer, startUnansweredPort } from '../support/servers/index.js';
import { startByteServer } from './support/byte-server.js';
import { httpPool, type MadePool } from './support/http-pools.js';

describe.each(['undici', "Node's client"])('an HTTP pool over %s', (client) => {
  let server: HttpFixture;
  let made: MadePool;

  /** Own agents are what undici can't do; without redirects the agents are the slot's again. */
  async function start(options: HttpPoolOptions = {}): Promise<MadePool> {
    made = await httpPool({ baseURL: server.url, ...options });
    // An option that only Node's client has.
    if (client !== 'undici') made.pool.axiosRef.defaults.onDownloadProgress = () => {};
    return made;
  }

  beforeEach(async () => {
    server = await startHttpServer();
  });

  afterEach(async () => {
    await made[Symbol.asyncDispose]();
    await server.close();
  });

  describe('and its total deadline', () => {
    it.each(['/never', '/silent?everyMs=20'])('cuts %s, closes the socket and frees the slot', async (url) => {
      const { pool } = await start({ maxSize: 1, timeoutMs: 100 });
      const error: unknown = await firstValueFrom(pool.get(url)).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(OperationTimeoutError);
      expect(error).toMatchObject({ code: 'POOL_OPERATION_TIMEOUT', poolId: 'billing', timeoutMs: 100 });
      await server.waitUntil(({ counters }) => counters.aborted === 1 && counters.openSockets === 0);
      expect((await pool.axiosRef.get('/echo')).status).toBe(200);
      expect(pool.stats()).toMatchObject({ active: 0, total: 1 });
    });

    it('cuts a stream that trickles', async () => {
      const { pool } = await start({ timeoutMs: 1_000 });
      const { data } = await pool.axiosRef.get<Readable>('/silent?everyMs=20', { responseType: 'stream' });
      data.resume();
      await expect(finished(data)).rejects.toBeInstanceOf(OperationTimeoutError);
      await server.waitUntil(({ counters }) => counters.aborted === 1 && counters.openSockets === 0);
      expect(pool.stats().active).toBe(0);
    });

    it('cuts a body that the caller does not read', async () => {
      const { pool } = await start({ timeoutMs: 1_000 });
      const { data } = await pool.axiosRef.get<Readable>('/stream?chunks=1000&bytes=100000', {
        responseType: 'stream',
      });
      await expect(once(data, 'close')).rejects.toBeInstanceOf(OperationTimeoutError);
      await server.waitUntil(({ counters }) => counters.openSockets === 0);
      expect(pool.stats().active).toBe(0);
    });

    it('does not begin before the slot is there, and can be another for one request', async () => {
      const { pool } = await start({ maxSize: 1, timeoutMs: 100 });
      const first = firstValueFrom(pool.get('/held', { timeoutMs: 0 }));
      await server.waitForHeld(1);
      const second = firstValueFrom(pool.get('/slow?ms=10'));
      await firstValueFrom(pool.get('/never', { timeoutMs: 150, acquireTimeoutMs: 200 })).catch(() => {});
      server.releaseHeld();
      const answers = await Promise.all([first, second]);
      expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    });

    it.each([
      ['the pool’s', 100, { timeout: 60_000 }, { name: 'OperationTimeoutError', timeoutMs: 100 }],
      ['timeoutMs', undefined, { timeoutMs: 100, timeout: 60_000 }, { name: 'OperationTimeoutError', timeoutMs: 100 }],
      ['timeout, before the pool’s', 60_000, { timeout: 100 }, { isAxiosError: true, code: 'ECONNABORTED' }],
      [
        'timeout, before timeoutMs',
        undefined,
        { timeoutMs: 60_000, timeout: 100 },
        { isAxiosError: true, code: 'ECONNABORTED' },
      ],
    ])(
      'wins beside axios’ own time-out when it is the shorter one: %s',
      async (_which, ofPool, ofRequest, expected) => {
        const { pool } = await start({ maxSize: 1, ...(ofPool !== undefined && { timeoutMs: ofPool }) });
        await expect(pool.axiosRef.get('/never', ofRequest)).rejects.toMatchObject(expected);
        await server.waitUntil(({ counters }) => counters.aborted === 1 && counters.openSockets === 0);
        expect(pool.stats().active).toBe(0);
      },
    );

    it('cuts a connect that is not answered, and leaves no connect behind', async () => {
      await using port = await unanswered();
      const { pool } = await start({ timeoutMs: 100 });
      await expect(pool.axiosRef.get(`http://${port.host}:${port.port}/`)).rejects.toBeInstanceOf(
        OperationTimeoutError,
      );
      expect(pool.stats().active).toBe(0);
    });
  });

  describe('and the keep-alive race', () => {
    it.each(['get', 'head', 'options', 'put', 'delete'])('repeats a %s once, on a fresh connection', async (method) => {
      const { pool } = await start({ maxSize: 1 });
      await pool.axiosRef.get('/last');
      const { status } = await pool.axiosRef.request({ url: '/echo', method });
      expect(status).toBe(200);
      expect(server.counters).toMatchObject({ requests: 2, socketsAccepted: 2 });
    });

    it.each(['post', 'patch'])('does not repeat a %s, and says so', async (method) => {
      const { pool } = await start({ maxSize: 1 });
      await pool.axiosRef.get('/last');
      const error: unknown = await pool.axiosRef
        .request({ url: '/echo?key=secret', method, data: 'x' })
        .catch((reason: unknown) => reason);
      expect(error).toMatchObject({ isAxiosError: true, code: 'ECONNRESET' });
      if (client === 'undici' && error instanceof Error) {
        expect(error.cause).toBeInstanceOf(ConnectionLostError);
        expect(error.message).not.toContain('secret');
      }
      expect(server.counters.requests).toBe(1);
      // A server that closes idle connections is not a sick one.
      expect(pool.status).toBe('healthy');
      await pool.axiosRef.post('/echo', 'x');
    });

    it('repeats only once, and not at all on a fresh connection', async () => {
      const { pool } = await start({ maxSize: 1 });
      await expect(pool.axiosRef.get('/hang-up')).rejects.toMatchObject({ isAxiosError: true, code: 'ECONNRESET' });
      expect(server.counters.requests).toBe(1);
      await pool.axiosRef.get('/last');
      await expect(pool.axiosRef.get('/hang-up')).rejects.toMatchObject({ code: 'ECONNRESET' });
      expect(server.counters.requests).toBe(3);
    });

    it('does not repeat what has been answered in part', async () => {
      let requests = 0;
      await using upstream = await startByteServer((socket) => {
        socket.on('data', () => {
          requests++;
          if (requests === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
          else socket.write('HTTP/1.1 200 OK\r\ncontent-le', () => setImmediate(() => socket.resetAndDestroy()));
        });
      });
      const { pool } = await start({ maxSize: 1, baseURL: upstream.url });
      expect((await pool.axiosRef.get('/')).data).toBe('ok');
      await expect(pool.axiosRef.get('/')).rejects.toMatchObject({ code: 'ECONNRESET' });
      expect(requests).toBe(2);
    });
  });

  describe('that closes', () => {
    it('lets requests in flight end, and refuses new ones and those that wait', async () => {
      const { pool } = await start({ maxSize: 1 });
      const inFlight = pool.axiosRef.get('/held');
      await server.waitForHeld(1);
      const waiting = firstValueFrom(pool.get('/echo'));
      const refused = expect(waiting).rejects.toBeInstanceOf(PoolClosedError);
      const closed = pool.close({ deadlineMs: 10_000 });
      await refused;
      await expect(pool.axiosRef.get('/echo')).rejects.toBeInstanceOf(PoolClosedError);
      server.releaseHeld();
      expect((await inFlight).status).toBe(200);
      await closed;
      await server.waitUntil(({ counters }) => counters.openSockets === 0);
      expect(server.counters.requests).toBe(1);
    });

    it('cuts what is still in flight at its deadline: requests, streams and leases', async () => {
      const { pool } = await start();
      const request = firstValueFrom(pool.get('/never'));
      const { data } = await pool.axiosRef.get<Readable>('/silent?everyMs=20', { responseType: 'stream' });
      const lease = await pool.acquire();
      const leased = lease.connection.get('/never');
      await server.waitUntil(({ counters }) => counters.inFlight === 3);
      const all = Promise.all([
        expect(request).rejects.toBeInstanceOf(PoolClosedError),
        expect(finished(data)).rejects.toBeInstanceOf(PoolClosedError),
        expect(leased).rejects.toBeInstanceOf(PoolClosedError),
      ]);
      const report = await pool.close({ deadlineMs: 20 });
      await all;
      expect(report).toMatchObject({ cut: 3 });
      await server.waitUntil(({ counters }) => counters.openSockets === 0);
      expect(made.log.join('\n')).not.toContain('released twice');
    });
  });

  it('counts a refused connection against the health of the backend, and no status', async () => {
    const { pool } = await start({ healthCheck: { intervalMs: 0, failureThreshold: 1 } });
    await expect(pool.axiosRef.get('/status/503')).rejects.toMatchObject({ status: 503 });
    expect(pool.status).toBe('healthy');
    await server.close();
    await expect(pool.axiosRef.get('/echo')).rejects.toMatchObject({ isAxiosError: true, code: 'ECONNREFUSED' });
    expect(pool.status).toBe('unhealthy');
  });

  it('sends nothing while the upstream is down, and goes on when it is back', async () => {
    const port = await freePort();
    const { pool } = await start({ baseURL: `http://127.0.0.1:${port}`, maxSize: 1, failFastAfterMs: 1 });
    await expect(pool.axiosRef.get('/')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await expect(pool.axiosRef.get('/')).rejects.toBeInstanceOf(BackendUnavailableError);
    await using back = await startByteServer(
      (socket) => socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')),
      { port },
    );
    expect(back.url).toContain(String(port));
    await eventually(async () => (await pool.axiosRef.get('/')).data === 'ok');
    await eventually(() => pool.status === 'healthy');
  });

  it("doesn't count what an adapter of the caller's says as a failure of the upstream", async () => {
    const { pool } = await start();
    const refused = Object.assign(new Error('mocked'), { code: 'ECONNREFUSED' });
    await expect(pool.axiosRef.get('/', { adapter: () => Promise.reject(refused) })).rejects.toBe(refused);
    expect(pool.status).toBe('healthy');
    expect(pool.stats()).toMatchObject({ active: 0, total: 1 });
  });

  it('prints no credentials in its own errors', async () => {
    const { pool } = await start({ timeoutMs: 50, headers: { authorization: 'Bearer t0p-s3cret' } });
    const error: unknown = await pool.axiosRef
      .get(`http://user:t0p-s3cret@${server.host}:${server.port}/never?token=t0p-s3cret`)
      .catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OperationTimeoutError);
    for (const printed of [
      inspect(error),
      JSON.stringify(error),
      String(error),
      inspect(pool),
      JSON.stringify(pool.config),
    ]) {
      expect(printed).not.toContain('t0p-s3cret');
    }
  });
});

describe('the health check of an HTTP pool', () => {
  it('asks for its path; what is below 500 is alive', async () => {
    let status = 200;
    const seen: string[] = [];
    await using server = await startHttpServer({
      handler: (request, response) => {
        seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
        response.writeHead(status).end('body');
        return true;
      },
    });
    await using made = await httpPool({
      baseURL: `${server.url}/v1`,
      headers: { authorization: 'Bearer x' },
      healthCheck: { path: '/health', intervalMs: 0 },
    });
    // The start has asked already.
    expect(seen).toEqual(['GET /v1/health Bearer x']);
    for (status of [200, 404, 401])
      expect(await made.pool.healthCheck()).toMatchObject({ outcome: 'alive', available: true });
    status = 503;
    expect(await made.pool.healthCheck()).toMatchObject({ outcome: 'failed', consecutiveFailures: 1 });
    expect(server.counters.requests).toBe(5);
  });

  it('without a path opens a connection and sends nothing', async () => {
    const server = await startHttpServer();
    await using made = await httpPool({ baseURL: server.url });
    expect(server.counters.socketsAccepted).toBe(0);
    expect(await made.pool.healthCheck()).toMatchObject({ outcome: 'alive' });
    await server.waitUntil(({ counters }) => counters.openSockets === 0);
    expect(server.counters).toMatchObject({ socketsAccepted: 1, requests: 0 });
    await server.close();
    expect(await made.pool.healthCheck()).toMatchObject({ outcome: 'failed' });
  });

  it('with a path makes the start wait until the upstream is alive', async () => {
    let status = 503;
    await using server = await startHttpServer({
      handler: (_request, response) => {
        response.writeHead(status).end();
        return true;
      },
    });
    const starting = httpPool({ baseURL: server.url, healthCheck: { path: '/health', intervalMs: 0 } });
    let started = false;
    void starting.then(() => (started = true)).catch(() => undefined);
    await server.waitUntil(({ counters }) => counters.requests >= 2);
    expect(started).toBe(false);
    status = 200;
    await using made = await starting;
    await eventually(() => made.pool.status === 'healthy');
  });
});

describe('a response of an HTTP pool', () => {
  it.each([undefined, 'gzip'])(
    'is read in the context of who asked, on a connection that another tenant opened (%s)',
    async (coding) => {
      const { default: zlib } = await import('node:zlib');
      await using server = await startHttpServer({
        handler: (_request, response) => {
          response.writeHead(200, coding === undefined ? {} : { 'content-encoding': coding });
          const body = Buffer.alloc(50_000, 'x');
          response.end(coding === undefined ? body : zlib.gzipSync(body));
          return true;
        },
      });
      await using made = await httpPool({ baseURL: server.url, maxSize: 1 });
      const { pool, tenants } = made;
      await tenants.run('acme', () => pool.axiosRef.get('/'));
      await tenants.run('globex', async () => {
        const { data } = await pool.axiosRef.get<Readable>('/', { responseType: 'stream' });
        const seen = new Set<string | undefined>();
        data.on('data', () => seen.add(tenants.current()));
        data.on('end', () => seen.add(tenants.current()));
        await finished(data);
        expect([...seen]).toEqual(['globex']);
      });
      expect(server.counters.socketsAccepted).toBe(1);
    },
  );
});

async function unanswered(): Promise<AsyncDisposable & { readonly host: string; readonly port: number }> {
  const { host, port, close } = await startUnansweredPort();
  return { host, port, [Symbol.asyncDispose]: async () => close() };
}

describe('an axios error of an HTTP pool', () => {
  it('is one: type, code, status, response', async () => {
    await using server = await startHttpServer();
    await using made = await httpPool({ baseURL: server.url });
    const error: unknown = await firstValueFrom(made.pool.get('/status/404')).catch((reason: unknown) => reason);
    expect(axios.isAxiosError(error)).toBe(true);
    expect(error).toMatchObject({
      code: 'ERR_BAD_REQUEST',
      status: 404,
      response: { status: 404, data: { status: 404 } },
    });
  });
});
