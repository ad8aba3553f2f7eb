// One-shot queries of a tenant that wait for a connection travel together: in one packet, each for itself.
import { describe, expect, it } from '@jest/globals';

import { LeaseScope } from '../../lib/engine/lease-scope.js';
import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { type FaultProxy, startFaultProxy } from '../support/servers/fault-proxy.js';
import { type MessageEdit, serverMessage, startMessageProxy } from '../support/servers/message-proxy.js';
import { terminate, type TestPools, THINGS_TABLE, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  () => [
    THINGS_TABLE,
    'create function forget() returns int language plpgsql as $$ begin deallocate all; return 1; end $$',
    'alter table things add tenant text default nullif(current_setting($$app.tenant_id$$, true), $$$$)',
  ],
);

/**
 * A pool with one connection whose statements are known to take no time: as many as may travel together do. Its clock
 * stands still.
 */
async function swiftPool(options: PostgresPoolOptions = {}, clock = new FakeClock()): Promise<PostgresPool> {
  const pool = await pools.create({ maxSize: 1, ...options }, clock);
  await knowPace(pool);
  return pool;
}

/** The last two of them have waited, and so it is known how long the tenant's statements take. */
async function knowPace(pool: PostgresPool): Promise<void> {
  await Promise.all([pool.query('select 1'), pool.query('select 1'), pool.query('select 1')]);
}

const through = ({ host, port }: { readonly host?: string; readonly port: number }): string => {
  const url = new URL(database.url);
  url.hostname = host ?? '127.0.0.1';
  url.port = String(port);
  return url.href;
};

async function proxied(
  run: (proxy: FaultProxy, pool: PostgresPool, clock: FakeClock) => Promise<void>,
  options: PostgresPoolOptions = {},
): Promise<void> {
  const target = new URL(database.url);
  await using proxy = await startFaultProxy({ target: { host: target.hostname, port: Number(target.port) } });
  const clock = new FakeClock();
  const pool = await swiftPool({ connectionString: through(proxy), ...options }, clock);
  proxy.resetCounters();
  await run(proxy, pool, clock);
}

const names = async (pool: PostgresPool): Promise<string[]> =>
  (await pool.query<{ name: string }>('select name from things order by name')).rows.map(({ name }) => name);

/** The statements of these tests that the server is at, but for the one that keeps the connection busy. */
const sleeping = () =>
  database.query(
    "select pid from pg_stat_activity where datname = current_database() and query ~ 'pg_sleep' and query !~ 'sleep\\(0\\.02|pid' and state = 'active'",
  );

const clear = () => database.query('truncate things');

/** Keeps the only connection busy until all of `queries` wait, so that they go out together. */
async function together<T>(
  pool: PostgresPool,
  queries: () => readonly Promise<T>[],
): Promise<PromiseSettledResult<T>[]> {
  const busy = pool.query('select pg_sleep(0.02)');
  const answers = Promise.allSettled(queries());
  await busy;
  return answers;
}

const values = <T>(results: readonly PromiseSettledResult<T>[]): unknown[] =>
  results.map((result) => (result.status === 'fulfilled' ? result.value : (result.reason as Error).name));

