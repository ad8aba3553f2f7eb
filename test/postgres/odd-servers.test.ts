/**
 * Servers, and poolers in front of them, that leave something out or say something that was not asked: the pool goes on
 * with what it has, or replaces the connection. No answer reaches a statement that did not ask for it.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';

import { PoolError } from '../../lib/errors.js';
import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { isStatementError } from '../../lib/postgres/protocol/pg-errors.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import {
  type MessageEdit,
  type MessageProxy,
  serverMessage,
  startMessageProxy,
} from '../support/servers/message-proxy.js';
import { TestPools } from './pools.js';

let database: TestDatabase;
let proxy: MessageProxy;
let pools: TestPools;

beforeAll(async () => {
  database = await createDatabase();
  proxy = await startMessageProxy(database.url);
  const url = new URL(database.url);
  url.port = String(proxy.port);
  pools = new TestPools({ url: url.href });
});
afterEach(async () => {
  proxy.edit = asItIs;
  await pools.close();
});
afterAll(async () => {
  await proxy.close();
  await database.drop();
});

const asItIs: MessageEdit = (_type, message) => [message];
const ERROR = serverMessage('E', 'SERROR\0VERROR\0C0A000\0Mnot asked for\0\0');
const FATAL = serverMessage('E', 'SFATAL\0VFATAL\0C57P01\0Mthe server goes\0\0');
const NOTICE = serverMessage('N', 'SNOTICE\0VNOTICE\0C00000\0Mby the way\0\0');
const READY = serverMessage('Z', 'I');

/** Inserts messages in front of the n-th message of a type. */
const inFrontOf =
  (wanted: string, inserted: readonly Buffer[], times = Infinity): MessageEdit =>
  (type, message) =>
    type === wanted && times-- > 0 ? [...inserted, message] : [message];

