/**
 * A statement of a lease runs as its tenant or not at all: whatever keeps the session from being bound, whatever undoes
 * the binding, and whichever way the statement comes.
 */
import { finished } from 'node:stream/promises';

import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
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

type Queries = Pick<LeasedClient | PostgresPool, 'query'>;

/** Every way in which a client, or the pool itself, runs a statement that leaves a mark when it runs. */
const WAYS_IN: readonly [name: string, run: (on: Queries) => Promise<unknown>][] = [
  ['a text', (on) => on.query('insert into ran values (1)')],
  ['values', (on) => on.query('insert into ran values ($1)', [1])],
  ['a named statement', (on) => on.query({ name: 'mark', text: 'insert into ran values (1)' })],
  ['a script', (on) => on.query('insert into ran values (1); insert into ran values (2)')],
  [
    'a callback',
    (on) =>
      new Promise((resolve, reject) => {
        on.query('insert into ran values (1)', (error) => (error ? reject(error) : resolve(undefined)));
      }),
  ],
  [
    'a query of pg',
    (on) =>
      new Promise((resolve, reject) => {
        const query = new pg.Query('insert into ran values (1)');
        query.on('error', reject).on('end', resolve);
        on.query(query);
      }),
  ],
  ['a cursor', (on) => on.query(new Cursor('insert into ran values (1) returning n')).read(1)],
  ['a query stream', (on) => finished(on.query(new QueryStream('insert into ran values (1) returning n')).resume())],
  ['COPY to the server', (on) => finished(on.query(copyFrom('copy ran from stdin')).end('1\n'))],
  [
    'COPY from the server',
    (on) => finished(on.query(copyTo('copy (insert into ran values (1) returning n) to stdout')).resume()),
  ],
];

/** Why a session can't be bound to a tenant. */
const FAILURES: readonly [name: string, isolation: () => Isolation, tenantId: string, withdraws?: string][] = [
  [
    'role() throws',
    () => ({
      mode: 'role',
      role: () => {
        throw new Error('unknown tenant');
      },
    }),
    'acme',
  ],
  ['a role name that would be cut', () => ({ mode: 'role', role: () => 'x'.repeat(64) }), 'acme'],
  ['a role that does not exist', () => ({ mode: 'role', role: () => 'nobody knows it' }), 'acme'],
  [
    'schema() throws',
    () => ({
      mode: 'schema',
      schema: () => {
        throw new Error('unknown tenant');
      },
    }),
    'acme',
  ],
  ['a schema name that would be cut', () => ({ mode: 'schema', schema: () => 'x'.repeat(64) }), 'acme'],
  [
    'a user that may not call set_config()',
    () => ({ mode: 'rls' }),
    // Too long for SET, whose value would be cut.
    'acme'.repeat(20),
    'set_config(text, text, boolean)',
  ],
];

/** Every way to borrow a session for statements. */
const BORROWS: readonly [
  name: string,
  run: (pool: PostgresPool, work: (on: Queries) => unknown) => Promise<unknown>,
][] = [
  ['use', (pool, work) => pool.use(work)],
  [
    'acquire',
    async (pool, work) => {
      await using lease = await pool.acquire();
      return await work(lease.connection);
    },
  ],
  ['a query of the pool', async (pool, work) => work(pool)],
  ['transaction', (pool, work) => pool.transaction((tx) => work(tx.client))],
];

describe('a session that could not be bound', () => {
  describe.each(FAILURES)('%s', (_failure, isolation, tenantId, withdrawn) => {
    beforeAll(async () => {
      if (withdrawn !== undefined) await database.query(`revoke execute on function ${withdrawn} from public`);
    });
    afterAll(async () => {
      if (withdrawn !== undefined) await database.query(`grant execute on function ${withdrawn} to public`);
    });

    it.each(WAYS_IN)('runs nothing, not at first and not later: %s', async (_way, run) => {
      await database.query('truncate ran');
      const pool = await pools.create({ maxSize: 1, isolation: isolation() });
      const tenant = pool.forTenant(tenantId);
      const client = await tenant.connect();
      await expect(run(client)).rejects.toBeInstanceOf(Error);
      await expect(run(client)).rejects.toBeInstanceOf(Error);
      await expect(client.query('insert into ran values (1)')).rejects.toBeInstanceOf(Error);
      client.release();
      await expect(tenant.query('insert into ran values (1)')).rejects.toBeInstanceOf(Error);
      await expect(tenant.transaction((tx) => tx.query('insert into ran values (1)'))).rejects.toBeInstanceOf(Error);
      expect(await database.query('select * from ran')).toEqual([]);
      expect((await pool.unscoped().query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
      expect(pool.stats().active).toBe(0);
    });

    it.each(BORROWS)('costs its caller alone, on an idle connection and after a wait: %s', async (_borrow, borrow) => {
      await database.query('truncate ran');
      const pool = await pools.create({ maxSize: 1, isolation: isolation() });
      const unscoped = pool.unscoped();
      const tenant = pool.forTenant(tenantId);
      const outcomes: Record<string, unknown> = {};
      const isError = (error: unknown): boolean => error instanceof Error;
      for (const [way, run] of WAYS_IN) {
        await unscoped.query('select 1');
        outcomes[`${way}, idle`] = await borrow(tenant, run).catch(isError);

        const held = await unscoped.connect();
        const neighbours = [unscoped.query('select 1 as ok')];
        let isRefused = false;
        const refused = borrow(tenant, run)
          .catch(isError)
          .finally(() => (isRefused = true));
        neighbours.push(unscoped.query('select 1 as ok'));
        // A name that can't be used is refused without a wait where there is no lease to refuse it in.
        await eventually(() => pool.waitingCount === (isRefused ? 2 : 3));
        held.release();
        outcomes[`${way}, after a wait`] = await refused;
        for (const neighbour of neighbours) expect((await neighbour).rows).toEqual([{ ok: 1 }]);
        await eventually(() => pool.stats().active === 0);
      }
      expect(outcomes).toEqual(
        Object.fromEntries(
          WAYS_IN.flatMap(([way]) => [`${way}, idle`, `${way}, after a wait`].map((at) => [at, true])),
        ),
      );
      expect(await database.query('select * from ran')).toEqual([]);
    });
  });

  it('stays so when the cause is gone, and a new lease of the same connection is bound', async () => {
    await database.query('truncate ran');
    const late = `${database.name} late`;
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'role', role: () => late } });
    const client = await pool.forTenant('acme').connect();
    const pid = client.processID;
    await expect(client.query('insert into ran values (1)')).rejects.toMatchObject({ code: '22023' });
    await database.query(`create role "${late}"; grant "${late}" to "${database.user}"`);
    try {
      for (const [, run] of WAYS_IN) await expect(run(client)).rejects.toMatchObject({ code: '22023' });
      client.release();
      expect(await database.query('select * from ran')).toEqual([]);
      await pool.forTenant('acme').use(async (next) => {
        expect(next.processID).toBe(pid);
        expect(await who(next, 'select current_user::text as who')).toBe(late);
      });
    } finally {
      await pools.close();
      await database.query(`drop role "${late}"`);
    }
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

  it('is made again when the first statement of a transaction has undone it', async () => {
    const pool = await pools.create({ maxSize: 1, isolation: isolation() });
    for (const sql of UNDOING.filter((undoing) => undoing !== 'discard all')) {
      await pool.forTenant('acme').transaction(async (tx) => {
        await tx.query(sql);
        expect(await who(tx, look)).toBe(acme());
      });
    }
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
