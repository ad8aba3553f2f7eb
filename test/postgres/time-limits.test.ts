/**
 * pg's own time-outs, from wherever pg takes them: `query_timeout` is kept here, for pool.query from the moment it has
 * a connection, and never by a timer of pg's; the others are kept by the server.
 */
import { afterEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';

import { fromPgPoolConfig } from '../../lib/postgres/from-pg-pool-config.js';
import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { startFaultProxy } from '../support/servers/index.js';
import { type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
const untouched = { ...pg.defaults };

// Before the pools close.
afterEach(() => void Object.assign(pg.defaults, untouched));
withTestPools((made) => ({ database, pools } = made));

const TIMED_OUT = { code: 'POOL_OPERATION_TIMEOUT', name: 'OperationTimeoutError' };
const LIMIT_MS = 300;

/** Everywhere a limit can come from. */
const SOURCES: [source: string, options: () => PostgresPoolOptions][] = [
  ['queryTimeoutMs', () => ({ queryTimeoutMs: LIMIT_MS })],
  ['client', () => ({ client: { query_timeout: LIMIT_MS } })],
  ['the connection string', () => ({ connectionString: `${database.url}?query_timeout=${LIMIT_MS}` })],
  [
    'pg.defaults',
    () => {
      pg.defaults.query_timeout = LIMIT_MS;
      return {};
    },
  ],
  ['fromPgPoolConfig', () => fromPgPoolConfig({ connectionString: database.url, query_timeout: LIMIT_MS })],
];

const pidOf = async (pool: { query(text: string): Promise<pg.QueryResult> }): Promise<unknown> =>
  (await pool.query('select pg_backend_pid() as pid')).rows[0] as unknown;

describe.each(SOURCES)('query_timeout from %s', (_source, options) => {
  it('ends a query here, cancels it on the server, and keeps the connection', async () => {
    const pool = await pools.create({ ...options(), maxSize: 1 });
    const before = await pidOf(pool);
    await expect(pool.query('select pg_sleep(30)')).rejects.toMatchObject(TIMED_OUT);
    expect(await pidOf(pool)).toEqual(before);
    await expect(
      new Promise((resolve, reject) =>
        pool.query('select pg_sleep(30)', (error, result) => (error ? reject(error) : resolve(result))),
      ),
    ).rejects.toMatchObject({ ...TIMED_OUT, message: expect.stringContaining(String(LIMIT_MS)) });
    expect(await pidOf(pool)).toEqual(before);
    expect(pool.stats().destroyed.broken).toBe(0);
  });

  it('leaves no timer of pg’s on statements that were answered long ago', async () => {
    const pool = await pools.create({ ...options(), maxSize: 1 });
    const outcome = await pool.transaction(async (tx) => {
      // Longer together than the limit, each of them shorter.
      for (let step = 0; step < 5; step++) await tx.query('select pg_sleep(0.08)');
      return 'committed';
    });
    expect(outcome).toBe('committed');
    expect(pool.stats()).toMatchObject({ connects: 1, destroyed: { broken: 0 } });
  });
});

/** Ways to run a statement that is not all there is to its lease; `begun` is called right before it. */
const BORROWED: [
  way: string,
  run: (pool: PostgresPool, text: string, limits: object, begun?: () => void) => Promise<unknown>,
][] = [
  [
    'a lease',
    (pool, text, limits, begun) =>
      pool.use(async (client) => {
        await client.query('select 1');
        begun?.();
        await client.query({ text, ...limits });
      }),
  ],
  [
    'a transaction',
    (pool, text, limits, begun) =>
      pool.transaction(async (tx) => {
        begun?.();
        await tx.query({ text, ...limits });
      }),
  ],
  [
    'a nested transaction',
    (pool, text, limits, begun) =>
      pool.transaction((tx) =>
        tx.transaction(async (part) => {
          begun?.();
          await part.query({ text, ...limits });
        }),
      ),
  ],
];

describe('a limit', () => {
  it('holds while the server says nothing at all', async () => {
    const proxy = await startFaultProxy({ target: { host: database.host, port: database.port } });
    try {
      const address = new URL(database.url);
      address.port = String(proxy.port);
      const pool = await pools.create({ connectionString: address.href, queryTimeoutMs: 100, maxSize: 1 });
      await pool.query('select 1');
      proxy.blackHole();
      await expect(pool.query('select 2')).rejects.toMatchObject(TIMED_OUT);
      await pools.close();
    } finally {
      await proxy.close();
    }
  });

  describe.each(BORROWED)('on a statement in %s', (_way, run) => {
    it('ends it here, and cancels it on the server', async () => {
      const pool = await pools.create({ queryTimeoutMs: 100, maxSize: 1 });
      await expect(run(pool, 'select pg_sleep(30)', {})).rejects.toMatchObject(TIMED_OUT);
      expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
      expect(await database.query(`select 1 from pg_stat_activity where query = 'select pg_sleep(30)'`)).toEqual([]);
    });

    it('holds while the server says nothing at all', async () => {
      await using proxy = await startFaultProxy({ target: { host: database.host, port: database.port } });
      const address = new URL(database.url);
      address.port = String(proxy.port);
      const pool = await pools.create({ connectionString: address.href, queryTimeoutMs: 100, maxSize: 1 });
      const outcome = run(pool, 'select 2', {}, () => proxy.blackHole());
      await expect(outcome).rejects.toMatchObject(TIMED_OUT);
      await pools.close();
    });

    it.each([
      ['the pool’s', { queryTimeoutMs: 100 }, { timeoutMs: 60_000 }],
      ['the statement’s', { queryTimeoutMs: 60_000 }, { timeoutMs: 100 }],
      ['pg’s own, of the statement', { queryTimeoutMs: 60_000 }, { query_timeout: 100 }],
    ])('wins when it is the shorter one: %s', async (_whose, options, limits) => {
      const pool = await pools.create({ ...options, maxSize: 1 });
      await pool.query('select 1');
      await expect(run(pool, 'select pg_sleep(30)', limits)).rejects.toMatchObject({
        ...TIMED_OUT,
        message: expect.stringContaining('100 ms'),
      });
    });
  });

  it.each([
    ['the pool’s', { queryTimeoutMs: 150 }, 60_000, {}, 'A query'],
    ['the statement’s', {}, 60_000, { timeoutMs: 150 }, 'A query'],
    ['the transaction’s, before the pool’s', { queryTimeoutMs: 60_000 }, 150, {}, 'A transaction'],
    ['the transaction’s, before the statement’s', {}, 150, { timeoutMs: 60_000 }, 'A transaction'],
  ])(
    'beside that of its transaction wins when it is the shorter one: %s',
    async (_whose, options, timeoutMs, limits, what) => {
      const pool = await pools.create({ ...options, maxSize: 1 });
      await pool.query('select 1');
      const query = { text: 'select pg_sleep(30)', ...limits };
      await expect(pool.transaction((tx) => tx.query(query), { timeoutMs })).rejects.toMatchObject({
        ...TIMED_OUT,
        timeoutMs: 150,
        message: expect.stringContaining(what),
      });
      await eventually(() => pool.stats().active === 0);
    },
  );

  it('of the pool counts from the moment there is a connection, one of the call from the call on', async () => {
    const pool = await pools.create({ queryTimeoutMs: 150, maxSize: 1 });
    const client = await pool.connect();
    const waiting = pool.query('select 1 as n');
    const call = pool.query({ text: 'select 1 as n', timeoutMs: 150 });
    await expect(call).rejects.toMatchObject({ code: expect.stringContaining('TIMEOUT') });
    client.release();
    expect((await waiting).rows).toEqual([{ n: 1 }]);
  });

  it.each([
    ['the pool’s', { queryTimeoutMs: 100 }, { timeoutMs: 60_000 }],
    ['the call’s', { queryTimeoutMs: 60_000 }, { timeoutMs: 100 }],
    ['pg’s own, of the call', { queryTimeoutMs: 60_000 }, { query_timeout: 100 }],
    ['pg’s own, where both are given', {}, { query_timeout: 100, timeoutMs: 60_000 }],
    ['ours, where both are given', {}, { query_timeout: 60_000, timeoutMs: 100 }],
    ['the option, before pg’s', { queryTimeoutMs: 100, client: { query_timeout: 60_000 } }, {}],
    ['pg’s, before the option', { queryTimeoutMs: 60_000, client: { query_timeout: 100 } }, {}],
  ])('wins when it is the shorter one: %s', async (_whose, options, limits) => {
    const pool = await pools.create({ ...options, maxSize: 1 });
    await pool.query('select 1');
    await expect(pool.query({ text: 'select pg_sleep(30)', ...limits })).rejects.toMatchObject({
      ...TIMED_OUT,
      message: expect.stringContaining('100 ms'),
    });
  });

  it.each([Infinity, 2 ** 31, Number.MAX_SAFE_INTEGER])('of %s is none', async (timeoutMs) => {
    const pool = await pools.create({ maxSize: 1 });
    expect((await pool.query({ text: 'select pg_sleep(0.05)', timeoutMs })).rowCount).toBe(1);
    expect((await pool.query(withPgLimit('select pg_sleep(0.05)', timeoutMs))).rowCount).toBe(1);
  });

  it.each([NaN, -1, 0])('of %s is no time at all in timeoutMs, and none in query_timeout, as in pg', async (limit) => {
    const pool = await pools.create({ maxSize: 1 });
    await expect(pool.query({ text: 'select pg_sleep(30)', timeoutMs: limit })).rejects.toThrow();
    expect((await pool.query(withPgLimit('select pg_sleep(0.05)', limit))).rowCount).toBe(1);
  });
});

/** A config as pg understands it; its types don't know the limit. */
function withPgLimit(text: string, limit: unknown): { text: string } {
  const config = { text, query_timeout: limit };
  return config;
}

describe('the server’s own limits', () => {
  const settings = `select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
    current_setting('idle_in_transaction_session_timeout') as idle`;
  const LIMITS = { statement_timeout: 4000, lock_timeout: 5000, idle_in_transaction_session_timeout: 6000 };

  it.each<[string, () => PostgresPoolOptions]>([
    ['client', () => ({ client: LIMITS })],
    [
      'the connection string',
      () => ({
        connectionString: `${database.url}?${new URLSearchParams(Object.entries(LIMITS).map(([name, ms]): [string, string] => [name, String(ms)])).toString()}`,
      }),
    ],
    [
      'pg.defaults',
      () => {
        Object.assign(pg.defaults, LIMITS);
        return {};
      },
    ],
    ['fromPgPoolConfig', () => fromPgPoolConfig({ connectionString: database.url, ...LIMITS })],
  ])('come from %s, and survive resets', async (_source, options) => {
    const pool = await pools.create({ ...options(), maxSize: 1 });
    for (let round = 0; round < 2; round++) {
      expect((await pool.query(settings)).rows).toEqual([{ statement: '4s', lock: '5s', idle: '6s' }]);
      await pool.use((client) => client.query('set statement_timeout = 0; set lock_timeout = 0'));
    }
  });

  it('come from the pool’s options first', async () => {
    Object.assign(pg.defaults, LIMITS);
    const pool = await pools.create({
      connectionString: `${database.url}?statement_timeout=4000&application_name=from-url`,
      statementTimeoutMs: 7000,
      idleInTransactionTimeoutMs: 8000,
      applicationName: 'from-options',
    });
    expect((await pool.query(settings)).rows).toEqual([{ statement: '7s', lock: '5s', idle: '8s' }]);
    expect((await pool.query(`select current_setting('application_name') as name`)).rows).toEqual([
      { name: 'from-options' },
    ]);
  });

  it('that are no milliseconds are refused when the pool is created', async () => {
    for (const wrong of [Infinity, '30s', -5]) {
      Object.assign(pg.defaults, { statement_timeout: wrong });
      await expect(pools.create()).rejects.toMatchObject({
        code: 'POOL_CONFIG',
        problems: [{ key: expect.stringMatching(/client\.statement_timeout$/) }],
      });
    }
  });
});

describe.each([
  ['without isolation', {}],
  ['with row security', { isolation: { mode: 'rls' } }],
  ['with a limit on each statement', { queryTimeoutMs: 10_000 }],
] satisfies [string, PostgresPoolOptions][])('timeoutMs of a query that has to wait, %s', (_name, options) => {
  it('is told as the time-out of an acquire while it waits, and leaves the queue', async () => {
    const pool = (await pools.create({ ...options, maxSize: 1 })).forTenant('acme');
    {
      await using held = await pool.acquire();
      expect(held.tenantId).toBe('acme');
      await expect(pool.query({ text: 'select 1', timeoutMs: 50 })).rejects.toMatchObject({
        name: 'AcquireTimeoutError',
        kind: 'pool',
        tenantId: 'acme',
      });
      expect(pool.stats().waiting).toBe(0);
    }
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('counts the wait: what is left of it limits the statement', async () => {
    const pool = (await pools.create({ ...options, maxSize: 1 })).forTenant('acme');
    const held = await pool.acquire();
    const failed = expect(pool.query({ text: 'select pg_sleep(30)', timeoutMs: LIMIT_MS })).rejects.toMatchObject({
      ...TIMED_OUT,
      message: expect.stringContaining(String(LIMIT_MS)),
    });
    expect(pool.stats().waiting).toBe(1);
    held.release();
    await failed;
  });
});
