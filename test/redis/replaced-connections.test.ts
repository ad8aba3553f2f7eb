import { describe, expect, it } from '@jest/globals';
import type { Redis, RedisOptions } from 'ioredis';

import { ConnectionLostError, OperationTimeoutError } from '../../lib/errors.js';
import { eventually } from '../support/eventually.js';
import { startRedis, startRedisCluster } from '../support/servers/index.js';
import { observer, redisPool } from './pools.js';
import { oddServer, ordinary } from './support/odd-server.js';

const READONLY = "-READONLY You can't write against a read only replica.\r\n";

describe('a server that has become a replica behind a stable name', () => {
  it('loses its connections to the first write that is refused: the shared one, those of leases, a duplicate’s', async () => {
    await using server = await startRedis();
    await using outside = observer(server.url);
    await using test = await redisPool({ url: server.url, minSize: 2, maxSize: 2 });
    const { pool } = test;
    await pool.start();
    const duplicate = pool.client.duplicate();
    const ids = async (): Promise<readonly number[]> => {
      await using one = await pool.acquire();
      await using two = await pool.acquire();
      const clients = [pool.client, one.connection, two.connection, duplicate];
      const found: number[] = [];
      for (const client of clients) found.push(await client.client('ID'));
      return found;
    };
    const before = await ids();
    await outside.replicaof('127.0.0.1', 1);
    await expect(pool.client.set('a', 1)).rejects.toThrow('READONLY');
    await expect(duplicate.set('a', 1)).rejects.toThrow('READONLY');
    await outside.replicaof('NO', 'ONE');
    await eventually(async () => (await ids()).every((id, index) => id > Math.max(...before) && id !== before[index]));
    expect(await pool.client.set('a', 1)).toBe('OK');
  });

  it('loses them to a lease’s write as well, and no reply of another caller with them', async () => {
    await using server = await startRedis();
    await using outside = observer(server.url);
    await using test = await redisPool({ url: server.url, maxSize: 1 });
    const { pool } = test;
    await pool.start();
    const before = await pool.client.client('ID');
    await outside.replicaof('127.0.0.1', 1);
    const reads = pool.use(async (mine) => {
      const owed = Array.from({ length: 50 }, () => pool.client.get('missing'));
      await expect(mine.set('a', 1)).rejects.toThrow('READONLY');
      return Promise.all(owed);
    });
    expect(new Set(await reads)).toEqual(new Set([null]));
    await eventually(async () => (await pool.client.client('ID')) !== before);
  });

  it('is not asked for new connections over and over by a caller who goes on writing', async () => {
    await using server = await oddServer();
    server.answer = (name) => (name === 'set' ? READONLY : ordinary(name));
    await using test = await redisPool({ url: server.url, minSize: 0 });
    for (let write = 0; write < 100; write++) await expect(test.pool.client.set('a', 1)).rejects.toThrow('READONLY');
    expect(server.accepted).toBeLessThanOrEqual(2);
  });
});

