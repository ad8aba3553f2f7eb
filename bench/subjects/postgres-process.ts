/**
 * One pool of the benchmark `postgres`, in a process of its own: `postgres-process.js SUBJECT SIZE URL`.
 */
import { ConnectionPoolManager, type PostgresPoolOptions } from 'nestjs-pool-manager';
import pg from 'pg';
import postgres from 'postgres';

import { measureCalls } from '../harness/callers.js';
import { answer } from '../harness/own-process.js';
import { quietLogger } from '../harness/quiet-logger.js';
import type { PostgresFigure, PostgresLoad, Statement } from './postgres-loads.js';

const TENANTS = 1_000;
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

answer<PostgresLoad, PostgresFigure>(async (load) =>
  measureCalls(load, runs[load.statement], (turn) => load.statement !== 'mixed' || !isSlow(turn)),
);
