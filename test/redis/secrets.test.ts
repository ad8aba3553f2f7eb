import { inspect } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Cluster } from 'ioredis';

import { CommandRefusedError } from '../../lib/errors.js';
import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis, startRedisCluster } from '../support/servers/index.js';
import { observer, redisPool } from './pools.js';

const PASSWORD = 'hunter2-s3cret';
const OTHERS = 'another callers argument';

/** Every text that can be reached by enumeration, whatever way an object shows itself. */
function shownBy(value: unknown): string {
  const seen = new Set<unknown>();
  const texts: string[] = [];
  const walk = (one: unknown): void => {
    if (typeof one === 'string' || Buffer.isBuffer(one)) texts.push(one.toString());
    if (typeof one !== 'object' || one === null || seen.has(one)) return;
    seen.add(one);
    for (const key in one) {
      texts.push(key);
      walk(Reflect.get(one, key));
    }
    for (const key of Object.getOwnPropertySymbols(one)) {
      if (Object.prototype.propertyIsEnumerable.call(one, key)) walk(Reflect.get(one, key));
    }
    if (one instanceof Map || one instanceof Set) for (const entry of one) walk(entry);
  };
  walk(value);
  texts.push(inspect(value, { depth: Infinity, showHidden: false }));
  texts.push(inspect(value, { depth: 6, customInspect: false }));
  texts.push(JSON.stringify(value) ?? '');
  texts.push(JSON.stringify({ ...Object(value) }));
  return texts.join('\n');
}

describe('nothing that a Redis pool hands out leads to a password, or to what other callers have sent', () => {
  let server: RedisServer;

  beforeAll(async () => {
    server = await startRedis({ password: PASSWORD });
  });
  afterAll(() => server.stop());

  it('clients, their options, pipelines, leases, statistics, reports', async () => {
    await using test = await redisPool({
      url: server.url,
      client: { tls: undefined, sentinelPassword: PASSWORD },
      healthCheck: { intervalMs: 0 },
    });
    const { pool } = test;
    await pool.start();
    const lease = await pool.acquire();
    const duplicate = pool.client.duplicate();
    await duplicate.ping();
    await server.pause();
    const owed = [pool.client.get(OTHERS), duplicate.get(OTHERS)];
    const handedOut: Readonly<Record<string, unknown>> = {
      shared: pool.client,
      'options of the shared client': pool.client.options,
      duplicate,
      'options of the duplicate': duplicate.options,
      'client of the lease': lease.connection,
      'options of the lease': lease.connection.options,
      pipeline: pool.client.pipeline().get('mine'),
      transaction: pool.client.multi().get('mine'),
      stats: pool.stats(),
      config: pool.config,
    };
    for (const [what, value] of Object.entries(handedOut)) {
      const shown = shownBy(value);
      expect(`${what}: ${shown}`).not.toContain(PASSWORD);
      expect(`${what}: ${shown}`).not.toContain(OTHERS);
    }
    // By its name it is there, for libraries that make a client of their own.
    expect(pool.client.options.password).toBe(PASSWORD);
    await server.resume();
    await Promise.all(owed);
    lease.release();
    expect(shownBy(await pool.close({ deadlineMs: 0 }))).not.toContain(PASSWORD);
  });

  it('errors and events of a login that fails, and the log', async () => {
    const url = server.url.replace(PASSWORD, `${PASSWORD}-wrong`);
    for (const protocol of [2, 3] as const) {
      await using test = await redisPool({ url, client: { protocol }, failFastAfterMs: 50, acquireTimeoutMs: 500 });
      const { pool } = test;
      const told: unknown[] = [];
      pool.on('connectError', (error) => told.push(error));
      pool.on('status', (change) => told.push(change));
      pool.client.on('error', (error) => told.push(error));
      const duplicate = pool.client.duplicate();
      duplicate.on('error', (error) => told.push(error));
      told.push(await pool.client.connect().catch((error: unknown) => error));
      told.push(await pool.client.get('a').catch((error: unknown) => error));
      told.push(await pool.use((mine) => mine.get('a')).catch((error: unknown) => error));
      told.push(await pool.healthCheck(), pool.stats());
      await eventually(() => told.length >= 6);
      expect(told.map(shownBy).join('\n')).toContain('WRONGPASS');
      expect(told.map(shownBy).join('\n') + test.log.join('\n')).not.toContain(PASSWORD);
      duplicate.disconnect();
    }
  });

  it('a cluster’s clients', async () => {
    await using cluster = await startRedisCluster({ password: PASSWORD });
    const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }));
    await using test = await redisPool({ cluster: { nodes }, password: PASSWORD, maxSize: 1 });
    const client = ofCluster(test.pool.client);
    await client.set('a', 1);
    const duplicate = client.duplicate();
    const told: unknown[] = [];
    for (const each of [client, duplicate])
      for (const event of ['+node', '-node']) each.on(event, (...args: unknown[]) => told.push(...args));
    await duplicate.get('a');
    const [node] = client.nodes('master');
    if (node === undefined) throw new Error('The cluster has no node.');
    expect(await node.ping()).toBe('PONG');
    expect(await node.pipeline().ping().exec()).toEqual([[null, 'PONG']]);
    await expect(node.blpop('a', 1)).rejects.toThrow(CommandRefusedError);
    await node.quit();
    node.disconnect();
    const ofNode = node.duplicate();
    expect(test.pool.duplicates).toBe(2);
    await ofNode.subscribe('news');
    ofNode.disconnect();
    expect(node.status).toBe('ready');
    await test.pool.use(async (mine) => {
      expect(await ofCluster(mine).nodes()[0]?.ping()).toBe('PONG');
      for (const each of [
        ...client.nodes(),
        ...duplicate.nodes('master'),
        ...ofCluster(mine).nodes(),
        ofNode,
        told,
        node.options,
      ])
        expect(shownBy(each)).not.toContain(PASSWORD);
      for (const each of [client, client.options, duplicate, duplicate.options, mine, mine.options])
        expect(shownBy(each)).not.toContain(PASSWORD);
    });
    await using outside = observer(cluster.nodes[0]?.url ?? '');
    expect(await outside.ping()).toBe('PONG');
  }, 60_000);
});

function ofCluster(client: unknown): Cluster {
  if (!isCluster(client)) throw new TypeError('It is no client of a cluster.');
  return client;
}

function isCluster(client: unknown): client is Cluster {
  return client instanceof Cluster;
}
