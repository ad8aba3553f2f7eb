// COMMIT travels with the last statement of a transaction whose function returns that statement's promise. What the
// caller hears, and what is committed, is the same as with a COMMIT of its own; a connection that is lost without an
// answer to the statement may have committed, and the caller hears that.
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import pg from 'pg';

import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import type { PgTransaction } from '../../lib/postgres/transaction/pg-transaction.js';
import type { TransactionOptions } from '../../lib/postgres/transaction/run-transaction.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { serverMessage, startMessageProxy } from '../support/servers/message-proxy.js';
import { sleepingStatements, type TestPools, THINGS_TABLE, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  () => [
    THINGS_TABLE,
    // What is inserted here is looked at by COMMIT.
    'create table checked (name text unique deferrable initially deferred)',
    'create table seen_at_commit (tenant text)',
    'create sequence commits',
    `create function look_at_commit() returns trigger language plpgsql as $$
    begin
      if new.name = 'tenant' then
        insert into seen_at_commit values (current_setting('app.tenant_id', true));
      elsif new.name = 'wait' then
        perform pg_advisory_xact_lock(7);
      elsif new.name = 'conflict' and nextval('commits') < 3 then
        raise exception 'a matter of timing' using errcode = '40001';
      end if;
      return null;
    end $$`,
    `create constraint trigger at_commit after insert on checked deferrable initially deferred
     for each row execute function look_at_commit()`,
    'grant all on checked, seen_at_commit, commits to public',
    `create function leave(other text) returns text language plpgsql as $$
    begin
      return set_config('app.tenant_id', other, false);
    end $$`,
  ],
);

const insert = 'insert into things (name) values ($1)';
const check = 'insert into checked (name) values ($1)';
const clear = () => database.query('truncate things, checked, seen_at_commit');
const names = async (table: 'things' | 'checked' = 'things'): Promise<string[]> =>
  (await database.query(`select name from ${table} order by name`)).map(({ name }) => String(name));

/** How many round trips a transaction takes. */
async function roundTrips(
  fn: (tx: PgTransaction) => unknown,
  options: TransactionOptions = {},
  poolOptions: PostgresPoolOptions = {},
): Promise<number> {
  let trips = 0;
  await pools.proxied(poolOptions, async (pool, proxy) => {
    await pool.transaction(fn, options).catch(() => {});
    trips = proxy.counters.roundTrips;
  });
  return trips;
}

