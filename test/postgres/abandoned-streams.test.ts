/**
 * A stream or a cursor gives its connection back however its caller leaves it: while it waits, in its middle, or behind
 * a lease that is over.
 */
import { once } from 'node:events';
import type { Readable } from 'node:stream';

import { describe, expect, it } from '@jest/globals';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { NUMBERS_TABLE, type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  () => [NUMBERS_TABLE],
);

type Queries = Pick<PostgresPool | LeasedClient, 'query'>;

/** What keeps a connection until it has been read or written to its end. */
const KINDS: readonly [
  name: string,
  begin: (on: Queries) => { readonly started: () => Promise<unknown>; readonly leave: () => unknown },
][] = [
  [
    'a cursor',
    (on) => {
      const cursor = on.query(new Cursor('select generate_series(1, 100000)'));
      return { started: () => cursor.read(1), leave: () => cursor.close() };
    },
  ],
  [
    'a query stream',
    (on) => {
      const stream: Readable = on.query(new QueryStream('select generate_series(1, 1000000)'));
      return { started: () => once(stream, 'readable'), leave: () => stream.destroy() };
    },
  ],
  [
    'COPY from the server',
    (on) => {
      const stream: Readable = on.query(copyTo('copy (select generate_series(1, 3000000)) to stdout'));
      return { started: () => once(stream, 'readable'), leave: () => stream.destroy() };
    },
  ],
  [
    'COPY to the server',
    (on) => {
      const stream = on.query(copyFrom('copy numbers from stdin'));
      stream.on('error', () => {});
      return {
        started: () => new Promise((resolve) => stream.write('1\n', resolve)),
        leave: () => stream.destroy(),
      };
    },
  ],
];

describe.each(KINDS)('%s', (_name, begin) => {
  it('that is left while it waits for a connection never takes one', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const waiting = begin(pool);
    await waiting.leave();
    await eventually(() => pool.waitingCount === 0);
    client.release();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('that is left in its middle gives the connection back, or a new one', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const { started, leave } = begin(pool);
    await started();
    await leave();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    await eventually(() => pool.stats().active === 0);
  });

  it('that is left before its turn in a lease is not sent', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const slow = client.query('select pg_sleep(0.05)');
    await begin(client).leave();
    await slow;
    expect((await client.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    client.release();
    expect(pool.stats().connects).toBe(1);
  });

  it('that is still open when its lease ends is closed', async () => {
    const pool = await pools.create({ maxSize: 1, recycleTimeoutMs: 60_000 });
    const client = await pool.connect();
    await begin(client).started();
    client.release();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    await eventually(() => pool.stats().active === 0);
  });
});

describe('a query stream that is destroyed while its server works', () => {
  it('has two seconds to end, also in a lease that goes on', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1 }, clock);
    const client = await pool.connect();
    const text = 'select pg_sleep(60) /* destroyed */';
    const stream: Readable = client.query(new QueryStream(text));
    stream.resume();
    await eventually(
      async () => (await database.query('select 1 from pg_stat_activity where query = $1', [text])).length === 1,
    );
    const closed = new Promise((resolve) => stream.once('close', () => resolve('closed')));
    stream.destroy();
    await clock.advance(2_100);
    expect(await closed).toBe('closed');
    client.release();
  });
});

describe('a connection that is lost under a reader', () => {
  const lose = (client: LeasedClient) => database.query('select pg_terminate_backend($1)', [client.processID]);

  it('ends a query stream with the error', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const stream: Readable = client.query(new QueryStream('select generate_series(1, 1000)', [], { batchSize: 2 }));
    let rows = 0;
    const read = async (): Promise<void> => {
      for await (const _row of stream) if (++rows === 1) await lose(client);
    };
    // The server's last words, unless the reader was just asking for more: then its own write tells.
    const lastWords = /^(57P01|EPIPE|ECONNRESET)$/;
    await expect(read()).rejects.toMatchObject({
      name: 'ConnectionLostError',
      cause: { code: expect.stringMatching(lastWords) },
    });
    client.release();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it.each<[string, (cursor: Cursor, client: LeasedClient) => Promise<unknown>]>([
    ['before', (cursor, client) => Promise.all([cursor.close(), lose(client)])],
    [
      'after',
      async (cursor, client) => {
        await lose(client);
        await expect(cursor.read(1)).rejects.toThrow();
        return cursor.close();
      },
    ],
  ])('lets a cursor be closed that is closed %s that', async (_when, close) => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const cursor = client.query(new Cursor('select generate_series(1, 1000)'));
    await cursor.read(1);
    await close(cursor, client);
    client.release(true);
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });
});
