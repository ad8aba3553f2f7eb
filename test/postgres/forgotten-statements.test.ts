/**
 * No statement survives its lease: whatever ends the lease first, the server stops working on it. Otherwise a pool of
 * one connection keeps several of the server's processes busy.
 */
import { describe, expect, it } from '@jest/globals';

import { LeaseScope } from '../../lib/engine/lease-scope.js';
import { ConnectionPoolManager } from '../../lib/manager/connection-pool-manager.js';
import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { KeptLog, type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools((made) => ({ database, pools } = made));

const OPTIONS: PostgresPoolOptions = { maxSize: 1, recycleTimeoutMs: 50 };
const FORGOTTEN = 'select pg_sleep(60)';

/** The server's processes that work on the forgotten statement. */
const atWork = async (): Promise<number> =>
  (
    await database.query(
      `select 1 from pg_stat_activity
       where datname = current_database() and state = 'active' and query = '${FORGOTTEN}'`,
    )
  ).length;

/** The server's processes that there are for the pools of the test. */
const backends = async (): Promise<number> =>
  (
    await database.query(
      `select 1 from pg_stat_activity
       where datname = current_database() and backend_type = 'client backend' and application_name <> 'observer'`,
    )
  ).length;

const isAtWork = (): Promise<number> => eventually(async () => (await atWork()) > 0 && atWork());

interface Round {
  /** Starts the statement in a lease, and forgets it. */
  readonly forget: (pool: PostgresPool) => Promise<{ readonly outcome: Promise<unknown>; end(): unknown }>;
  /** What the caller of the statement is told. */
  readonly told: object;
}

const LOST = { code: 'POOL_CONNECTION_LOST', sent: true };
const TIMED_OUT = { code: 'POOL_OPERATION_TIMEOUT' };
const errorOf = (query: Promise<unknown>): Promise<unknown> => query.catch((error: unknown) => error);

const leased = (end: (client: LeasedClient) => unknown): Round['forget'] => {
  return async (pool) => {
    const client = await pool.connect();
    return { outcome: errorOf(client.query(FORGOTTEN)), end: () => end(client) };
  };
};

/** What ends a lease whose statement is still at work. */
const ROUNDS: readonly [name: string, round: Round][] = [
  ['a release', { forget: leased((client) => client.release()), told: LOST }],
  ['a release that destroys', { forget: leased((client) => client.release(true)), told: LOST }],
  [
    'a release with an error',
    { forget: leased((client) => client.release(new Error('the borrower has failed'))), told: LOST },
  ],
  [
    'the end of a request',
    {
      forget: async (pool) => {
        const scope = new LeaseScope();
        const frame = { tenantId: 'acme', scope, holding: undefined };
        const client = await pools.tenants.runFrame(frame, () => pool.connect());
        return { outcome: errorOf(client.query(FORGOTTEN)), end: () => scope.end() };
      },
      told: LOST,
    },
  ],
  [
    'a time-out of the statement',
    {
      forget: async (pool) => {
        const client = await pool.connect();
        const outcome = errorOf(client.query({ text: FORGOTTEN, timeoutMs: 200 }));
        return { outcome, end: () => outcome.then(() => client.release()) };
      },
      told: TIMED_OUT,
    },
  ],
  [
    'a time-out of a one-shot',
    {
      forget: async (pool) => ({
        outcome: errorOf(pool.query({ text: FORGOTTEN, timeoutMs: 200 })),
        end: () => undefined,
      }),
      told: TIMED_OUT,
    },
  ],
  [
    'a time-out of a transaction',
    {
      forget: async (pool) => ({
        outcome: errorOf(pool.transaction((tx) => tx.query(FORGOTTEN), { timeoutMs: 200 })),
        end: () => undefined,
      }),
      told: TIMED_OUT,
    },
  ],
];

describe('a statement that is still at work', () => {
  it.each(ROUNDS)('is stopped on the server by %s, round after round', async (_name, { forget, told }) => {
    const pool = await pools.create(OPTIONS);
    for (let round = 0; round < 3; round++) {
      const { outcome, end } = await forget(pool);
      await isAtWork();
      // Those of the rounds before are gone, or on their way.
      await eventually(async () => expect(await atWork()).toBe(1));
      await end();
      expect(await outcome).toMatchObject(told);
    }
    await eventually(async () => expect(await atWork()).toBe(0));
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    await eventually(async () => expect(await backends()).toBeLessThanOrEqual(1));
  });

  it('is stopped on the server by a close of the pool, round after round', async () => {
    for (let round = 0; round < 3; round++) {
      const pool = await pools.create(OPTIONS);
      const client = await pool.connect();
      const outcome = errorOf(client.query(FORGOTTEN));
      await eventually(async () => expect(await atWork()).toBe(1));
      await pool.close({ deadlineMs: 0 });
      expect(await outcome).toMatchObject(LOST);
    }
    await eventually(async () => expect(await backends()).toBe(0));
  });

  it('is stopped on the server by a stop of the manager, round after round', async () => {
    for (let round = 0; round < 3; round++) {
      const manager = new ConnectionPoolManager({ pools: {} }, { logger: new KeptLog() });
      await manager.start();
      const pool = await manager.createDatabasePool('orders', { ...OPTIONS, connectionString: database.url });
      const client = await pool.connect();
      const outcome = errorOf(client.query(FORGOTTEN));
      await eventually(async () => expect(await atWork()).toBe(1));
      await manager.stop({ deadlineMs: 0 });
      expect(await outcome).toMatchObject(LOST);
    }
    await eventually(async () => expect(await backends()).toBe(0));
  });
});