describe('a transaction', () => {
  const shapes: [string, number, (tx: PgTransaction) => unknown, TransactionOptions?][] = [
    ['returns the promise of its only statement', 1, (tx) => tx.query(insert, ['a'])],
    ['returns that of a statement without values', 1, (tx) => tx.query("insert into things (name) values ('a')")],
    ['returns that of a statement with a comment ahead', 1, (tx) => tx.query('/* orders */ delete from things')],
    ['returns that of a statement that fails', 1, (tx) => tx.query(insert, [null])],
    ['returns that of a large statement', 1, (tx) => tx.query(insert, ['a'.repeat(3_000_000)])],
    ['has modes', 1, (tx) => tx.query('delete from things'), { isolation: 'serializable', retries: 2 }],
    ['reads only, and returns rows', 1, (tx) => tx.query('select name from things'), { readOnly: true }],
    ['returns that of a named statement', 2, (tx) => tx.query({ name: 'n', text: insert, values: ['a'] })],
    ['returns that of its second statement', 2, (tx) => (void tx.query(insert, ['a']), tx.query('delete from things'))],
    [
      'returns that of its third one',
      3,
      (tx) => (void tx.query(insert, ['a']), void tx.query('select 1'), tx.query(insert, ['a'])),
    ],
    [
      'sets something ahead of its last statement',
      3,
      (tx) => (void tx.query('set local statement_timeout = 0'), tx.query(insert, ['a'])),
    ],
    ['is an async function', 2, async (tx) => tx.query(insert, ['a'])],
    ['waits for the statement', 2, (tx) => tx.query(insert, ['a']).then(() => 1)],
    ['returns another promise', 2, (tx) => Promise.all([tx.query(insert, ['a'])])],
    ['returns nothing', 2, (tx) => void tx.query(insert, ['a'])],
    ['returns rows', 2, (tx) => tx.query(`${insert} returning id`, ['a'])],
    ['may return rows', 2, (tx) => tx.query('select 1')],
    [
      'returns the promise of a statement but the last',
      3,
      (tx) => {
        const first = tx.query(insert, ['a']);
        void tx.query(insert, ['b']);
        return first;
      },
    ],
    ['took its client', 3, (tx) => (void tx.client, tx.query(insert, ['a']))],
    ['returns that of a text of several statements', 3, (tx) => tx.query('delete from things; delete from things')],
    ['has a limit', 2, (tx) => tx.query(insert, ['a']), { timeoutMs: 60_000 }],
    ['has a signal', 2, (tx) => tx.query(insert, ['a']), { signal: new AbortController().signal }],
    [
      'returns that of a statement with a limit',
      2,
      (tx) => tx.query({ text: insert, values: ['a'], timeoutMs: 60_000 }),
    ],
    [
      'returns that of a statement with a signal',
      2,
      (tx) => tx.query({ text: insert, values: ['a'], signal: new AbortController().signal }),
    ],
    [
      'has a statement that calls back besides',
      3,
      (tx) => (tx.query(insert, ['a'], () => {}), tx.query(insert, ['b'])),
    ],
    [
      'has begun a part of its own besides',
      3,
      (tx) => (tx.transaction((part) => part.query(insert, ['a'])).catch(() => {}), tx.query(insert, ['b'])),
    ],
  ];

  // Jest would pass `done` for a parameter that a shape has no value for.
  it.each(shapes)('that %s takes %i round trips', async (...[, trips, work, options]) => {
    await clear();
    expect(await roundTrips(work, options)).toBe(trips);
  });

  it('in a pool whose statements have a limit takes two', async () => {
    expect(await roundTrips((tx) => tx.query(insert, ['a']), {}, { queryTimeoutMs: 60_000 })).toBe(2);
  });

  it('under row security takes one, also on the connection of another tenant', () =>
    pools.proxied({ isolation: { mode: 'rls', unsafeRole: 'warn' } }, async (pool, proxy) => {
      await clear();
      await pool.forTenant('globex').transaction((tx) => tx.query(insert, ['globex']));
      for (const tenant of ['acme', 'acme', 'globex']) {
        proxy.resetCounters();
        await pool
          .forTenant(tenant)
          .transaction((tx) => tx.query("insert into things (name) values (current_setting('app.tenant_id'))"));
        expect(proxy.counters.roundTrips).toBe(1);
      }
      expect(await names()).toEqual(['acme', 'acme', 'globex', 'globex']);
      expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
    }));

  it('resolves with what the statement resolved with', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    expect(await pool.transaction((tx) => tx.query(insert, ['a']))).toMatchObject({ rowCount: 1, command: 'INSERT' });
    const { rows } = await pool.transaction((tx) => tx.query('select name from things'), { readOnly: true });
    expect(rows).toEqual([{ name: 'a' }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });
});

describe('a transaction whose last statement fails', () => {
  const failures: [string, (tx: PgTransaction) => Promise<unknown>, object][] = [
    ['on the server', (tx) => tx.query(insert, [null]), { code: '23502' }],
    [
      'on the server, behind another',
      (tx) => (void tx.query(insert, ['a']), tx.query(insert, [null])),
      { code: '23502' },
    ],
    ['because the one ahead has', (tx) => (void tx.query(insert, [null]), tx.query(insert, ['a'])), { code: '25P02' }],
    ['because it is none', (tx) => tx.query('insert into'), { code: '42601' }],
    [
      'because its value can not be sent',
      (tx) =>
        tx.query(insert, [
          {
            toPostgres: () => {
              throw new Error('of the value');
            },
          },
        ]),
      { message: 'of the value' },
    ],
    [
      'because the one ahead has ended the transaction',
      (tx) => (void tx.query('rollback'), tx.query(insert, ['a'])),
      { code: 'POOL_TRANSACTION_ENDED' },
    ],
    ['by ending the transaction', (tx) => tx.query('rollback'), { code: 'POOL_TRANSACTION_ENDED' }],
  ];

  it.each(failures)('rejects with its error and is rolled back: %s', async (_name, work, error) => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await expect(pool.transaction(work)).rejects.toMatchObject(error);
    expect(await names()).toEqual([]);
    await pool.transaction((tx) => tx.query(insert, ['b']));
    expect(await names()).toEqual(['b']);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('in a read-only transaction is told so', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    const outcome = pool.transaction((tx) => tx.query(insert, ['a']), { readOnly: true });
    await expect(outcome).rejects.toMatchObject({ code: '25006' });
    expect(await names()).toEqual([]);
  });

  it('by the time limit of the server is rolled back', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1, statementTimeoutMs: 50 });
    const slow = "insert into things (name) select 'a' from pg_sleep(60)";
    await expect(pool.transaction((tx) => tx.query(slow))).rejects.toMatchObject({ code: '57014' });
    expect(await names()).toEqual([]);
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('can not be committed when it has never begun', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'role', role: () => 'no_such_role' } });
    const acme = pool.forTenant('acme');
    await expect(acme.transaction((tx) => tx.query(insert, ['a']))).rejects.toMatchObject({ code: '22023' });
    expect(await names()).toEqual([]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });
});

