import { AsyncLocalStorage } from 'node:async_hooks';
import { inspect } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';

import { CommandRefusedError, PoolClosedError } from '../../lib/errors.js';
import { claimRedis, type TestRedis } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { clientsOf, observer, redisPool } from './pools.js';

describe('the shared Redis client', () => {
  let redis: TestRedis;

  beforeAll(async () => {
    redis = await claimRedis();
  });
  afterAll(() => redis.release());

  it('opens nothing until it is used', async () => {
    await using test = await redisPool({ url: redis.url }, 'cold');
    await using outside = observer(redis.url);
    expect(test.pool.client.status).toBe('wait');
    expect(await clientsOf(outside, 'test:cold')).toHaveLength(0);
  });

  it('is connected once the pool has started', async () => {
    await using test = await redisPool({ url: redis.url });
    await test.pool.start();
    expect(test.pool.client.status).toBe('ready');
  });

  it('carries the commands of all callers over one connection', async () => {
    await using test = await redisPool({ url: redis.url, minSize: 0 }, 'crowd');
    await using outside = observer(redis.url);
    const { client } = test.pool;
    const replies = await Promise.all(
      Array.from({ length: 200 }, (_, index) => client.set(`k${index}`, index).then(() => client.get(`k${index}`))),
    );
    expect(replies).toEqual(Array.from({ length: 200 }, (_, index) => String(index)));
    expect(await clientsOf(outside, 'test:crowd')).toHaveLength(1);
  });

  it('can be used like any client of ioredis: callbacks, buffers, pipelines, transactions, scripts, scans', async () => {
    await using test = await redisPool({ url: redis.url });
    const { client } = test.pool;
    await new Promise<void>(
      (resolve, reject) => void client.set('a', '1', (error) => (error ? reject(error) : resolve())),
    );
    expect(await client.getBuffer('a')).toEqual(Buffer.from('1'));
    expect(await client.pipeline().incr('a').get('a').exec()).toEqual([
      [null, 2],
      [null, '2'],
    ]);
    expect(
      await client
        .pipeline([
          ['incr', 'a'],
          ['get', 'a'],
        ])
        .exec(),
    ).toEqual([
      [null, 3],
      [null, '3'],
    ]);
    expect(await client.multi().incr('a').get('a').exec()).toEqual([
      [null, 4],
      [null, '4'],
    ]);
    expect(await client.multi([['incr', 'a']]).exec()).toEqual([[null, 5]]);
    const block = client.pipeline([['multi'], ['incr', 'a']]);
    // The first exec() of a pipeline with MULTI only queues EXEC.
    void block.exec();
    expect(await block.exec()).toEqual([
      [null, 'OK'],
      [null, 'QUEUED'],
      [null, [6]],
    ]);
    client.defineCommand('double', { numberOfKeys: 1, lua: "return redis.call('GET', KEYS[1]) * 2" });
    expect(await client.call('double', 'a').catch((error: unknown) => String(error))).toContain('unknown command');
    const double: unknown = Reflect.get(client, 'double');
    expect(typeof double === 'function' && (await Reflect.apply(double, client, ['a']))).toBe(12);
    expect(await client.eval("return redis.call('GET', KEYS[1])", 1, 'a')).toBe('6');
    const found: string[] = [];
    for await (const keys of client.scanStream({ match: 'a' })) found.push(...(keys as string[]));
    expect(found).toEqual(['a']);
    expect(await client.call('GET', 'a')).toBe('6');
    expect(await client.xread('COUNT', 1, 'STREAMS', 'nothing', '0')).toBeNull();
    expect(client.mode).toBe('normal');
  });

  it('passes for a client of ioredis, also with Nest, promises and inspection', async () => {
    await using test = await redisPool({ url: redis.url });
    const { client } = test.pool;
    expect(await Promise.resolve(client)).toBe(client);
    for (const key of [
      'then',
      'onModuleInit',
      'onModuleDestroy',
      'onApplicationBootstrap',
      'beforeApplicationShutdown',
      'onApplicationShutdown',
      'unheardOf',
    ]) {
      expect(Reflect.get(client, key)).toBeUndefined();
    }
    expect(Reflect.get(client, Symbol('any'))).toBeUndefined();
    expect(client).toBeInstanceOf(Redis);
    expect(() => inspect(client)).not.toThrow();
  });

  describe('refuses what would change or stall the connection for the others', () => {
    it.each<[string, (client: Awaited<ReturnType<typeof redisPool>>['pool']['client']) => unknown]>([
      ['BLPOP', (client) => client.blpop('queue', 1)],
      ['BLMOVE', (client) => client.blmove('a', 'b', 'LEFT', 'RIGHT', 1)],
      ['BZPOPMIN', (client) => client.bzpopmin('a', 1)],
      ['BRPOP with a buffer', (client) => client.brpopBuffer('queue', 1)],
      ['XREAD BLOCK', (client) => client.xread('BLOCK', 1, 'STREAMS', 'a', '$')],
      ['WAIT', (client) => client.wait(1, 1)],
      ['WATCH', (client) => client.watch('a')],
      ['an open MULTI', (client) => client.multi({ pipeline: false })],
      ['EXEC', (client) => client.exec()],
      ['SELECT', (client) => client.select(1)],
      ['SUBSCRIBE', (client) => client.subscribe('news')],
      ['PSUBSCRIBE', (client) => client.psubscribe('news.*')],
      ['SSUBSCRIBE', (client) => client.ssubscribe('news')],
      ['AUTH', (client) => client.auth('secret')],
      ['HELLO', (client) => client.hello(2)],
      ['RESET', (client) => client.reset()],
      ['CLIENT REPLY', (client) => client.client('REPLY', 'OFF')],
      ['CLIENT SETNAME', (client) => client.client('SETNAME', 'me')],
      ['MONITOR by name', (client) => client.call('MONITOR')],
      ['BLPOP by name, in mixed case', (client) => client.call('bLPop', 'queue', '1')],
      ['BLPOP by name, as an array', (client) => client.call('BLPOP', ['queue', '1'])],
      ['SHUTDOWN', (client) => client.shutdown()],
      ['a pipeline with SELECT', (client) => client.pipeline().set('p', 1).select(1).exec()],
      [
        'a batch with SELECT',
        (client) =>
          client
            .pipeline([
              ['set', 'p', '1'],
              ['select', '1'],
            ])
            .exec(),
      ],
      ['a transaction with BLPOP', (client) => client.multi().set('p', 1).blpop('queue', 1).exec()],
      ['a MULTI by name in a pipeline', (client) => client.pipeline().call('multi').set('p', 1).exec()],
    ])('%s', async (_, run) => {
      await using test = await redisPool({ url: redis.url });
      const { client } = test.pool;
      const refusal = await Promise.resolve(run(client)).then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(refusal).toBeInstanceOf(CommandRefusedError);
      expect(String(refusal)).toMatch(/pool\.use|duplicate\(\)|close\(\)|connection that subscribed/);
      // The others notice nothing, and nothing of a refused pipeline was sent.
      expect(await client.ping()).toBe('PONG');
      expect(await client.get('p')).toBeNull();
      expect(client.options.db).toBe(redis.db);
    });

    it('by callback too', async () => {
      await using test = await redisPool({ url: redis.url });
      const { client } = test.pool;
      const error = await new Promise((resolve) => void client.select(1, (refusal) => resolve(refusal)));
      expect(error).toBeInstanceOf(CommandRefusedError);
      const ofPipeline = await new Promise(
        (resolve) =>
          void client
            .pipeline()
            .select(1)
            .exec((refusal) => resolve(refusal)),
      );
      expect(ofPipeline).toBeInstanceOf(CommandRefusedError);
    });

    it('without failing what was sent at the same moment with automatic pipelining', async () => {
      await using test = await redisPool({ url: redis.url, client: { enableAutoPipelining: true } });
      const { client } = test.pool;
      const results = await Promise.allSettled([
        client.set('x', 1),
        client.blpop('queue', 1),
        client.call('SuBscribe', 'news'),
        client.xread('BLOCK', 1, 'STREAMS', 'a', '$'),
        client.get('x'),
      ]);
      expect(results.map(({ status }) => status)).toEqual([
        'fulfilled',
        'rejected',
        'rejected',
        'rejected',
        'fulfilled',
      ]);
    });
  });

  it('is not ended by a library that was handed it: its quit() and disconnect() resolve, and are counted', async () => {
    await using test = await redisPool({ url: redis.url });
    const { client } = test.pool;
    expect(await client.quit()).toBe('OK');
    expect(await client.call('QUIT')).toBe('OK');
    expect(await new Promise((resolve) => void client.quit((error, reply) => resolve([error, reply])))).toEqual([
      null,
      'OK',
    ]);
    client.disconnect();
    expect(await client.ping()).toBe('PONG');
    expect(test.pool.stats().ignoredEnds).toBe(4);
    expect(test.log.filter((line) => line.includes('ended nothing'))).toHaveLength(4);
    await expect(client.pipeline().quit().exec()).rejects.toThrow(CommandRefusedError);
  });

  it('tells each listener in the async context that added it, and removes only those of the caller', async () => {
    await using test = await redisPool({ url: redis.url });
    const { client } = test.pool;
    const tenant = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const off = (): void => void seen.push('off');
    tenant.run('acme', () => client.on('ready', () => seen.push(tenant.getStore())));
    tenant.run('globex', () => client.once('ready', () => seen.push(tenant.getStore())));
    client.on('ready', off);
    client.off('ready', off);
    await tenant.run('initech', () => client.ping());
    expect(seen).toEqual(['acme', 'globex']);
    client.removeAllListeners();
    expect(client.listenerCount('error')).toBeGreaterThan(0);
  });

  it('moves to a new connection without losing a reply when the pool is recycled', async () => {
    await using test = await redisPool({ url: redis.url, minSize: 0 }, 'moving');
    await using outside = observer(redis.url);
    const { client } = test.pool;
    client.defineCommand('answer', { numberOfKeys: 0, lua: 'return 42' });
    const again = new Promise<void>((resolve) => client.once('ready', () => client.on('ready', () => resolve())));
    await client.ping();
    const [before] = await clientsOf(outside, 'test:moving');
    const replies = Array.from({ length: 50 }, () => client.incr('moved'));
    test.pool.evict();
    replies.push(...Array.from({ length: 50 }, () => client.incr('moved')));
    expect((await Promise.all(replies)).toSorted((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, index) => index + 1),
    );
    await again;
    const answer: unknown = Reflect.get(client, 'answer');
    expect(typeof answer === 'function' && (await Reflect.apply(answer, client, []))).toBe(42);
    await eventually(async () => {
      const now = await clientsOf(outside, 'test:moving');
      return now.length === 1 && now[0] !== before;
    });
  });

  it('answers what it owes before it closes, and nothing after', async () => {
    await using test = await redisPool({ url: redis.url });
    const { client } = test.pool;
    await client.ping();
    const owed = client.get('missing');
    await test.pool.close({ deadlineMs: 1_000 });
    expect(await owed).toBeNull();
    await expect(client.get('missing')).rejects.toThrow(PoolClosedError);
    await expect(client.pipeline().get('missing').exec()).rejects.toThrow(PoolClosedError);
    expect(() => client.duplicate()).toThrow(PoolClosedError);
    expect(client.status).toBe('end');
  });
});
