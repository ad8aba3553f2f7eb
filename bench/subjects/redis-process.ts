/**
 * One client of the benchmark `redis`, in a process of its own: `redis-process.js SUBJECT SIZE URL`.
 */
import { Redis } from 'ioredis';
import { ConnectionPoolManager, type RedisPoolOptions } from 'nestjs-pool-manager';
import { createClient, createClientPool } from 'redis';

import { type CallerLoad, measureCalls } from '../harness/callers.js';
import { answer } from '../harness/own-process.js';
import { quietLogger } from '../harness/quiet-logger.js';

/** What each caller does in a loop is to get a value. */
export type RedisLoad = CallerLoad;

/** Commands per second, milliseconds, and microseconds of processor time a command. */
export type RedisFigure = 'throughput' | 'p99' | 'CPU';

const KEY = 'bench';
const [subject = '', size = '', url = ''] = process.argv.slice(2);
const get = await subjects(Number(size))[subject]?.();
if (get === undefined) throw new Error(`There is no subject "${subject}"`);

type Get = () => Promise<unknown>;

function subjects(maxSize: number): Readonly<Record<string, () => Promise<Get>>> {
  return {
    shared: () => ours(maxSize, {}, 'shared'),
    'shared, auto-pipelined': () => ours(maxSize, { client: { enableAutoPipelining: true } }, 'shared'),
    leases: () => ours(maxSize, {}, 'leases'),
    ioredis: () => ioredis({}),
    'ioredis, commandTimeout': () => ioredis({ commandTimeout: 5_000 }),
    'ioredis, auto-pipelined': () => ioredis({ enableAutoPipelining: true }),
    'node-redis': async () => {
      const client = await createClient({ url }).connect();
      return () => client.get(KEY);
    },
    'node-redis pool': async () => {
      const pool = createClientPool({ url }, { minimum: maxSize, maximum: maxSize });
      await pool.connect();
      return () => pool.execute((client) => client.get(KEY));
    },
  };
}

async function ours(maxSize: number, options: RedisPoolOptions, way: 'shared' | 'leases'): Promise<Get> {
  const manager = new ConnectionPoolManager(undefined, { logger: quietLogger });
  const pool = await manager.createRedisPool('cache', {
    url,
    minSize: way === 'leases' ? maxSize : 0,
    maxSize,
    healthCheck: { intervalMs: 1_000 },
    tenants: { max: maxSize },
    ...options,
  });
  await manager.start();
  if (way === 'shared') return () => pool.client.get(KEY);
  const one = pool.forTenant('tenant-1');
  return () => one.use((client) => client.get(KEY));
}

async function ioredis(options: { commandTimeout?: number; enableAutoPipelining?: boolean }): Promise<Get> {
  const client = new Redis(url, { lazyConnect: true, ...options });
  await client.connect();
  return () => client.get(KEY);
}

answer<RedisLoad, RedisFigure>(async (load) => measureCalls(load, get));
