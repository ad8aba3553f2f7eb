import { AsyncLocalStorage } from 'node:async_hooks';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';

import { ConnectionLostError, LeaseReleasedError, TenantLimitError } from '../../lib/errors.js';
import { eventually } from '../support/eventually.js';
import { clientsOf, observer, ownRedis, redisPool } from './pools.js';

describe('a leased Redis connection', () => {
  let redis: Awaited<ReturnType<typeof ownRedis>>;

  beforeAll(async () => {
    redis = await ownRedis();
  });
  afterAll(() => redis.release());

  it('carries what the shared client refuses', async () => {
    await using test = await redisPool({ url: redis.url });
    const { pool } = test;
    const job = pool.use((mine) => mine.blpop('jobs', 5));
    await eventually(async () => (await pool.client.info('clients')).includes('blocked_clients:1'));
    await pool.client.rpush('jobs', 'first');
    expect(await job).toEqual(['jobs', 'first']);

    await pool.client.set('stock', 3);
    const lost = await pool.use(async (mine) => {
      await mine.watch('stock');
      await pool.client.decr('stock');
      return mine.multi().set('stock', 99).exec();
    });
    expect(lost).toBeNull();
    const [[, reply] = []] = await pool.use(async (mine) => (await mine.multi().incr('stock').exec()) ?? []);
    expect(reply).toBe(3);
  });

  describe('comes clean to the next borrower', () => {
    /** Lends the only connection twice, to two tenants, and looks at it with the eyes of the second. */
    async function handOver(
      leave: (mine: Redis, shared: Redis) => unknown,
      look: (theirs: Redis, shared: Redis) => Promise<unknown>,
    ): Promise<{ found: unknown; same: boolean }> {
      await using test = await redisPool({ url: redis.url, maxSize: 1 });
      const { pool } = test;
      let first: number | undefined;
      await pool.forTenant('acme').use(async (mine) => {
        first = await mine.client('ID');
        await leave(mine, pool.client);
      });
      return await pool.forTenant('globex').use(async (theirs) => {
        const found = await look(theirs, pool.client);
        return { found, same: first === (await theirs.client('ID')) };
      });
    }

    it('with nothing left: the same connection, at once', async () => {
      expect(
        await handOver(
          (mine) => mine.set('a', 1),
          (theirs) => theirs.get('a'),
        ),
      ).toEqual({ found: '1', same: true });
    });

    it('WATCH', async () => {
      const handover = await handOver(
        (mine) => mine.watch('watched'),
        async (theirs, shared) => {
          await shared.incr('watched');
          return theirs.multi().set('theirs', 1).exec();
        },
      );
      expect(handover).toEqual({ found: [[null, 'OK']], same: true });
    });

    it('a MULTI that was left open', async () => {
      const handover = await handOver(
        async (mine) => {
          await mine.multi({ pipeline: false });
          await mine.set('left', 'open');
        },
        async (theirs) => [await theirs.get('left'), await theirs.exec().catch((error: unknown) => String(error))],
      );
      expect(handover).toEqual({ found: [null, expect.stringContaining('EXEC without MULTI')], same: true });
    });

    it('a MULTI by name in a pipeline', async () => {
      const handover = await handOver(
        (mine) => mine.pipeline().watch('w').call('MULTI').set('left', 'open').exec(),
        (theirs) => theirs.get('left'),
      );
      expect(handover).toEqual({ found: null, same: true });
    });

    it('SELECT', async () => {
      const handover = await handOver(
        (mine) => mine.select(15),
        async (theirs) => /\bdb=(\d+)/.exec(await theirs.client('INFO'))?.[1],
      );
      expect(handover).toEqual({ found: String(redis.db), same: true });
    });

    it('subscriptions of every kind, and listeners', async () => {
      const heard: unknown[] = [];
      const handover = await handOver(
        async (mine) => {
          mine.on('message', (...args) => heard.push(args));
          mine.on('pmessage', (...args) => heard.push(args));
          await mine.subscribe('news', 'sports');
          await mine.psubscribe('n*');
          await mine.ssubscribe('shard');
        },
        async (theirs, shared) => {
          expect(await shared.publish('news', 'hello')).toBe(0);
          expect(await shared.spublish('shard', 'hello')).toBe(0);
          return [await theirs.get('missing'), theirs.listenerCount('message'), theirs.mode];
        },
      );
      expect(handover).toEqual({ found: [null, 0, 'normal'], same: true });
      expect(heard).toEqual([]);
    });

    it('everything at once, in a single round trip', async () => {
      const handover = await handOver(
        async (mine) => {
          await mine.subscribe('news');
          await mine.select(15);
          await mine.watch('w');
          await mine.multi({ pipeline: false });
        },
        async (theirs) =>
          /\bdb=(\d+) sub=(\d+) psub=0 ssub=0 multi=(-?\d+)/.exec(await theirs.client('INFO'))?.slice(1),
      );
      expect(handover).toEqual({ found: [String(redis.db), '0', '-1'], same: true });
    });

    it.each<[string, (mine: Redis) => unknown]>([
      ['a client name', (mine) => mine.client('SETNAME', 'somebody')],
      ['CLIENT TRACKING', (mine) => mine.client('TRACKING', 'ON')],
      ['CLIENT REPLY OFF', (mine) => void mine.client('REPLY', 'OFF').catch(() => undefined)],
      ['RESET', (mine) => mine.reset()],
      ['another protocol', (mine) => mine.hello(2)],
      ['MONITOR', (mine) => mine.call('MONITOR')],
      ['QUIT', (mine) => mine.quit()],
      ['disconnect()', (mine) => mine.disconnect()],
      ['a command that was not awaited', (mine) => void mine.set('a', 1).catch(() => undefined)],
    ])('%s: by a new connection', async (_, leave) => {
      const handover = await handOver(leave, async (theirs) => [
        await theirs.client('GETNAME'),
        await theirs.set('b', 2),
      ]);
      expect(handover).toEqual({ found: ['test:cache', 'OK'], same: false });
    });

    it('what the borrower put on the object itself', async () => {
      const handover = await handOver(
        (mine) => {
          mine.defineCommand('mine', { lua: 'return 1', numberOfKeys: 0 });
          Reflect.set(mine, 'note', 'secret');
          const defined: unknown = Reflect.get(mine, 'mine');
          return typeof defined === 'function' ? Reflect.apply(defined, mine, []) : undefined;
        },
        (theirs) =>
          Promise.resolve([Reflect.get(theirs, 'mine'), Reflect.get(theirs, 'note'), Object.keys(theirs.scriptsSet)]),
      );
      expect(handover).toEqual({ found: [undefined, undefined, []], same: true });
    });

    it('under RESP2, where a subscriber takes no other command', async () => {
      await using test = await redisPool({ url: redis.url, maxSize: 1, client: { protocol: 2 } });
      const { pool } = test;
      const ids: number[] = [];
      await pool.use(async (mine) => {
        ids.push(await mine.client('ID'));
        await mine.subscribe('news');
        await mine.psubscribe('*');
      });
      await pool.use(async (mine) => {
        ids.push(await mine.client('ID'));
        await mine.select(15);
        await mine.subscribe('news');
      });
      await pool.use(async (mine) => {
        ids.push(await mine.client('ID'));
        expect(/\bdb=(\d+) sub=(\d+)/.exec(await mine.client('INFO'))?.slice(1)).toEqual([String(redis.db), '0']);
      });
      expect(ids[1]).toBe(ids[0]);
      expect(ids[2]).not.toBe(ids[1]);
    });
  });

  it('never hands the reply to a command that was given up to another borrower', async () => {
    await using test = await redisPool({ url: redis.url, maxSize: 1 });
    const { pool } = test;
    const lease = await pool.acquire();
    const abandoned = lease.connection.blpop('slow', 0);
    await eventually(async () => (await pool.client.info('clients')).includes('blocked_clients:1'));
    lease.release();
    const next = pool.use((theirs) => theirs.get('missing'));
    await expect(abandoned).rejects.toThrow(ConnectionLostError);
    await pool.client.rpush('slow', 'for nobody');
    expect(await next).toBeNull();
    expect(await pool.client.lrange('slow', 0, -1)).toEqual(['for nobody']);
  });

  it('refuses to be used after its release', async () => {
    await using test = await redisPool({ url: redis.url });
    const { pool } = test;
    const lease = await pool.acquire();
    const { connection } = lease;
    const pipeline = connection.pipeline().set('late', 1);
    lease.release();
    expect(() => lease.connection).toThrow(LeaseReleasedError);
    await expect(connection.set('late', 1)).rejects.toThrow(LeaseReleasedError);
    await expect(connection.call('SET', 'late', '1')).rejects.toThrow(LeaseReleasedError);
    await expect(pipeline.exec()).rejects.toThrow(LeaseReleasedError);
    await expect(connection.multi().set('late', 1).exec()).rejects.toThrow(LeaseReleasedError);
    await expect(connection.multi({ pipeline: false })).rejects.toThrow(LeaseReleasedError);
    await expect(connection.quit()).rejects.toThrow(LeaseReleasedError);
    expect(() => connection.on('message', () => undefined)).toThrow(LeaseReleasedError);
    expect(() => connection.duplicate()).toThrow(LeaseReleasedError);
    expect(() => connection.disconnect()).toThrow(LeaseReleasedError);
    const byCallback = await new Promise((resolve) => void connection.get('late', (error) => resolve(error)));
    expect(byCallback).toBeInstanceOf(LeaseReleasedError);
    expect(Reflect.get(connection, 'then')).toBeUndefined();
    expect(await pool.client.get('late')).toBeNull();
  });

  it('tells each listener in the context that added it', async () => {
    await using test = await redisPool({ url: redis.url });
    const { pool } = test;
    const tenant = new AsyncLocalStorage<string>();
    await tenant.run('opener', () => pool.use((mine) => mine.ping()));
    const heard = await tenant.run('acme', () =>
      pool.use(async (mine) => {
        const message = new Promise((resolve) => mine.once('message', (_, text) => resolve([tenant.getStore(), text])));
        await mine.subscribe('news');
        await tenant.run('publisher', () => pool.client.publish('news', 'hello'));
        return message;
      }),
    );
    expect(heard).toEqual(['acme', 'hello']);
  });

  it('keeps its connection when a command is refused by the server', async () => {
    await using test = await redisPool({ url: redis.url, maxSize: 1 });
    const { pool } = test;
    await pool.client.set('text', 'abc');
    const ids: number[] = [];
    for (let round = 0; round < 50; round++) {
      await pool
        .use(async (mine) => {
          ids.push(await mine.client('ID'));
          await mine.incr('text');
        })
        .catch((error: unknown) => expect(String(error)).toContain('not an integer'));
    }
    expect(new Set(ids).size).toBe(1);
  });

  it('leaves every tenant its share and no more', async () => {
    await using test = await redisPool(
      {
        url: redis.url,
        minSize: 0,
        maxSize: 4,
        tenants: { max: 2, overrides: { strict: { max: 1, whenFull: 'reject' } } },
      },
      'shares',
    );
    await using outside = observer(redis.url);
    const { pool, tenants } = test;
    const flood = Array.from({ length: 10 }, (_, index) =>
      tenants.run(index % 2 === 0 ? 'acme' : 'globex', () => pool.use((mine) => mine.blpop(`gate:${index}`, 10))),
    );
    const blockedOf = async (): Promise<string | undefined> =>
      /blocked_clients:(\d+)/.exec(await outside.info('clients'))?.[1];
    await eventually(async () => (await blockedOf()) === '4');
    expect(await clientsOf(outside, 'test:shares')).toHaveLength(4);
    expect(pool.stats().tenant('acme')?.active).toBe(2);
    for (let index = 0; index < 10; index++) await outside.rpush(`gate:${index}`, 'go');
    await Promise.all(flood);
    const strict = pool.forTenant('strict');
    await using held = await strict.acquire();
    await expect(strict.acquire()).rejects.toThrow(TenantLimitError);
    expect(held.tenantId).toBe('strict');
  });
});
