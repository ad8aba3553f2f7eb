import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';

import { DedicatedLimitError } from '../../lib/errors.js';
import { eventually } from '../support/eventually.js';
import { startFaultProxy, startRedis } from '../support/servers/index.js';
import { clientsOf, observer, ownRedis, redisPool } from './pools.js';
import { oddServer } from './support/odd-server.js';

describe('clients from duplicate()', () => {
  let redis: Awaited<ReturnType<typeof ownRedis>>;

  beforeAll(async () => {
    redis = await ownRedis();
  });
  afterAll(() => redis.release());

  it('are connections of their own, on which everything is allowed', async () => {
    await using test = await redisPool({ url: redis.url });
    const { client } = test.pool;
    const mine = client.duplicate();
    const job = mine.blpop('jobs', 5);
    await client.rpush('jobs', 'first');
    expect(await job).toEqual(['jobs', 'first']);
    const heard = new Promise((resolve) => mine.on('message', (...args) => resolve(args)));
    await mine.subscribe('news');
    await client.publish('news', 'hello');
    expect(await heard).toEqual(['news', 'hello']);
  });

  it('take the options of the pool and those of the caller, as BullMQ needs it', async () => {
    await using test = await redisPool({ url: redis.url });
    const { client } = test.pool;
    const consumer = client.duplicate({ maxRetriesPerRequest: null, connectionName: 'consumer' });
    expect(consumer.options).toMatchObject({
      maxRetriesPerRequest: null,
      db: redis.db,
      autoResendUnfulfilledCommands: false,
      lazyConnect: false,
    });
    expect(client.options.maxRetriesPerRequest).toBeNull();
    expect(await consumer.client('GETNAME')).toBe('consumer');
  });

  it('are counted, with the duplicates of duplicates, those of leases, and monitors', async () => {
    await using test = await redisPool({ url: redis.url, maxDuplicates: 4 });
    const { pool } = test;
    const first = pool.client.duplicate();
    const second = first.duplicate();
    const third = await pool.use((mine) => mine.duplicate());
    const fourth = await pool.client.monitor();
    expect(pool.duplicates).toBe(4);
    expect(() => second.duplicate()).toThrow(DedicatedLimitError);
    expect(() => pool.client.duplicate()).toThrow(/4 of 4 dedicated connections.*maxDuplicates/s);
    const seen = new Promise((resolve) => fourth.on('monitor', (_, args) => resolve(args)));
    await third.ping('look');
    expect(await seen).toEqual(['ping', 'look']);
    await second.quit();
    await eventually(() => pool.duplicates === 3);
    await pool.client.duplicate().ping();
    expect(pool.duplicates).toBe(4);
  });

  it('end with the pool, whatever they are doing', async () => {
    await using test = await redisPool({ url: redis.url }, 'ending');
    await using outside = observer(redis.url);
    const { client } = test.pool;
    const idle = client.duplicate();
    const subscriber = client.duplicate();
    const blocked = client.duplicate();
    await Promise.all([idle.ping(), subscriber.subscribe('news')]);
    const job = blocked.blpop('nothing', 0);
    await eventually(async () => (await outside.info('clients')).includes('blocked_clients:1'));
    expect(await clientsOf(outside, 'test:ending')).toHaveLength(3);
    const rejection = expect(job).rejects.toThrow('Connection is closed.');
    await test.pool.close({ deadlineMs: 1_000 });
    await rejection;
    await eventually(async () => (await clientsOf(outside, 'test:ending')).length === 0);
    expect([idle.status, subscriber.status, blocked.status]).toEqual(['end', 'end', 'end']);
  });

  it('come back by themselves after a lost connection, and fail what was under way instead of forgetting it', async () => {
    await using test = await redisPool({ url: redis.url });
    await using outside = observer(redis.url);
    const mine = test.pool.client.duplicate();
    const id = await mine.client('ID');
    const job = mine.blpop('nothing', 0);
    const rejection = expect(job).rejects.toThrow('Connection is closed.');
    await eventually(async () => (await outside.info('clients')).includes('blocked_clients:1'));
    await outside.client('KILL', 'ID', id);
    await rejection;
    expect(await mine.ping()).toBe('PONG');
    expect(test.pool.duplicates).toBe(1);
  });

  it('have duplicates of their own, with their options and not the pool’s', async () => {
    await using test = await redisPool({ url: redis.url });
    const first = test.pool.client.duplicate({ db: 5, keyPrefix: 'a:', connectionName: 'first' });
    const second = first.duplicate({ connectionName: 'second' });
    const third = second.duplicate();
    expect(third.options).toMatchObject({
      db: 5,
      keyPrefix: 'a:',
      connectionName: 'second',
      maxRetriesPerRequest: null,
    });
    await third.set('where', 'there');
    expect(await first.get('where')).toBe('there');
    expect(await test.pool.client.get('a:where')).toBeNull();
    expect(await third.client('GETNAME')).toBe('second');
  });

  it('are lazy where the shared client says that it is', async () => {
    await using eager = await redisPool({ url: redis.url });
    expect(eager.pool.client.options.lazyConnect).toBe(false);
    expect(eager.pool.client.duplicate().status).toBe('connecting');
    await using lazy = await redisPool({ url: redis.url, client: { lazyConnect: true } });
    expect(lazy.pool.client.options.lazyConnect).toBe(true);
    const mine = lazy.pool.client.duplicate();
    expect(mine.status).toBe('wait');
    await mine.connect();
    expect(mine.status).toBe('ready');
  });

  it.each([2, 3] as const)(
    'subscribe again however often the connection is lost before that is answered (RESP%d)',
    async (protocol) => {
      await using proxy = await startFaultProxy({
        target: { host: '127.0.0.1', port: Number(new URL(redis.url).port) },
      });
      await using test = await redisPool({ url: `redis://${proxy.host}:${proxy.port}`, client: { protocol } });
      await using outside = observer(redis.url);
      const subscriber = test.pool.client.duplicate({ connectionName: 'subscriber' });
      const heard: unknown[] = [];
      subscriber.on('message', (_, text) => heard.push(text));
      await subscriber.subscribe('news', 'sports');
      await subscriber.psubscribe('n*');
      for (let loss = 0; loss < 3; loss++) {
        // The first subscription of the next connection is cut off in the middle.
        const raw = subscriber;
        const cut = new Promise<void>((resolve) => {
          raw.once('ready', () => {
            raw.stream.destroy();
            resolve();
          });
        });
        raw.stream.destroy();
        await cut;
      }
      // The server may still count the connection before, which hears nothing any more.
      await eventually(async () => {
        await outside.publish('news', 'hello');
        return heard.includes('hello');
      });
      await eventually(async () => (await outside.publish('news', 'hello')) === 2);
      expect(subscriber.status).toBe('ready');
    },
  );

  it.each<[string, (client: Redis) => unknown]>([
    ['disconnect()', (client) => client.disconnect()],
    ['quit()', (client) => client.quit()],
    ["call('quit')", (client) => client.call('quit')],
  ])('free their place when they are ended by %s while they wait to reconnect', async (_, finish) => {
    await using server = await startRedis();
    await using test = await redisPool({ url: server.url, maxDuplicates: 2 });
    const { pool } = test;
    const mine = pool.client.duplicate();
    await mine.ping();
    await server.halt();
    await eventually(() => mine.status === 'reconnecting');
    const ended = new Promise<void>((resolve) => mine.once('end', resolve));
    await finish(mine);
    await ended;
    expect([mine.status, pool.duplicates]).toEqual(['end', 0]);
    await expect(mine.ping()).rejects.toThrow('Connection is closed.');
    await server.start();
    await mine.connect();
    expect(await mine.ping()).toBe('PONG');
    expect(pool.duplicates).toBe(1);
    // It reconnects again, as ever.
    await server.restart();
    await eventually(async () => (await mine.ping()) === 'PONG');
  });

  it('settle what waits for a connection when they are ended instead', async () => {
    await using server = await startRedis();
    await using test = await redisPool({ url: server.url });
    const mine = test.pool.client.duplicate();
    await mine.ping();
    await server.halt();
    await eventually(() => mine.status === 'reconnecting');
    const waiting = mine.subscribe('news');
    mine.disconnect();
    await expect(waiting).rejects.toThrow('Connection is closed.');
    await eventually(() => test.pool.duplicates === 0);
  });

  it('a subscriber whose connection has gone silent is found by a ping, and subscribes again', async () => {
    await using proxy = await startFaultProxy({ target: { host: '127.0.0.1', port: Number(new URL(redis.url).port) } });
    await using test = await redisPool({
      url: `redis://${proxy.host}:${proxy.port}`,
      healthCheck: { intervalMs: 100, timeoutMs: 200 },
    });
    await using outside = observer(redis.url);
    const subscriber = test.pool.client.duplicate();
    await subscriber.subscribe('alarms');
    const lost = new Promise<void>((resolve) => subscriber.once('close', resolve));
    proxy.blackHole();
    await lost;
    await proxy.restore();
    const heard = new Promise((resolve) => subscriber.once('message', (_, text) => resolve(text)));
    await eventually(async () => (await outside.publish('alarms', 'fire')) > 0 && subscriber.status === 'ready', {
      withinMs: 10_000,
    });
    expect(await heard).toBe('fire');
  });

  it('connects to a server that accepts and says nothing are given up and tried again', async () => {
    await using server = await oddServer();
    server.answer = () => undefined;
    await using test = await redisPool({ url: server.url, minSize: 0, connectTimeoutMs: 100 });
    const mine = test.pool.client.duplicate();
    const shared = test.pool.start();
    await eventually(() => server.accepted >= 4);
    server.answer = undefined;
    await shared;
    expect(await mine.ping()).toBe('PONG');
  });

  it('that were at work when the pool closed are named in its report', async () => {
    await using test = await redisPool({ url: redis.url });
    await using outside = observer(redis.url);
    const { pool, tenants } = test;
    const worker = tenants.run('acme', () => pool.client.duplicate({ connectionName: 'worker' }));
    const idle = pool.client.duplicate();
    await Promise.all([idle.ping(), worker.ping()]);
    const job = worker.blpop('nothing', 0).catch((error: unknown) => error);
    await eventually(async () => (await outside.info('clients')).includes('blocked_clients:1'));
    const told = new Promise((resolve) => pool.on('close', resolve));
    const report = await pool.close({ deadlineMs: 100 });
    expect(report).toMatchObject({ cut: 1, holders: [{ tenantId: 'acme', heldMs: expect.any(Number) }] });
    expect(report.holders[0]?.stack).toBe('through client.duplicate() "worker", at BLPOP');
    expect(await told).toEqual(report);
    expect(String(await job)).toContain('Connection is closed.');
  });
});
