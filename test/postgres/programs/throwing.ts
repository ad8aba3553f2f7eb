// Callbacks and listeners that throw, in a process that survives uncaught exceptions: prints how each ended, as JSON.
import pg from 'pg';

import { ConnectionPoolManager } from '../../../lib/manager/connection-pool-manager.js';
import type { LeasedClient, PostgresPool } from '../../../lib/postgres/postgres-pool.js';

const bad = (): never => {
  throw new Error('thrown by a callback');
};

const WAYS: Record<string, (pool: PostgresPool, client: LeasedClient) => unknown> = {
  'a one-shot': (pool) => pool.query('select 1', bad),
  'a one-shot that fails': (pool) => pool.query('select 1/0', bad),
  'a one-shot with a wrong query': (pool) => pool.query({ text: 'select 1', values: [{ toPostgres: bad }] }, bad),
  'a lease': (_pool, client) => client.query('select 1', bad),
  'a lease that fails': (_pool, client) => client.query('select 1/0', bad),
  'a query of pg': (_pool, client) => client.query(new pg.Query('select 1', bad)),
  'the end of a query of pg': (_pool, client) => client.query(new pg.Query('select 1')).on('end', bad),
  'a connect': (pool) => pool.connect(bad),
  'a connection listener': (_pool, client) => {
    client.on('notice', bad);
    return client.query(`do $$ begin raise notice 'heard'; end $$`);
  },
};

let uncaught: (error: Error) => void = (error) => console.log(error.message);
process.on('uncaughtException', (error) => uncaught(error));

const quiet = { log() {}, warn() {}, error() {}, debug() {} };
const manager = new ConnectionPoolManager({ pools: {} }, { logger: quiet });
await manager.start();
for (const [name, work] of Object.entries(WAYS)) {
  const pool = await manager.createDatabasePool(name.replaceAll(' ', '-'), {
    connectionString: process.argv[2],
    maxSize: 3,
  });
  const client = await pool.connect();
  const error = await new Promise<Error>((resolve) => {
    uncaught = resolve;
    void work(pool, client);
  });
  const answers = await Promise.all([
    client.query<{ n: number }>('select 1 as n'),
    ...Array.from({ length: 5 }, () => pool.query<{ n: number }>('select 1 as n')),
  ]);
  client.release();
  const right = answers.filter(({ rows }) => rows[0]?.n === 1).length;
  console.log(JSON.stringify({ name, error: error.message, right }));
}
await manager.stop({ deadlineMs: 100 });
console.log('stopped');