/** Every form of work, and that its answers are its own. */
async function expectToWork(pool: PostgresPool): Promise<void> {
  const tenant = pool.forTenant('a');
  expect((await tenant.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  expect((await tenant.query({ name: 'named', text: 'select $1::int as n', values: [2] })).rows).toEqual([{ n: 2 }]);
  const client = await pool.forTenant('b').connect();
  expect(
    (await Promise.all([client.query('select 3 as n'), client.query('select 4 as n')])).map((r) => r.rows),
  ).toEqual([[{ n: 3 }], [{ n: 4 }]]);
  client.release();
  expect(await tenant.transaction(async (tx) => (await tx.query('select 5 as n')).rows)).toEqual([{ n: 5 }]);
}

describe('a server that tells no key for cancel requests', () => {
  it('is used all the same, and a query that is given up costs its connection', async () => {
    proxy.edit = (type, message) => (type === 'K' ? [] : [message]);
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
    await expectToWork(pool);
    await expect(pool.unscoped().query({ text: 'select pg_sleep(60)', timeoutMs: 30 })).rejects.toMatchObject({
      code: 'POOL_OPERATION_TIMEOUT',
    });
    const signal = AbortSignal.timeout(30);
    await expect(pool.unscoped().query({ text: 'select pg_sleep(60)', signal })).rejects.toMatchObject({
      code: 'POOL_QUERY_ABORTED',
    });
    await expect(
      pool.unscoped().transaction((tx) => tx.query('select pg_sleep(60)'), { timeoutMs: 30 }),
    ).rejects.toMatchObject({ code: 'POOL_OPERATION_TIMEOUT' });
    const client = await pool.unscoped().connect();
    expect(client.processID).toBeUndefined();
    client.release();
    await expectToWork(pool);
    expect(pool.stats()).toMatchObject({ active: 0 });
  });
});

describe('a server that says something odd while it is connected to', () => {
  const EXTRA: readonly [what: string, extra: Buffer][] = [
    ['an unknown parameter', serverMessage('S', 'odd_parameter\0odd value\0')],
    ['a notice', NOTICE],
    ['a notification', serverMessage('A', Buffer.concat([Buffer.alloc(4), Buffer.from('channel\0payload\0')]))],
    ['an error', ERROR],
    ['a FATAL error', FATAL],
    ['a full server', serverMessage('E', 'SFATAL\0VFATAL\0C53300\0Mtoo many clients\0\0')],
    ['a ReadyForQuery', READY],
    ['a second key', serverMessage('K', Buffer.alloc(8, 7))],
    ['a row', serverMessage('D', Buffer.from([0, 0]))],
    ['a CommandComplete', serverMessage('C', 'SELECT 1\0')],
  ];

  it.each(
    EXTRA.flatMap(([what, extra]) =>
      [
        ['R', 'the authentication'],
        ['K', 'the key'],
        ['Z', 'the end'],
      ].map(([type = '', at = '']) => [what, at, type, extra] as const),
    ),
  )('costs that connect at most: %s ahead of %s', async (_what, _at, type, extra) => {
    proxy.edit = inFrontOf(type, [extra], 1);
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
    const outcome = await pool
      .forTenant('a')
      .query('select 1 as n')
      .then(
        ({ rows }) => rows,
        (error: unknown) => error,
      );
    if (!(outcome instanceof PoolError) && !isStatementError(outcome)) expect(outcome).toEqual([{ n: 1 }]);
    proxy.edit = asItIs;
    await eventually(() => expectToWork(pool).then(() => true));
    expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
  });
});

describe('a server that says more than it was asked', () => {
  it.each([
    ['an unknown parameter', serverMessage('S', 'odd_parameter\0odd value\0')],
    ['a notice', NOTICE],
    ['a notification', serverMessage('A', Buffer.concat([Buffer.alloc(4), Buffer.from('channel\0payload\0')]))],
  ])('is understood: %s in front of every message', async (_what, extra) => {
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
    await expectToWork(pool);
    proxy.edit = (_type, message) => [extra, message];
    await expectToWork(pool);
    await pool.close();
    const second = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
    await expectToWork(second);
  });

  /** Answers that belong to no statement, or end one too early. */
  const ODD: readonly [name: string, edit: () => MessageEdit][] = [
    ['a second CommandComplete', () => inFrontOf('Z', [serverMessage('C', 'SELECT 1\0')], 1)],
    ['a ReadyForQuery ahead of the answer', () => inFrontOf('T', [READY], 1)],
    ['a row ahead of everything', () => inFrontOf('1', [serverMessage('D', Buffer.from([0, 0]))], 1)],
    ['an error behind the answer', () => inFrontOf('Z', [ERROR], 1)],
    ['an error ahead of the answer', () => inFrontOf('T', [ERROR], 1)],
    ['a FATAL error in the middle', () => inFrontOf('D', [FATAL], 1)],
    ['an error while it is idle', () => (type, message) => (type === 'Z' ? [message, ERROR] : [message])],
  ];

  describe.each(ODD)('%s', (_name, edit) => {
    it.each([
      ['one-shots', (pool: PostgresPool) => pool.forTenant('a').query('select 1 as n')],
      [
        'leases',
        async (pool: PostgresPool) => {
          const client = await pool.forTenant('a').connect();
          try {
            return await client.query({ text: 'select 1 as n', queryMode: 'extended' } as { text: string });
          } finally {
            client.release();
          }
        },
      ],
      ['transactions', (pool: PostgresPool) => pool.forTenant('a').transaction((tx) => tx.query('select 1 as n'))],
    ])('costs the connection at most: %s', async (_kind, run) => {
      const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
      await expectToWork(pool);
      proxy.edit = edit();
      const outcome = await run(pool).then(
        (result) => (result as { rows: unknown[] }).rows,
        (error: unknown) => error,
      );
      // Its own answer, what the server said of it, or that the connection is of no use; never another's, nor an empty
      // one.
      if (!(outcome instanceof PoolError) && !isStatementError(outcome)) expect(outcome).toEqual([{ n: 1 }]);
      proxy.edit = asItIs;
      await eventually(() => pool.stats().active === 0);
      await eventually(() => expectToWork(pool).then(() => true));
    });
  });
});
