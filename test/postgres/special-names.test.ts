/**
 * Names to which PostgreSQL gives a meaning beyond the literal: each is refused, or means literally itself.
 *
 * The tenants choose their names here, and the owner's functions hand them on as they are: the worst case.
 */
import { describe, expect, it } from '@jest/globals';

import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { settingProblem } from '../../lib/postgres/special-names.js';
import type { TestDatabase } from '../support/databases.js';
import { type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools((made) => ({ database, pools } = made));

const WHO = 'select current_user::text as who';
const REFUSED = { code: 'POOL_TENANT_INVALID' };

/** As a tenant, by each way of binding it: one-shot, script, transaction, lease, named statement. */
const WAYS: [way: string, ask: (pool: PostgresPool, text: string) => Promise<unknown>][] = [
  ['query', async (pool, text) => (await pool.query(text)).rows],
  ['named query', async (pool, text) => (await pool.query({ name: 'ask', text })).rows],
  ['transaction', (pool, text) => pool.transaction(async (tx) => (await tx.query(text)).rows)],
  ['use', (pool, text) => pool.use(async (client) => (await client.query(text)).rows)],
];

describe('as a role', () => {
  it.each(['none', 'public', 'pg_read_all_data', 'pg_execute_server_program', 'pg_', 'x'.repeat(64), 'é'.repeat(32)])(
    'a tenant called %s is refused',
    async (name) => {
      const pool = (await pools.create({ isolation: { mode: 'role', role: () => name } })).forTenant('acme');
      for (const [, ask] of WAYS) await expect(ask(pool, WHO)).rejects.toMatchObject(REFUSED);
    },
  );

  it('a tenant of the pool’s own name is refused: it would be the pool', async () => {
    const pool = (await pools.create({ isolation: { mode: 'role', role: (tenant) => tenant } })).forTenant(
      database.user,
    );
    for (const [, ask] of WAYS) await expect(ask(pool, WHO)).rejects.toMatchObject(REFUSED);
  });

  it.each([
    'current_user',
    'session_user',
    'current_role',
    'user',
    'default',
    'all',
    'NONE',
    'None',
    'Public',
    'PG_READ_ALL_DATA',
    '"none"',
    ' none',
    '$user',
    'a,b',
    `it's`,
  ])('a tenant called %s is the role of exactly that name, or none at all', async (name) => {
    const pool = (await pools.create({ isolation: { mode: 'role', role: () => name } })).forTenant('acme');
    // There is no such role: nothing runs.
    for (const [, ask] of WAYS) await expect(ask(pool, WHO)).rejects.toMatchObject({ code: '22023' });
    const quoted = `"${name.replaceAll('"', '""')}"`;
    await database.query(`create role ${quoted}`);
    try {
      await database.query(`grant ${quoted} to "${database.user}"`);
      for (const [, ask] of WAYS) expect(await ask(pool, WHO)).toEqual([{ who: name }]);
    } finally {
      await database.query(`drop role ${quoted}`);
    }
  });

  it('what is no name is refused', async () => {
    const pool = await pools.create({ isolation: { mode: 'role', role: () => undefined as never } });
    for (const [, ask] of WAYS) await expect(ask(pool.forTenant('acme'), WHO)).rejects.toMatchObject(REFUSED);
  });
});

describe('as a schema', () => {
  const WHERE = 'select current_schemas(false)::text[] as path';

  it.each(['$user', 'pg_temp', 'pg_temp_3', 'pg_catalog', 'pg_toast', 'information_schema', 'x'.repeat(64)])(
    'a tenant called %s is refused',
    async (name) => {
      const pool = (await pools.create({ isolation: { mode: 'schema', schema: () => name } })).forTenant('acme');
      for (const [, ask] of WAYS) await expect(ask(pool, WHERE)).rejects.toMatchObject(REFUSED);
    },
  );

  it.each(['$USER', '"$user"', 'PG_TEMP', 'current_schema', 'default', 'Acme', 'acme ', 'a,b', 'a"b', 'public'])(
    'a tenant called %s has the schema of exactly that name',
    async (name) => {
      const quoted = `"${name.replaceAll('"', '""')}"`;
      await database.query(`create schema if not exists ${quoted}`);
      await database.query(`grant usage on schema ${quoted} to "${database.user}"`);
      const pool = (await pools.create({ isolation: { mode: 'schema', schema: () => name } })).forTenant('acme');
      for (const [, ask] of WAYS) expect(await ask(pool, WHERE)).toEqual([{ path: [name] }]);
    },
  );

  it('a list without a schema is refused: only the server’s own would be left', async () => {
    const pool = await pools.create({ isolation: { mode: 'schema', schema: () => [] as never } });
    for (const [, ask] of WAYS) await expect(ask(pool.forTenant('acme'), WHERE)).rejects.toMatchObject(REFUSED);
  });
});

describe('as a setting', () => {
  it('every setting that the server has is refused', async () => {
    const settings = await database.query<{ name: string }>('select name from pg_settings');
    expect(settings.length).toBeGreaterThan(300);
    for (const { name } of settings) {
      const isolation = { mode: 'rls', setting: name } as const;
      await expect((async () => pools.create({ isolation }))()).rejects.toMatchObject({ code: 'POOL_CONFIG' });
    }
  });

  it.each(['plpgsql.variable_conflict', 'PLPGSQL.extra_errors', 'auto_explain.log_min_duration', 'pgaudit.log'])(
    'of a language or an extension is refused (%s)',
    (name) => expect(settingProblem(name)).toContain('must not be of the class'),
  );

  it('of one’s own is read by policies as it was set, however it is written', async () => {
    for (const setting of [
      'app.tenant_id',
      'App.Tenant_Id',
      'my.app.tenant',
      'a$b.c',
      `${'x'.repeat(63)}.${'y'.repeat(63)}`,
    ]) {
      const pool = (await pools.create({ isolation: { mode: 'rls', setting } })).forTenant('acme');
      const me = `select current_setting('${setting}', true) as me`;
      for (const [, ask] of WAYS) expect(await ask(pool, me)).toEqual([{ me: 'acme' }]);
    }
  });
});

describe('as a prepared statement', () => {
  it.each(['none', 'rls', 'role'] as const)(
    'names that the server would cut are told apart (mode %s)',
    async (mode) => {
      const isolation =
        mode === 'role' ? { mode, role: () => `${database.name}_tenant` } : mode === 'rls' ? { mode } : { mode };
      await database.query(
        `create role "${database.name}_tenant"; grant "${database.name}_tenant" to "${database.user}"`,
      );
      try {
        const pool = (await pools.create({ isolation, maxSize: 1 })).forTenant('acme');
        const name = 'n'.repeat(70);
        for (let round = 0; round < 2; round++) {
          expect((await pool.query({ name: `${name}1`, text: 'select 1 as n' })).rows).toEqual([{ n: 1 }]);
          expect((await pool.query({ name: `${name}2`, text: 'select 2 as n' })).rows).toEqual([{ n: 2 }]);
        }
        await pool.close();
      } finally {
        await database.query(`drop role "${database.name}_tenant"`);
      }
    },
  );
});
