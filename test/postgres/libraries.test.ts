/**
 * Libraries that bring their own SQL, on our pool: each does CRUD, a transaction, a rollback and an error, and once
 * under a tenant.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { PrismaPg } from '@prisma/adapter-pg';
import connectPgSimple from 'connect-pg-simple';
import { eq, sql as drizzleSql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, pgTable, serial, text } from 'drizzle-orm/pg-core';
import session from 'express-session';
import { type Generated, Kysely, PostgresDialect } from 'kysely';
import PgBoss from 'pg-boss';
import { DataSource, EntitySchema } from 'typeorm';

import { asPgModule } from '../../lib/postgres/as-pg-module.js';
import { asPgPool } from '../../lib/postgres/as-pg-pool.js';
import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { TestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;

beforeAll(async () => {
  database = await createDatabase();
  await database.query(`
    create table items (id serial primary key, name text not null unique, price int not null,
      tenant text default nullif(current_setting('app.tenant_id', true), ''));
    alter table items enable row level security;
    alter table items force row level security;
    create policy own_rows on items using (tenant is not distinct from nullif(current_setting('app.tenant_id', true), ''));
    grant all on items to public; grant all on all sequences in schema public to public; grant create on schema public to public`);
  pools = new TestPools(database);
});
afterEach(async () => {
  await pools.close();
  await database.query('truncate items');
});
afterAll(() => database.drop());

/** The same as what the libraries are asked to do, for whoever looks from outside. */
const rows = () => database.query('select name, price, tenant from items order by name');

/** Nothing of a library's stays behind: no transaction, no lease. */
function expectQuiet(pool: PostgresPool): void {
  expect([pool.stats().active, pool.waitingCount]).toEqual([0, 0]);
}

/** Sessions on the database that are not the pool's, nor the observer's. */
async function sessionsBeside(pool: PostgresPool): Promise<number> {
  const [row] = await database.query<{ n: number }>(
    `select count(*)::int as n from pg_stat_activity where datname = current_database() and application_name <> 'observer'`,
  );
  return (row?.n ?? 0) - pool.totalCount;
}

const tenantPool = async (): Promise<PostgresPool> =>
  (await pools.create({ isolation: { mode: 'rls' }, maxSize: 3 })).forTenant('acme');
const plainPool = () => pools.create({ maxSize: 3 });
const KINDS = [
  ['without a tenant', plainPool, null],
  ['under a tenant', tenantPool, 'acme'],
] as const;

interface ItemsTable {
  id: Generated<number>;
  name: string;
  price: number;
}

describe.each(KINDS)('Kysely %s', (_kind, makePool, tenant) => {
  it('creates, reads, updates, deletes, commits, rolls back and reports errors', async () => {
    const pool = await makePool();
    const db = new Kysely<{ items: ItemsTable }>({ dialect: new PostgresDialect({ pool }) });
    await db
      .insertInto('items')
      .values([
        { name: 'a', price: 1 },
        { name: 'b', price: 2 },
      ])
      .execute();
    await db.updateTable('items').set({ price: 3 }).where('name', '=', 'a').execute();
    await db.deleteFrom('items').where('name', '=', 'b').execute();
    expect(await db.selectFrom('items').select(['name', 'price']).execute()).toEqual([{ name: 'a', price: 3 }]);
    await db.transaction().execute(async (trx) => {
      await trx.insertInto('items').values({ name: 'c', price: 4 }).execute();
    });
    await expect(
      db
        .transaction()
        .setIsolationLevel('serializable')
        .execute(async (trx) => {
          await trx.insertInto('items').values({ name: 'd', price: 5 }).execute();
          throw new Error('no');
        }),
    ).rejects.toThrow('no');
    await expect(db.insertInto('items').values({ name: 'a', price: 1 }).execute()).rejects.toMatchObject({
      code: '23505',
    });
    expect(await rows()).toEqual([
      { name: 'a', price: 3, tenant },
      { name: 'c', price: 4, tenant },
    ]);
    expectQuiet(pool);
  });
});

const items = pgTable('items', { id: serial().primaryKey(), name: text().notNull(), price: integer().notNull() });