describe('queries of a tenant that wait', () => {
  it('go out eight in a packet, and each gets its own answer', () =>
    proxied(async (proxy, pool) => {
      const answers = await Promise.all(
        Array.from({ length: 17 }, (_, at) => pool.query('select $1::int as at', [at])),
      );
      expect(answers.map(({ rows }) => rows)).toEqual(Array.from({ length: 17 }, (_, at) => [{ at }]));
      // The first finds the connection free, and goes at once.
      expect(proxy.counters.roundTrips).toBe(1 + 2);
      expect(pool.stats()).toMatchObject({ active: 0, idle: 1, waiting: 0, connects: 1 });
    }));

  it('go one by one where the pool says so', () =>
    proxied(
      async (proxy, pool) => {
        await Promise.all(Array.from({ length: 9 }, () => pool.query('select 1')));
        expect(proxy.counters.roundTrips).toBe(9);
      },
      { maxBatch: 1 },
    ));

  it('go two by two while nothing is known of how long they take', async () => {
    const target = new URL(database.url);
    await using proxy = await startFaultProxy({ target: { host: target.hostname, port: Number(target.port) } });
    const pool = await pools.create({ maxSize: 1, connectionString: through(proxy) }, new FakeClock());
    await pool.query('select 1');
    proxy.resetCounters();
    await Promise.all([1, 2, 3, 4, 5].map((n) => pool.query('select $1::int', [n])));
    // The first, two together, and by then it is known.
    expect(proxy.counters.roundTrips).toBe(3);
  });

  it('go one by one while those of their tenant have been slow', () =>
    proxied(async (proxy, pool, clock) => {
      const slow = together(pool, () => [pool.query('select pg_sleep(0.05)'), pool.query('select 1')]);
      await eventually(async () => (await sleeping()).length === 1);
      await clock.advance(50);
      await slow;
      proxy.resetCounters();
      await Promise.all(Array.from({ length: 9 }, () => pool.query('select 1')));
      expect(proxy.counters.roundTrips).toBe(9);
    }));

  it('are transactions for themselves: one that fails touches no other', async () => {
    await clear();
    const pool = await swiftPool();
    const insert = (name: string | null) => pool.query('insert into things (name) values ($1)', [name]);
    const results = await together(pool, () => [
      insert('a'),
      insert(null),
      insert('b'),
      pool.query('select 1/0'),
      insert('c'),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ]);
    expect(results[1]).toMatchObject({ reason: { code: '23502' } });
    expect(results[3]).toMatchObject({ reason: { code: '22012' } });
    expect(await names(pool)).toEqual(['a', 'b', 'c']);
    const ids = await together(pool, () =>
      [1, 2, 3].map(() => pool.query<{ id: string }>('select txid_current() as id')),
    );
    expect(new Set(ids.map((result) => result.status === 'fulfilled' && result.value.rows[0]?.id)).size).toBe(3);
  });

  it('are answered one after the other, not when all are done', async () => {
    const pool = await swiftPool();
    const order: string[] = [];
    const note = (name: string, promise: Promise<unknown>) => promise.then(() => order.push(name));
    await together(pool, () => [
      note('first', pool.query('select 1')),
      note('second', pool.query('select pg_sleep(0.05)')),
      note('third', pool.query('select 1')),
    ]);
    expect(order).toEqual(['first', 'second', 'third']);
  });

  it('may take no longer than the server allows, each for itself', async () => {
    const pool = await swiftPool({ statementTimeoutMs: 60 });
    const results = await together(pool, () => [
      pool.query('select 1 as one'),
      pool.query('select pg_sleep(60)'),
      pool.query('select 3 as three'),
    ]);
    expect(results[1]).toMatchObject({ reason: { code: '57014' } });
    expect([results[0], results[2]]).toMatchObject([
      { value: { rows: [{ one: 1 }] } },
      { value: { rows: [{ three: 3 }] } },
    ]);
  });

  it('have the time that the pool gives each from their turn on', async () => {
    const clock = new FakeClock();
    const pool = await swiftPool({ queryTimeoutMs: 100 }, clock);
    const results = together(pool, () => [
      pool.query('select pg_sleep(0.2), 1 as n'),
      pool.query('select pg_sleep(0.2), 2 as n'),
      pool.query('select pg_sleep(60), 3 as n'),
    ]);
    const turnOf = (n: number) =>
      eventually(
        async () =>
          (await database.query(`select 1 from pg_stat_activity where query ~ '[)], ${n} as n' and state = 'active'`))
            .length > 0,
      );
    for (const n of [1, 2]) {
      await turnOf(n);
      await clock.advance(80);
    }
    await turnOf(3);
    await clock.advance(120);
    expect(values(await results)).toMatchObject([{ rows: [{ n: 1 }] }, { rows: [{ n: 2 }] }, 'OperationTimeoutError']);
    await eventually(() => pool.stats().active === 0);
    expect(pool.stats()).toMatchObject({ connects: 1 });
  });

  it('are prepared again together when a migration has changed what they return', async () => {
    await clear();
    const pool = await swiftPool();
    const named = (n: number) => pool.query({ name: `stale${n}`, text: 'select * from things' });
    for (const n of [1, 2, 3]) await named(n);
    await database.query('alter table things add extra int');
    try {
      const results = await together<unknown>(pool, () => [
        named(1),
        named(2),
        pool.query("insert into things (name) values ('once')"),
        named(3),
        named(1),
      ]);
      expect(results.map(({ status }) => status)).toEqual(Array.from({ length: 5 }, () => 'fulfilled'));
      expect(results[4]).toMatchObject({ value: { rows: [{ name: 'once', extra: null }] } });
      expect(await names(pool)).toEqual(['once']);
    } finally {
      await database.query('alter table things drop extra');
    }
  });

  it.each<[string, (pool: PostgresPool) => unknown]>([
    ['closes the pool', (pool) => pool.close({ deadlineMs: 0 })],
    ['evicts its connections', (pool) => pool.evict()],
    ['suspends it', (pool) => pool.suspend('reject')],
  ])('are all answered when the callback of one %s', async (_what, meddle) => {
    const pool = await swiftPool();
    const ask = (text: string, then: () => void = () => undefined) =>
      new Promise((resolve) =>
        pool.query<{ n: number }>(text, (error, result) => {
          then();
          resolve(error ?? result.rows);
        }),
      );
    const results = await together(pool, () => [
      ask('select 1 as n'),
      ask('select 1/0', () => void meddle(pool)),
      ask('select 3 as n'),
      ask('select pg_sleep(0.05)'),
    ]);
    expect(values(results).slice(0, 2)).toMatchObject([[{ n: 1 }], { code: '22012' }]);
    for (const [at, answer] of [[2, [{ n: 3 }]] as const, [3, [{ pg_sleep: '' }]] as const]) {
      const [answered] = values(results).slice(at);
      if (answered instanceof Error) expect(answered).toMatchObject({ name: 'ConnectionLostError', sent: true });
      else expect(answered).toEqual(answer);
    }
    await eventually(() => pool.stats().active === 0);
  });

  it('answer by callbacks too', async () => {
    const pool = await swiftPool();
    const answers = await together(pool, () =>
      ['select 1 as n', 'select 1/0', 'select 3 as n'].map(
        (text) =>
          new Promise((resolve) => pool.query<{ n: number }>(text, (error, result) => resolve(error ?? result.rows))),
      ),
    );
    expect(values(answers)).toMatchObject([[{ n: 1 }], { code: '22012' }, [{ n: 3 }]]);
  });

  it('take named statements along once the connection has them', () =>
    proxied(async (proxy, pool) => {
      const named = (n: number) =>
        pool.query<{ double: number }>({ name: 'double', text: 'select $1::int * 2 as double', values: [n] });
      await named(0);
      proxy.resetCounters();
      const answers = await Promise.all([1, 2, 3, 4].map(named));
      expect(answers.map(({ rows }) => rows[0]?.double)).toEqual([2, 4, 6, 8]);
      expect(proxy.counters.roundTrips).toBe(2);
    }));

  it('go each over its own connection while there are any, opened or not', async () => {
    const pool = await pools.create({ maxSize: 3, connectConcurrency: 1 }, new FakeClock());
    await knowPace(pool);
    // All three are under way at once: each waits for a lock that is held until then.
    const holder = await (await pools.create()).connect();
    await holder.query('select pg_advisory_lock(7)');
    const busy = [1, 2, 3].map(() =>
      pool.query<{ pid: number }>('select pg_backend_pid() as pid from pg_advisory_lock_shared(7)'),
    );
    await eventually(async () => {
      const waiting = `select 1 from pg_locks where locktype = 'advisory' and not granted`;
      return (await database.query(waiting)).length === 3;
    });
    holder.release(true);
    const pids = (await Promise.all(busy)).map(({ rows }) => rows[0]?.pid);
    expect(new Set(pids).size).toBe(3);
  });

  it('keep their order, and what one leaves in the session the next of the tenant finds', async () => {
    const pool = await swiftPool();
    const results = await together(pool, () => [
      pool.query("select set_config('app.seen', 'yes', false)"),
      pool.query("select current_setting('app.seen') as seen"),
    ]);
    expect(results[1]).toMatchObject({ value: { rows: [{ seen: 'yes' }] } });
  });
});

