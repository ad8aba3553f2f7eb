/**
 * What a borrower's code and objects can do to the connection and to others: callbacks that throw, listeners, results
 * that are printed, statements that nobody waits for.
 */
import type { EventEmitter } from 'node:events';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';

import { afterEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { startChild } from '../support/children.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools((made) => ({ database, pools } = made));

const pathOf = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

/** Sessions that run something, as the server sees it. */
const running = async (text: string): Promise<number> =>
  (
    await database.query(
      `select 1 from pg_stat_activity where datname = current_database() and state = 'active' and query like $1 and application_name <> 'observer'`,
      [`%${text}%`],
    )
  ).length;

const locks = async (): Promise<number> =>
  (await database.query(`select 1 from pg_locks where locktype = 'advisory'`)).length;

describe('what a tenant leaves on the server', () => {
  it('is gone before the next one sends anything', async () => {
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
    const a = await pool.forTenant('a').connect();
    await a.query('listen news');
    await a.query('select pg_advisory_lock(99)');
    const waiting = pool.forTenant('b').connect();
    a.release();
    const b = await waiting;
    const heard: unknown[] = [];
    b.on('notification', (notification) => heard.push(notification));
    b.on('notice', (notice) => heard.push(notice));
    await eventually(async () => (await locks()) === 0);
    await database.query(`notify news, 'for a'`);
    await b.query('listen news');
    await database.query(`notify news, 'for b'`);
    await eventually(() => heard.length > 0);
    expect(heard).toMatchObject([{ channel: 'news', payload: 'for b' }]);
    b.release();
  });

  it('is not heard by the next one while it is being cleared away', async () => {
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
    // A one-shot can listen, too.
    await pool.forTenant('a').query('listen news');
    const connecting = pool.forTenant('b').connect();
    await database.query(`notify news, 'for a'`);
    const b = await connecting;
    const heard: unknown[] = [];
    b.on('notification', (notification) => heard.push(notification));
    await database.query(`notify news, 'for a'`);
    await b.query('select 1');
    expect(heard).toEqual([]);
    b.release();
  });

  it('is cancelled when its connection goes, and the caller is told that the connection is lost', async () => {
    const ends: [name: string, end: (pool: PostgresPool, client: LeasedClient) => unknown][] = [
      ['a release that destroys', (_pool, client) => client.release(true)],
      ['a statement that is not waited for', (_pool, client) => client.release()],
      ['a close of the pool', (pool) => void pool.close({ deadlineMs: 0 })],
    ];
    for (const [name, end] of ends) {
      const pool = await pools.create({ maxSize: 1, recycleTimeoutMs: 50 });
      const client = await pool.connect();
      const mark = `pg_sleep(60) /* ${name} */`;
      const outcome = client.query(`select ${mark}`).catch((error: unknown) => error);
      await eventually(async () => (await running(name)) === 1);
      end(pool, client);
      await expect(outcome).resolves.toMatchObject({ code: 'POOL_CONNECTION_LOST', sent: true });
      await eventually(async () => (await running(name)) === 0);
    }
  });
});

describe('a lease that is released before its statement has ended', () => {
  const patient = { maxSize: 1, recycleTimeoutMs: 60_000 };

  it('has the statement cancelled, and those behind it never sent', async () => {
    await database.query('create table if not exists after_overrun (n int); grant all on after_overrun to public');
    const pool = await pools.create(patient);
    const client = await pool.connect();
    const slow = client.query(`select pg_sleep(60) /* overrun */`).catch((error: unknown) => error);
    const behind = client.query('insert into after_overrun values (1)').catch((error: unknown) => error);
    await eventually(async () => (await running('overrun')) === 1);
    client.release();
    await expect(slow).resolves.toMatchObject({ code: 'POOL_CONNECTION_LOST', sent: true });
    await expect(behind).resolves.toMatchObject({ code: 'POOL_CONNECTION_LOST', sent: false });
    expect((await pool.query('select count(*)::int as n from after_overrun')).rows).toEqual([{ n: 0 }]);
    await eventually(async () => (await running('overrun')) === 0);
  });

  it('gets what is answered at once, and keeps its connection', async () => {
    await database.query('create table if not exists forgotten (n int); grant all on forgotten to public');
    const pool = await pools.create(patient);
    const client = await pool.connect();
    await client.query('begin; insert into forgotten values (1)');
    const commit = client.query('commit');
    client.release();
    await expect(commit).resolves.toMatchObject({ command: 'COMMIT' });
    expect((await pool.query('select n from forgotten')).rows).toEqual([{ n: 1 }]);
    expect(pool.stats().connects).toBe(1);
  });

  it.each([
    ['COMMIT', 'commit', 'COMMIT'],
    ['END behind a comment', '/* the end */ End', 'COMMIT'],
    ['RELEASE SAVEPOINT', 'release savepoint s; set constraints all immediate', 'SET'],
  ])('is never cut off in %s, however long that takes', async (_what, end, command) => {
    await database.query(`
      create table if not exists decided (n int); grant all on decided to public; truncate decided;
      create or replace function wait_for_lock() returns trigger language plpgsql as
        $$ begin perform pg_advisory_xact_lock(815); return null; end $$;
      drop trigger if exists waits on decided;
      create constraint trigger waits after insert on decided deferrable initially deferred
        for each row execute function wait_for_lock()`);
    const clock = new FakeClock();
    const pool = await pools.create(patient, clock);
    await using locks = new TestPools(database);
    const holder = await (await locks.create()).connect();
    await holder.query('select pg_advisory_lock(815)');
    const client = await pool.connect();
    await client.query('begin');
    await client.query('savepoint s');
    await client.query('insert into decided values (1)');
    const outcome = client.query(end);
    client.release();
    await eventually(async () => (await database.query('select 1 from pg_locks where not granted')).length === 1);
    await clock.advance(5_000);
    await holder.query('select pg_advisory_unlock(815)');
    holder.release();
    const answer: unknown = await outcome;
    expect(Array.isArray(answer) ? answer.at(-1) : answer).toMatchObject({ command });
    await eventually(() => pool.stats().idle === 1);
    if (command === 'COMMIT') expect(await database.query('select n from decided')).toEqual([{ n: 1 }]);
    expect(pool.stats().connects).toBe(1);
  });

  it('closes its cursor, whose read gets what the server has sent by then', async () => {
    const clock = new FakeClock();
    const pool = await pools.create(patient, clock);
    await using locks = new TestPools(database);
    const holder = await (await locks.create()).connect();
    await holder.query('select pg_advisory_lock(816)');
    const client = await pool.connect();
    const read = client.query(new Cursor('select 1 as n from (select pg_advisory_xact_lock(816)) s')).read(1);
    await eventually(async () => (await database.query('select 1 from pg_locks where not granted')).length === 1);
    client.release();
    await clock.advance(500);
    await holder.query('select pg_advisory_unlock(816)');
    holder.release();
    expect(await read).toEqual([{ n: 1 }]);
    await eventually(() => pool.stats().idle === 1);
    expect(pool.stats().connects).toBe(1);
  });

  it.each<[string, (client: LeasedClient) => Promise<unknown>]>([
    ['the read of a cursor', (client) => client.query(new Cursor('select pg_sleep(60) /* held */')).read(1)],
    [
      'the read that a cursor had put off',
      (client) => {
        const cursor = client.query(new Cursor('select pg_sleep(60) /* held */'));
        void cursor.read(1).catch(() => {});
        return cursor.read(1);
      },
    ],
    [
      'a query of pg’s own',
      (client) =>
        new Promise((_, reject) => client.query(new pg.Query('select pg_sleep(60) /* held */')).on('error', reject)),
    ],
  ])('has %s fail when its server goes on working', async (_what, run) => {
    const clock = new FakeClock();
    const pool = await pools.create(patient, clock);
    const client = await pool.connect();
    const outcome = run(client).catch((error: unknown) => error);
    await eventually(async () => (await running('held')) === 1);
    client.release();
    await clock.advance(3_000);
    expect(await outcome).toMatchObject({ name: 'ConnectionLostError', sent: true });
    await eventually(async () => (await running('held')) === 0);
  });

  it('closes its query stream, and waits two seconds for its server', async () => {
    const clock = new FakeClock();
    const pool = await pools.create(patient, clock);
    const client = await pool.connect();
    const stream: Readable = client.query(new QueryStream('select pg_sleep(60) /* streamed */'));
    const closed = new Promise((resolve) => stream.once('close', () => resolve('closed')));
    stream.resume();
    await eventually(async () => (await running('streamed')) === 1);
    client.release();
    await clock.advance(1_900);
    expect(await running('streamed')).toBe(1);
    await clock.advance(200);
    expect(await closed).toBe('closed');
    await eventually(async () => (await running('streamed')) === 0);
  });

  it('because its transaction was aborted has what waits behind the running statement refused', async () => {
    const pool = await pools.create(patient);
    const aborter = new AbortController();
    const outcomes: Promise<unknown>[] = [];
    const aborted = pool.transaction(
      (tx) => {
        for (const text of ['select 1', 'select pg_sleep(60)'])
          outcomes.push(tx.query(text).catch((error: unknown) => error));
        aborter.abort();
        return Promise.all(outcomes);
      },
      { signal: aborter.signal },
    );
    await expect(aborted).rejects.toMatchObject({ code: 'POOL_QUERY_ABORTED' });
    expect((await Promise.all(outcomes))[1]).toMatchObject({ code: 'POOL_QUERY_ABORTED' });
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    expect(pool.stats().connects).toBe(1);
  });
});

describe('code of a caller that throws', () => {
  const bad = (): never => {
    throw new Error('thrown by a callback');
  };

  it('is an uncaught exception as in pg where it is a callback, and costs no query its answer', async () => {
    const child = startChild(process.execPath, [
      '--import',
      pathOf('../support/typescript/register.mjs'),
      pathOf('./programs/throwing.ts'),
      database.url,
    ]);
    expect(await child.exited).toEqual({ code: 0, signal: null });
    const lines = child.output().split('\n');
    expect(lines.pop()).toBe('stopped');
    expect(lines).toHaveLength(9);
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ error: 'thrown by a callback', right: 6 });
  });

  it.each<[name: string, query: () => EventEmitter & pg.Submittable]>([
    ['of a query of pg', () => new pg.Query('select generate_series(1, 3)')],
    ['of a cursor', () => new Cursor('select generate_series(1, 3)')],
  ])('ends the query and replaces the connection: a row listener %s', async (_name, make) => {
    const pool = await pools.create({ maxSize: 1 });
    const query = make();
    const failed = new Promise((resolve) => query.on('error', resolve));
    query.on('row', bad);
    pool.query(query);
    if (query instanceof Cursor) query.read(3).catch(() => {});
    await expect(failed).resolves.toMatchObject({ message: 'thrown by a callback' });
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 2 });
  });

  it.each<[name: string, config: object]>([
    ['a name that is no text', { name: 5, text: 'select 1' }],
    ['a text that is none', { name: 'q', text: 42 }],
    ['values that are no list', { text: 'select $1', values: 'one' }],
    ['a value that can’t be sent', { text: 'select $1', values: [{ toPostgres: bad }] }],
    ['too many values', { text: 'select 1', values: Array(65_536).fill(1) }],
    ['a NUL in the text', { text: 'select 1\0' }],
    ['a NUL in the name', { name: 'q\0', text: 'select 1' }],
    ['getters that throw', { text: 'select 1', get values() { return bad(); } }], // prettier-ignore
    ['types that throw', { text: 'select 1', types: { getTypeParser: bad } }],
  ])('is the answer of its own call alone: %s', async (_name, config) => {
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
    const query = config as { text: string };
    const innocent = pool.forTenant('a').query('select 1 as ok');
    const ways: Promise<unknown>[] = [
      Promise.resolve().then(() => pool.forTenant('b').query(query)),
      pool.forTenant('b').use((client) => client.query(query)),
      pool.forTenant('b').transaction((tx) => tx.query(query)),
    ];
    for (const way of ways) await expect(way).rejects.toBeInstanceOf(Error);
    expect((await innocent).rows).toEqual([{ ok: 1 }]);
    expect((await pool.forTenant('a').query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    expect(pool.stats().active).toBe(0);
  });
});

