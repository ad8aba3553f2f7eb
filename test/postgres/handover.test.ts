/**
 * A connection that moves from one tenant to another is indistinguishable from a new one: every kind of state that a
 * borrower can leave, through every way in which a borrower can let go of it.
 */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import Cursor from 'pg-cursor';

import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { TestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
/** What a new connection shows. */
let asNew: unknown;

beforeAll(async () => {
  database = await createDatabase();
  await database.query(`
    create sequence numbers;
    create table uniques (n int unique deferrable initially deferred);
    create role "${database.name} other";
    grant "${database.name} other" to "${database.user}";
    grant all on sequence numbers to public; grant all on uniques to public;
    create function leave_state() returns void language plpgsql as $$
    begin
      perform set_config('app.remains', 'by a function', false);
      perform set_config('search_path', 'nowhere, public', false);
      perform pg_advisory_lock(4711);
      create temp table by_function (n int);
      perform nextval('numbers');
    end $$;
    create table refusals (n int);
    grant all on refusals to public;
    create function set_up() returns void language plpgsql as $$
    begin
      if exists (select from refusals) then raise 'refused'; end if;
    end $$;
    create function fill_temporary_tables() returns void language plpgsql as $$
    begin
      for i in 1..200 loop execute format('create temp table filled_%s (n int primary key)', i); end loop;
    end $$`);
  pools = new TestPools(database);
  const fresh = await pools.create({ isolation: { mode: 'rls' }, maxSize: 1 });
  asNew = (await fresh.forTenant('b').query(LOOK)).rows;
});
afterAll(async () => {
  await pools.close();
  await database.query(`drop owned by "${database.name} other"; drop role "${database.name} other"`);
  await database.drop();
});

/** What A leaves in the session; SQL. */
const STATES: readonly [name: string, sql: () => string][] = [
  ['a setting', () => `set app.remains = 'mine'`],
  ['a search path', () => 'set search_path = nowhere, public'],
  ['a role', () => `set role "${database.name} other"`],
  ['a statement time-out', () => `set statement_timeout = '9min'`],
  ['a client encoding', () => 'set client_encoding = latin1'],
  ['a time zone', () => `set timezone = 'Asia/Tokyo'`],
  ['read-only transactions', () => 'set default_transaction_read_only = on'],
  ['a temporary table', () => 'create temp table mine (n int)'],
  ['an advisory lock', () => 'select pg_advisory_lock(42)'],
  ['a subscription', () => 'listen news'],
  ['a held cursor', () => `select 1 from (select 1) x; declare held cursor with hold for select generate_series(1, 3)`],
  ['a prepared statement', () => 'prepare mine as select 1'],
  ['a sequence’s last value', () => `select nextval('numbers')`],
  ['what a function left', () => 'select leave_state()'],
  ['another tenant', () => `select set_config('app.tenant_id', 'umbrella', false)`],
];

/** How A lets go of the connection. */
const WAYS: readonly [name: string, leave: (a: PostgresPool, sql: string) => Promise<unknown>][] = [
  ['release', (a, sql) => onClient(a, (client) => client.query(sql))],
  ['release without waiting for the query', (a, sql) => onClient(a, (client) => void client.query(sql))],
  [
    'release with an error',
    async (a, sql) => {
      const client = await a.connect();
      await client.query(sql);
      client.release(new Error('something went wrong'));
    },
  ],
  [
    'a failed statement, then release',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query(sql);
        await client.query('select 1/0').catch(() => {});
      }),
  ],
  [
    'an open transaction',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query(sql);
        await client.query('begin read write');
        await client.query('create temp table in_transaction (n int)');
      }),
  ],
  [
    'a failed transaction',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query('begin');
        await client.query(sql);
        await client.query('select 1/0').catch(() => {});
      }),
  ],
  [
    'a failed commit',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query(sql);
        await client.query('begin read write');
        await client.query('insert into uniques values (1), (1)');
        await client.query('commit').catch(() => {});
      }),
  ],
  [
    'a query that timed out',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query(sql);
        await client.query({ text: 'select pg_sleep(60)', timeoutMs: 20 }).catch(() => {});
      }),
  ],
  [
    'a query that was aborted',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query(sql);
        const controller = new AbortController();
        const query = client.query({ text: 'select pg_sleep(60)', signal: controller.signal });
        setImmediate(() => controller.abort());
        await query.catch(() => {});
      }),
  ],
  [
    'a query in flight',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query(sql);
        client.query('select pg_sleep(0.01)').catch(() => {});
      }),
  ],
  [
    'a cursor left open',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query(sql);
        await client.query(new Cursor('select generate_series(1, 1000)')).read(1);
      }),
  ],
  [
    'the backend killed',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query(sql);
        const { processID } = client;
        const ended = new Promise((resolve) => client.once('end', resolve));
        await database.query('select pg_terminate_backend($1)', [processID]);
        // Until the news is here, whoever comes next would be the one to learn it.
        await ended;
      }),
  ],
  [
    'end of the client',
    (a, sql) =>
      onClient(a, async (client) => {
        await client.query(sql);
        void client.end();
      }),
  ],
  ['use', (a, sql) => a.use((client) => client.query(sql))],
  ['a transaction', (a, sql) => a.transaction((tx) => tx.query(sql))],
  [
    'a transaction that throws',
    (a, sql) =>
      a
        .transaction(async (tx) => {
          await tx.query(sql);
          throw new Error('no');
        })
        .catch(() => {}),
  ],
  ['a one-shot query', (a, sql) => a.query(sql)],
  ['a one-shot query that left a transaction open', (a, sql) => a.query(`begin; ${sql}`).catch(() => {})],
  [
    'a one-shot query that timed out',
    async (a, sql) => {
      await a.query(sql);
      await a.query({ text: 'select pg_sleep(60)', timeoutMs: 20 }).catch(() => {});
    },
  ],
];

