/**
 * Which errors cost a connection: the severity of the server's answer decides, and nothing that isn't about it.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';

import { describe, expect, it } from '@jest/globals';

import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { isFatalError, isStatementError } from '../../lib/postgres/protocol/pg-errors.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools((made) => ({ database, pools } = made));

const raise = (code: string): string =>
  `do $$ begin raise exception 'remote is down' using errcode = '${code}'; end $$`;

const many = (count: number): [string, number[]] => [
  `select count(*) from (values ${Array.from({ length: count }, (_, index) => `($${index + 1}::int)`).join(',')}) v`,
  Array.from({ length: count }, () => 1),
];

/** Errors that say nothing about the connection. */
const HARMLESS: [what: string, text: string, values: unknown[]][] = [
  ['a syntax error', 'selec 1', []],
  ['too many values', 'select $1::int', [1, 2]],
  ['values for no statement', '', [1]],
  ['a NUL in the text', 'select 1 /* \0 */', []],
  ['a NUL in the text of a statement with values', 'select $1::int /* \0 */', [1]],
  ['a NUL in a value', 'select $1::text', ['a\0b']],
  ['more values than the protocol has room for', ...many(65_536)],
  [
    'so many that their number would overflow to what the statement has',
    'select $1::int',
    Array.from({ length: 65_537 }, () => 1),
  ],
  ['connection_failure by RAISE, as foreign data wrappers report it', raise('08006'), []],
  ['protocol_violation by RAISE', raise('08P01'), []],
  ['admin_shutdown by RAISE', raise('57P01'), []],
  ['idle_session_timeout by RAISE', raise('57P05'), []],
  ['crash_shutdown by RAISE', raise('57P02'), []],
];

const pidOf = async (pool: PostgresPool): Promise<unknown> =>
  (await pool.query('select pg_backend_pid() as pid')).rows[0]?.pid;

/** Each way to run a statement on a pool. */
const WAYS: [way: string, run: (pool: PostgresPool, text: string, values: unknown[]) => Promise<unknown>][] = [
  ['query', (pool, text, values) => pool.query(text, values)],
  ['query with a config', (pool, text, values) => pool.query({ text, values })],
  [
    'query with a callback',
    (pool, text, values) =>
      new Promise((resolve, reject) =>
        pool.query(text, values, (error, result) => (error ? reject(error) : resolve(result))),
      ),
  ],
  ['use', (pool, text, values) => pool.use((client) => client.query(text, values))],
  ['transaction', (pool, text, values) => pool.transaction((tx) => tx.query(text, values))],
];

describe('an error of a statement', () => {
  it.each(HARMLESS)('leaves connection and health alone: %s', async (_what, text, values) => {
    const pool = await pools.create({ minSize: 1, maxSize: 1 });
    await pool.start();
    const changes: unknown[] = [];
    pool.on('status', (change) => changes.push(change));
    const before = await pidOf(pool);
    for (const [, run] of WAYS) {
      await expect(run(pool, text, values)).rejects.toThrow();
      expect(await pidOf(pool)).toBe(before);
    }
    expect(changes).toEqual([]);
    expect(pool.stats()).toMatchObject({ connects: 1, status: 'healthy', consecutiveFailures: 0 });
  });

  it('says how many parameters there may be', async () => {
    const pool = await pools.create();
    await expect(pool.query(...many(65_536))).rejects.toThrow(/65535 parameters at most, and this one has 65536/);
    expect((await pool.query<{ count: string }>(...many(65_535))).rows).toEqual([{ count: '65535' }]);
  });
});

describe('an error of the borrower’s own work', () => {
  it('leaves connection and health alone, though it looks like one of a socket', async () => {
    const pool = await pools.create({ minSize: 1, maxSize: 1 });
    await pool.start();
    const before = await pidOf(pool);
    const refused = async (): Promise<unknown> => (await once(connect(1, '127.0.0.1'), 'connect')) as unknown;
    const works: [() => Promise<unknown>, string][] = [
      [() => readFile('/nowhere/at/all'), 'ENOENT'],
      [refused, 'ECONNREFUSED'],
    ];
    for (const [work, code] of works) {
      await expect(pool.use(work)).rejects.toMatchObject({ code });
      await expect(pool.transaction(work)).rejects.toMatchObject({ code });
    }
    expect(await pidOf(pool)).toBe(before);
    expect(pool.stats()).toMatchObject({ connects: 1, status: 'healthy', consecutiveFailures: 0 });
  });
});

describe('an error that ends the session', () => {
  it.each(WAYS)('costs the connection, by %s', async (_way, run) => {
    const pool = await pools.create({ maxSize: 1 });
    const before = await pidOf(pool);
    await expect(run(pool, 'select pg_terminate_backend(pg_backend_pid())', [])).rejects.toThrow();
    await eventually(async () => expect(await pidOf(pool)).not.toBe(before));
    expect(pool.stats().active).toBe(0);
  });

  it.each<[name: string, run: (client: LeasedClient) => Promise<unknown>, sent: boolean]>([
    ['is told with its cause when it was at work', (client) => client.query('select pg_sleep(60)'), true],
    [
      'is told with its cause when it waited behind another',
      async (client) => {
        client.query('select pg_sleep(60)').catch(() => {});
        return client.query('select 1');
      },
      false,
    ],
  ])('under a statement of a lease %s', async (_name, run, sent) => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const outcome = expect(run(client)).rejects.toMatchObject({
      name: 'ConnectionLostError',
      code: 'POOL_CONNECTION_LOST',
      sent,
      cause: { code: '57P01', severity: 'FATAL' },
    });
    await eventually(async () => {
      const active = `select 1 from pg_stat_activity where pid = $1 and state = 'active'`;
      return (await database.query(active, [client.processID])).length === 1;
    });
    await database.query('select pg_terminate_backend($1)', [client.processID]);
    await outcome;
    client.release();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it('before a statement of a lease is told with its cause, and that nothing was sent', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    await client.query('select 1');
    const died = new Promise((resolve) => client.on('error', () => {}).once('end', resolve));
    await database.query('select pg_terminate_backend($1)', [client.processID]);
    await died;
    for (let round = 0; round < 2; round++) {
      await expect(client.query('select 1')).rejects.toMatchObject({
        code: 'POOL_CONNECTION_LOST',
        sent: false,
        cause: { code: '57P01', severity: 'FATAL' },
      });
    }
    client.release();
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });

  it.each([
    ['FATAL', '57P01', true],
    ['PANIC', 'XX000', true],
    ['FATAL', '42501', true],
    ['ERROR', '57P01', false],
    ['ERROR', '08006', false],
    ['WARNING', '57P01', false],
    // In another language only what is never said of a statement counts.
    ['ВАЖНО', '57P01', true],
    ['ОШИБКА', '08P01', false],
    ['FEHLER', '42601', false],
  ])('is told by its severity: %s with %s is the end: %s', (severity, code, isEnd) => {
    const error = Object.assign(new Error('said by the server'), { severity, code });
    expect(isFatalError(error)).toBe(isEnd);
    expect(isStatementError(error)).toBe(!isEnd);
  });
});
