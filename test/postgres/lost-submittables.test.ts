/**
 * What becomes of cursors, query streams and COPY when their connection is lost, when a round of the server's work
 * takes too long, and when they are over: the caller is told by a typed error, they end, and they lead to no connection
 * any more.
 */
import { once } from 'node:events';
import type { Readable } from 'node:stream';

import { describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

import { ConnectionLostError } from '../../lib/errors.js';
import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { textOwner } from '../../lib/postgres/statement/caller-submittable.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { startFaultProxy } from '../support/servers/index.js';
import { NUMBERS_TABLE, terminate, TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  () => [NUMBERS_TABLE],
);

type Queries = Pick<PostgresPool | LeasedClient, 'query'>;

/** Begins, and tells of its middle and of its end. */
interface Running {
  readonly started: Promise<unknown>;
  /** Uses it to its end. Resolves with the error that it is told. */
  readonly use: () => Promise<unknown>;
}

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

async function readAll(stream: Readable): Promise<void> {
  for await (const _chunk of stream);
}

const MANY = 'select n, repeat(md5(n::text), 20) as text from generate_series(1, 1000000) n';
/**
 * Works until it is ended, after so many rows that they are sent, and so few that the socket takes them: a server that
 * is ended while it waits for the reader says nothing more.
 */
const ENDLESS_COPY = `select repeat(md5(n::text), 20) from generate_series(1, 60) n
  union all select s.* from (select pg_sleep(60)::text) s`;
/** Works until it is ended, after a first row. */
const ENDLESS = 'select 1 as n union all select 2 from (select pg_sleep(60)) s';

async function isRunning(): Promise<void> {
  await eventually(
    async () => (await database.query(`select 1 from pg_stat_activity where query = $1`, [ENDLESS])).length > 0,
  );
}

const KINDS: readonly [name: string, begin: (on: Queries) => Running][] = [
  [
    'a cursor',
    (on) => {
      const cursor = on.query(new Cursor(MANY));
      const told = once(cursor, 'error');
      return { started: cursor.read(1), use: () => told.then(() => errorOf(cursor.read(100))) };
    },
  ],
  [
    'a cursor that reads',
    (on) => {
      const cursor = on.query(new Cursor(ENDLESS));
      const first = cursor.read(1);
      // pg-cursor forgets a read that is asked for during another one.
      const second = first.then(() => errorOf(cursor.read(100)));
      return { started: first, use: () => second };
    },
  ],
  [
    'a query stream',
    (on) => {
      const stream: Readable = on.query(new QueryStream(MANY));
      return { started: once(stream, 'readable'), use: () => errorOf(readAll(stream)) };
    },
  ],
  [
    'a query stream that reads',
    (on) => {
      const stream: Readable = on.query(new QueryStream(ENDLESS, [], { batchSize: 1 }));
      const read = errorOf(readAll(stream));
      return { started: once(stream, 'data'), use: () => read };
    },
  ],
  [
    'COPY from the server',
    (on) => {
      const stream: Readable = on.query(copyTo(`copy (${ENDLESS_COPY}) to stdout`));
      const failed = once(stream, 'error').then(([error]) => error as unknown);
      return { started: once(stream, 'readable'), use: () => (stream.resume(), failed) };
    },
  ],
  [
    'COPY to the server',
    (on) => {
      const stream = on.query(copyFrom('copy numbers from stdin'));
      const failed = once(stream, 'error').then(([error]) => error as unknown);
      return { started: new Promise((resolve) => stream.write('1\n', resolve)), use: () => failed };
    },
  ],
  [
    'a query of pg’s own',
    (on) => {
      const query = on.query(new pg.Query(ENDLESS));
      const failed = new Promise<unknown>((resolve) => query.on('error', resolve));
      return { started: isRunning(), use: () => failed };
    },
  ],
];

describe.each(KINDS)('the connection lost under %s', (_name, begin) => {
  it('is a ConnectionLostError with what the server said, in a lease', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.forTenant('acme').connect();
    const { started, use } = begin(client);
    await started;
    await terminate(database, client.processID);
    const error = await use();
    expect(error).toBeInstanceOf(ConnectionLostError);
    expect(error).toMatchObject({ sent: true, tenantId: 'acme', poolId: pool.id, cause: { code: '57P01' } });
    client.release();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('is one from a connection of the pool, too', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const { rows } = await pool.query('select pg_backend_pid() as pid');
    const { started, use } = begin(pool);
    await started;
    await terminate(database, (rows[0] as { pid: number }).pid);
    expect(await use()).toMatchObject({ name: 'ConnectionLostError', sent: true, cause: { code: '57P01' } });
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('is noticed by a use() that ends with it, before the socket is closed', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const used = pool.use(async (client) => {
      const { started, use } = begin(client);
      await started;
      await terminate(database, client.processID);
      throw await use();
    });
    await expect(used).rejects.toMatchObject({ name: 'ConnectionLostError' });
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('without a word of the server’s is one, too', async () => {
    const proxy = await startFaultProxy({ target: { host: database.host, port: database.port } });
    try {
      const address = new URL(database.url);
      address.port = String(proxy.port);
      const pool = await pools.create({ maxSize: 1, connectionString: address.href });
      const { started, use } = begin(pool);
      await started;
      proxy.reset();
      expect(await use()).toMatchObject({
        name: 'ConnectionLostError',
        sent: true,
        cause: { message: expect.stringMatching(/reset|terminated/i) },
      });
    } finally {
      await proxy.close();
    }
  });
});

describe('a submittable', () => {
  it.each<[string, (on: Queries) => Promise<unknown>]>([
    ['a cursor', (on) => on.query(new Cursor(MANY)).read(1)],
    ['a query stream', (on) => readAll(on.query(new QueryStream(MANY)))],
    ['COPY from the server', (on) => readAll(on.query(copyTo(`copy (${MANY}) to stdout`)))],
    [
      'COPY to the server',
      (on) => new Promise((_, reject) => on.query(copyFrom('copy numbers from stdin')).on('error', reject)),
    ],
    ['a query of pg’s own', (on) => new Promise((_, reject) => on.query(new pg.Query('select 1')).on('error', reject))],
  ])('%s on a lease whose connection is dead was not sent', async (_name, run) => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const slow = errorOf(client.query('select pg_sleep(60)'));
    const queued = errorOf(run(client));
    await terminate(database, client.processID);
    expect(await slow).toMatchObject({ name: 'ConnectionLostError', sent: true });
    const lost = { name: 'ConnectionLostError', sent: false, cause: { code: '57P01' } };
    expect(await queued).toMatchObject(lost);
    expect(await errorOf(run(client))).toMatchObject(lost);
    client.release();
  });

  it('that was left is closed when its connection is lost', async () => {
    const pool = await pools.create({ maxSize: 2 });
    const client = await pool.connect();
    const stream: Readable = client.query(new QueryStream(ENDLESS, [], { batchSize: 1 }));
    stream.on('data', () => {});
    await once(stream, 'data');
    const closed = once(stream, 'close');
    stream.destroy();
    await terminate(database, client.processID);
    await closed;
    client.release();
    const other = await pool.connect();
    const cursor = other.query(new Cursor(MANY));
    await cursor.read(1);
    const pid = other.processID;
    await Promise.all([cursor.close(), terminate(database, pid)]);
    other.release();
    expect(pool.stats().active).toBe(0);
  });

  it('of a resting reader that listens for errors ends with its connection', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const stream: Readable = client.query(new QueryStream(MANY));
    await once(stream, 'readable');
    const error = once(stream, 'error');
    const closed = new Promise((resolve) => stream.once('close', () => resolve('closed')));
    await terminate(database, client.processID);
    expect((await error)[0]).toBeInstanceOf(ConnectionLostError);
    expect(await closed).toBe('closed');
    client.release();
  });
});

describe('the end of a submittable', () => {
  /** What keeps a connection besides the one that is asked for. */
  const connectionOf = (query: object): unknown => ('connection' in query ? query.connection : undefined);
  const isPgs = (connection: unknown): boolean => connection instanceof pg.Connection;

  it.each<[string, (cursor: Cursor) => Promise<unknown>]>([
    ['has been read', (cursor) => cursor.read(10)],
    ['has been closed', (cursor) => cursor.close()],
  ])('takes the connection from a cursor that %s', async (_how, end) => {
    const pool = await pools.create({ maxSize: 1 });
    const cursor = pool.query(new Cursor('select generate_series(1, 5) as n'));
    expect(await cursor.read(2)).toEqual([{ n: 1 }, { n: 2 }]);
    expect(isPgs(connectionOf(cursor))).toBe(true);
    await end(cursor);
    await eventually(() => pool.stats().active === 0);
    expect(isPgs(connectionOf(cursor))).toBe(false);
    expect(await cursor.read(1)).toEqual([]);
    await cursor.close();
  });

  it('takes it from a cursor that has failed, which reads and closes as before', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const cursor = pool.query(new Cursor('select 1 / (3 - n) from generate_series(1, 5) as n'));
    await cursor.read(1);
    const failed = { code: '22012' };
    await expect(cursor.read(10)).rejects.toMatchObject(failed);
    await eventually(() => pool.stats().active === 0);
    expect(isPgs(connectionOf(cursor))).toBe(false);
    await expect(cursor.read(1)).rejects.toMatchObject(failed);
    await cursor.close();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    expect(pool.stats().connects).toBe(1);
  });

  it.each<[string, string, (stream: Readable) => Promise<unknown>]>([
    ['has been read', 'select generate_series(1, 500)', readAll],
    ['has been destroyed', MANY, async (stream) => (await once(stream, 'readable'), stream.destroy())],
    ['has failed', 'select 1 / 0', (stream) => errorOf(readAll(stream))],
  ])('takes it from a query stream that %s', async (_how, text, end) => {
    const pool = await pools.create({ maxSize: 1 });
    const stream = pool.query(new QueryStream(text));
    const closed = new Promise((resolve) => stream.once('close', resolve));
    await end(stream);
    await closed;
    await eventually(() => pool.stats().active === 0);
    expect([connectionOf(stream), connectionOf(textOwner(stream))].some(isPgs)).toBe(false);
    stream.destroy();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('takes it from a COPY', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const out: Readable = pool.query(copyTo('copy (select 1) to stdout'));
    await readAll(out);
    const into = pool.query(copyFrom('copy numbers from stdin'));
    into.end('1\n');
    await once(into, 'finish');
    await eventually(() => pool.stats().active === 0);
    expect([connectionOf(out), connectionOf(into)].some(isPgs)).toBe(false);
  });
});

describe('queryTimeoutMs', () => {
  const LIMIT_MS = 200;
  const TIMED_OUT = { name: 'OperationTimeoutError', message: expect.stringContaining(String(LIMIT_MS)) as unknown };
  const SLOW: readonly [name: string, run: (on: Queries) => Promise<unknown>][] = [
    ['a query of pg’s own', (on) => new Promise((_, reject) => on.query(new pg.Query(ENDLESS)).on('error', reject))],
    [
      'a query of pg’s own with values',
      (on) => new Promise((_, reject) => on.query(new pg.Query('select pg_sleep($1)', [60], reject))),
    ],
    ['a read of a cursor', (on) => on.query(new Cursor('select pg_sleep(60)')).read(1)],
    [
      'a later read of a cursor',
      async (on) => {
        const cursor = on.query(new Cursor(ENDLESS));
        await cursor.read(1);
        await cursor.read(1);
      },
    ],
    ['a query stream', (on) => readAll(on.query(new QueryStream(ENDLESS, [], { batchSize: 1 })))],
  ];

  it.each(SLOW)('ends %s, and keeps the connection', async (_name, run) => {
    const pool = await pools.create({ maxSize: 1, queryTimeoutMs: LIMIT_MS });
    const before = (await pool.query('select pg_backend_pid()')).rows;
    expect(await errorOf(run(pool))).toMatchObject(TIMED_OUT);
    expect((await pool.query('select pg_backend_pid()')).rows).toEqual(before);
    await pool.use(async (client) => {
      expect(await errorOf(run(client))).toMatchObject(TIMED_OUT);
      expect((await client.query('select pg_backend_pid()')).rows).toEqual(before);
    });
    await expect(
      pool.transaction(async (tx) => {
        throw await errorOf(run(tx));
      }),
    ).rejects.toMatchObject(TIMED_OUT);
    expect((await pool.query('select pg_backend_pid()')).rows).toEqual(before);
  });

  it('ends COPY to the server while that waits for a lock', async () => {
    const pool = await pools.create({ maxSize: 1, queryTimeoutMs: LIMIT_MS });
    await using locks = new TestPools(database);
    const holder = await (await locks.create()).connect();
    await holder.query('begin; lock table numbers');
    const copy = pool.query(copyFrom('copy numbers from stdin'));
    expect((await once(copy, 'error'))[0]).toMatchObject(TIMED_OUT);
    await holder.query('rollback');
    holder.release();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('ends a read while the server says nothing at all', async () => {
    const proxy = await startFaultProxy({ target: { host: database.host, port: database.port } });
    try {
      const address = new URL(database.url);
      address.port = String(proxy.port);
      const pool = await pools.create({ maxSize: 1, queryTimeoutMs: LIMIT_MS, connectionString: address.href });
      const client = await pool.connect();
      // The rows come one by one: the first costs the server nothing that could take longer than the limit.
      const cursor = client.query(new Cursor('select generate_series(1, 1000000) as n'));
      await cursor.read(1);
      proxy.blackHole();
      expect(await errorOf(cursor.read(1))).toMatchObject(TIMED_OUT);
      client.release();
    } finally {
      await proxy.close();
    }
  });

  it('does not count the time in which the reader rests', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1, queryTimeoutMs: LIMIT_MS }, clock);
    const client = await pool.connect();
    const cursor = client.query(new Cursor('select generate_series(1, 5) as n'));
    await once(client.connection, 'rowDescription');
    for (let n = 1; n <= 5; n++) {
      await clock.advance(10 * LIMIT_MS);
      expect(await cursor.read(1)).toEqual([{ n }]);
    }
    await cursor.close();
    client.release();
  });

  it('does not count it for a statement without rows, either', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1, queryTimeoutMs: LIMIT_MS }, clock);
    const client = await pool.connect();
    const cursor = client.query(new Cursor('insert into numbers values (1)'));
    await once(client.connection, 'noData');
    await clock.advance(10 * LIMIT_MS);
    expect(await cursor.read(1)).toEqual([]);
    await cursor.close();
    expect(client.connection.listenerCount('noData')).toBe(0);
    client.release();
    expect(pool.stats().connects).toBe(1);
  });

  it('does not end COPY from the server, whose reader may rest', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1, queryTimeoutMs: LIMIT_MS }, clock);
    const client = await pool.connect();
    const stream: Readable = client.query(copyTo('copy (select 1) to stdout'));
    await once(stream, 'readable');
    await clock.advance(10 * LIMIT_MS);
    expect(await errorOf(readAll(stream))).toBeUndefined();
    expect((await client.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    client.release();
  });
});