async function onClient(pool: PostgresPool, work: (client: LeasedClient) => unknown): Promise<void> {
  const client = await pool.connect();
  client.on('notification', () => {});
  client.setTypeParser(25, () => 'parsed by A');
  try {
    await work(client);
  } finally {
    client.release();
  }
}

const LOOK = `
  select current_user, session_user, current_setting('role') as role, current_setting('search_path') as path, array_remove(current_schemas(true)::text[], pg_my_temp_schema()::regnamespace::text) as schemas,
    current_setting('client_encoding') as encoding, nullif(current_setting('app.remains', true), '') as setting, current_setting('app.tenant_id', true) as tenant,
    (select array_agg(name || '=' || setting order by name) from pg_settings where source = 'session') as settings,
    to_regclass('pg_temp.mine') as own_temp, to_regclass('pg_temp.by_function') as function_temp, to_regclass('pg_temp.in_transaction') as transaction_temp,
    (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
    (select count(*)::int from pg_listening_channels()) as channels, (select count(*)::int from pg_cursors where name <> '') as cursors,
    (select count(*)::int from pg_prepared_statements where name not like 'pool\\_%') as prepared, now() = statement_timestamp() as alone`;

describe.each(WAYS)('handed over by %s', (_way, leave) => {
  let pool: PostgresPool;
  beforeAll(async () => {
    pool = await pools.create({ isolation: { mode: 'rls' }, maxSize: 1, recycleTimeoutMs: 100 });
  });

  it.each(STATES)('%s does not reach the next tenant', async (_state, sql) => {
    const b = pool.forTenant('b');
    await leave(pool.forTenant('a'), sql());
    expect((await b.query(LOOK)).rows).toEqual(asNew);
    await expect(b.query('select lastval()')).rejects.toMatchObject({ code: '55000' });
    await leave(pool.forTenant('a'), sql());
    const client = await b.connect();
    expect((await client.query(LOOK)).rows).toEqual(asNew);
    expect(client.listenerCount('notification')).toBe(0);
    expect((await client.query('select 1::text as text')).rows).toEqual([{ text: '1' }]);
    client.release();
  });
});

