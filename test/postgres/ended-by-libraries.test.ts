// Libraries that end the pool which they were handed, while the rest of the application goes on using it.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { PrismaPg } from '@prisma/adapter-pg';
import connectPgSimple from 'connect-pg-simple';
import { drizzle } from 'drizzle-orm/node-postgres';
import session from 'express-session';
import { Kysely, PostgresDialect, sql } from 'kysely';
import PgBoss from 'pg-boss';
import { DataSource } from 'typeorm';

import {
  asPgModule,
  asPgPool,
  ConnectionPoolManager,
  PoolClosedError,
  PoolViewEndedError,
  PostgresPool,
} from '../../lib/index.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { LogBook } from '../support/log-book.js';

let database: TestDatabase;
let manager: ConnectionPoolManager;
let declared: PostgresPool;
let log: LogBook;

beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

async function startManager(): Promise<void> {
  log = new LogBook();
  manager = new ConnectionPoolManager(
    { pools: { orders: { type: 'database', connectionString: database.url, maxSize: 3 } } },
    { logger: log },
  );
  await manager.start();
  declared = manager.getPool('orders', PostgresPool);
}
beforeEach(startManager);
afterEach(() => manager.stop());

const created = (): Promise<PostgresPool> =>
  manager.createDatabasePool('created', { connectionString: database.url, maxSize: 3 });

const one = async (pool: PostgresPool): Promise<unknown> => (await pool.query('select 1 as n')).rows[0];

/** Uses what it was handed, and ends it. */
const libraries: readonly (readonly [string, (pool: PostgresPool) => Promise<void>])[] = [
  [
    'Kysely, destroyed',
    async (pool) => {
      const db = new Kysely<object>({ dialect: new PostgresDialect({ pool }) });
      expect((await sql`select 1 as n`.execute(db)).rows).toEqual([{ n: 1 }]);
      await db.destroy();
    },
  ],
  [
    'Drizzle, whose client is ended',
    async (pool) => {
      const db = drizzle(pool);
      expect((await db.execute('select 1 as n')).rows).toEqual([{ n: 1 }]);
      await db.$client.end();
    },
  ],
  [
    'TypeORM, destroyed',
    async (pool) => {
      const source = await new DataSource({ type: 'postgres', driver: asPgModule(pool) }).initialize();
      expect(await source.query('select 1 as n')).toEqual([{ n: 1 }]);
      await source.destroy();
    },
  ],
  [
    'Prisma’s adapter, told to dispose of its pool',
    async (pool) => {
      const adapter = await new PrismaPg(asPgPool(pool), { disposeExternalPool: true }).connect();
      await adapter.executeScript('select 1');
      await adapter.dispose();
    },
  ],
  [
    'pg-boss, stopped',
    async (pool) => {
      const db = {
        executeSql: (statement: string, values: unknown[]) => pool.query(statement, values),
        close: () => pool.end(),
      };
      const boss = new PgBoss({ db, schema: 'ended_boss', supervise: false, schedule: false });
      await boss.start();
      await boss.stop({ graceful: false, close: true });
    },
  ],
  [
    'connect-pg-simple, closed',
    async (pool) => {
      const store = new (connectPgSimple(session))({ pool, pruneSessionInterval: false });
      store.close();
      await pool.end();
    },
  ],
  [
    'a library that calls back',
    async (pool) => {
      expect(await one(pool)).toEqual({ n: 1 });
      await new Promise<void>((resolve, reject) => pool.end((error) => (error ? reject(error) : resolve())));
    },
  ],
];

