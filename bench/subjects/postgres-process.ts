/**
 * One pool of the benchmark `postgres`, in a process of its own: `postgres-process.js SUBJECT SIZE URL`.
 */
import { ConnectionPoolManager, type PostgresPoolOptions } from 'nestjs-pool-manager';
import pg from 'pg';
import postgres from 'postgres';

import { answer } from '../harness/own-process.js';
import { quietLogger } from '../harness/quiet-logger.js';
import { quantile } from '../harness/statistics.js';
import type { PostgresFigure, PostgresLoad, Statement } from './postgres-loads.js';

const TENANTS = 1_000;
/** Share of a measurement that comes before it: the process was asleep. */
const WARM_UP = 0.2;
const ONE = 'select $1::int';
const ROW = 'select id, item from orders where id = $1';

/** Runs one statement of a caller's; `turn` differs from call to call. */
type Run = (turn: number) => Promise<unknown>;
type Runs = Readonly<Record<Statement, Run>>;

const [subject = '', size = '', connectionString = ''] = process.argv.slice(2);
const runs = await subjects(Number(size))[subject]?.();
if (runs === undefined) throw new Error(`There is no subject "${subject}"`);

function subjects(max: number): Readonly<Record<string, () => Runs | Promise<Runs>>> {
  return {
    ours: () => ours(max, {}),
    'ours alone': () => ours(max, { maxBatch: 1 }),
    'ours by row security': () => ours(max, { isolation: { mode: 'rls' } }),
    'pg-pool': () => pgPool(max),
    'postgres.js': () => postgresJs(max),
  };
}

async function ours(maxSize: number, options: PostgresPoolOptions): Promise<Runs> {
  const manager = new ConnectionPoolManager(undefined, { logger: quietLogger });
  const pool = await manager.createDatabasePool('orders', {
    connectionString,
    minSize: maxSize,
    maxSize,
    healthCheck: { intervalMs: 1_000 },
    tenants: { max: maxSize },
    ...options,
  });
  await manager.start();
  const one = pool.forTenant('tenant-1');
  const all = Array.from({ length: TENANTS }, (_, at) => pool.forTenant(`tenant-${at}`));
  return {
    ...byText((text, values) => one.query(text, values)),
    named: () => one.query({ name: 'one', text: ONE, values: [1] }),
    tenants: (turn) => all[turn % TENANTS]?.query(ONE, [1]) ?? Promise.reject(new Error('no such tenant')),
  };
}

function pgPool(max: number): Runs {
  const pool = new pg.Pool({ connectionString, min: max, max, connectionTimeoutMillis: 10_000 });
  return {
    ...byText((text, values) => pool.query(text, values)),
    named: () => pool.query({ name: 'one', text: ONE, values: [1] }),
    tenants: () => pool.query(ONE, [1]),
  };
}

function postgresJs(max: number): Runs {
  const sql = postgres(connectionString, { max });
  // It prepares what it is given, as it does for its users.
  return {
    one: () => sql`select ${1}::int`,
    row: () => sql`select id, item from orders where id = ${1}`,
    mixed: (turn) => sql`select pg_sleep(${sleepOf(turn)})`,
    named: () => sql`select ${1}::int`,
    tenants: () => sql`select ${1}::int`,
  };
}

function byText(query: (text: string, values: unknown[]) => Promise<unknown>): Pick<Runs, 'one' | 'row' | 'mixed'> {
  return {
    one: () => query(ONE, [1]),
    row: () => query(ROW, [1]),
    mixed: (turn) => query('select pg_sleep($1)', [sleepOf(turn)]),
  };
}

/** One in twenty sleeps for 200 ms, the others for one. */
function sleepOf(turn: number): number {
  return isSlow(turn) ? 0.2 : 0.001;
}

function isSlow(turn: number): boolean {
  return turn % 20 === 0;
}

/** Lets `callers` query until the time is over; how long each short query took, in milliseconds. */
async function run({ callers, durationMs, statement }: PostgresLoad): Promise<number[]> {
  const latenciesMs: number[] = [];
  const query = runs?.[statement] ?? (() => Promise.resolve());
  const startedAt = performance.now();
  const endsAt = startedAt + durationMs;
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      for (let sentAt = startedAt, turn = caller * 97; sentAt < endsAt; turn++) {
        await query(turn);
        const now = performance.now();
        if (statement !== 'mixed' || !isSlow(turn)) latenciesMs.push(now - sentAt);
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
    mean: latenciesMs.reduce((sum, ms) => sum + ms, 0) / count,
    CPU: (cpu.user + cpu.system) / count,
  };
});