describe('a function that returns the promise of its statement and asks for more', () => {
  type Ask = () => Promise<unknown>;
  const ways: [string, (first: Promise<unknown>, ask: Ask) => Promise<unknown>][] = [
    ['when that is answered', (first, ask) => first.then(ask)],
    ['in another function that waits for that', async (first, ask) => (await first, ask())],
    [
      'some promises later',
      async (first, ask) => (await first, await Promise.resolve(), await Promise.resolve(), ask()),
    ],
    ['in this turn of the event loop', async (_first, ask) => (await Promise.resolve(), ask())],
    [
      'when it has waited for that later in this turn',
      async (first, ask) => (await Promise.resolve(), await first, ask()),
    ],
  ];

  it.each(ways)('has it in the transaction: %s', async (_name, more) => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    let asked: Promise<unknown> | undefined;
    const whole = pool.transaction((tx) => {
      const first = tx.query(insert, ['a']);
      asked = more(first, () => tx.query(insert, ['b']));
      return first;
    });
    await whole;
    await asked;
    expect(await names()).toEqual(['a', 'b']);
  });

  it('behind a statement that is not its last has it in the transaction', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    let asked: Promise<unknown> | undefined;
    await pool.transaction((tx) => {
      asked = tx.query(insert, ['a']).then(() => tx.query(insert, ['c']));
      return tx.query(insert, ['b']);
    });
    await asked;
    expect(await names()).toEqual(['a', 'b', 'c']);
  });

  it('while the statement waits for its turn has it in the transaction', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await using lock = await held();
    let asked: Promise<unknown> | undefined;
    const whole = pool.transaction((tx) => {
      void tx.query('select pg_advisory_xact_lock(7)');
      setImmediate(() => void (asked = tx.query(insert, ['b'])));
      return tx.query(insert, ['a']);
    });
    await eventually(() => asked !== undefined);
    await lock.release();
    await whole;
    await asked;
    expect(await names()).toEqual(['a', 'b']);
  });

  it('in a later turn, without waiting for it, is told that the transaction has ended', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await using lock = await held();
    const late: unknown[] = [];
    const whole = pool.transaction((tx) => {
      setImmediate(() => {
        tx.query(insert, ['b']).catch((error: unknown) => late.push(error));
        tx.transaction((part) => part.query(insert, ['c'])).catch((error: unknown) => late.push(error));
        expect(() => tx.client).toThrow(expect.objectContaining({ code: 'POOL_TRANSACTION_ENDED' }));
      });
      return tx.query("insert into things (name) select 'a' from pg_advisory_xact_lock(7)");
    });
    await eventually(() => late.length === 2);
    expect(late).toMatchObject([{ code: 'POOL_TRANSACTION_ENDED' }, { code: 'POOL_TRANSACTION_ENDED' }]);
    await lock.release();
    await whole;
    expect(await names()).toEqual(['a']);
  });
});

