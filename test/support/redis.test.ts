import { describe, expect, it } from '@jest/globals';
import { Cluster, Redis } from 'ioredis';

import { eventually } from './eventually.js';
import {
  provideRedis,
  ServerNotOwnedError,
  startRedis,
  startRedisCluster,
  startRedisSentinel,
} from './servers/index.js';
import { redisBinary } from './servers/redis-binary.js';

async function withClient<T>(url: string, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { retryStrategy: () => null, maxRetriesPerRequest: 0 });
  client.on('error', () => {});
  try {
    return await use(client);
  } finally {
    client.disconnect();
  }
}

describe('a Redis of our own', () => {
  it('answers with its password only, on 127.0.0.1 only, and keeps nothing on disk', async () => {
    await using server = await startRedis({ password: 'se cret', databases: 20 });
    await withClient(server.url, async (client) => {
      expect(await client.ping()).toBe('PONG');
      expect(await client.config('GET', 'bind')).toEqual(['bind', '127.0.0.1']);
      expect(await client.config('GET', 'save')).toEqual(['save', '']);
      expect(await client.config('GET', 'databases')).toEqual(['databases', '20']);
    });
    await withClient(`redis://${server.host}:${server.port}`, async (client) => {
      await expect(client.get('a')).rejects.toThrow('NOAUTH');
    });
  });

  it('refuses writes beyond its memory', async () => {
    await using server = await startRedis({ maxMemory: '3mb' });
    await withClient(server.url, async (client) => {
      const fill = async () => {
        for (let n = 0; n < 100; n++) await client.set(`key:${n}`, Buffer.alloc(100_000));
      };
      await expect(fill()).rejects.toThrow('OOM');
    });
  });

  it('comes back empty on the same port', async () => {
    await using server = await startRedis();
    await withClient(server.url, (client) => client.set('a', '1'));
    await server.halt();
    await withClient(server.url, async (client) => {
      await expect(client.ping()).rejects.toThrow();
    });
    await server.start();
    await withClient(server.url, async (client) => expect(await client.get('a')).toBeNull());
  });

  it('answers nothing while it is paused, and everything afterwards', async () => {
    await using server = await startRedis();
    await withClient(server.url, async (client) => {
      await client.ping();
      await server.pause();
      const answer = client.ping();
      await server.resume();
      expect(await answer).toBe('PONG');
    });
  });

  it('is gone once it is stopped', async () => {
    const server = await startRedis();
    const { pid } = server;
    await server.stop();
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  it('says what is wrong when it does not start', async () => {
    await expect(startRedis({ config: { 'no-such-directive': 'x' } })).rejects.toThrow('no-such-directive');
  });
});

describe('several Redis servers', () => {
  it('make a cluster that shares the slots', async () => {
    await using cluster = await startRedisCluster({ password: 'secret' });
    const client = new Cluster(
      cluster.nodes.map(({ host, port }) => ({ host, port })),
      { redisOptions: { password: 'secret' } },
    );
    // Keys of different slots: a:*, found in different thirds.
    for (const key of ['foo', 'bar', 'hello', 'b']) {
      await client.set(key, key);
      expect(await client.get(key)).toBe(key);
    }
    expect(client.nodes('master')).toHaveLength(3);
    client.disconnect();
  });

  it('fail over to the replica when the primary is gone', async () => {
    await using group = await startRedisSentinel({ password: 'secret' });
    const sentinels = group.sentinels.map(({ host, port }) => ({ host, port }));
    const [sentinel] = sentinels;
    const client = new Redis({ sentinels, name: group.name, password: 'secret' });
    client.on('error', () => {});
    expect(await client.set('a', '1')).toBe('OK');
    expect(await client.wait(1, 1_000)).toBe(1);
    client.disconnect();

    await group.primary.halt();
    await withClient(`redis://${sentinel?.host}:${sentinel?.port}`, async (asking) => {
      await eventually(
        async () => {
          const [, port] = (await asking.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', group.name)) as [string, string];
          return Number(port) === group.replica.port;
        },
        { withinMs: 20_000 },
      );
    });
    await withClient(group.replica.url, async (promoted) => expect(await promoted.get('a')).toBe('1'));
  });
});

describe('a Redis that was running before us', () => {
  it('is used as REDIS_URL says, and left alone', async () => {
    const before = process.env.REDIS_URL;
    process.env.REDIS_URL = 'redis://:p%40ss@cache.example:6400';
    try {
      const server = await provideRedis();
      expect(server).toMatchObject({ own: false, host: 'cache.example', port: 6400, password: 'p@ss' });
      await expect(server.restart()).rejects.toThrow(ServerNotOwnedError);
      await server.stop();
    } finally {
      if (before === undefined) delete process.env.REDIS_URL;
      else process.env.REDIS_URL = before;
    }
  });
});

describe('a machine without redis-server', () => {
  it('runs the one of its packages, or is told what to install', async () => {
    const found = await redisBinary('').then(
      ({ file }) => file,
      (error: unknown) => String(error),
    );
    // Which of the two depends on the machine: whether apt-get is there and reaches its packages.
    expect(found).toMatch(/redis\/usr\/bin\/redis-server$|apt-get install redis-server/);
  });
});
