// BEGIN travels with the first statement of a transaction. Each kind of first statement, and what is behind it, runs
// inside.
import { describe, expect, it } from '@jest/globals';
import Cursor from 'pg-cursor';

import type { PgTransaction } from '../../lib/postgres/transaction/pg-transaction.js';
import type { TestDatabase } from '../support/databases.js';
import { type TestPools, THINGS_TABLE, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  () => [THINGS_TABLE],
);

const clear = () => database.query('truncate things');
const names = async (): Promise<string[]> =>
  (await database.query('select name from things order by name')).map(({ name }) => String(name));
const insert = 'insert into things (name) values ($1)';

describe('a transaction', () => {
  const shapes: [string, number, (tx: PgTransaction) => Promise<unknown>][] = [
    ['no statement', 0, () => Promise.resolve()],
    ['one statement', 2, (tx) => tx.query('select 1')],
    ['two statements', 3, async (tx) => (await tx.query('select 1'), tx.query('select $1::int', [2]))],
    ['a part of its own, with one statement', 4, (tx) => tx.transaction((part) => part.query('select 1'))],
    ['several statements in one text', 3, (tx) => tx.query('select 1; select 2')],
    ['a named statement', 3, (tx) => tx.query({ name: 'named', text: 'select 1' })],
    ['a statement on its client', 3, (tx) => tx.client.query('select 1')],
  ];

  it.each(shapes)('of %s takes %i round trips', (_name, trips, work) =>
    pools.proxied({}, async (pool, proxy) => {
      await pool.transaction(work);
      expect(proxy.counters.roundTrips).toBe(trips);
    }),
  );

  it('as a tenant takes no more', () =>
    pools.proxied({ isolation: { mode: 'rls', unsafeRole: 'warn' } }, async (pool, proxy) => {
      const acme = pool.forTenant('acme');
      await acme.query('select 1');
      proxy.resetCounters();
      const seen = await acme.transaction((tx) => tx.query("select current_setting('app.tenant_id') as tenant"));
      expect(seen.rows).toEqual([{ tenant: 'acme' }]);
      expect(proxy.counters.roundTrips).toBe(2);
    }));

  const firsts: [string, (tx: PgTransaction) => Promise<unknown>][] = [
    ['a statement', (tx) => tx.query('select 1')],
    ['one that nobody waits for', async (tx) => void tx.query('select 1')],
    ['several in one text', (tx) => tx.query('select 1; select 2')],
    ['a named one', (tx) => tx.query({ name: 'first', text: 'select 1' })],
    ['a cursor', async (tx) => tx.query(new Cursor('select 1')).close()],
    ['a part', (tx) => tx.transaction((part) => part.query('select 1'))],
    ['one on its client', (tx) => tx.client.query('select 1')],
    [
      'one whose value can not be sent',
      (tx) =>
        tx
          .query('select $1::text', [
            {
              toPostgres: () => {
                throw new Error('of the value');
              },
            },
          ])
          .catch(() => undefined),
    ],
    ['one that is none', (tx) => Promise.resolve(tx.query({} as { text: string })).catch(() => undefined)],
    [
      'one that is given up before it is sent',
      (tx) => {
        const abort = AbortSignal.abort();
        return tx.query({ text: 'select 1', signal: abort }).catch(() => undefined);
      },
    ],
  ];

  it.each(firsts)('that begins with %s is rolled back as a whole', async (_name, first) => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await expect(
      pool.transaction(async (tx) => {
        await first(tx);
        await tx.query(insert, ['a']);
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await names()).toEqual([]);
    await pool.transaction(async (tx) => {
      await first(tx);
      await tx.query(insert, ['b']);
    });
    expect(await names()).toEqual(['b']);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('whose statements are asked for at once runs all of them inside', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await expect(
      pool.transaction(async (tx) => {
        await Promise.all(['a', 'b', 'c'].map((name) => tx.query(insert, [name])));
        throw new Error('no');
      }),
    ).rejects.toThrow('no');
    expect(await names()).toEqual([]);
  });

  it('of which nothing is waited for is committed', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    await pool.transaction((tx) => void tx.query(insert, ['a']));
    expect(await names()).toEqual(['a']);
  });

  it('that can not begin runs nothing, and is not taken for committed', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'role', role: () => 'no_such_role' } });
    const errors: unknown[] = [];
    const outcome = pool.forTenant('acme').transaction(async (tx) => {
      await tx.query(insert, ['a']).catch((error: unknown) => errors.push(error));
      await tx.query(insert, ['b']).catch((error: unknown) => errors.push(error));
      return 'swallowed';
    });
    await expect(outcome).rejects.toMatchObject({ code: '22023' });
    expect(errors).toMatchObject([{ code: '22023' }, { code: '22023' }]);
    expect(await names()).toEqual([]);
    expect(pool.stats().active).toBe(0);
  });

  it('that can not begin by itself runs nothing either', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'role', role: () => 'no_such_role' } });
    const outcome = pool.forTenant('acme').transaction(async (tx) => {
      await tx.query(`insert into things (name) values ('a'); insert into things (name) values ('b')`).catch(() => 0);
      await tx.client.query(insert, ['c']).catch(() => 0);
    });
    await expect(outcome).rejects.toMatchObject({ code: '22023' });
    expect(await names()).toEqual([]);
  });

  it('whose function keeps its client runs nothing on it afterwards', async () => {
    await clear();
    const pool = await pools.create({ maxSize: 1 });
    let kept: PgTransaction | undefined;
    const client = await pool.transaction((tx) => {
      kept = tx;
      return tx.client;
    });
    await expect(client.query(insert, ['late'])).rejects.toMatchObject({ name: 'LeaseReleasedError' });
    await expect(kept?.query(insert, ['late'])).rejects.toMatchObject({ name: 'TransactionEndedError' });
    expect(await names()).toEqual([]);
  });

  it('that was given up while it waited for a connection does not call its function', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const abort = new AbortController();
    let called = false;
    const outcome = pool.transaction(() => (called = true), { signal: abort.signal });
    abort.abort();
    client.release();
    await expect(outcome).rejects.toBeInstanceOf(Error);
    expect(called).toBe(false);
  });

  it('has its limit on the server from its first statement on', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const { rows } = await pool.transaction(
      (tx) => tx.query<{ limit: string }>("select current_setting('statement_timeout') as limit"),
      {
        timeoutMs: 60_000,
      },
    );
    expect(rows[0]?.limit).toMatch(/^(?:59|60)/);
  });

  it('with an isolation level has it in its first statement', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const { rows } = await pool.transaction(
      (tx) =>
        tx.query(
          "select current_setting('transaction_isolation') as level, current_setting('transaction_read_only') as ro",
        ),
      { isolation: 'serializable', readOnly: true },
    );
    expect(rows).toEqual([{ level: 'serializable', ro: 'on' }]);
  });
});