describe('a COMMIT that travels with the last statement', () => {
  it('is refused with its own error, and the statement has its answer', async () => {
    await clear();
    await database.query(check, ['a']);
    const pool = await pools.create({ maxSize: 1 });
    let statement: Promise<unknown> | undefined;
    const whole = pool.transaction((tx) => (statement = tx.query(check, ['a'])));
    await expect(whole).rejects.toMatchObject({ code: '23505' });
    await expect(statement).resolves.toMatchObject({ rowCount: 1 });
    expect(await names('checked')).toEqual(['a']);
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('is tried again with its transaction when only the timing was wrong', async () => {
    await clear();
    await database.query("select setval('commits', 1, false)");
    const pool = await pools.create({ maxSize: 1 });
    let attempts = 0;
    await pool.transaction((tx) => (attempts++, tx.query(check, ['conflict'])), { retries: 5 });
    expect(attempts).toBe(3);
    expect(await names('checked')).toEqual(['conflict']);
    await clear();
    await database.query("select setval('commits', 1, false)");
    const once = pool.transaction((tx) => tx.query(check, ['conflict']));
    await expect(once).rejects.toMatchObject({ code: '40001' });
  });

  it('is waited for, and the statement is answered before', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await using lock = await held();
    const order: string[] = [];
    let statement: Promise<unknown> | undefined;
    const whole = pool.transaction((tx) => (statement = tx.query(check, ['wait']))).then(() => order.push('committed'));
    await eventually(() => statement !== undefined);
    await statement;
    order.push('answered');
    expect(await names('checked')).toEqual([]);
    await lock.release();
    await whole;
    expect(order).toEqual(['answered', 'committed']);
    expect(await names('checked')).toEqual(['wait']);
  });

  it.each([
    ['by a statement', 'select set_config($$app.tenant_id$$, $$globex$$, true)'],
    ['in the inserted value', undefined],
  ])('is bound to the tenant where that is given up: %s', async (_name, ahead) => {
    await clear();
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls', unsafeRole: 'warn' } });
    const away = "insert into checked (name) select 'tenant' from set_config('app.tenant_id', 'globex', true)";
    await pool.forTenant('acme').transaction((tx) => {
      if (ahead === undefined) return tx.query(away);
      void tx.query(ahead);
      return tx.query(check, ['tenant']);
    });
    expect(await database.query('select tenant from seen_at_commit')).toEqual([{ tenant: 'acme' }]);
  });

  it('never passes for a rollback: rows that can not be read are told of before it', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    const INT4 = 23;
    const ordinary: (value: string) => unknown = pg.types.getTypeParser(INT4);
    const unreadable = (): never => {
      throw new Error('unreadable');
    };
    pg.types.setTypeParser(INT4, unreadable);
    try {
      const outcome = pool.transaction((tx) => tx.query(`${insert} returning id`, ['a']));
      await expect(outcome).rejects.toThrow('unreadable');
    } finally {
      pg.types.setTypeParser(INT4, ordinary);
    }
    const types = { getTypeParser: () => unreadable };
    const outcome = pool.transaction((tx) => tx.query({ text: `${insert} returning id`, values: ['b'], types }));
    await expect(outcome).rejects.toThrow('unreadable');
    expect(await names()).toEqual([]);
  });

  it('is not sent where a signal may cut the transaction short', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    const slow = "insert into things (name) select 'a' from pg_sleep(60)";
    for (const cut of ['the whole', 'the statement']) {
      const { signal, abort } = abortable();
      const whole =
        cut === 'the whole'
          ? pool.transaction((tx) => tx.query(slow), { signal })
          : pool.transaction((tx) => tx.query({ text: slow, signal }));
      await eventually(async () => (await sleepingStatements(database)).length === 1);
      abort();
      await expect(whole).rejects.toMatchObject({ code: 'POOL_QUERY_ABORTED' });
    }
    await eventually(() => pool.idleCount === 1);
    expect(await names()).toEqual([]);
  });

  it('is cancelled with its statement when the pool closes', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    const whole = pool.transaction((tx) => tx.query("insert into things (name) select 'a' from pg_sleep(60)"));
    const outcome = expect(whole).rejects.toBeInstanceOf(Error);
    await eventually(async () => (await sleepingStatements(database)).length === 1);
    await pool.close({ deadlineMs: 0 });
    await outcome;
    await eventually(async () => (await sleepingStatements(database)).length === 0);
    expect(await names()).toEqual([]);
  });

  const CLOSE: [string, (pool: PostgresPool) => unknown] = ['closes at once', (pool) => pool.close({ deadlineMs: 0 })];
  const EVICT: [string, (pool: PostgresPool) => unknown] = ['replaces its connections', (pool) => pool.evict()];
  const later: [string, (run: () => void) => void][] = [
    ['as the statement is asked for', (run) => run()],
    ['before COMMIT has left', (run) => queueMicrotask(run)],
    ['when COMMIT has just left', (run) => void process.nextTick(() => process.nextTick(run))],
    ['in the turn behind that', (run) => void setImmediate(run)],
  ];
  const moments = [CLOSE, EVICT].flatMap(([how, end]) =>
    later.map(([when, defer]) => [how, when, end, defer] as const),
  );

  it.each(moments)('has an outcome that is told as it is when the pool %s %s', async (_how, _when, end, defer) => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await pool.query('select 1');
    const whole = pool.transaction((tx) => {
      const statement = tx.query(insert, ['a']);
      defer(() => void end(pool));
      return statement;
    });
    const error: unknown = await whole.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    await pool.close({ deadlineMs: 0 });
    await eventually(async () => (await sessionsInTransaction()).length === 0);
    const isUnknown = error instanceof Error && error.message.includes('the COMMIT of a transaction');
    if (!isUnknown) expect(await names()).toEqual(error === undefined ? ['a'] : []);
  });

  it('under way is said to have an unknown outcome when the pool is closed at once', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await using lock = await held();
    let statement: Promise<unknown> | undefined;
    const whole = pool.transaction((tx) => (statement = tx.query(check, ['wait'])));
    const outcome = expect(whole).rejects.toMatchObject({
      code: 'POOL_CONNECTION_LOST',
      sent: true,
      message: expect.stringContaining('the COMMIT of a transaction'),
    });
    await eventually(() => statement !== undefined);
    await statement;
    await pool.close({ deadlineMs: 0 });
    await outcome;
    await lock.release();
  });

  it('leaves although the clock of a test stands still', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await pool.query('select 1');
    const faked = jest.useFakeTimers();
    try {
      await pool.transaction(async (tx) => tx.query(insert, ['a']));
      await pool.transaction((tx) => tx.query(insert, ['b']));
    } finally {
      faked.useRealTimers();
    }
    expect(await names()).toEqual(['a', 'b']);
  });

  it('leaves nothing of a function that changes the tenant to whoever has the connection next', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls', unsafeRole: 'warn' } });
    const current = "insert into things (name) values (current_setting('app.tenant_id'))";
    await pool.forTenant('acme').transaction((tx) => tx.query("insert into things (name) select leave('globex')"));
    await pool.forTenant('initech').transaction((tx) => tx.query(current));
    await pool.forTenant('acme').transaction((tx) => tx.query("insert into things (name) select leave('globex')"));
    await pool.forTenant('initech').query(current);
    expect(await names()).toEqual(['globex', 'globex', 'initech', 'initech']);
    expect(pool.stats()).toMatchObject({ connects: 1 });
  });

  it('is not executed when the statement ends the session, and the connection is lost', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    let attempts = 0;
    const whole = pool.transaction(
      (tx) => {
        attempts++;
        return tx.query("insert into things (name) select 'a' where pg_terminate_backend(pg_backend_pid())");
      },
      { retries: 3 },
    );
    await expect(whole).rejects.toMatchObject({ code: 'POOL_CONNECTION_LOST', sent: true, cause: { code: '57P01' } });
    expect(attempts).toBe(1);
    expect(await names()).toEqual([]);
  });

  describe('over a connection that is lost', () => {
    const commitIsUnknown: unknown = expect.stringContaining(
      'before the COMMIT of a transaction was answered: whether it was carried out is unknown',
    );
    const fatal = (code: string): Buffer => serverMessage('E', `SFATAL\0VFATAL\0C${code}\0Mthe server goes\0\0`);

    /** Runs one through a server that answers the command of this tag, once, so, and goes. */
    async function runThrough(tag: string, answer: readonly Buffer[]) {
      await clear();
      await using proxy = await startMessageProxy(database.url);
      const url = new URL(database.url);
      url.port = String(proxy.port);
      const pool = await pools.create({ connectionString: url.href, maxSize: 1 });
      await pool.query('select 1');
      let isOver = false;
      proxy.edit = (type, message) => {
        if (isOver) return answer.length === 0 ? [] : [message];
        if (type !== 'C' || !message.includes(tag)) return [message];
        isOver = true;
        setImmediate(() => {
          proxy.edit = (_type, later) => [later];
          proxy.cut();
        });
        return answer;
      };
      let attempts = 0;
      const error: unknown = await pool
        .transaction((tx) => (attempts++, tx.query(insert, ['a'])), { retries: 3 })
        .then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
      await pools.close();
      return { error, attempts };
    }

    it.each([
      ['under COMMIT, for a matter of timing', 'COMMIT', '40001'],
      ['under COMMIT', 'COMMIT', '57P01'],
      ['under the statement', 'INSERT', '57P01'],
    ])('is not repeated: %s', async (_when, tag, code) => {
      const { error, attempts } = await runThrough(tag, [fatal(code)]);
      expect(error).toMatchObject({ code: 'POOL_CONNECTION_LOST', sent: true, cause: { code } });
      expect(attempts).toBe(1);
    });

    it.each(['INSERT', 'COMMIT'])('without a word is not repeated either: under %s', async (tag) => {
      const { error, attempts } = await runThrough(tag, []);
      expect(error).toMatchObject({ code: 'POOL_CONNECTION_LOST', sent: true, message: commitIsUnknown });
      expect(attempts).toBe(1);
    });

    it('is carried out once when all answers are lost, and its outcome is said to be unknown', () =>
      pools.proxied({}, async (pool, proxy) => {
        await clear();
        let attempts = 0;
        let statement: Promise<unknown> = Promise.resolve();
        proxy.cutReplyAfter(0);
        const whole = pool.transaction((tx) => (attempts++, (statement = tx.query(insert, ['a']))), { retries: 3 });
        await expect(whole).rejects.toMatchObject({
          code: 'POOL_CONNECTION_LOST',
          sent: true,
          message: commitIsUnknown,
          stack: expect.stringContaining('transaction-commit.test'),
        });
        await expect(statement).rejects.toMatchObject({ code: 'POOL_CONNECTION_LOST', sent: true });
        expect(attempts).toBe(1);
        await proxy.restore();
        await eventually(async () => (await names()).length > 0);
        expect(await names()).toEqual(['a']);
        await pool.transaction((tx) => tx.query(insert, ['b']));
        expect(await names()).toEqual(['a', 'b']);
      }));

    it('is told of as a COMMIT that went by itself', () =>
      pools.proxied({}, async (pool, proxy) => {
        await clear();
        const whole = pool.transaction(async (tx) => {
          await tx.query(insert, ['a']);
          proxy.cutReplyAfter(0);
        });
        await expect(whole).rejects.toMatchObject({
          code: 'POOL_CONNECTION_LOST',
          sent: true,
          message: commitIsUnknown,
        });
        await eventually(async () => (await names()).length > 0);
      }));

    it('had not left where the connection is lost under a statement with a COMMIT of its own', () =>
      pools.proxied({}, async (pool, proxy) => {
        await clear();
        proxy.cutReplyAfter(0);
        const whole = pool.transaction(async (tx) => void (await tx.query(insert, ['a'])));
        await expect(whole).rejects.toMatchObject({
          code: 'POOL_CONNECTION_LOST',
          message: expect.stringContaining('before a query was answered'),
        });
        expect(await names()).toEqual([]);
      }));

    it('is repeated where the server ended the session under the statement, for a matter of timing', async () => {
      const { error, attempts } = await runThrough('INSERT', [fatal('40001')]);
      expect({ error, attempts }).toEqual({ error: undefined, attempts: 2 });
    });
  });

  describe('where instrumentation looks on', () => {
    const original = pg.Client.prototype.query;
    afterEach(() => {
      pg.Client.prototype.query = original;
    });

    it('is not told of, and changes nothing of what is', async () => {
      await clear();
      const events: string[] = [];
      type Ending = (error: Error | undefined, result: unknown) => void;
      const traced = function (this: pg.Client, config: { text: string }, callback: Ending | undefined): unknown {
        // The test's own queries wait for a promise.
        if (typeof callback !== 'function') return Reflect.apply(original, this, [config, callback]);
        events.push(`begins ${config.text}`);
        const end: Ending = (error, result) => {
          events.push(error === undefined || error === null ? 'ends' : `fails ${error.message}`);
          callback(error, result);
        };
        return Reflect.apply(original, this, [{ ...config, text: `/* traced */ ${config.text}` }, end]);
      };
      Reflect.set(pg.Client.prototype, 'query', traced);
      await pools.proxied({}, async (pool, proxy) => {
        events.length = 0;
        await pool.transaction((tx) => tx.query(insert, ['a']));
        expect(proxy.counters.roundTrips).toBe(2);
        expect(events).toEqual([`begins ${insert}`, 'ends']);
        await expect(pool.transaction((tx) => tx.query('insert'))).rejects.toThrow('syntax error');
        expect(events.slice(2)).toEqual(['begins insert', expect.stringMatching(/^fails syntax error/)]);
      });
      expect(await names()).toEqual(['a']);
    });
  });
});

function abortable(): { readonly signal: AbortSignal; abort(): void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

/** The sessions of the pools that are in the middle of a transaction. */
function sessionsInTransaction(): Promise<unknown[]> {
  return database.query(
    `select 1 from pg_stat_activity where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()`,
  );
}

/** Holds the advisory lock that statements and the trigger wait for. */
async function held(): Promise<AsyncDisposable & { release(): Promise<void> }> {
  const client = new pg.Client({ connectionString: database.superuserUrl });
  await client.connect();
  await client.query('select pg_advisory_lock(7)');
  const release = async (): Promise<void> => {
    await client.query('select pg_advisory_unlock_all()');
  };
  return { release, [Symbol.asyncDispose]: () => client.end() };
}