describe('reconnectOnError', () => {
  const cases: readonly (readonly [false | true | 1 | 2, boolean, boolean])[] = [
    // verdict, reconnects, sends the command again
    [false, false, false],
    [true, true, false],
    [1, true, false],
    [2, true, true],
  ];

  it.each(cases)('%s: reconnects %s, and repeats the command %s', async (verdict, reconnects, repeats) => {
    const client: RedisOptions = {
      reconnectOnError: (error) => (error.message.includes('TRYAGAIN') ? verdict : false),
    };
    for (const kind of ['shared', 'duplicate'] as const) {
      await using server = await oddServer();
      let refusals = 1;
      server.answer = (name) =>
        name === 'incr' && refusals-- > 0 ? '-TRYAGAIN later\r\n' : name === 'incr' ? ':7\r\n' : ordinary(name);
      await using test = await redisPool({ url: server.url, minSize: 0, client });
      const mine = kind === 'shared' ? test.pool.client : test.pool.client.duplicate();
      await mine.ping();
      const accepted = server.accepted;
      const outcome: unknown = await mine.incr('a').catch((error: unknown) => error);
      if (repeats) expect(outcome).toBe(7);
      else expect(String(outcome)).toContain('TRYAGAIN');
      await eventually(async () => (await mine.ping()) === 'PONG');
      expect(server.accepted - accepted).toBe(reconnects ? 1 : 0);
    }
  });

  it.each(cases)(
    '%s: the connection of a lease goes (%s), and its command is never repeated',
    async (verdict, reconnects) => {
      await using server = await oddServer();
      server.answer = (name) => (name === 'incr' ? '-TRYAGAIN later\r\n' : ordinary(name));
      await using test = await redisPool({
        url: server.url,
        minSize: 0,
        maxSize: 1,
        client: { reconnectOnError: () => verdict },
      });
      await test.pool.use((mine) => expect(mine.incr('a')).rejects.toThrow('TRYAGAIN'));
      const accepted = server.accepted;
      await test.pool.use((mine) => mine.ping());
      expect(server.accepted - accepted).toBe(reconnects ? 1 : 0);
      expect(server.commands.filter((name) => name === 'incr')).toHaveLength(1);
    },
  );

  it('a part of a transaction is not repeated alone', async () => {
    await using server = await startRedis();
    await using outside = observer(server.url);
    await using test = await redisPool({ url: server.url, minSize: 0, client: { reconnectOnError: () => 2 } });
    await test.pool.client.ping();
    await expect(test.pool.client.multi().incr('a').call('NONSENSE').exec()).rejects.toThrow();
    expect(await test.pool.client.ping()).toBe('PONG');
    expect(await outside.get('a')).toBeNull();
  });

  it('2: commandTimeoutMs bounds all attempts of a command together, also while there is no connection', async () => {
    await using server = await oddServer();
    server.answer = (name, _, socket) => {
      if (name !== 'set') return ordinary(name);
      server.answer = () => undefined;
      setImmediate(() => socket.destroy());
      return READONLY;
    };
    await using test = await redisPool({
      url: server.url,
      minSize: 0,
      commandTimeoutMs: 300,
      failFastAfterMs: 60_000,
      client: { reconnectOnError: () => 2 },
    });
    await test.pool.client.ping();
    await expect(test.pool.client.set('a', 1)).rejects.toThrow(OperationTimeoutError);
  });

  it('2: a command that is refused again and again is given up after commandTimeoutMs', async () => {
    await using server = await oddServer();
    server.answer = (name) => (name === 'set' ? READONLY : ordinary(name));
    await using test = await redisPool({
      url: server.url,
      minSize: 0,
      commandTimeoutMs: 300,
      failFastAfterMs: 60_000,
      client: { reconnectOnError: () => 2, retryStrategy: () => 10 },
    });
    await test.pool.client.ping();
    await expect(test.pool.client.set('a', 1)).rejects.toThrow(OperationTimeoutError);
  });

  it('2 on a cluster', async () => {
    await using cluster = await startRedisCluster();
    const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }));
    let asked = 0;
    const reconnectOnError = (error: Error): 2 | false =>
      error.message.includes('WRONGTYPE') && asked++ === 0 ? 2 : false;
    await using test = await redisPool({
      cluster: { nodes, client: { redisOptions: { reconnectOnError } } },
      minSize: 0,
    });
    await test.pool.client.set('text', 'abc');
    await expect(test.pool.client.lpush('text', 'x')).rejects.toThrow('WRONGTYPE');
    expect(asked).toBe(2);
  }, 60_000);
});

describe('replies that belong to no command', () => {
  it.each<[string, string]>([
    ['one too many', '+surprise secret\r\n'],
    ['something that is no reply', '?what secret\r\n'],
  ])('%s: the connection goes, before another caller takes it for an answer', async (_, text) => {
    await using server = await oddServer();
    await using test = await redisPool({ url: server.url, minSize: 1, maxSize: 1, keepaliveMs: 0 });
    const { pool } = test;
    await pool.start();
    const duplicate = pool.client.duplicate();
    await duplicate.ping();
    await using lease = await pool.acquire();
    const errors: unknown[] = [];
    for (const client of [pool.client, duplicate, lease.connection]) client.on('error', (error) => errors.push(error));
    const old = [...server.sockets];
    for (const socket of old) socket.write(text);
    await eventually(() => old.every((socket) => !server.sockets.has(socket)));
    await eventually(async () => (await pool.client.get('a')) === null && (await duplicate.get('a')) === null);
    await expect(lease.connection.get('a')).rejects.toThrow(ConnectionLostError);
    expect(errors.map(String).join() + test.log.join()).not.toContain('secret');
  });
});

