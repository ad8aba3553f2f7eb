// Libraries that take a client of ioredis, on the clients of a pool.
import { createServer } from 'node:http';

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { createAdapter } from '@socket.io/redis-streams-adapter';
import { Queue, QueueEvents, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { Server } from 'socket.io';

import { BackendUnavailableError } from '../../lib/errors.js';
import { eventually } from '../support/eventually.js';
import { freePort, startRedis } from '../support/servers/index.js';
import { ownRedis, redisPool } from './pools.js';

describe('on the shared client', () => {
  let redis: Awaited<ReturnType<typeof ownRedis>>;

  beforeAll(async () => {
    redis = await ownRedis();
  });
  afterAll(() => redis.release());

  it("BullMQ's Queue, Worker and QueueEvents take it as it is", async () => {
    await using test = await redisPool({ url: redis.url });
    const { client } = test.pool;
    const queue = new Queue('doubling', { connection: client });
    const events = new QueueEvents('doubling', { connection: client });
    const worker = new Worker('doubling', async (job) => Number(job.data) * 2, { connection: client });
    await events.waitUntilReady();
    const job = await queue.add('double', 21);
    expect(await job.waitUntilFinished(events)).toBe(42);
    await Promise.all([worker.close(), events.close(), queue.close()]);
    await eventually(() => test.pool.duplicates === 0);
    expect(await client.ping()).toBe('PONG');
  });

  it("socket.io's adapter for streams finds the state of a duplicate as the options say", async () => {
    await using test = await redisPool({ url: redis.url });
    const servers = [1, 2].map(
      () => new Server(createServer(), { adapter: createAdapter(test.pool.client, { blockTimeInMs: 50 }) }),
    );
    const [here, there] = servers;
    const heard = new Promise((resolve) => there?.on('hello', resolve));
    const again = setInterval(() => here?.serverSideEmit('hello', 1), 20);
    expect(await heard).toBe(1);
    clearInterval(again);
    await Promise.all(servers.map((server) => server.close()));
    // What the adapter has begun is answered: it looks after none of its promises.
    await test.pool.close({ deadlineMs: 5_000 });
  });

  describe.each(['shared', 'duplicate', 'lease'] as const)('a spy on a client (%s)', (kind) => {
    it('is seen by every command, calls the original once, and can be taken away', async () => {
      await using test = await redisPool({ url: redis.url });
      await using lease = await test.pool.acquire();
      const clients = { shared: test.pool.client, duplicate: test.pool.client.duplicate(), lease: lease.connection };
      const client = clients[kind];
      const original = client.sendCommand;
      const spy = jest.spyOn(client, 'sendCommand');
      await client.set('spied', 1);
      expect(await client.pipeline().get('spied').exec()).toEqual([[null, '1']]);
      expect(spy.mock.calls.map(([command]) => command.name)).toEqual(['set', 'get']);
      spy.mockRestore();
      expect(client.sendCommand).toBe(original);
      expect(Object.hasOwn(client, 'sendCommand')).toBe(false);
      expect(await client.get('spied')).toBe('1');
      expect(spy.mock.calls).toHaveLength(0);
    });

    it('may stand in for duplicate(), also where the client itself calls it', async () => {
      await using test = await redisPool({ url: redis.url });
      await using lease = await test.pool.acquire();
      const clients = { shared: test.pool.client, duplicate: test.pool.client.duplicate(), lease: lease.connection };
      const client = clients[kind];
      const spy = jest.spyOn(client, 'duplicate');
      const monitor = await client.monitor();
      expect(spy).toHaveBeenCalledTimes(1);
      monitor.disconnect();
      spy.mockImplementation(() => client);
      expect(client.duplicate()).toBe(client);
      spy.mockRestore();
      expect(client.duplicate()).not.toBe(client);
    });

    it('passes for a client, and shows nothing of it when it is enumerated', async () => {
      await using test = await redisPool({ url: redis.url });
      await using lease = await test.pool.acquire();
      const clients = { shared: test.pool.client, duplicate: test.pool.client.duplicate(), lease: lease.connection };
      const client = clients[kind];
      expect(client).toBeInstanceOf(Redis);
      expect(Object.keys(client)).toEqual([]);
      expect('status' in client && 'get' in client && !('nonsense' in client)).toBe(true);
      client.setMaxListeners(37);
      expect(client.getMaxListeners()).toBe(37);
      Reflect.set(client, 'note', 'mine');
      expect(Reflect.get(client, 'note')).toBe('mine');
      Reflect.deleteProperty(client, 'note');
      expect(Reflect.get(client, 'note')).toBeUndefined();
    });
  });

  it('connect() resolves when it is connected, and rejects when the server can not be reached', async () => {
    const port = await freePort();
    await using nowhere = await redisPool({ url: `redis://127.0.0.1:${port}`, minSize: 0 });
    await expect(nowhere.pool.client.connect()).rejects.toThrow(BackendUnavailableError);
    const byCallback = await new Promise((resolve) => void nowhere.pool.client.connect(resolve));
    expect(byCallback).toBeInstanceOf(BackendUnavailableError);
    expect(String(byCallback)).toContain('ECONNREFUSED');

    await using test = await redisPool({ url: redis.url });
    await test.pool.client.connect();
    await test.pool.client.connect();
    expect(test.pool.client.status).toBe('ready');

    await using server = await startRedis();
    await using later = await redisPool({ url: server.url });
    await later.pool.start();
    await server.halt();
    await eventually(() => later.pool.client.status !== 'ready');
    await expect(later.pool.client.connect()).rejects.toThrow(BackendUnavailableError);
    await server.start();
    await eventually(async () => (await later.pool.client.connect().then(() => 'connected')) === 'connected');
  });

  it('keeps what callers defined and replaced when the pool moves to another connection', async () => {
    await using test = await redisPool({ url: redis.url, client: { enableAutoPipelining: true } });
    const { client } = test.pool;
    client.defineCommand('answer', { numberOfKeys: 0, lua: 'return 42' });
    await client.ping();
    const replies = Array.from({ length: 20 }, (_, index) => client.set(`auto:${index}`, index));
    test.pool.evict();
    replies.push(...Array.from({ length: 20 }, (_, index) => client.set(`auto:${index}`, index)));
    expect(new Set(await Promise.all(replies))).toEqual(new Set(['OK']));
    const answer: unknown = Reflect.get(client, 'answer');
    expect(typeof answer === 'function' && (await Reflect.apply(answer, client, []))).toBe(42);
  });
});
