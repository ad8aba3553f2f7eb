import { AsyncLocalStorage } from 'node:async_hooks';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DedicatedLimitError } from '../../lib/errors.js';
import { eventually } from '../support/eventually.js';
import { clientsOf, observer, ownRedis, redisPool } from './pools.js';

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

  it('tell their listeners in the context of whoever added them', async () => {
    await using test = await redisPool({ url: redis.url });
    const tenant = new AsyncLocalStorage<string>();
    const mine = tenant.run('opener', () => test.pool.client.duplicate());
    const heard = tenant.run(
      'acme',
      () => new Promise((resolve) => mine.on('message', () => resolve(tenant.getStore()))),
    );
    await mine.subscribe('news');
    await tenant.run('publisher', () => test.pool.client.publish('news', 'hello'));
    expect(await heard).toBe('acme');
  });
});
