// What counts as the upstream being there: at the start, in probes, and when requests fail.
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';

import { describe, expect, it } from '@jest/globals';

import { eventually } from '../support/eventually.js';
import { freePort, startHttpServer } from '../support/servers/index.js';
import { httpPool } from './support/http-pools.js';

describe('the upstream of an HTTP pool', () => {
  it('must be there for a start that is waited for, without healthCheck.path too', async () => {
    const port = await freePort();
    let started = false;
    const starting = httpPool({ baseURL: `http://127.0.0.1:${port}`, startup: 'wait' }).then((made) => {
      started = true;
      return made;
    });
    const server = net.createServer((socket) => void socket.on('error', () => {}).resume());
    await new Promise((resolve) => setImmediate(resolve));
    expect(started).toBe(false);
    server.listen(port, '127.0.0.1');
    await using made = await starting;
    await eventually(() => made.pool.status === 'healthy');
    server.close();
  });

  it.each([
    ['no address', {}],
    ['a proxy', { baseURL: 'http://upstream.invalid', client: { proxy: { host: '127.0.0.1', port: 1 } } }],
    ['an agent of its own', { baseURL: 'http://upstream.invalid', client: { lookup: () => {} } }],
  ])('is not waited for where there is nothing to ask: %s', async (_what, options) => {
    await using made = await httpPool({ startup: 'wait', ...options });
    expect(made.pool.status).toBe('healthy');
  });

  it('is probed without waiting for the server to close its side', async () => {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => void socket.on('error', () => {}).resume());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await using made = await httpPool({ baseURL: `http://127.0.0.1:${port}` });
    expect(await made.pool.healthCheck()).toMatchObject({ outcome: 'alive' });
    server.close();
  });

  describe.each(['undici', "Node's client"])('over %s', (client) => {
    it('is not asked for a connection while it answers requests, until one of them fails', async () => {
      await using server = await startHttpServer();
      await using made = await httpPool({ baseURL: server.url, maxSize: 1, healthCheck: { intervalMs: 60_000 } });
      const { pool } = made;
      if (client !== 'undici') pool.axiosRef.defaults.family = 4;
      await pool.axiosRef.get('/echo');
      expect(await pool.healthCheck()).toMatchObject({ outcome: 'alive' });
      expect(server.counters.socketsAccepted).toBe(1);
      await pool.axiosRef.get('/hang-up').catch(() => {});
      const accepted = server.counters.socketsAccepted;
      await pool.healthCheck();
      await server.waitUntil(({ counters }) => counters.socketsAccepted > accepted);
      await eventually(() => pool.status === 'healthy');
    });

    it.each([
      ['a pool without an address', undefined],
      ['a pool with another one', 'own'],
    ])('does not fail for the hosts that requests name: %s', async (_what, which) => {
      await using server = await startHttpServer();
      await using made = await httpPool({
        maxSize: 1,
        healthCheck: { intervalMs: 0, failureThreshold: 1 },
        ...(which !== undefined && { baseURL: server.url }),
      });
      const { pool } = made;
      if (client !== 'undici') pool.axiosRef.defaults.family = 4;
      const changes: string[] = [];
      pool.on('status', ({ to }) => void changes.push(to));
      const dead = `http://127.0.0.1:${await freePort()}`;
      for (let i = 0; i < 5; i++) {
        await expect(pool.axiosRef.get(dead)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
        expect((await pool.axiosRef.get(`${server.url}/echo`)).status).toBe(200);
        await expect(pool.axiosRef.get(`${server.url}/hang-up`)).rejects.toMatchObject({ code: 'ECONNRESET' });
        if (which !== undefined) break;
      }
      if (which === undefined) expect(changes).toEqual([]);
      expect(made.log.filter((line) => line.includes('could not connect'))).toEqual([]);
      await eventually(() => pool.stats().active === 0);
    });
  });
});
