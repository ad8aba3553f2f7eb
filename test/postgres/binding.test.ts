/**
 * A statement of a lease runs as its tenant or not at all: whatever keeps the session from being bound, whatever undoes
 * the binding, and whichever way the statement comes.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { finished } from 'node:stream/promises';
import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { TestPools } from './pools.js';

type Isolation = NonNullable<PostgresPoolOptions['isolation']>;

let database: TestDatabase;
let pools: TestPools;

beforeAll(async () => {
  database = await createDatabase();
  await database.query(`
    create role "${database.name} acme"; create role "${database.name} other";
    grant "${database.name} acme", "${database.name} other" to "${database.user}";
    create schema acme; create schema other; grant usage, create on schema acme, other, public to public;
    create table ran (n int); grant all on ran to public;
    create procedure go_back() language plpgsql as $$ begin perform 1; reset role; reset search_path; end $$`);
  pools = new TestPools(database);
});
afterEach(() => pools.close());
afterAll(async () => {
  await database.query(
    `drop owned by "${database.name} acme", "${database.name} other"; drop role "${database.name} acme", "${database.name} other"`,
  );
  await database.drop();
});

/** What a statement shows of the tenant it runs as, for each mode; and what acme's shows. */
const MODES: readonly {
  readonly mode: string;
  readonly isolation: () => Isolation;
  readonly look: string;
  readonly acme: () => string;
}[] = [
  {
    mode: 'role',
    isolation: () => ({ mode: 'role', role: (tenant) => `${database.name} ${tenant}` }),
    look: 'select current_user::text as who',
    acme: () => `${database.name} acme`,
  },
  {
    mode: 'schema',
    isolation: () => ({ mode: 'schema', schema: (tenant) => tenant }),
    look: 'select current_schema()::text as who',
    acme: () => 'acme',
  },
  {
    mode: 'rls',
    isolation: () => ({ mode: 'rls' }),
    look: `select current_setting('app.tenant_id', true) as who`,
    acme: () => 'acme',
  },
];

const who = async (client: Pick<LeasedClient, 'query'>, look: string): Promise<unknown> =>
  (await client.query<{ who: unknown }>(look)).rows[0]?.who;

/** Every way in which a client runs a statement that leaves a mark when it runs. */
const WAYS_IN: readonly [name: string, run: (client: LeasedClient) => Promise<unknown>][] = [
  ['a text', (client) => client.query('insert into ran values (1)')],
  ['values', (client) => client.query('insert into ran values ($1)', [1])],
  ['a named statement', (client) => client.query({ name: 'mark', text: 'insert into ran values (1)' })],
  ['a script', (client) => client.query('insert into ran values (1); insert into ran values (2)')],
  [
    'a callback',
    (client) =>
      new Promise((resolve, reject) => {
        client.query('insert into ran values (1)', (error) => (error ? reject(error) : resolve(undefined)));
      }),
  ],
  [
    'a query of pg',
    (client) =>
      new Promise((resolve, reject) => {
        const query = new pg.Query('insert into ran values (1)');
        query.on('error', reject).on('end', resolve);
        client.query(query);
      }),
  ],
  ['a cursor', (client) => client.query(new Cursor('insert into ran values (1) returning n')).read(1)],
  [
    'a query stream',
    (client) => finished(client.query(new QueryStream('insert into ran values (1) returning n')).resume()),
  ],
  ['COPY to the server', (client) => finished(client.query(copyFrom('copy ran from stdin')).end('1\n'))],
  [
    'COPY from the server',
    (client) => finished(client.query(copyTo('copy (insert into ran values (1) returning n) to stdout')).resume()),
  ],
];

/** Why a session can't be bound to a tenant. */
const FAILURES: readonly [name: string, isolation: () => Isolation][] = [
  [
    'role() throws',
    () => ({
      mode: 'role',
      role: () => {
        throw new Error('unknown tenant');
      },
    }),
  ],
  ['a role name that would be cut', () => ({ mode: 'role', role: () => 'x'.repeat(64) })],
  ['a role that does not exist', () => ({ mode: 'role', role: () => 'nobody knows it' })],
  [
    'schema() throws',
    () => ({
      mode: 'schema',
      schema: () => {
        throw new Error('unknown tenant');
      },
    }),
  ],
  ['a schema name that would be cut', () => ({ mode: 'schema', schema: () => 'x'.repeat(64) })],
];

describe('a session that could not be bound', () => {
  describe.each(FAILURES)('%s', (_failure, isolation) => {
    it.each(WAYS_IN)('runs nothing, not at first and not later: %s', async (_way, run) => {
      await database.query('truncate ran');
      const pool = await pools.create({ maxSize: 1, isolation: isolation() });
      const client = await pool.forTenant('acme').connect();
      await expect(run(client)).rejects.toBeInstanceOf(Error);
      await expect(run(client)).rejects.toBeInstanceOf(Error);
      await expect(client.query('insert into ran values (1)')).rejects.toBeInstanceOf(Error);
      client.release();
      await expect(pool.forTenant('acme').query('insert into ran values (1)')).rejects.toBeInstanceOf(Error);
      await expect(
        pool.forTenant('acme').transaction((tx) => tx.query('insert into ran values (1)')),
      ).rejects.toBeInstanceOf(Error);
      expect(await database.query('select * from ran')).toEqual([]);
      expect((await pool.unscoped().query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
      expect(pool.stats().active).toBe(0);
    });
  });

  it('takes statements along that were sent without waiting for the first', async () => {
    await database.query('truncate ran');
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'role', role: () => 'nobody knows it' } });
    const client = await pool.forTenant('acme').connect();
    const outcomes = await Promise.allSettled(WAYS_IN.map(([, run]) => run(client)));
    client.release();
    expect(outcomes.map(({ status }) => status)).toEqual(WAYS_IN.map(() => 'rejected'));
    expect(await database.query('select * from ran')).toEqual([]);
  });
});

