/**
 * Tenants may be called whatever they like: names of tenants are parameters or quoted identifiers, never a part of SQL.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { quoteIdentifier, searchPath } from '../../lib/postgres/isolation.js';
import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { isTenantId } from '../../lib/tenancy/tenant-id.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { TestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
let byRow: PostgresPool;
let bySchema: PostgresPool;

beforeAll(async () => {
  database = await createDatabase();
  await database.query(`
    create table owned (tenant text not null default nullif(current_setting('app.tenant_id', true), ''), n int);
    alter table owned enable row level security; alter table owned force row level security;
    create policy own_rows on owned using (tenant = nullif(current_setting('app.tenant_id', true), ''));
    grant all on owned to public; insert into owned values ('somebody else', 1)`);
  pools = new TestPools(database);
  byRow = await pools.create({ isolation: { mode: 'rls' }, maxSize: 2 });
  bySchema = await pools.create({ isolation: { mode: 'schema', schema: (tenant) => tenant }, maxSize: 2 });
});
afterAll(async () => {
  await pools.close();
  await database.drop();
});

const HOSTILE = [
  `'`,
  `"`,
  `''; drop table owned; --`,
  `$1`,
  `$$`,
  `\\`,
  `\\'`,
  `x', true); drop table owned; select set_config('a.b', '`,
  `{a,b}`,
  'a, public',
  `"$user"`,
  'DEFAULT',
  'none',
  '%s',
  'é',
  '日本',
  '🐘',
  'a'.repeat(128),
  '🐘'.repeat(128),
  `a"b`,
  `E'\\x41'`,
  'null',
];

/** Any name that may be a tenant's. */
const tenants = fc
  .oneof(
    fc.constantFrom(...HOSTILE),
    fc.string({ minLength: 1, maxLength: 128, unit: 'grapheme' }),
    fc
      .array(fc.constantFrom(`'`, `"`, ';', '$', '\\', '-', '/', '*', ' ', 'a', '1'), { minLength: 1, maxLength: 30 })
      .map((parts) => parts.join('')),
  )
  .filter(isTenantId);

const RUNS = { numRuns: 150 };

describe('tenants of whatever name', () => {
  it('are bound exactly, by every road', async () => {
    await fc.assert(
      fc.asyncProperty(tenants, async (tenant) => {
        const view = byRow.forTenant(tenant);
        const me = `select current_setting('app.tenant_id', true) as me`;
        expect((await view.query(me)).rows).toEqual([{ me: tenant }]);
        const both: unknown = await view.query(`${me}; select 1 as one`);
        expect(both).toMatchObject([{ rows: [{ me: tenant }] }, { rows: [{ one: 1 }] }]);
        expect(await view.transaction(async (tx) => (await tx.query(me)).rows)).toEqual([{ me: tenant }]);
        const client = await view.connect();
        expect((await client.query(me)).rows).toEqual([{ me: tenant }]);
        client.release();
        expect(
          (await byRow.unscoped().query(`select nullif(current_setting('app.tenant_id', true), '') as me`)).rows,
        ).toEqual([{ me: null }]);
      }),
      RUNS,
    );
    expect(await database.query('select * from owned')).toHaveLength(1);
  });

  it('see what they wrote, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(tenants, tenants, async (one, other) => {
        fc.pre(one !== other);
        await byRow.forTenant(one).query('insert into owned (n) values (7)');
        expect((await byRow.forTenant(other).query('select n from owned')).rows).toEqual([]);
        expect((await byRow.forTenant(one).query('delete from owned returning n')).rows).toEqual([{ n: 7 }]);
      }),
      RUNS,
    );
    expect(await database.query('select tenant from owned')).toEqual([{ tenant: 'somebody else' }]);
  });

  it('have a schema of exactly their name, or are refused where the server would cut it', async () => {
    await fc.assert(
      fc.asyncProperty(tenants, async (tenant) => {
        if (Buffer.byteLength(tenant) > 63) {
          await expect(bySchema.forTenant(tenant).query('select 1')).rejects.toMatchObject({
            code: 'POOL_TENANT_INVALID',
          });
          return;
        }
        const { rows } = await bySchema.forTenant(tenant).query(`select current_setting('search_path') as path`);
        expect(rows).toEqual([{ path: searchPath(tenant) }]);
      }),
      RUNS,
    );
  });

  it('are quoted as the server quotes them', async () => {
    await fc.assert(
      fc.asyncProperty(tenants, async (tenant) => {
        // quote_ident leaves out quotes that aren't needed.
        const [row] = await database.query("select quote_ident($1 || '\"') as quoted", [tenant]);
        expect(quoteIdentifier(`${tenant}"`)).toBe(row?.quoted);
      }),
      RUNS,
    );
  });

  it('never get as far as the server when they could not be told apart there', () => {
    for (const name of ['a\0b', '', 'a'.repeat(129), 'a\nb', '\ud800'])
      expect(() => byRow.forTenant(name)).toThrow(/tenant/i);
  });
});
