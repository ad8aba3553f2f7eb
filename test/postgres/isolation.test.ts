import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import Cursor from 'pg-cursor';

import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { TestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;

const RLS: PostgresPoolOptions = { isolation: { mode: 'rls', setting: 'app.tenant_id' } };

beforeAll(async () => {
  database = await createDatabase();
  await database.query(`
    create table orders (id serial primary key, tenant text not null default nullif(current_setting('app.tenant_id', true), ''), item text not null);
    alter table orders enable row level security;
    alter table orders force row level security;
    create policy own_rows on orders using (tenant = nullif(current_setting('app.tenant_id', true), ''))
      with check (tenant = nullif(current_setting('app.tenant_id', true), ''));
    grant all on orders to public; grant all on all sequences in schema public to public;
    insert into orders (tenant, item) values ('acme', 'anvil'), ('acme', 'rocket'), ('umbrella', 'virus');
    create schema "tenant acme"; create schema "tenant ""umbrella""";
    grant usage on schema "tenant acme", "tenant ""umbrella""" to public;
    create table "tenant acme".who (name text); insert into "tenant acme".who values ('acme');
    create table "tenant ""umbrella""".who (name text); insert into "tenant ""umbrella""".who values ('umbrella');
    grant select on "tenant acme".who, "tenant ""umbrella""".who to public;
    create role "${database.name} acme"; create role "${database.name} umbrella";
    grant "${database.name} acme", "${database.name} umbrella" to "${database.user}";
    create function forget_all() returns void language plpgsql as $$ begin execute 'deallocate all'; end $$;
    create table acme_only (n int); grant select on acme_only to "${database.name} acme"; insert into acme_only values (1)`);
  pools = new TestPools(database);
});
afterEach(() => pools.close());
afterAll(async () => {
  await database.query(
    `drop owned by "${database.name} acme", "${database.name} umbrella"; drop role "${database.name} acme", "${database.name} umbrella"`,
  );
  await database.drop();
});

const items = async (pool: { query(text: string): Promise<{ rows: unknown[] }> }): Promise<unknown[]> =>
  (await pool.query('select item from orders order by id')).rows.map((row) => (row as { item: string }).item);

describe('isolation by row security', () => {
  it('confines one-shot queries of every form to the tenant', async () => {
    const pool = await pools.create({ ...RLS, maxSize: 2 });
    const acme = pool.forTenant('acme');
    const umbrella = pool.forTenant('umbrella');
    expect(await items(acme)).toEqual(['anvil', 'rocket']);
    expect(await items(umbrella)).toEqual(['virus']);
    expect((await acme.query('select item from orders where id > $1 order by id', [1])).rows).toEqual([
      { item: 'rocket' },
    ]);
    expect((await acme.query({ name: 'n', text: 'select count(*)::int as n from orders' })).rows).toEqual([{ n: 2 }]);
    expect((await umbrella.query({ name: 'n', text: 'select count(*)::int as n from orders' })).rows).toEqual([
      { n: 1 },
    ]);
    const several: unknown = await acme.query(
      `select count(*)::int as n from orders; select current_setting('app.tenant_id') as me`,
    );
    expect(several).toMatchObject([{ rows: [{ n: 2 }] }, { rows: [{ me: 'acme' }] }]);
    const cursor = umbrella.query(new Cursor('select item from orders'));
    expect(await cursor.read(10)).toEqual([{ item: 'virus' }]);
    await cursor.close();
    expect((await acme.query('')).rows).toEqual([]);
  });

  it('leaves nothing of the tenant on the session', async () => {
    const pool = await pools.create({ ...RLS, maxSize: 1 });
    await pool.forTenant('acme').query('select 1');
    await expect(pool.forTenant('acme').query('select 1/0')).rejects.toMatchObject({ code: '22012' });
    expect(await items(pool.unscoped())).toEqual([]);
    expect(
      (await pool.unscoped().query(`select nullif(current_setting('app.tenant_id', true), '') as t`)).rows,
    ).toEqual([{ t: null }]);
  });

  it('rolls back as a whole when any part fails', async () => {
    const pool = await pools.create({ ...RLS, maxSize: 1 });
    await expect(
      pool.forTenant('acme').query(`insert into orders (tenant, item) values ('umbrella', 'stolen')`),
    ).rejects.toMatchObject({ code: '42501' });
    await expect(
      pool.forTenant('acme').query(`insert into orders (item) values ('half'); select 1/0`),
    ).rejects.toMatchObject({ code: '22012' });
    expect(await database.query(`select item from orders where item in ('stolen', 'half')`)).toEqual([]);
  });

  it('takes the tenant from the context, and refuses to work without one', async () => {
    const pool = await pools.create(RLS);
    expect(await pools.tenants.run('umbrella', () => items(pool))).toEqual(['virus']);
    await expect(pool.query('select 1')).rejects.toMatchObject({ code: 'POOL_TENANT_REQUIRED' });
    await expect(pool.connect()).rejects.toMatchObject({ code: 'POOL_TENANT_REQUIRED' });
    await expect(pool.transaction(async () => {})).rejects.toMatchObject({ code: 'POOL_TENANT_REQUIRED' });
    await expect(pool.query(new Cursor('select 1')).read(1)).rejects.toMatchObject({ code: 'POOL_TENANT_REQUIRED' });
    expect(await items(pool.unscoped())).toEqual([]);
    expect(pool.stats().unscopedUses).toBe(1);
  });

  it('binds clients for the lease, through their own transactions, and transactions', async () => {
    const pool = await pools.create({ ...RLS, maxSize: 1 });
    const client = await pool.forTenant('acme').connect();
    await client.query('begin isolation level serializable');
    expect(await items(client)).toEqual(['anvil', 'rocket']);
    await client.query('rollback');
    expect(await items(client)).toEqual(['anvil', 'rocket']);
    client.release();
    expect(await items(pool.unscoped())).toEqual([]);
    expect(await pool.forTenant('umbrella').transaction((tx) => items(tx), { isolation: 'serializable' })).toEqual([
      'virus',
    ]);
    const other = await pool.forTenant('umbrella').connect();
    const [first, second] = await Promise.all([items(other), items(other)]);
    expect([first, second]).toEqual([['virus'], ['virus']]);
    other.release();
    expect(pool.stats().connects).toBe(1);
  });

  it('goes on when a borrower drops every prepared statement', async () => {
    const pool = await pools.create({ ...RLS, maxSize: 1 });
    const acme = pool.forTenant('acme');
    const named = { name: 'n', text: 'select count(*)::int as n from orders' };
    await acme.query(named);
    await acme.query('deallocate all');
    expect((await acme.query('select count(*)::int as n from orders')).rows).toEqual([{ n: 2 }]);
    expect((await acme.query(named)).rows).toEqual([{ n: 2 }]);
    await acme.query('select forget_all()');
    expect((await acme.query('select count(*)::int as n from orders')).rows).toEqual([{ n: 2 }]);
    await acme.query(named);
    await acme.query('select forget_all()');
    expect((await acme.query(named)).rows).toEqual([{ n: 2 }]);
    await expect(acme.query('execute nothing')).rejects.toMatchObject({ code: '26000' });
    expect(pool.stats().connects).toBe(1);
  });
});

describe('isolation by schema', () => {
  it('sends each tenant to its own schema, whatever it is called', async () => {
    const pool = await pools.create({
      maxSize: 1,
      isolation: { mode: 'schema', schema: (tenant) => (tenant === 'acme' ? 'tenant acme' : 'tenant "umbrella"') },
    });
    const who = { name: 'who', text: 'select name from who' };
    for (let round = 0; round < 3; round++) {
      expect((await pool.forTenant('acme').query(who)).rows).toEqual([{ name: 'acme' }]);
      expect((await pool.forTenant('umbrella').query(who)).rows).toEqual([{ name: 'umbrella' }]);
      const client = await pool.forTenant('acme').connect();
      expect((await client.query(who)).rows).toEqual([{ name: 'acme' }]);
      client.release();
    }
    await expect(pool.unscoped().query('select * from who')).rejects.toMatchObject({ code: '42P01' });
  });

  it('keeps named statements apart when one-shot queries are trusted and nothing is reset', async () => {
    const pool = await pools.create({
      maxSize: 1,
      session: { trustOneShot: true },
      isolation: { mode: 'schema', schema: (tenant) => (tenant === 'acme' ? 'tenant acme' : 'tenant "umbrella"') },
    });
    const who = { name: 'w'.repeat(60), text: 'select name from who' };
    for (let round = 0; round < 2; round++) {
      expect((await pool.forTenant('acme').query(who)).rows).toEqual([{ name: 'acme' }]);
      expect((await pool.forTenant('umbrella').query(who)).rows).toEqual([{ name: 'umbrella' }]);
    }
  });
});

describe('isolation by role', () => {
  it('works as the tenant’s role, and as itself when unscoped', async () => {
    const pool = await pools.create({
      maxSize: 1,
      isolation: { mode: 'role', role: (tenant) => `${database.name} ${tenant}` },
    });
    expect((await pool.forTenant('acme').query('select n from acme_only')).rows).toEqual([{ n: 1 }]);
    await expect(pool.forTenant('umbrella').query('select n from acme_only')).rejects.toMatchObject({ code: '42501' });
    expect((await pool.forTenant('umbrella').query('select current_user as me')).rows).toEqual([
      { me: `${database.name} umbrella` },
    ]);
    expect((await pool.unscoped().query('select current_user as me')).rows).toEqual([{ me: database.user }]);
    expect(
      await pool.forTenant('acme').transaction(async (tx) => (await tx.query('select current_user as me')).rows),
    ).toEqual([{ me: `${database.name} acme` }]);
  });

  it('runs nothing when the role does not exist, on clients neither, and keeps the connection', async () => {
    const pool = await pools.create({
      maxSize: 1,
      isolation: { mode: 'role', role: (tenant) => `no such role ${tenant}` },
    });
    const nobody = pool.forTenant('nobody');
    // Often, because replies come in different pieces.
    for (let round = 0; round < 20; round++) await useInVain(nobody, pool.unscoped());
    expect((await pool.unscoped().query('select current_user as me')).rows).toEqual([{ me: database.user }]);
    expect(pool.stats().connects).toBe(1);
  });

  async function useInVain(nobody: PostgresPool, somebody: PostgresPool): Promise<void> {
    await expect(nobody.query('create table never (n int)')).rejects.toThrow(/does not exist/);
    const client = await nobody.connect();
    const answers = await Promise.allSettled([
      client.query('select 1'),
      client.query('select 2'),
      client.query(new Cursor('select 3')).read(1),
    ]);
    for (const answer of answers)
      expect(answer).toMatchObject({
        status: 'rejected',
        reason: { message: expect.stringMatching(/does not exist/) },
      });
    client.release();
    const hasty = await nobody.connect();
    const unread = Promise.allSettled([
      hasty.query('select 1'),
      hasty.query('create table never (n int)'),
      hasty.query('create table never (n int)'),
    ]);
    hasty.release();
    for (const answer of await unread)
      expect(answer).toMatchObject({
        status: 'rejected',
        reason: { message: expect.stringMatching(/does not exist/) },
      });
    const next = await somebody.connect();
    expect((await next.query('select current_user as me')).rows).toEqual([{ me: database.user }]);
    next.release();
    await expect(nobody.transaction((tx) => tx.query('select 1'))).rejects.toThrow(/does not exist/);
  }
});
