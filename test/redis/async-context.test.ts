import { AsyncLocalStorage } from 'node:async_hooks';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Redis } from 'ioredis';

import { eventually } from '../support/eventually.js';
import { ownRedis, redisPool, type TestPool } from './pools.js';

const tenant = new AsyncLocalStorage<string>();

/** How a caller hands in code, and what it calls when that code runs. */
type Way = (client: Redis, ran: () => void) => unknown;

const WAYS: Readonly<Record<string, Way>> = {
  'a command’s callback': (client, ran) => void client.get('a', ran),
  'a command’s callback, with an error': (client, ran) => void client.call('NONSENSE', [], ran),
  'call() with a callback': (client, ran) => void client.call('GET', 'a', ran),
  'a buffer command’s callback': (client, ran) => void client.getBuffer('a', ran),
  'a promise': (client, ran) => void client.get('a').then(ran),
  'exec() of a pipeline': (client, ran) => void client.pipeline().get('a').exec(ran),
  'a command’s callback in a pipeline': (client, ran) => void client.pipeline().get('a', ran).exec(),
  'exec() of a transaction': (client, ran) => void client.multi().get('a').exec(ran),
  'a defined command’s callback': (client, ran) => {
    client.defineCommand('context', { numberOfKeys: 0, lua: 'return 1' });
    const defined: unknown = Reflect.get(client, 'context');
    if (typeof defined === 'function') void Reflect.apply(defined, client, [ran]);
  },
  'events of scanStream': (client, ran) => void client.scanStream().on('data', ran).on('end', ran).resume(),
  'events of hscanStream': (client, ran) => void client.hscanStream('h').on('data', ran).on('end', ran).resume(),
  'monitor() with a callback': (client, ran) =>
    void client.monitor((error, monitor) => {
      ran();
      monitor?.disconnect();
    }),
  'connect() with a callback': (client, ran) => void client.connect(ran).catch(ran),
};

/** Only on a connection of one's own. */
const OWN_WAYS: Readonly<Record<string, Way>> = {
  'on(message)': (client, ran) => {
    client.on('message', ran);
    return client.subscribe('news');
  },
  'once(message)': (client, ran) => {
    client.once('message', ran);
    return client.subscribe('news');
  },
  'prependListener(pmessage)': (client, ran) => {
    client.prependListener('pmessage', ran);
    return client.psubscribe('n*');
  },
  'on(messageBuffer)': (client, ran) => {
    client.on('messageBuffer', ran);
    return client.subscribe('news');
  },
  'on(close) and on(end)': (client, ran) => {
    client.on('close', ran);
    client.on('end', ran);
    client.disconnect();
  },
  'quit() with a callback': (client, ran) => void client.quit(ran),
};

describe('whatever a caller hands to a Redis client runs in the caller’s async context', () => {
  let redis: Awaited<ReturnType<typeof ownRedis>>;

  beforeAll(async () => {
    redis = await ownRedis();
  });
  afterAll(() => redis.release());

  const clients: Readonly<Record<string, (test: TestPool) => Promise<Redis>>> = {
    'the shared client': async ({ pool }) => pool.client,
    'a lazy duplicate': async ({ pool }) => pool.client.duplicate({ lazyConnect: true }),
    'a duplicate': async ({ pool }) => pool.client.duplicate(),
    'a lease': async ({ pool }) => (await pool.acquire()).connection,
  };
  const rows = Object.entries(clients).flatMap(([name, make]) =>
    [...Object.entries(WAYS), ...(name === 'the shared client' ? [] : Object.entries(OWN_WAYS))].map(
      ([way, use]) => [name, way, make, use] as const,
    ),
  );

  it.each(rows)('%s: %s', async (_name, _way, make, use) => {
    for (const client of [{}, { enableAutoPipelining: true }]) {
      await using test = await redisPool({ url: redis.url, client });
      await tenant.run('opener', () => test.pool.client.hset('h', 'a', 1));
      const mine = await tenant.run('opener', () => make(test));
      const seen: unknown[] = [];
      await tenant.run('acme', () => use(mine, () => void seen.push(tenant.getStore())));
      await tenant.run('publisher', async () => {
        await eventually(async () => {
          await test.pool.client.publish('news', 'hello');
          return seen.length > 0;
        });
      });
      expect(new Set(seen)).toEqual(new Set(['acme']));
    }
  });

  it('and a connection that a command opens is in no context: neither are strategies of the client', async () => {
    const seen: unknown[] = [];
    await using test = await redisPool({
      url: redis.url,
      client: {
        retryStrategy: () => {
          seen.push(tenant.getStore());
          return 1;
        },
        reconnectOnError: () => {
          seen.push(tenant.getStore());
          return false;
        },
      },
    });
    const lazy = test.pool.client.duplicate({ lazyConnect: true });
    await tenant.run('acme', () => lazy.ping());
    await tenant.run('acme', () => expect(lazy.call('NONSENSE')).rejects.toThrow());
    lazy.stream.destroy();
    await eventually(() => seen.length >= 2);
    expect(new Set(seen)).toEqual(new Set([undefined]));
  });
});
