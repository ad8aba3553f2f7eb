/**
 * One pool of the benchmark `postgres`, in a process of its own: `postgres-process.js NAME SIZE URL`.
 */
import { ConnectionPoolManager } from 'nestjs-pool-manager';
import pg from 'pg';

import { answer } from '../harness/own-process.js';
import { quietLogger } from '../harness/quiet-logger.js';
import { OURS } from '../harness/rows.js';
import { quantile } from '../harness/statistics.js';

/** So many callers, each of which queries in a loop for a while. */
export interface PostgresLoad {
  readonly callers: number;
  readonly durationMs: number;
}

/** Queries per second, milliseconds, and microseconds of processor time a query. */
export type PostgresFigure = 'throughput' | 'p99' | 'CPU';

const QUERY = 'select $1::int';
/** Share of a measurement that comes before it: the process was asleep. */
const WARM_UP = 0.2;

const [name = '', size = '', connectionString = ''] = process.argv.slice(2);
const query = name === OURS ? await ours(Number(size)) : peer(Number(size));

async function ours(maxSize: number): Promise<() => Promise<unknown>> {
  const manager = new ConnectionPoolManager(undefined, { logger: quietLogger });
  const pool = await manager.createDatabasePool('orders', {
    connectionString,
    minSize: maxSize,
    maxSize,
    healthCheck: { intervalMs: 1_000 },
    tenants: { max: maxSize },
  });
  await manager.start();
  const orders = pool.forTenant('acme');
  return () => orders.query(QUERY, [1]);
}

function peer(max: number): () => Promise<unknown> {
  const pool = new pg.Pool({ connectionString, min: max, max, connectionTimeoutMillis: 10_000 });
  return () => pool.query(QUERY, [1]);
}

/** Lets `callers` query until the time is over; how long each query took, in milliseconds. */
async function run({ callers, durationMs }: PostgresLoad): Promise<number[]> {
  const latenciesMs: number[] = [];
  const startedAt = performance.now();
  const endsAt = startedAt + durationMs;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let sentAt = startedAt; sentAt < endsAt;) {
        await query();
        const now = performance.now();
        latenciesMs.push(now - sentAt);
        sentAt = now;
      }
    }),
  );
  return latenciesMs;
}

answer<PostgresLoad, PostgresFigure>(async (load) => {
  await run({ ...load, durationMs: load.durationMs * WARM_UP });
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const latenciesMs = await run(load);
  const tookMs = performance.now() - startedAt;
  const cpu = process.cpuUsage(cpuBefore);
  const count = latenciesMs.length;
  return {
    throughput: (count * 1_000) / tookMs,
    p99: quantile(latenciesMs, 0.99),
    CPU: (cpu.user + cpu.system) / count,
  };
});
