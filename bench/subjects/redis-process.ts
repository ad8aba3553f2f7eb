/**
 * One client of the benchmark `redis`, in a process of its own: `redis-process.js SUBJECT SIZE URL`.
 */
import { Redis } from 'ioredis';
import { ConnectionPoolManager, type RedisPoolOptions } from 'nestjs-pool-manager';
import { createClient, createClientPool } from 'redis';

import { answer } from '../harness/own-process.js';
import { quietLogger } from '../harness/quiet-logger.js';
import { quantile } from '../harness/statistics.js';

/** So many callers, each of whom gets a value in a loop for a while. */
export interface RedisLoad {
  readonly callers: number;
  readonly durationMs: number;
}

/** Commands per second, milliseconds, and microseconds of processor time a command. */
export type RedisFigure = 'throughput' | 'p99' | 'CPU';

const KEY = 'bench';
/** Share of a measurement that comes before it: the process was asleep. */
const WARM_UP = 0.2;

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

/** How long each command took, in milliseconds. */
async function run({ callers, durationMs }: RedisLoad): Promise<number[]> {
  const latenciesMs: number[] = [];
  const command = get ?? (() => Promise.resolve());
  const startedAt = performance.now();
  const endsAt = startedAt + durationMs;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let sentAt = startedAt; sentAt < endsAt;) {
        await command();
        const now = performance.now();
        latenciesMs.push(now - sentAt);
        sentAt = now;
      }
    }),
  );
  return latenciesMs;
}

answer<RedisLoad, RedisFigure>(async (load) => {
  await run({ ...load, durationMs: load.durationMs * WARM_UP });
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const latenciesMs = await run(load);
  const tookMs = performance.now() - startedAt;
  const cpu = process.cpuUsage(cpuBefore);
  return {
    throughput: (latenciesMs.length * 1_000) / tookMs,
    p99: quantile(latenciesMs, 0.99),
    CPU: (cpu.user + cpu.system) / latenciesMs.length,
  };
});
