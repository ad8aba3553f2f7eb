import { AsyncLocalStorage } from 'node:async_hooks';
import { getEventListeners } from 'node:events';

import { describe, expect, it } from '@jest/globals';
import pg from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { sleepingStatements, type TestPools, THINGS_TABLE, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  () => [THINGS_TABLE],
);

const pidOf = async (pool: {
  query(text: string): Promise<pg.QueryResult<Record<string, unknown>>>;
}): Promise<number> => Number((await pool.query('select pg_backend_pid() as pid')).rows[0]?.pid);

describe('query', () => {
  it('answers with what pg answers', async () => {
    const pool = await pools.create();
    const client = new pg.Client(database.url);
    await client.connect();
    const queries: [string, unknown[]?][] = [
      [
        'select 1 as one, null as nothing, $1::text as text, $2::int[] as list, now() is null as never',
        ['häß"lich', [1, 2]],
      ],
      ['select 1 as one'],
      ['select 1 as one; select 2 as two, 3 as three'],
      ['insert into things (name) values ($1), ($2)', ['a', 'b']],
      ["insert into things (name) values ('c') returning name"],
      [
        'select $1::jsonb as json, $2::timestamptz as at, $3::bytea as bytes',
        [{ a: 1 }, new Date(0), Buffer.from([1, 0, 2])],
      ],
      ['select from things where false'],
      [''],
      ['-- nothing'],
      ["set application_name = 'x'"],
    ];
    for (const [text, values] of queries) {
      const ours: unknown = await pool.query(text, values);
      const theirs: unknown = await client.query(text, values);
      const plain = (result: unknown): unknown =>
        Array.isArray(result)
          ? result.map(plain)
          : result instanceof pg.Result
            ? {
                command: result.command,
                rowCount: result.rowCount,
                rows: result.rows,
                fields: result.fields,
                oid: result.oid,
              }
            : 'no result';
      expect(plain(ours)).toEqual(plain(theirs));
    }
    await client.end();
  });

  it('takes config objects: named statements, rows as arrays, own type parsers', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const named = { name: 'double', text: 'select $1::int * 2 as value' };
    expect((await pool.query({ ...named, values: [2] })).rows).toEqual([{ value: 4 }]);
    expect((await pool.query(named, [3])).rows).toEqual([{ value: 6 }]);
    expect(
      (await pool.query('select count(*)::int as n from pg_prepared_statements where name = $1', ['double'])).rows,
    ).toEqual([{ n: 1 }]);
    await expect(pool.query({ ...named, text: 'select 1' })).rejects.toThrow(/must be unique/);
    expect((await pool.query({ rowMode: 'array', text: 'select 1, 2' })).rows).toEqual([[1, 2]]);
    const types = { getTypeParser: () => (value: string | Buffer) => `<${value.toString()}>` };
    expect((await pool.query({ text: 'select 1 as n', types })).rows).toEqual([{ n: '<1>' }]);
  });

  it('calls back, in the async context of the caller', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const store = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    await store.run('a', () => pool.query('select 1'));
    await store.run(
      'b',
      () =>
        new Promise<void>((resolve) => {
          pool.query('select $1::int as n', [5], (error, result) => {
            seen.push(error, result.rows, store.getStore());
            resolve();
          });
        }),
    );
    await store.run(
      'c',
      () =>
        new Promise<void>((resolve) => {
          pool.query('select wrong', (error) => {
            seen.push(error.message, store.getStore());
            resolve();
          });
        }),
    );
    expect(seen).toEqual([undefined, [{ n: 5 }], 'b', 'column "wrong" does not exist', 'c']);
  });

  it('keeps its connections when statements fail', async () => {
    const pool = await pools.create({ maxSize: 3 });
    const clients = await Promise.all([pool.connect(), pool.connect(), pool.connect()]);
    const pids = new Set(clients.map((client) => client.processID));
    for (const client of clients) client.release();
    for (let index = 0; index < 50; index++)
      await expect(pool.query('select 1 / $1::int', [0])).rejects.toMatchObject({ code: '22012' });
    const after = await Promise.all([pidOf(pool), pidOf(pool), pidOf(pool)]);
    expect(after.every((pid) => pids.has(pid))).toBe(true);
    expect(pool.stats().connects).toBe(pids.size);
  });

  it('points the stack of a failing query at its caller', async () => {
    const pool = await pools.create();
    async function loadTheOrders(): Promise<unknown> {
      const { rows } = await pool.query('select wrong');
      return rows;
    }
    const error = await loadTheOrders().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(pg.DatabaseError);
    expect(String(error instanceof Error ? error.stack : '')).toContain('loadTheOrders');
  });

  it('refuses what is no query, and answers for values that cannot be sent', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const bad = {
      toPostgres: () => {
        throw new Error('cannot be sent');
      },
    };
    const pid = await pidOf(pool);
    await expect(pool.query('select $1', [bad])).rejects.toThrow('cannot be sent');
    await expect(pool.query({ text: 'select $1', values: [] }, [bad])).rejects.toThrow('cannot be sent');
    expect(await pidOf(pool)).toBe(pid);
  });

  it('answers COPY without a stream with an error and goes on', async () => {
    const pool = await pools.create({ maxSize: 1 });
    await expect(pool.query('copy things (name) from stdin')).rejects.toThrow(/COPY/);
    await expect(
      pool.query({ text: 'copy things (name) from stdin', queryMode: 'extended' } as pg.QueryConfig),
    ).rejects.toThrow(/COPY/);
    expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });

  it('rolls back a transaction that a one-shot query leaves open, and says so', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const pid = await pidOf(pool);
    await expect(pool.query('begin')).rejects.toMatchObject({ code: 'POOL_TRANSACTION_LEFT_OPEN' });
    await expect(pool.query('begin; select wrong')).rejects.toMatchObject({ code: '42703' });
    const after = await pool.query('select now() = statement_timestamp() as alone, pg_backend_pid() as pid');
    expect(after.rows).toEqual([{ alone: true, pid }]);
  });

  it('runs Submittables and gives their connection back', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const cursor = pool.query(new Cursor('select * from generate_series(1, 5) as n'));
    expect(await cursor.read(2)).toEqual([{ n: 1 }, { n: 2 }]);
    expect(pool.idleCount).toBe(0);
    await cursor.close();
    await eventually(() => pool.idleCount === 1);
    const rows: unknown[] = [];
    for await (const row of pool.query(new QueryStream('select * from generate_series(1, 3) as n'))) rows.push(row);
    expect(rows).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
    const failing = pool.query(new Cursor('select wrong'));
    await expect(failing.read(1)).rejects.toThrow(/wrong/);
    expect(await pidOf(pool)).toBeGreaterThan(0);
  });

  it('runs a Submittable’s callbacks and events in the context of who handed it in', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const store = new AsyncLocalStorage<string>();
    await store.run('a', () => pool.query('select 1'));
    const seen = await store.run(
      'b',
      () =>
        new Promise<unknown[]>((resolve, reject) => {
          const stores: unknown[] = [];
          const query = pool.query(new pg.Query('select 1 as n'));
          query.on('row', () => stores.push(store.getStore()));
          query.on('end', () => {
            stores.push(store.getStore());
            const cursor = pool.query(new Cursor('select 1 as n'));
            cursor.read(1, () => {
              stores.push(store.getStore());
              cursor.close(() => {
                stores.push(store.getStore());
                resolve(stores);
              });
            });
          });
          query.on('error', reject);
        }),
    );
    expect(seen).toEqual(['b', 'b', 'b', 'b']);
  });

  it('gives a query up at its deadline and at its signal, on the server too, and keeps the connection', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const pid = await pidOf(pool);
    await expect(pool.query({ text: 'select pg_sleep(60)', timeoutMs: 50 })).rejects.toMatchObject({
      code: 'POOL_OPERATION_TIMEOUT',
    });
    expect((await pool.query('select pg_backend_pid() as pid')).rows).toEqual([{ pid }]);
    const controller = new AbortController();
    const running = pool.query({ text: 'select pg_sleep(61)', signal: controller.signal });
    await eventually(
      async () =>
        (
          await database.query(
            `select 1 from pg_stat_activity where datname = current_database() and query like '%pg_sleep(61)%' and state = 'active' and application_name <> 'observer'`,
          )
        ).length === 1,
    );
    controller.abort();
    await expect(running).rejects.toMatchObject({ code: 'POOL_QUERY_ABORTED' });
    expect((await pool.query('select pg_backend_pid() as pid')).rows).toEqual([{ pid }]);
    await expect(pool.query({ text: 'select 1', signal: controller.signal })).rejects.toMatchObject({
      code: expect.stringMatching(/ABORTED/),
    });
    expect(await sleepingStatements(database)).toEqual([]);
  });

  it('replaces a connection whose backend was killed, idle or at work', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const pid = await pidOf(pool);
    await database.query('select pg_terminate_backend($1)', [pid]);
    await eventually(() => pool.totalCount === 0);
    expect(await pidOf(pool)).not.toBe(pid);
    const second = await pidOf(pool);
    const running = pool.query('select pg_sleep(60)');
    await eventually(
      async () =>
        (await database.query('select 1 from pg_stat_activity where pid = $1 and state = $2', [second, 'active']))
          .length === 1,
    );
    await Promise.all([
      expect(running).rejects.toMatchObject({ code: 'POOL_CONNECTION_LOST', sent: true, cause: { code: '57P01' } }),
      database.query('select pg_terminate_backend($1)', [second]),
    ]);
    expect(await pidOf(pool)).not.toBe(second);
  });

  it('lets any number of statements share one signal, and gives all of them up', async () => {
    const pool = await pools.create({ maxSize: 2 });
    const controller = new AbortController();
    const { signal } = controller;
    const client = await pool.connect();
    const outcomes = [
      ...Array.from({ length: 500 }, () => pool.query({ text: 'select pg_sleep(60)', signal })),
      ...Array.from({ length: 500 }, () => client.query({ text: 'select pg_sleep(60)', signal })),
      pool.transaction((tx) => tx.query({ text: 'select 1', signal }), { signal }),
    ].map((outcome) => outcome.catch((error: unknown) => error));
    // One for all: Node warns from the eleventh on.
    expect(getEventListeners(signal, 'abort').length).toBeLessThanOrEqual(1);
    controller.abort();
    for (const outcome of await Promise.all(outcomes))
      expect(outcome).toMatchObject({ code: expect.stringMatching(/POOL_QUERY_ABORTED|POOL_ACQUIRE_ABORTED/) });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    client.release();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('tells a Submittable that its own submit threw, and no other query', async () => {
    const pool = await pools.create({ maxSize: 1 });
    await pool.query('select 1');
    const told = new Promise((resolve) => {
      pool.query({
        submit: () => {
          throw new Error('a mistake in submit');
        },
        handleError: resolve,
      });
    });
    const next = pool.query('select 2 as two');
    expect(await told).toMatchObject({ message: 'a mistake in submit' });
    expect((await next).rows).toEqual([{ two: 2 }]);
    expect(pool.totalCount).toBe(1);
  });
});