describe.each(KINDS)('Drizzle %s', (_kind, makePool, tenant) => {
  it('creates, reads, updates, deletes, commits, rolls back and reports errors', async () => {
    const pool = await makePool();
    const db = drizzle(pool);
    await db.insert(items).values([
      { name: 'a', price: 1 },
      { name: 'b', price: 2 },
    ]);
    await db.update(items).set({ price: 3 }).where(eq(items.name, 'a'));
    await db.delete(items).where(eq(items.name, 'b'));
    expect(await db.select({ name: items.name, price: items.price }).from(items)).toEqual([{ name: 'a', price: 3 }]);
    const pids = await db.transaction(async (tx) => {
      await tx.insert(items).values({ name: 'c', price: 4 });
      await expect(
        tx.transaction(async (inner) => {
          await inner.insert(items).values({ name: 'inner', price: 0 });
          inner.rollback();
        }),
      ).rejects.toThrow();
      const seen = [];
      for (let index = 0; index < 3; index++)
        seen.push((await tx.execute(drizzleSql`select pg_backend_pid() as pid`)).rows[0]?.pid);
      return seen;
    });
    expect(new Set(pids).size).toBe(1);
    await expect(
      db.transaction(async (tx) => {
        await tx.insert(items).values({ name: 'd', price: 5 });
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await expect(db.insert(items).values({ name: 'a', price: 1 })).rejects.toMatchObject({ cause: { code: '23505' } });
    expect(await rows()).toEqual([
      { name: 'a', price: 3, tenant },
      { name: 'c', price: 4, tenant },
    ]);
    expectQuiet(pool);
  });

  it('runs a query as the tenant of the function that returned it, also in the middle of work for another', async () => {
    const pool = await pools.create({ isolation: { mode: 'rls' } });
    const db = drizzle(pool);
    const { tenants } = pools;
    const names = () => db.select({ name: items.name }).from(items);
    for (const id of ['lazy-one', 'lazy-two']) {
      await tenants.run(id, () => db.insert(items).values({ name: `of ${id}`, price: 1 }));
    }
    const other = [{ name: 'of lazy-two' }];
    await tenants.run('lazy-one', async () => {
      expect(await names()).toEqual([{ name: 'of lazy-one' }]);
      expect(await tenants.run('lazy-two', names)).toEqual(other);
      expect(await tenants.runDetached('lazy-two', names)).toEqual(other);
      expect(
        await pool
          .forTenant('lazy-two')
          .use((client) => tenants.run('lazy-two', () => drizzle(client).select({ name: items.name }).from(items))),
      ).toEqual(other);
      expect(
        await pool
          .forTenant('lazy-two')
          .transaction(({ client }) => drizzle(client).select({ name: items.name }).from(items)),
      ).toEqual(other);
    });
    expectQuiet(pool);
  });
});

interface Item {
  id: number;
  name: string;
  price: number;
}
const ItemEntity = new EntitySchema<Item>({
  name: 'item',
  tableName: 'items',
  columns: { id: { type: 'int', primary: true, generated: true }, name: { type: 'text' }, price: { type: 'int' } },
});

describe.each(KINDS)('TypeORM %s', (_kind, makePool, tenant) => {
  it('creates, reads, updates, deletes, commits, rolls back and reports errors', async () => {
    const pool = await makePool();
    const source = new DataSource({ type: 'postgres', driver: asPgModule(pool), entities: [ItemEntity] });
    await source.initialize();
    const repository = source.getRepository(ItemEntity);
    await repository.insert([
      { name: 'a', price: 1 },
      { name: 'b', price: 2 },
    ]);
    await repository.update({ name: 'a' }, { price: 3 });
    await repository.delete({ name: 'b' });
    expect(await repository.find({ select: { name: true, price: true } })).toEqual([{ name: 'a', price: 3 }]);
    await source.transaction((manager) => manager.getRepository(ItemEntity).insert({ name: 'c', price: 4 }));
    await expect(
      source.transaction('SERIALIZABLE', async (manager) => {
        await manager.getRepository(ItemEntity).insert({ name: 'd', price: 5 });
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await expect(repository.insert({ name: 'a', price: 1 })).rejects.toMatchObject({ driverError: { code: '23505' } });
    expect(await rows()).toEqual([
      { name: 'a', price: 3, tenant },
      { name: 'c', price: 4, tenant },
    ]);
    await source.destroy();
    expect(pool.ended).toBe(false);
    expectQuiet(pool);
  });
});

/** A statement as Prisma's engine hands it to its adapter. */
const prismaQuery = (sql: string, ...args: unknown[]) => ({
  sql,
  args,
  argTypes: args.map((arg) => ({
    scalarType: typeof arg === 'number' ? ('int' as const) : ('string' as const),
    arity: 'scalar' as const,
  })),
});

describe.each(KINDS)('Prisma’s adapter %s', (_kind, makePool, tenant) => {
  it('creates, reads, updates, deletes, commits, rolls back and reports errors', async () => {
    const pool = await makePool();
    const adapter = await new PrismaPg(asPgPool(pool)).connect();
    const insert = (name: string, price: number) =>
      prismaQuery('insert into items (name, price) values ($1, $2)', name, price);
    expect(await adapter.executeRaw(insert('a', 1))).toBe(1);
    await adapter.executeRaw(insert('b', 2));
    await adapter.executeRaw(prismaQuery('update items set price = $1 where name = $2', 3, 'a'));
    expect(await adapter.executeRaw(prismaQuery('delete from items where name = $1', 'b'))).toBe(1);
    const select = prismaQuery('select name, price from items');
    expect(await adapter.queryRaw(select)).toMatchObject({ columnNames: ['name', 'price'], rows: [['a', 3]] });
    for (const [name, end] of [
      ['c', 'commit'],
      ['d', 'rollback'],
    ] as const) {
      const transaction = await adapter.startTransaction('SERIALIZABLE');
      await transaction.executeRaw(insert(name, 4));
      // Its engine sends the statement, and tells the adapter.
      await transaction.executeRaw(prismaQuery(end));
      await transaction[end]();
    }
    await expect(adapter.executeRaw(insert('a', 1))).rejects.toMatchObject({ cause: { originalCode: '23505' } });
    await adapter.executeScript(
      `insert into items (name, price) values ('e', 5); update items set price = 6 where price = 5`,
    );
    expect(await rows()).toEqual([
      { name: 'a', price: 3, tenant },
      { name: 'c', price: 4, tenant },
      { name: 'e', price: 6, tenant },
    ]);
    await adapter.dispose();
    expect(pool.ended).toBe(false);
    expectQuiet(pool);
    // All of it went through the pool.
    expect(await sessionsBeside(pool)).toBe(0);
  });
});

describe('pg-boss', () => {
  it('sends, fetches, completes and fails jobs through its db option', async () => {
    const pool = await plainPool();
    const boss = new PgBoss({
      db: { executeSql: (statement, values) => pool.query(statement, values) },
      schema: 'boss',
      supervise: false,
      schedule: false,
    });
    await boss.start();
    await boss.createQueue('mail');
    const id = await boss.send('mail', { to: 'somebody' });
    const [job] = await boss.fetch<{ to: string }>('mail');
    expect([job?.id, job?.data.to]).toEqual([id, 'somebody']);
    await boss.complete('mail', String(id));
    const second = await boss.send('mail', { to: 'nobody' }, { retryLimit: 0 });
    await boss.fetch('mail');
    await boss.fail('mail', String(second), { reason: 'no such person' });
    expect((await boss.getJobById('mail', String(id)))?.state).toBe('completed');
    expect((await boss.getJobById('mail', String(second)))?.state).toBe('failed');
    await expect(boss.complete('mail', 'no uuid')).rejects.toMatchObject({ code: '22P02' });
    await boss.stop({ graceful: false, close: false });
    expectQuiet(pool);
  });

  it('takes part in a transaction of ours, and in its rollback', async () => {
    const pool = await plainPool();
    const db = { executeSql: (statement: string, values: unknown[]) => pool.query(statement, values) };
    const boss = new PgBoss({ db, schema: 'boss', supervise: false, schedule: false });
    await boss.start();
    await boss.createQueue('orders');
    await expect(
      pool.transaction(async (tx) => {
        await boss.send('orders', {}, { db: { executeSql: (statement, values) => tx.query(statement, values) } });
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    await pool.transaction((tx) =>
      boss.send('orders', { kept: true }, { db: { executeSql: (statement, values) => tx.query(statement, values) } }),
    );
    expect((await boss.fetch('orders', { batchSize: 10 })).map((job) => job.data)).toEqual([{ kept: true }]);
    await boss.stop({ graceful: false, close: false });
  });

  it('works under a tenant', async () => {
    const pool = await tenantPool();
    const boss = new PgBoss({
      db: { executeSql: (statement, values) => pool.query(statement, values) },
      schema: 'boss',
      supervise: false,
      schedule: false,
    });
    await boss.start();
    await boss.createQueue('tenant_mail');
    await boss.send('tenant_mail', { to: 'acme' });
    expect(await boss.fetch('tenant_mail')).toMatchObject([{ data: { to: 'acme' } }]);
    await boss.stop({ graceful: false, close: false });
    expectQuiet(pool);
  });
});

describe.each(KINDS)('connect-pg-simple %s', (_kind, makePool, _tenant) => {
  it('stores, reads, touches, replaces and destroys sessions', async () => {
    const pool = await makePool();
    await database.query(
      'create table if not exists session (sid varchar primary key, sess json not null, expire timestamp(6) not null); grant all on session to public',
    );
    const Store = connectPgSimple(session);
    const store = new Store({ pool, pruneSessionInterval: false });
    const cookie = { originalMaxAge: 60_000, expires: new Date(Date.now() + 60_000) };
    const call = <T>(run: (done: (error?: unknown, value?: T | null) => void) => void): Promise<T | null | undefined> =>
      new Promise((resolve, reject) =>
        run((error, value) =>
          error ? reject(error instanceof Error ? error : new Error('failed', { cause: error })) : resolve(value),
        ),
      );
    const data: session.SessionData & { user: string } = { cookie: { ...cookie }, user: 'me' };
    await call((done) => store.set('one', data, done));
    expect(await call((done) => store.get('one', done))).toMatchObject({ user: 'me' });
    await call((done) => store.touch('one', data, () => done()));
    await call((done) => store.destroy('one', done));
    expect(await call((done) => store.get('one', done))).toBeFalsy();
    await database.query('drop table session');
    await expect(call((done) => store.get('one', done))).rejects.toThrow(/session/);
    store.close();
    expectQuiet(pool);
  });
});