/** Statements that give the setting of the lease another value. */
const UNDOING: readonly string[] = [
  'discard all',
  'reset all',
  'reset role',
  'set role none',
  'set session authorization default',
  'set search_path = other',
  "set schema 'other'",
  'reset search_path',
  "set app.tenant_id = 'other'",
  'reset app.tenant_id',
  "select set_config('role', 'none', false), set_config('search_path', 'other', false), set_config('app.tenant_id', 'other', false)",
  'do $$ begin reset role; reset search_path; reset app.tenant_id; end $$',
  'call public.go_back()',
];

/** How it is undone within the lease. */
const CIRCUMSTANCES: readonly [name: string, undo: (client: LeasedClient, sql: string) => Promise<unknown>][] = [
  ['alone', (client, sql) => client.query(sql)],
  [
    'in a transaction that commits',
    async (client, sql) => {
      await client.query('begin');
      await client.query(sql);
      await client.query('commit');
    },
  ],
  [
    'ahead of a transaction that is rolled back',
    async (client, sql) => {
      await client.query(sql);
      await client.query('begin');
      await client.query('select 1');
      await client.query('rollback');
    },
  ],
  [
    'in a transaction that is rolled back',
    async (client, sql) => {
      await client.query('begin');
      await client.query(sql);
      await client.query('select 1/0').catch(() => {});
      await client.query('rollback');
    },
  ],
  [
    'behind a savepoint that is rolled back to',
    async (client, sql) => {
      await client.query('begin');
      await client.query('savepoint a');
      await client.query(sql);
      await client.query('select 1');
      await client.query('rollback to savepoint a');
      await client.query('commit');
    },
  ],
  ['without waiting for it', (client, sql) => Promise.resolve(void client.query(sql).catch(() => {}))],
  [
    'by a query of pg',
    (client, sql) =>
      new Promise((resolve, reject) => {
        client.query(new pg.Query(sql).on('end', resolve).on('error', reject));
      }),
  ],
];

describe.each(MODES)('a binding by $mode that is undone within the lease', ({ isolation, look, acme }) => {
  // DISCARD ALL refuses a transaction block.
  const cases = CIRCUMSTANCES.flatMap(([name, undo]) =>
    UNDOING.filter((sql) => !(sql === 'discard all' && name.includes('in a') && !name.startsWith('ahead'))).map(
      (sql) => [name, sql, undo] as const,
    ),
  );

  it.each(cases)('is made again before the next statement: %s, %s', async (_name, sql, undo) => {
    const pool = await pools.create({ maxSize: 1, isolation: isolation() });
    const client = await pool.forTenant('acme').connect();
    await client.query('select 1');
    await undo(client, sql).catch(() => client.query('rollback'));
    expect(await who(client, look)).toBe(acme());
    const cursor = client.query(new Cursor<{ who: string }>(look));
    expect(await cursor.read(1)).toEqual([{ who: acme() }]);
    await cursor.close();
    client.release();
  });

  it('is made again inside a transaction of the pool', async () => {
    const pool = await pools.create({ maxSize: 1, isolation: isolation() });
    await pool.forTenant('acme').transaction(async (tx) => {
      for (const sql of UNDOING.filter((undoing) => undoing !== 'discard all')) {
        await tx.query(sql);
        expect(await who(tx, look)).toBe(acme());
        expect(await who(tx.client, look)).toBe(acme());
      }
    });
  });

  it('is not left behind by a script', async () => {
    await database.query('truncate ran');
    const pool = await pools.create({ maxSize: 2, isolation: isolation() });
    const acmes = pool.forTenant('acme');
    const scripts = [
      'reset all; insert into public.ran values (1)',
      '/* first */ discard all; insert into public.ran values (1)',
    ];
    const client = await acmes.connect();
    for (const script of scripts) {
      await expect(client.query(script)).rejects.toMatchObject({ code: 'POOL_SCRIPT_REFUSED' });
      await expect(acmes.query(script)).rejects.toMatchObject({ code: 'POOL_SCRIPT_REFUSED' });
    }
    client.release();
    await expect(acmes.query('commit; insert into public.ran values (1)')).rejects.toMatchObject({
      code: 'POOL_SCRIPT_REFUSED',
    });
    await expect(
      acmes.transaction((tx) => tx.query('rollback; insert into public.ran values (1)')),
    ).rejects.toMatchObject({ code: 'POOL_SCRIPT_REFUSED' });
    expect(await database.query('select * from public.ran')).toEqual([]);
    // Words in literals and in bodies of functions are no commands.
    const body = 'do $$ begin perform 1; end; $$ language plpgsql; select 1 as ok';
    expect(await acmes.query(body)).toMatchObject([{}, { rows: [{ ok: 1 }] }]);
  });
});

describe('a role that may not be taken again', () => {
  it('leaves the lease without any further statement', async () => {
    await database.query('truncate ran');
    const pool: PostgresPool = await pools.create({
      maxSize: 1,
      isolation: { mode: 'role', role: (tenant) => `${database.name} ${tenant}` },
    });
    const client = await pool.forTenant('acme').connect();
    await client.query('select 1');
    await database.query(`revoke "${database.name} acme" from "${database.user}"`);
    try {
      await client.query('reset role');
      await expect(client.query('insert into ran values (1)')).rejects.toMatchObject({ code: '42501' });
      await expect(client.query('insert into ran values (1)')).rejects.toMatchObject({ code: '42501' });
    } finally {
      await database.query(`grant "${database.name} acme" to "${database.user}"`);
      client.release();
    }
    expect(await database.query('select * from ran')).toEqual([]);
  });
});