describe.each(libraries)('%s', (_what, useAndEnd) => {
  it.each<[string, () => PostgresPool | Promise<PostgresPool>]>([
    ['a declared pool', () => declared],
    ["a tenant's view", () => declared.forTenant('acme')],
    ['a view without a tenant', () => declared.unscoped()],
    ['what shared() gave', () => declared.shared()],
    ["what shared() gave of a tenant's view", () => declared.forTenant('acme').shared()],
    ['what shared() gave of a pool that was created at run time', async () => (await created()).shared()],
    ["a tenant's view of a pool that was created at run time", async () => (await created()).forTenant('acme')],
  ])('leaves the pool open that was handed as %s', async (_handed, handed) => {
    const pool = await handed();
    const others = manager.getPool(pool.id, PostgresPool);
    const ended: unknown[] = [];
    others.on('close', (report) => ended.push(report));
    const lease = await others.acquire();
    await useAndEnd(pool);
    expect(ended).toEqual([]);
    expect([others.ending, others.ended, others.status]).toEqual([false, false, 'healthy']);
    expect((await lease.connection.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    lease.release();
    expect(await one(others)).toEqual({ n: 1 });
    expect(await one(others.forTenant('globex'))).toEqual({ n: 1 });
  });
});

describe('end()', () => {
  it('closes a pool that its caller created, as in pg', async () => {
    const pool = await created();
    const db = new Kysely<object>({ dialect: new PostgresDialect({ pool }) });
    await sql`select 1`.execute(db);
    await db.destroy();
    expect([pool.ended, pool.status]).toEqual([true, 'closed']);
    await expect(pool.query('select 1')).rejects.toThrow(PoolClosedError);
  });

  it('of a declared pool or a view is counted, and reported once with the way out', async () => {
    await declared.end();
    await declared.end();
    await declared.forTenant('acme').end();
    expect(declared.stats().ignoredEnds).toBe(3);
    expect(JSON.parse(JSON.stringify(declared.stats()))).toMatchObject({ ignoredEnds: 3 });
    const reports = log.lines.filter((line) => line.includes('ended nothing'));
    expect(reports).toEqual([
      expect.stringMatching(
        /^warn: Pool "orders": end\(\) was called on a pool that the application declares.*pool\.shared\(\).*close\(\)/,
      ),
      expect.stringMatching(/^debug: /),
      expect.stringMatching(/^debug: .*a view of the pool/),
    ]);
  });

  it('of a declared pool resolves, and is no surprise, when the application has closed the pool', async () => {
    await manager.stop();
    await declared.end();
    await declared.forTenant('acme').end();
    expect(declared.stats().ignoredEnds).toBe(0);
  });

  it('of what shared() gave ends that alone: what was asked goes on, what comes is refused with its own error', async () => {
    const shared = declared.shared();
    const inside = shared.forTenant('acme');
    const other = declared.shared();
    const asked = shared.query('select pg_sleep(0.05), 1 as n');
    const client = await shared.connect();
    await shared.end();
    expect([shared.ending, shared.ended, other.ended, declared.ended]).toEqual([true, true, false, false]);
    expect((await asked).rows).toMatchObject([{ n: 1 }]);
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    client.release();
    for (const view of [shared, inside, shared.unscoped()]) {
      for (const call of [
        () => view.query('select 1'),
        () => view.query('select 1; select 2'),
        () => view.connect(),
        () => view.acquire(),
        () => view.use(() => 1),
        () => view.transaction(() => 1),
        async () => view.tryAcquire(),
      ]) {
        await expect(call()).rejects.toThrow(PoolViewEndedError);
      }
    }
    await expect(shared.end()).rejects.toThrow('Called end on pool more than once');
    expect(await one(other)).toEqual({ n: 1 });
    expect(await one(declared)).toEqual({ n: 1 });
    // A view of what was ended is as open as another hand-out is.
    expect(await one(shared.shared())).toEqual({ n: 1 });
    await eventually(() => expect(declared.stats().active).toBe(0));
    expect(declared.stats().ignoredEnds).toBe(0);
  });

  it('of what shared() gave is no way around close()', async () => {
    const shared = declared.shared();
    await shared.close();
    expect(declared.ended).toBe(true);
    await expect(shared.query('select 1')).rejects.toThrow(PoolClosedError);
  });
});
