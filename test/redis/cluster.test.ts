import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Cluster } from 'ioredis';

import { systemClock } from '../../lib/engine/time/clock.js';
import { CommandRefusedError, ConnectionLostError, LeaseReleasedError } from '../../lib/errors.js';
import { createRedisPool } from '../../lib/redis/create-redis-pool.js';
import type { RedisPool } from '../../lib/redis/redis-pool.js';
import {
  parseRedisPoolOptions,
  type RedisPoolOptions,
  type ResolvedRedisPoolOptions,
} from '../../lib/redis/redis-pool.options.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { eventually } from '../support/eventually.js';
import { type RedisCluster, startRedisCluster } from '../support/servers/index.js';
import { redisPool } from './pools.js';

describe('a Redis pool on a cluster', () => {
  let cluster: RedisCluster;
  let pool: RedisPool<Cluster>;

  beforeAll(async () => {
    cluster = await startRedisCluster();
    const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }));
    const options: RedisPoolOptions = { cluster: { nodes }, maxSize: 2 };
    const silent = { log() {}, warn() {}, error() {}, debug() {} };
    const config = parseRedisPoolOptions('cache', options, {});
    if (!isOnCluster(config)) throw new Error('The options are not those of a cluster.');
    pool = await createRedisPool('cache', config, {
      tenants: new TenantContext(),
      clock: systemClock,
      random: Math.random,
      logger: silent,
      owner: 'test',
    });
    await pool.start();
  }, 60_000);

  afterAll(async () => {
    await pool.close({ deadlineMs: 0 });
    await cluster.stop();
  });

  it('shares one client of the cluster', async () => {
    expect(pool.client).toBeInstanceOf(Cluster);
    const keys = Array.from({ length: 50 }, (_, index) => `key:${index}`);
    await Promise.all(keys.map((key) => pool.client.set(key, key)));
    expect(await Promise.all(keys.map((key) => pool.client.get(key)))).toEqual(keys);
    expect(pool.client.nodes('master')).toHaveLength(3);
    expect(await pool.client.pipeline().set('{a}1', 1).get('{a}1').exec()).toEqual([
      [null, 'OK'],
      [null, '1'],
    ]);
    expect(await pool.client.multi().incr('{a}2').exec()).toEqual([[null, 1]]);
  });

  it('refuses on it what would stall a node for the others', async () => {
    await expect(pool.client.blpop('queue', 1)).rejects.toThrow(CommandRefusedError);
    await expect(pool.client.pipeline().watch('a').exec()).rejects.toThrow(CommandRefusedError);
    expect(await pool.client.quit()).toBe('OK');
    pool.client.disconnect();
    expect(await pool.client.get('missing')).toBeNull();
  });

  it('lends a client of the cluster for what must not be shared', async () => {
    const job = pool.use((mine) => mine.blpop('jobs', 5));
    await pool.client.rpush('jobs', 'first');
    expect(await job).toEqual(['jobs', 'first']);

    await pool.client.set('stock', 3);
    const lost = await pool.use(async (mine) => {
      await mine.watch('stock');
      await pool.client.decr('stock');
      return mine.multi().set('stock', 99).exec();
    });
    expect(lost).toBeNull();
  });

  it("a watch that was left is not the next borrower's", async () => {
    const one = await pool.acquire();
    await one.connection.watch('watched');
    const kept = one.connection;
    one.release();
    await expect(kept.get('watched')).rejects.toThrow(LeaseReleasedError);
    for (let round = 0; round < 4; round++) {
      await pool.use(async (theirs) => {
        await pool.client.incr('watched');
        expect(await theirs.multi().set('watched', 0).exec()).toEqual([[null, 'OK']]);
      });
    }
  });

  it('a command whose node went away unanswered is not sent to another one', async () => {
    await pool.client.set('counter', 0);
    const slot = await pool.client.cluster('KEYSLOT', 'counter');
    const owner = cluster.nodes[Math.floor(slot / Math.ceil(16_384 / cluster.nodes.length))];
    await owner?.pause();
    const reply = pool.client.incr('counter');
    const rejection = expect(reply).rejects.toThrow(ConnectionLostError);
    for (const node of pool.client.nodes()) if (node.options.port === owner?.port) node.stream.destroy();
    await rejection;
    await owner?.resume();
    await eventually(async () => Number(await pool.client.get('counter')) <= 1);
  });

  it('duplicates are known and end with the pool', async () => {
    const mine = pool.client.duplicate();
    const heard = new Promise((resolve) => mine.on('message', (...args: unknown[]) => resolve(args)));
    await mine.subscribe('news');
    await pool.client.publish('news', 'hello');
    expect(await heard).toEqual(['news', 'hello']);
    expect(pool.duplicates).toBe(1);
    mine.disconnect();
    await eventually(() => pool.duplicates === 0);
  });

  it('lends again as soon as the cluster is back, although it answers before it can serve', async () => {
    await using test = await redisPool({
      cluster: { nodes: cluster.nodes.map(({ host, port }) => ({ host, port })) },
      // A connect that never settled would last for as long as this.
      connectTimeoutMs: 120_000,
      acquireTimeoutMs: 120_000,
      failFastAfterMs: 120_000,
      maxSize: 1,
    });
    await test.pool.start();
    await Promise.all(cluster.nodes.map((node) => node.halt()));
    await eventually(() => test.pool.stats().connectFailures > 1, { withinMs: 20_000 });
    for (const node of cluster.nodes) await node.start();
    await eventually(async () => (await test.pool.client.get('a')) === null, { withinMs: 20_000 });
    expect(await test.pool.use((mine) => mine.get('a'))).toBeNull();
  }, 60_000);
});

function isOnCluster(
  config: ResolvedRedisPoolOptions,
): config is ResolvedRedisPoolOptions & { readonly cluster: object } {
  return config.cluster !== undefined;
}