describe('evict', () => {
  it('keeps the shared connection until there is another one', async () => {
    await using server = await oddServer();
    await using test = await redisPool({ url: server.url, minSize: 0, client: { enableOfflineQueue: false } });
    const { pool } = test;
    await pool.client.connect();
    let hold = true;
    server.answer = (name) => (hold && name === 'info' ? undefined : ordinary(name));
    pool.evict();
    await eventually(() => server.accepted === 2);
    for (let round = 0; round < 3; round++) expect(await pool.client.get('a')).toBeNull();
    expect(server.sockets.size).toBe(2);
    hold = false;
    pool.evict();
    await eventually(() => server.accepted === 3 && server.sockets.size === 1);
    expect(await pool.client.get('a')).toBeNull();
  });

  it('an old connection that dies meanwhile gives its place at once', async () => {
    await using server = await oddServer();
    await using test = await redisPool({ url: server.url, minSize: 0 });
    const { pool } = test;
    await pool.start();
    const [first] = server.sockets;
    pool.evict();
    first?.destroy();
    await eventually(async () => (await pool.client.ping()) === 'PONG');
    await eventually(() => server.sockets.size === 1);
    expect([...server.sockets]).not.toContain(first);
  });
});

describe('a blocked event loop', () => {
  it('costs no connection whose server has answered', async () => {
    await using server = await startRedis();
    await using test = await redisPool({
      url: server.url,
      minSize: 1,
      maxSize: 2,
      connectTimeoutMs: 200,
      commandTimeoutMs: 200,
    });
    await using outside = observer(server.url);
    const { pool } = test;
    await pool.start();
    const duplicate = pool.client.duplicate();
    const id = await pool.client.client('ID');
    // On their way when the loop stops: a connect, and a command on every connection there is.
    const late: Redis = pool.client.duplicate();
    const replies = [pool.client.get('a'), duplicate.get('a'), pool.use((mine) => mine.get('a')), late.get('a')];
    await new Promise((resolve) => setImmediate(resolve));
    const until = performance.now() + 500;
    while (performance.now() < until);
    expect(await Promise.all(replies)).toEqual([null, null, null, null]);
    expect(await pool.client.client('ID')).toBe(id);
    expect(await outside.ping()).toBe('PONG');
    expect(pool.stats()).toMatchObject({ connectFailures: 0, status: 'healthy' });
  });
});

describe('edge values', () => {
  it.each([
    { maxQueue: 0 },
    { maxDuplicates: 0, minSize: 0 },
    { commandTimeoutMs: 0, failFastAfterMs: 0 },
    { client: { commandTimeout: 0, socketTimeout: 0, connectTimeout: 0 } },
    { client: { maxRetriesPerRequest: 0 } },
  ])('an idle healthy pool serves with %j', async (options) => {
    await using server = await startRedis();
    await using test = await redisPool({ url: server.url, ...options });
    expect(await Promise.all([test.pool.client.get('a'), test.pool.client.get('b')])).toEqual([null, null]);
    await test.pool.start();
    expect(await test.pool.use((mine) => mine.get('a'))).toBeNull();
    if (options.maxDuplicates === 0) expect(() => test.pool.client.duplicate()).toThrow('0 of 0');
  });

  it('the strictest limit wins: the pool’s, or ioredis’ own', async () => {
    await using server = await oddServer();
    server.answer = (name) => (name === 'get' ? undefined : ordinary(name));
    await using test = await redisPool({
      url: server.url,
      minSize: 0,
      commandTimeoutMs: 60_000,
      client: { commandTimeout: 50 },
    });
    await expect(test.pool.client.get('a')).rejects.toThrow('50 ms');
    await expect(test.pool.use((mine) => mine.get('a'))).rejects.toThrow('50 ms');
  });
});
