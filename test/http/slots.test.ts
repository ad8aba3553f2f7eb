// How many requests are in flight: in all, of one tenant, and for how long each counts.
import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import axios from 'axios';
import { firstValueFrom, type Subscription } from 'rxjs';

import { AcquireTimeoutError, LeaseReleasedError, TenantLimitError } from '../../lib/errors.js';
import type { HttpPoolOptions } from '../../lib/http/http-pool.options.js';
import { eventually } from '../support/eventually.js';
import { type HttpFixture, startHttpServer } from '../support/servers/index.js';
import { httpPool, type MadePool } from './support/http-pools.js';

describe('the slots of an HTTP pool', () => {
  let server: HttpFixture;
  let made: MadePool;

  /** A pool whose requests tell the server their tenant. */
  async function start(options: HttpPoolOptions): Promise<MadePool> {
    made = await httpPool({ baseURL: server.url, ...options });
    made.pool.axiosRef.interceptors.request.use((config) => {
      config.headers.set('x-tenant-id', made.tenants.current() ?? 'nobody');
      return config;
    });
    return made;
  }

  /** A stream that nobody has read yet. */
  async function openStream(url = '/stream?chunks=50&bytes=20000'): Promise<Readable> {
    const { data } = await firstValueFrom(made.pool.get<unknown>(url, { responseType: 'stream' }));
    if (!(data instanceof Readable)) throw new Error('not a stream');
    return data;
  }

  beforeEach(async () => {
    server = await startHttpServer();
  });

  afterEach(async () => {
    await made[Symbol.asyncDispose]();
    await server.close();
  });

  it('are never more than maxSize, whichever way requests are made', async () => {
    const { pool } = await start({ maxSize: 4 });
    const all = Promise.all([
      ...Array.from({ length: 10 }, () => firstValueFrom(pool.get('/held'))),
      ...Array.from({ length: 10 }, () => pool.axiosRef.get('/held')),
      ...Array.from({ length: 10 }, () => pool.axiosRef.create()({ url: '/held' })),
      ...Array.from({ length: 10 }, () => pool.axiosRef.get('/held', { adapter: 'http' })),
      ...Array.from({ length: 10 }, () => pool.use((client) => client.get('/held'))),
    ]);
    for (let answered = 0; answered < 50; answered += server.releaseHeld(1))
      await server.waitForHeld(Math.min(4, 50 - answered));
    await all;
    expect(server.counters).toMatchObject({ requests: 50, maxInFlight: 4 });
    expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
  });

  it('reuse their connections: no more sockets than slots', async () => {
    const { pool } = await start({ maxSize: 3 });
    await Promise.all(Array.from({ length: 60 }, (_, i) => pool.axiosRef.get(`/echo?${i}`)));
    expect(server.counters).toMatchObject({ requests: 60, socketsAccepted: 3 });
  });

  it('are never more than tenants.max for one tenant, while others go on', async () => {
    const { pool, tenants } = await start({ maxSize: 10, tenants: { max: 2 } });
    const asTenant = (id: string) =>
      tenants.run(id, () => Array.from({ length: 8 }, () => firstValueFrom(pool.get('/held'))));
    const all = Promise.all([...asTenant('acme'), ...asTenant('globex')]);
    await server.waitForHeld(4);
    for (let answered = 0; answered < 16; answered += server.releaseHeld(1))
      await server.waitUntil(({ held }) => held > 0);
    await all;
    expect(server.tenant('acme')).toMatchObject({ requests: 8, maxInFlight: 2 });
    expect(server.tenant('globex')).toMatchObject({ requests: 8, maxInFlight: 2 });
  });

  it('refuse a tenant at its maximum that does not want to wait, without sending anything', async () => {
    const { pool, tenants } = await start({ tenants: { max: 1, whenFull: 'reject' } });
    await tenants.run('acme', async () => {
      const first = pool.axiosRef.get('/held');
      await server.waitForHeld(1);
      await expect(pool.axiosRef.get('/echo')).rejects.toBeInstanceOf(TenantLimitError);
      await expect(firstValueFrom(pool.get('/echo'))).rejects.toBeInstanceOf(TenantLimitError);
      server.releaseHeld();
      await first;
    });
    expect(server.counters.requests).toBe(1);
  });

  it('are waited for no longer than the request says', async () => {
    const { pool } = await start({ maxSize: 1 });
    const first = pool.axiosRef.get('/held');
    await server.waitForHeld(1);
    await expect(firstValueFrom(pool.get('/echo', { acquireTimeoutMs: 20 }))).rejects.toBeInstanceOf(
      AcquireTimeoutError,
    );
    server.releaseHeld();
    await first;
  });

  it('are held by a stream until it has been read', async () => {
    const { pool } = await start({ maxSize: 1 });
    const stream = await openStream();
    expect(pool.stats().active).toBe(1);
    const next = pool.axiosRef.get('/echo');
    await eventually(() => pool.stats().waiting === 1);
    expect(server.counters.requests).toBe(1);
    stream.resume();
    await finished(stream);
    await next;
    expect(server.counters.maxInFlight).toBe(1);
    expect(pool.stats().active).toBe(0);
  });

  it('come back, and their socket is closed, when a stream is destroyed', async () => {
    const { pool } = await start({ maxSize: 1 });
    (await openStream('/silent?everyMs=20')).destroy();
    await server.waitUntil(({ counters }) => counters.aborted === 1 && counters.openSockets === 0);
    expect((await pool.axiosRef.get('/echo')).status).toBe(200);
  });

  it('are held by the body of an error as well', async () => {
    const { pool } = await start({ maxSize: 1 });
    const error: unknown = await pool.axiosRef
      .get('/status/500', { responseType: 'stream' })
      .catch((reason: unknown) => reason);
    if (!axios.isAxiosError(error) || !(error.response?.data instanceof Readable))
      throw new Error('no error with a stream');
    expect(pool.stats().active).toBe(1);
    error.response.data.resume();
    await finished(error.response.data);
    expect(pool.stats().active).toBe(0);
  });

  it('come back when an error is thrown before anything is sent', async () => {
    const { pool } = await start({ maxSize: 1 });
    for (let i = 0; i < 3; i++)
      await expect(pool.axiosRef.post('/echo', 'too long', { maxBodyLength: 3 })).rejects.toThrow();
    expect(pool.stats()).toMatchObject({ active: 0, total: 1 });
  });

  it('come back when a request is unsubscribed from in flight, and the server is told', async () => {
    const { pool } = await start({ maxSize: 1 });
    const subscription = pool.get('/never').subscribe();
    await server.waitUntil(({ counters }) => counters.inFlight === 1);
    subscription.unsubscribe();
    await server.waitUntil(({ counters }) => counters.aborted === 1 && counters.openSockets === 0);
    expect(await pool.axiosRef.get('/echo')).toMatchObject({ status: 200 });
  });

  it('come back when a stream is unsubscribed from before its answer', async () => {
    const { pool } = await start({ maxSize: 1 });
    const subscription = pool.get('/never', { responseType: 'stream' }).subscribe();
    await server.waitUntil(({ counters }) => counters.inFlight === 1);
    subscription.unsubscribe();
    await server.waitUntil(({ counters }) => counters.aborted === 1);
    expect(await pool.axiosRef.get('/echo')).toMatchObject({ status: 200 });
  });

  it('keep a stream that was delivered, although the observable has completed', async () => {
    await start({ maxSize: 1 });
    const stream = await openStream('/stream?chunks=5&bytes=10&everyMs=10');
    let bytes = 0;
    for await (const chunk of stream as AsyncIterable<Buffer>) bytes += chunk.length;
    expect(bytes).toBe(50);
  });

  it('are not waited for any longer after unsubscribing', async () => {
    const { pool } = await start({ maxSize: 1 });
    const first = pool.axiosRef.get('/held');
    await server.waitForHeld(1);
    const waiting: Subscription = pool.get('/echo').subscribe();
    await eventually(() => pool.stats().waiting === 1);
    waiting.unsubscribe();
    expect(pool.stats().waiting).toBe(0);
    server.releaseHeld();
    await first;
    expect(server.counters.requests).toBe(1);
  });

  it.each(['a signal', 'a cancel token'])(
    'come back when %s ends the request: waiting, in flight, or in its body',
    async (which) => {
      const { pool } = await start({ maxSize: 1 });
      const cancellable = () => {
        if (which === 'a signal') {
          const controller = new AbortController();
          return { options: { signal: controller.signal }, cancel: () => controller.abort() };
        }
        const source = axios.CancelToken.source();
        return { options: { cancelToken: source.token }, cancel: () => source.cancel() };
      };

      const inFlight = cancellable();
      const first = pool.axiosRef.get('/never', inFlight.options);
      await server.waitUntil(({ counters }) => counters.inFlight === 1);

      const waiting = cancellable();
      const second = pool.axiosRef.get('/echo', waiting.options);
      await eventually(() => pool.stats().waiting === 1);
      waiting.cancel();
      await expect(second).rejects.toMatchObject({ code: 'ERR_CANCELED', isAxiosError: true });
      expect(pool.stats().waiting).toBe(0);

      inFlight.cancel();
      await expect(first).rejects.toMatchObject({ code: 'ERR_CANCELED' });
      await server.waitUntil(({ counters }) => counters.aborted === 1);

      const inBody = cancellable();
      const { data } = await pool.axiosRef.get<Readable>('/silent?everyMs=20', {
        responseType: 'stream',
        ...inBody.options,
      });
      inBody.cancel();
      await expect(finished(data)).rejects.toMatchObject({ code: 'ERR_CANCELED' });
      await server.waitUntil(({ counters }) => counters.aborted === 2);
      expect((await pool.axiosRef.get('/echo')).status).toBe(200);
      expect(pool.stats()).toMatchObject({ active: 0, total: 1 });
    },
  );

  it('are reopened by evict(): the next requests use new sockets', async () => {
    const { pool } = await start({ maxSize: 1 });
    await pool.axiosRef.get('/echo');
    pool.evict();
    await server.waitUntil(({ counters }) => counters.openSockets === 0);
    await pool.axiosRef.get('/echo');
    expect(server.counters.socketsAccepted).toBe(2);
  });

  describe('that are leased', () => {
    it('carry the requests of the lease one after the other', async () => {
      const { pool } = await start({ maxSize: 2 });
      await using lease = await pool.acquire();
      const { connection } = lease;
      const all = Promise.all([
        connection.get('/held'),
        connection({ url: '/held' }),
        connection.request({ url: '/held' }),
      ]);
      for (let answered = 0; answered < 3; answered += server.releaseHeld()) await server.waitForHeld(1);
      await all;
      expect(server.counters).toMatchObject({ requests: 3, maxInFlight: 1, socketsAccepted: 1 });
      expect(pool.stats().active).toBe(1);
    });

    it('share defaults and interceptors with axiosRef', async () => {
      const { pool, tenants } = await start({ headers: { 'x-default': 'yes' } });
      await tenants.run('acme', () =>
        pool.use(async (client) => {
          expect(client.defaults.baseURL).toBe(server.url);
          const { data } = await client.get<{ headers: Record<string, string> }>('/echo');
          expect(data.headers).toMatchObject({ 'x-default': 'yes', 'x-tenant-id': 'acme' });
        }),
      );
    });

    it('refuse use after release', async () => {
      const { pool } = await start({});
      const lease = await pool.acquire();
      const { connection } = lease;
      lease.release();
      await expect(connection.get('/echo')).rejects.toBeInstanceOf(LeaseReleasedError);
      await expect(connection({ url: '/echo' })).rejects.toBeInstanceOf(LeaseReleasedError);
      await expect(connection.create()({ url: '/echo' })).rejects.toBeInstanceOf(LeaseReleasedError);
      expect(() => lease.connection).toThrow(LeaseReleasedError);
      expect(server.counters.requests).toBe(0);
    });

    it('end what is still under way on them when they are released', async () => {
      const { pool } = await start({ maxSize: 1 });
      const lease = await pool.acquire();
      const underWay = lease.connection.get('/never');
      const behindIt = lease.connection.get('/echo');
      await server.waitUntil(({ counters }) => counters.inFlight === 1);
      lease.release();
      await expect(underWay).rejects.toBeInstanceOf(LeaseReleasedError);
      await expect(behindIt).rejects.toBeInstanceOf(LeaseReleasedError);
      await server.waitUntil(({ counters }) => counters.aborted === 1);
      expect((await pool.axiosRef.get('/echo')).status).toBe(200);
    });

    it.each(['when their connections are replaced', 'when they have served often enough'])(
      'end that too %s',
      async (when) => {
        const { pool } = await start({ maxSize: 1, maxUses: when.includes('often') ? 1 : 0 });
        const lease = await pool.acquire();
        const underWay = lease.connection.get('/held');
        await server.waitForHeld(1);
        if (when.includes('replaced')) pool.evict();
        lease.release();
        server.releaseHeld();
        await expect(underWay).rejects.toBeInstanceOf(LeaseReleasedError);
        expect((await pool.axiosRef.get('/echo')).status).toBe(200);
      },
    );

    it('are said to have been released when their borrower ends them, also while the pool closes', async () => {
      const { pool } = await start({ maxSize: 1 });
      const lease = await pool.acquire();
      const underWay = lease.connection.get('/never');
      await server.waitUntil(({ counters }) => counters.inFlight === 1);
      const closed = pool.close({ deadlineMs: 10_000 });
      lease.release(true);
      await expect(underWay).rejects.toBeInstanceOf(LeaseReleasedError);
      await closed;
    });
  });
});