/** What pg's types don't allow, and pg does. */
const none = (): unknown[] => JSON.parse('null') as unknown[];
const ones = (count: number): number[] => Array.from({ length: count }, () => 1);
const places = (count: number): string =>
  ones(count)
    .map((_, at) => `$${at + 1}::int`)
    .join(', ');

describe('a statement that goes alone', () => {
  const alone: [string, (pool: PostgresPool) => Promise<unknown>][] = [
    ['a script', (pool) => pool.query('select 1; select 2')],
    ['the begin of a transaction', (pool) => pool.query('begin').catch(() => undefined)],
    ['a call', (pool) => pool.query('do $$ begin end $$')],
    ['one with a big value', (pool) => pool.query('select $1::text', ['x'.repeat(5_000)])],
    ['one with a big text', (pool) => pool.query(`select '${'x'.repeat(5_000)}'`)],
    ['a named one that the connection does not have', (pool) => pool.query({ name: 'new', text: 'select 1' })],
    ['one whose value is encoded by its owner', (pool) => pool.query('select $1::text', [{ toPostgres: () => 'a' }])],
    ['one with many values', (pool) => pool.query(`select 1 where 0 not in (${places(300)})`, ones(300))],
    ['a wrong one', (pool) => pool.query('').catch(() => undefined)],
  ];

  it.each(alone)('is %s: nothing is sent behind it before it is answered', (_name, run) =>
    proxied(async (proxy, pool) => {
      await together(pool, () => [run(pool), pool.query('select 1'), pool.query('select 2')]);
      // The one that was busy, this one, and the other two together.
      expect(proxy.counters.roundTrips).toBeGreaterThanOrEqual(3);
    }),
  );

  it('is any, where the server has not told how to cancel one of them', async () => {
    await using proxy = await startMessageProxy(database.url);
    proxy.edit = (type, message) => (type === 'K' ? [] : [message]);
    const clock = new FakeClock();
    const pool = await swiftPool({ connectionString: through(proxy) }, clock);
    const results = together(pool, () => [
      pool.query({ text: 'select pg_sleep(60)', timeoutMs: 1_000 }),
      pool.query('select 2 as two'),
    ]);
    await eventually(async () => (await sleeping()).length === 1);
    await clock.advance(1_100);
    // The connection is lost with the one that can't be cancelled.
    expect(values(await results)).toMatchObject(['OperationTimeoutError', { rows: [{ two: 2 }] }]);
    for (const { pid } of await sleeping()) await terminate(database, Number(pid));
  });

  it.each<[string, unknown]>([
    ['a text', 'abc'],
    ['an object', { a: 1 }],
  ])('is one whose values are %s, and no other one fails with it', async (_name, wrong) => {
    const pool = await swiftPool();
    const misused = () => pool.query({ text: 'select 1', values: wrong as unknown[] });
    const results = await together(pool, () => [misused(), pool.query('select 2 as two'), misused()]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
    for (const at of [0, 2])
      expect(results[at]).toMatchObject({ reason: { message: 'Query values must be an array' } });
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('is none whose values are null, as pg has it', async () => {
    const pool = await swiftPool();
    const results = await together(pool, () => [
      pool.query({ text: 'select 1 as one', values: none() }),
      pool.query({ text: 'select 2 as two', values: none() }),
    ]);
    expect(values(results)).toMatchObject([{ rows: [{ one: 1 }] }, { rows: [{ two: 2 }] }]);
    const other = await pool.forTenant('globex').query({ text: 'select 3 as three', values: none() });
    expect(other.rows).toEqual([{ three: 3 }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('is no other one', () =>
    proxied(async (proxy, pool) => {
      await together(pool, () => [
        pool.query('select $1::int[]', [[1, 2]]),
        pool.query('select 1'),
        pool.query('select 2'),
      ]);
      expect(proxy.counters.roundTrips).toBe(2);
    }));

  it('may have comments before its first word, which decide nothing', () =>
    proxied(async (proxy, pool) => {
      const texts = [
        '-- a\nselect 1',
        '/* a /* b */ c */ select 2',
        '  \n select 3',
        'SELECT 4',
        '/* a */ -- b\n values (5)',
      ];
      const answers = await Promise.all([
        pool.query('select 0'),
        ...texts.map((text) => pool.query<{ n: number }>(text)),
      ]);
      expect(answers).toHaveLength(6);
      expect(proxy.counters.roundTrips).toBe(2);
    }));
});

describe('a tenant', () => {
  it('never shares a packet with another, and each statement is bound by itself', async () => {
    await clear();
    await database.query('alter table things enable row level security');
    await database.query(
      "create policy own on things using (tenant = nullif(current_setting('app.tenant_id', true), ''))",
    );
    try {
      const clock = new FakeClock();
      const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls', unsafeRole: 'warn' } }, clock);
      const [acme, globex] = [pool.forTenant('acme'), pool.forTenant('globex')];
      const viewFor = (at: number) => (at % 2 === 0 ? acme : globex);
      for (const tenant of [acme, globex]) await knowPace(tenant);
      await Promise.all(
        Array.from({ length: 20 }, (_, at) =>
          viewFor(at).query('insert into things (name) values ($1) returning tenant', [String(at)]),
        ),
      );
      const seen = await Promise.all(
        Array.from({ length: 20 }, (_, at) =>
          viewFor(at).query("select current_setting('app.tenant_id') as me, tenant from things"),
        ),
      );
      for (const [at, answer] of seen.entries()) {
        const tenant = at % 2 === 0 ? 'acme' : 'globex';
        expect(answer.rows).toHaveLength(10);
        for (const row of answer.rows) expect(row).toEqual({ me: tenant, tenant });
      }
    } finally {
      await database.query('drop policy own on things');
      await database.query('alter table things disable row level security');
    }
  });

  it('whose request ends withdraws what waits, and not what travels already', async () => {
    const pool = await swiftPool();
    const scope = new LeaseScope();
    const frame = { tenantId: undefined, scope, holding: undefined };
    const inRequest = (text: string) => pools.tenants.runFrame(frame, () => pool.query(text));
    const results = together(pool, () => [
      inRequest('select pg_sleep(0.1)'),
      inRequest('select 2 as two'),
      ...Array.from({ length: 6 }, () => inRequest('select 0')),
      // One more than go together.
      inRequest('select 9 as nine'),
    ]);
    await eventually(async () => (await sleeping()).length === 1);
    scope.end();
    const seen = values(await results);
    expect(seen[1]).toMatchObject({ rows: [{ two: 2 }] });
    expect(seen[8]).toBe('RequestEndedError');
  });
});

describe('a function that makes the server forget prepared statements', () => {
  it('fails no statement of its batch, however many call it', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls', unsafeRole: 'warn' } }, new FakeClock());
    const acme = pool.forTenant('acme');
    await knowPace(acme);
    const forget = () => acme.query('select forget() as n');
    const insert = (name: string) => acme.query('insert into things (name) values ($1) returning tenant', [name]);
    const results = await together(acme, () => [
      forget(),
      insert('a'),
      forget(),
      insert('b'),
      forget(),
      insert('c'),
      forget(),
      insert('d'),
    ]);
    expect(results.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 'fulfilled'));
    for (const at of [1, 3, 5, 7]) expect(results[at]).toMatchObject({ value: { rows: [{ tenant: 'acme' }] } });
    expect(await names(acme)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('is not taken to have forgotten those that were prepared behind it', async () => {
    const pool = await swiftPool();
    const named = (name: string) => pool.query<{ n: number }>({ name, text: 'select $1::int as n', values: [1] });
    await named('old');
    await pool.query('select forget()');
    await named('new');
    // The server doesn't know it any more.
    await named('old');
    expect((await named('new')).rows).toEqual([{ n: 1 }]);
    expect((await named('old')).rows).toEqual([{ n: 1 }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('and asks for one itself that was never there is told so, once', async () => {
    const text =
      "create function wrong() returns int language plpgsql as $$ begin perform nextval('things_id_seq'); execute 'execute nothing'; return 1; end $$";
    await database.query(text);
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls', unsafeRole: 'warn' } }, new FakeClock());
    const acme = pool.forTenant('acme');
    const before = await acme.query<{ at: number }>('select last_value::int as at from things_id_seq');
    await expect(acme.query('select wrong()')).rejects.toMatchObject({ code: '26000' });
    const after = await acme.query<{ at: number }>('select last_value::int as at from things_id_seq');
    // It may be the pool's own that is missing.
    expect(Number(after.rows[0]?.at) - Number(before.rows[0]?.at)).toBeLessThanOrEqual(2);
  });
});

describe('a statement that is given up', () => {
  it('while the server works on it is cancelled, and it alone', async () => {
    await clear();
    const pool = await swiftPool();
    const abort = new AbortController();
    const results = together(pool, () => [
      pool.query("insert into things (name) values ('before')"),
      pool.query({ text: 'select pg_sleep(60)', signal: abort.signal }),
      pool.query("insert into things (name) values ('behind') returning name"),
      pool.query('select 4 as four'),
    ]);
    await eventually(async () => (await sleeping()).length === 1);
    abort.abort();
    expect(values(await results)).toMatchObject([
      { rowCount: 1 },
      'QueryAbortedError',
      { rows: [{ name: 'behind' }] },
      { rows: [{ four: 4 }] },
    ]);
    expect(await names(pool)).toEqual(['before', 'behind']);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('is not replaced by the one behind it, when the cancel request comes late', async () => {
    await clear();
    await proxied(async (proxy, pool) => {
      const abort = new AbortController();
      const results = together(pool, () => [
        pool.query({ text: 'select pg_sleep(0.05)', signal: abort.signal }),
        pool.query(
          "with slept as (select pg_sleep(0.5)) insert into things (name) select 'behind' from slept returning name",
        ),
        pool.query('select 3 as three'),
      ]);
      await eventually(async () => (await sleeping()).length === 1);
      // The request leaves now, and arrives when the server is at the second one.
      proxy.latency({ toServerMs: 150 });
      abort.abort();
      expect(values(await results)).toMatchObject([
        'QueryAbortedError',
        { rows: [{ name: 'behind' }] },
        { rows: [{ three: 3 }] },
      ]);
      proxy.latency(0);
      expect(await names(pool)).toEqual(['behind']);
      expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
    });
  });

  it('before its turn loses its answer, and nothing else', async () => {
    const pool = await swiftPool();
    const abort = new AbortController();
    const results = together(pool, () => [
      pool.query('select pg_sleep(0.2)'),
      pool.query({ text: 'select 2 as two', signal: abort.signal }),
      pool.query('select 3 as three'),
    ]);
    await eventually(async () => (await sleeping()).length === 1);
    abort.abort();
    expect(values(await results)).toMatchObject([{ rowCount: 1 }, 'QueryAbortedError', { rows: [{ three: 3 }] }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('before its turn, and answered soon, has none cancelled that comes later', async () => {
    const clock = new FakeClock();
    const pool = await swiftPool({}, clock);
    const abort = new AbortController();
    const results = together(pool, () => [
      pool.query('select pg_sleep(0.2)'),
      pool.query({ text: 'select 2', signal: abort.signal }),
      pool.query('select 3'),
    ]);
    await eventually(async () => (await sleeping()).length === 1);
    abort.abort();
    await results;
    const later = Promise.allSettled([pool.forTenant('globex').query('select pg_sleep(0.3)::text as slept')]);
    await eventually(async () => (await sleeping()).length === 1);
    await clock.advance(150);
    expect(values(await later)).toMatchObject([{ rows: [{ slept: '' }] }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('by the limit of its call, before its turn, hears of it then', async () => {
    const clock = new FakeClock();
    const pool = await swiftPool({}, clock);
    const results = together(pool, () => [
      pool.query('select pg_sleep(0.2)'),
      pool.query({ text: 'select 2 as two', timeoutMs: 50 }),
      pool.query('select 3 as three'),
    ]);
    await eventually(async () => (await sleeping()).length === 1);
    await clock.advance(60);
    expect(values(await results)).toMatchObject([{ rowCount: 1 }, 'OperationTimeoutError', { rows: [{ three: 3 }] }]);
  });

  it('before its turn is cancelled when the server takes long over it', async () => {
    const clock = new FakeClock();
    const pool = await swiftPool({}, clock);
    const abort = new AbortController();
    const results = together(pool, () => [
      pool.query('select pg_sleep(0.1)'),
      pool.query({ text: 'select pg_sleep(60) /* unwanted */', signal: abort.signal }),
      pool.query('select 3 as three'),
    ]);
    await eventually(async () => (await sleeping()).length === 1);
    abort.abort();
    await eventually(async () => {
      await clock.advance(50);
      const state = await database.query(
        "select 1 from pg_stat_activity where query like '%unwanted%' and state = 'active' and pid <> pg_backend_pid()",
      );
      return state.length === 0 && pool.stats().active === 0;
    });
    expect(values(await results)).toMatchObject([{ rowCount: 1 }, 'QueryAbortedError', { rows: [{ three: 3 }] }]);
    expect(pool.stats()).toMatchObject({ connects: 1 });
  });

  it('in every place of a batch at once leaves the connection in order', async () => {
    const pool = await swiftPool();
    const abort = new AbortController();
    const results = together(pool, () =>
      [0, 1, 2, 3].map(() => pool.query({ text: 'select pg_sleep(0.1)', signal: abort.signal })),
    );
    await eventually(async () => (await sleeping()).length === 1);
    abort.abort();
    expect(values(await results)).toEqual(Array.from({ length: 4 }, () => 'QueryAbortedError'));
    await eventually(() => pool.stats().active === 0);
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });
});

describe('a connection that is lost', () => {
  it('under a batch tells each statement that it may have been carried out', async () => {
    const pool = await swiftPool();
    const results = together(pool, () => [
      pool.query('select pg_sleep(60)'),
      pool.query('select 2'),
      pool.query('select 3'),
    ]);
    await eventually(async () => (await sleeping()).length === 1);
    const [{ pid } = { pid: 0 }] = await sleeping();
    await terminate(database, Number(pid));
    for (const result of await results)
      expect(result).toMatchObject({ reason: { name: 'ConnectionLostError', sent: true } });
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 2 });
  });

  it('by the close of the pool refuses none for ever', async () => {
    const pool = await swiftPool();
    const results = together(pool, () => [pool.query('select pg_sleep(60)'), pool.query('select 2')]);
    await eventually(async () => (await sleeping()).length === 1);
    await pool.close({ deadlineMs: 0 });
    expect((await results).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });
});

describe('a server that says of a plain statement that it left a transaction open', () => {
  it('has what was executed behind it repeated, once it is rolled back', async () => {
    await clear();
    await using proxy = await startMessageProxy(database.url);
    const asItIs: MessageEdit = (_type, message) => [message];
    const pool = await swiftPool({ connectionString: through(proxy) });
    let ready = 0;
    const results = together(pool, () => {
      proxy.edit = (type, message) => {
        // Behind the busy one: the second and the third answer of the batch.
        if (type === 'Z' && ++ready > 2 && ready <= 4) message.write('T', 5, 'latin1');
        return [message];
      };
      return [pool.query('select 1 as one'), pool.query('select 2 as two'), pool.query('select 3 as three')];
    });
    expect(values(await results)).toMatchObject([
      { rows: [{ one: 1 }] },
      'TransactionLeftOpenError',
      { rows: [{ three: 3 }] },
    ]);
    proxy.edit = asItIs;
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });
});

describe('a server whose answers are not those that were asked for', () => {
  /** The rows that each caller got, or the name of its error. */
  const answersThrough = async (edit: (edits: { readonly answer: number }) => MessageEdit): Promise<unknown[]> => {
    await using proxy = await startMessageProxy(database.url);
    const pool = await swiftPool({ connectionString: through(proxy) });
    const state = { answer: 0 };
    const held: Buffer[] = [];
    const results = together(pool, () => {
      const edited = edit(state);
      // All answers of the batch arrive at once, in one piece.
      proxy.edit = (type, message) => {
        held.push(...edited(type, Buffer.from(message)));
        if (type === 'Z') state.answer++;
        return state.answer === 1 || state.answer === 5 ? [Buffer.concat(held.splice(0))] : [];
      };
      return [1, 2, 3, 4].map((n) => pool.query<{ n: number }>(`select ${n} as n`));
    });
    await eventually(() => state.answer === 5);
    // What the pool does not give up by itself must not wait for ever.
    proxy.cut();
    return (await results).map((result) =>
      result.status === 'fulfilled' ? result.value.rows : (result.reason as Error).name,
    );
  };
  const lost = 'ConnectionLostError';

  it('answers once too often: no caller gets what was meant for another', async () => {
    const answers = await answersThrough((state) => (type, message) => {
      return type === 'Z' && state.answer === 1 ? [message, serverMessage('Z', 'I')] : [message];
    });
    expect(answers).toEqual([[{ n: 1 }], lost, lost, lost]);
  });

  it('leaves the end of an answer out: no caller gets what was meant for another', async () => {
    const answers = await answersThrough((state) => (type, message) => {
      return type === 'Z' && state.answer === 1 ? [] : [message];
    });
    expect(answers).toEqual([lost, lost, lost, lost]);
  });

  it('says more between the answers: they are still those of their callers', async () => {
    const notice = serverMessage('N', 'SNOTICE\0VNOTICE\0C00000\0Mhello\0\0');
    const answers = await answersThrough(() => (type, message) => {
      return type === 'Z' ? [notice, message, serverMessage('S', 'TimeZone\0UTC\0'), notice] : [message];
    });
    expect(answers).toEqual([[{ n: 1 }], [{ n: 2 }], [{ n: 3 }], [{ n: 4 }]]);
  });
});