describe('code in between that throws inside of pg’s queue, as instrumentation may', () => {
  const QUEUE = '_pulseQueryQueue';
  const original: unknown = Reflect.get(pg.Client.prototype, QUEUE);
  const replace = (value: unknown): boolean => Reflect.set(pg.Client.prototype, QUEUE, value);
  afterEach(() => void replace(original));

  /** From now on it throws once, before or after it has done its work. */
  function throwOnce(when: 'before' | 'after'): void {
    replace(function pulse(this: unknown) {
      replace(original);
      if (when === 'after' && typeof original === 'function') Reflect.apply(original, this, []);
      throw new Error('thrown in the queue');
    });
  }

  it.each(
    (['before', 'after'] as const).flatMap((when) => [
      [when, 'a one-shot', (pool: PostgresPool) => pool.query('select 1 as mine')] as const,
      [when, 'a lease', (pool: PostgresPool) => pool.use((client) => client.query('select 1 as mine'))] as const,
      [when, 'a transaction', (pool: PostgresPool) => pool.transaction((tx) => tx.query('select 1 as mine'))] as const,
      [when, 'a cursor', (pool: PostgresPool) => pool.query(new Cursor('select 1 as mine')).read(1)] as const,
    ]),
  )(
    'costs that connection at once, and no other borrower anything: %s it is put there, %s',
    async (when, _way, run) => {
      const pool = await pools.create({ maxSize: 2 });
      for (const client of await Promise.all([pool.connect(), pool.connect()])) client.release();
      expect(pool.stats().connects).toBe(2);
      const other = await pool.connect();
      const neighbour = other.query('select 2 as theirs from pg_sleep(0.05)');
      throwOnce(when);
      await expect(run(pool)).rejects.toMatchObject({
        code: 'POOL_CONNECTION_LOST',
        cause: { message: 'thrown in the queue' },
      });
      expect((await neighbour).rows).toEqual([{ theirs: 2 }]);
      other.release();
      const answers = await Promise.all([3, 4, 5, 6].map((n) => pool.query('select $1::int as n', [n])));
      expect(answers.map(({ rows }) => rows)).toEqual([3, 4, 5, 6].map((n) => [{ n }]));
      expect(pool.stats()).toMatchObject({ active: 0, destroyed: { broken: 1 } });
    },
  );
});

