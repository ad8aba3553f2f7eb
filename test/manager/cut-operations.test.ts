// What runs when a manager ends rejects in the words of this package, whatever its driver would have said.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { ConnectionLostError } from '../../lib/errors.js';
import { ConnectionPoolManager } from '../../lib/manager/connection-pool-manager.js';
import { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { RedisPool } from '../../lib/redis/redis-pool.js';
import { claimRedis, createDatabase, type TestDatabase, type TestRedis } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { LogBook } from '../support/log-book.js';

let database: TestDatabase;
let redis: TestRedis;
beforeAll(async () => {
  [database, redis] = await Promise.all([createDatabase(), claimRedis()]);
});
afterAll(() => Promise.all([database.drop(), redis.release()]));

const SLEEP = 'select pg_sleep(600)';
const operations: [string, (manager: ConnectionPoolManager) => Promise<unknown>][] = [
  ['a query', (manager) => manager.getPool('orders', PostgresPool).query(SLEEP)],
  ['a query in use()', (manager) => manager.getPool('orders', PostgresPool).use((client) => client.query(SLEEP))],
  ['a transaction', (manager) => manager.getPool('orders', PostgresPool).transaction((tx) => tx.query(SLEEP))],
  [
    'a Redis command in use()',
    (manager) => manager.getPool('cache', RedisPool).use((client) => client.blpop('none', 0)),
  ],
];

describe('The end of a manager', () => {
  it.each([
    ['stop', (manager: ConnectionPoolManager) => manager.stop({ deadlineMs: 0 })],
    [
      'closePool',
      (manager: ConnectionPoolManager) =>
        Promise.all(['orders', 'cache'].map((id) => manager.closePool(id, { deadlineMs: 0 }))),
    ],
  ])('by %s cuts what runs with a ConnectionLostError, and cancels it on the server', async (_how, end) => {
    const manager = new ConnectionPoolManager(
      {
        pools: {
          orders: { type: 'database', connectionString: database.url, maxSize: 4 },
          cache: { type: 'redis', url: redis.url, maxSize: 2 },
        },
      },
      { logger: new LogBook() },
    );
    await manager.start();
    const outcomes = operations.map(async ([name, run]) => [name, await run(manager).catch((error: unknown) => error)]);
    const running = () =>
      database.query(`select 1 from pg_stat_activity where state = 'active' and query like '%sleep(600)'`);
    await eventually(async () => expect(await running()).toHaveLength(3));
    await eventually(() => expect(manager.getStats().cache?.active).toBe(1));
    await end(manager);
    expect(await Promise.all(outcomes)).toEqual(operations.map(([name]) => [name, expect.any(ConnectionLostError)]));
    await eventually(async () => expect(await running()).toEqual([]));
    await manager.stop();
  });
});