describe('a reset that goes out with the next tenant’s first statement', () => {
  it.each([
    ['is not valid', 'selec 1', '42601'],
    ['fails while it runs', 'select 1/0', '22012'],
    ['fails when its transaction ends', 'insert into uniques values (1), (1)', '23505'],
    ['can’t be in a transaction', 'vacuum uniques', '25001'],
    ['has a parameter that can’t be read', { text: 'select $1::int', values: ['one'] }, '22P02'],
  ])('is not taken back when that statement %s', async (_how, failing, code) => {
    const pool = await pools.create({ isolation: { mode: 'rls' }, maxSize: 1 });
    const b = pool.forTenant('b');
    await pool.forTenant('a').query(`select leave_state(), set_config('statement_timeout', '9min', false)`);
    await expect(b.query(failing)).rejects.toMatchObject({ code });
    expect((await b.query(LOOK)).rows).toEqual(asNew);
    expect(pool.stats().connects).toBe(1);
  });

  it('is not skipped when that statement is given up before it is sent', async () => {
    const pool = await pools.create({ isolation: { mode: 'rls' }, maxSize: 1 });
    const b = pool.forTenant('b');
    await pool.forTenant('a').query('select leave_state()');
    const controller = new AbortController();
    const aborted = b.query({ text: 'select 1', signal: controller.signal });
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'POOL_QUERY_ABORTED' });
    expect((await b.query(LOOK)).rows).toEqual(asNew);
  });

  it('costs the connection when it fails, and nothing of the statement is executed', async () => {
    const pool = await pools.create({ isolation: { mode: 'rls' }, maxSize: 1 });
    // So many tables can't be dropped within a millisecond.
    await pool.forTenant('a').query(`select fill_temporary_tables(), set_config('statement_timeout', '1ms', false)`);
    await expect(pool.forTenant('b').query('insert into uniques values (77)')).rejects.toMatchObject({
      code: 'POOL_CONNECTION_LOST',
      sent: false,
      tenantId: 'b',
      cause: { code: '57014' },
    });
    expect(await database.query('select 1 from uniques where n = 77')).toEqual([]);
    expect((await pool.forTenant('b').query(LOOK)).rows).toEqual(asNew);
    expect(pool.stats().connects).toBe(2);
  });

  it('is counted once, in one round trip with the statement', async () => {
    const pool = await pools.create({ isolation: { mode: 'rls' }, maxSize: 1 });
    for (const tenant of ['a', 'b', 'b', 'a', 'a', 'b']) await pool.forTenant(tenant).query('select 1');
    expect(pool.stats().resets).toBe(3);
    expect(pool.stats().connects).toBe(1);
  });

  it('does not say that the statement was not sent when the connection is lost under it', async () => {
    const pool = await pools.create({ isolation: { mode: 'rls' }, maxSize: 1 });
    await pool.forTenant('a').query('select 1');
    const running = pool.forTenant('b').query('select pg_sleep(60)');
    const outcome = expect(running).rejects.not.toMatchObject({ sent: false });
    await eventually(async () =>
      expect(
        await database.query(
          `select 1 from pg_stat_activity where datname = current_database() and state = 'active' and query like '%pg_sleep%' and application_name <> 'observer'`,
        ),
      ).toHaveLength(1),
    );
    await pool.close({ deadlineMs: 0 });
    await outcome;
  });

  it('is not followed by a statement that was given up while the reset ran alone', async () => {
    const pool = await pools.create({ isolation: { mode: 'rls' }, maxSize: 1 });
    await onClient(pool.forTenant('a'), (client) => client.query('select leave_state()'));
    // Nobody comes by the end of this turn, so that the reset goes alone.
    await new Promise(setImmediate);
    const controller = new AbortController();
    const aborted = pool.forTenant('b').query({ text: 'insert into uniques values (79)', signal: controller.signal });
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ code: 'POOL_QUERY_ABORTED' });
    expect((await pool.forTenant('b').query(LOOK)).rows).toEqual(asNew);
    expect(await database.query('select 1 from uniques where n = 79')).toEqual([]);
    expect(pool.stats().connects).toBe(1);
  });

  it.each([
    ['a statement', 'insert into uniques values (78)'],
    ['a named statement', { name: 'insert', text: 'insert into uniques values (78)' }],
    ['a script', 'select 1; insert into uniques values (78)'],
  ])(
    'is followed by nothing of %s when what was set up on the connection can’t be repeated',
    async (_what, statement) => {
      for (const mode of ['rls', 'none'] as const) {
        await database.query('delete from refusals');
        const pool = await pools.create({
          isolation: { mode },
          maxSize: 1,
          onConnect: (client) => client.query('select set_up()'),
        });
        await pool.forTenant('a').query('select 1');
        await database.query('insert into refusals values (1)');
        await expect(pool.forTenant('b').query(statement)).rejects.toThrow();
        await database.query('delete from refusals');
        expect(await database.query('select 1 from uniques where n = 78')).toEqual([]);
        await pool.forTenant('b').query('select 1');
        expect(pool.stats().connects).toBe(2);
      }
    },
  );
});