describe('what is handed out', () => {
  /** Everything that can be reached by enumerable properties, own or inherited. */
  function reachable(root: unknown): Set<unknown> {
    const seen = new Set<unknown>();
    const left = [root];
    for (let value = left.pop(); left.length > 0 || value !== undefined; value = left.pop()) {
      if (typeof value !== 'object' || value === null || seen.has(value)) continue;
      seen.add(value);
      for (const key in value) left.push((value as Record<string, unknown>)[key]);
    }
    return seen;
  }

  it('leads to no connection and to nothing of another caller', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const secret = 'a parameter of somebody else';
    const client = await pool.connect();
    const pending = client.query('select $1::text', [secret]);
    const result = await client.query('select 1 as n');
    const failure: unknown = await client.query('select 1/0').catch((error: unknown) => error);
    const cursor = client.query(new Cursor('select 1 as n'));
    const cursorResult = await new Promise((resolve) => cursor.read(1, (_error, _rows, read) => resolve(read)));
    await cursor.close();
    const scripts: unknown = await client.query('select 1; select 2');
    client.release();
    const oneShots = await Promise.all([
      pool.query('select 1 as n'),
      pool.query({ text: 'select 1 as n', rowMode: 'array' }),
      pool.query('select $1::text as v', ['mine']),
    ]);
    await pending;
    for (const handed of [result, failure, scripts, client, ...oneShots, ...result.rows, pool.options]) {
      for (const value of reachable(handed)) {
        expect(value instanceof pg.Client || value instanceof pg.Connection).toBe(false);
      }
      const printed = `${inspect(handed, { depth: null, showHidden: false })} ${JSON.stringify(handed)}`;
      expect(printed).not.toContain(secret);
      expect(printed).not.toContain('secretKey');
    }
    for (const plain of [result, ...oneShots]) {
      const copy: unknown = structuredClone({ ...plain, parseRow: undefined, addRow: undefined });
      expect(copy).toMatchObject({ rows: plain.rows });
    }
    expect(JSON.stringify(cursorResult)).not.toContain('_types');
  });
});
