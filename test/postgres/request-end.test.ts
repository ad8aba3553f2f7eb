// What the end of a request does to what was asked of a pool on its behalf, whichever way it was asked for.
import { once } from 'node:events';
import { type Readable, Writable } from 'node:stream';

import { describe, expect, it } from '@jest/globals';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

import { LeaseScope } from '../../lib/engine/lease-scope.js';
import { toError } from '../../lib/engine/to-error.js';
import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { eventually } from '../support/eventually.js';
import { NUMBERS_TABLE, type TestPools, withTestPools } from './pools.js';

const MANY = 'select generate_series(1, 5000000) as n';

let pools: TestPools;
withTestPools(
  (made) => ({ pools } = made),
  () => [NUMBERS_TABLE],
);

const inRequest = <T>(scope: LeaseScope, fn: () => T): T =>
  pools.tenants.runFrame({ tenantId: 'acme', scope, holding: undefined }, fn);

/** The error that a stream ends with. */
async function failureOf(stream: NodeJS.ReadableStream): Promise<Error> {
  const [error] = await once(stream.resume(), 'error').catch((thrown: unknown) => [thrown]);
  return toError(error);
}

/** `once` of node:events listens for errors, too. */
const closeOf = (stream: Readable): Promise<void> => new Promise((resolve) => stream.once('close', () => resolve()));

/** Every way to ask for a session, and the error that its caller gets. */
const ways: [string, (pool: PostgresPool) => Promise<unknown>][] = [
  ['query', (pool) => pool.query('select 1').catch(toError)],
  ['query with a limit of its own', (pool) => pool.query({ text: 'select 1', timeoutMs: 60_000 }).catch(toError)],
  ['query with a callback', (pool) => new Promise((resolve) => pool.query('select 1', (error) => resolve(error)))],
  ['connect', (pool) => pool.connect().catch(toError)],
  ['connect with a callback', (pool) => new Promise((resolve) => pool.connect((error) => resolve(error)))],
  ['acquire', (pool) => pool.acquire().catch(toError)],
  ['use', (pool) => pool.use(() => 'used').catch(toError)],
  ['transaction', (pool) => pool.transaction(() => 'done').catch(toError)],
  [
    'a cursor',
    (pool) => {
      const cursor = pool.query(new Cursor(MANY));
      return cursor.read(10).catch(toError);
    },
  ],
  ['a query stream', (pool) => failureOf(pool.query(new QueryStream(MANY)))],
  ['a COPY', (pool) => failureOf(pool.query(copyTo(`copy (${MANY}) to stdout`)))],
  [
    'a COPY to the server',
    async (pool) => {
      const [error] = await once(pool.query(copyFrom('copy numbers from stdin')), 'error');
      return toError(error);
    },
  ],
];

describe('The end of a request', () => {
  it.each(ways)('withdraws what still waits for a session: %s', async (_, ask) => {
    const pool = await pools.create({ maxSize: 1 });
    const held = await pool.connect();
    const scope = new LeaseScope();
    const outcome = inRequest(scope, () => ask(pool));
    await eventually(() => pool.waitingCount === 1);
    expect(scope.end()).toMatchObject([{ state: 'waiting', tenantId: 'acme' }]);
    expect(await outcome).toMatchObject({ code: 'POOL_REQUEST_ENDED' });
    expect(pool.waitingCount).toBe(0);
    held.release();
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  it.each<[string, (pool: PostgresPool) => Promise<unknown>]>([
    ['connect', (pool) => pool.connect()],
    ['acquire', (pool) => pool.acquire()],
    ['tryAcquire', async (pool) => pool.tryAcquire()],
    ['a cursor', (pool) => pool.query(new Cursor(MANY)).read(10)],
    [
      'a query stream',
      async (pool) => {
        const stream = pool.query(new QueryStream(MANY));
        stream.on('error', () => undefined);
        await once(stream, 'data');
        stream.pause();
      },
    ],
    [
      'a COPY',
      async (pool) => {
        const stream = pool.query(copyTo(`copy (${MANY}) to stdout`));
        stream.on('error', () => undefined);
        await once(stream, 'data');
        stream.pause();
      },
    ],
    [
      'a COPY to the server',
      async (pool) => {
        const stream = pool.query(copyFrom('copy numbers from stdin'));
        stream.on('error', () => undefined);
        await new Promise((resolve) => stream.write('1\n', resolve));
      },
    ],
  ])('takes back the session of what was left open, and replaces it: %s', async (_, open) => {
    const pool = await pools.create({ maxSize: 1 });
    await pool.query('select 1');
    const scope = new LeaseScope();
    await inRequest(scope, () => open(pool));
    expect(pool.stats().active).toBe(1);
    expect(scope.end()).toMatchObject([{ state: 'leased', tenantId: 'acme' }]);
    expect(pool.stats().active).toBe(0);
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  // What Node makes of an error that nothing listens for ends the process: here it would fail the test.
  it.each<[string, (pool: PostgresPool) => Readable]>([
    ['a query stream', (pool) => pool.query(new QueryStream(MANY))],
    ['a COPY', (pool) => pool.query(copyTo(`copy (${MANY}) to stdout`))],
  ])('does no harm where nothing listens for the errors of what was piped: %s', async (_, open) => {
    const pool = await pools.create({ maxSize: 1 });
    await pool.query('select 1');
    const scope = new LeaseScope();
    const sink = () => new Writable({ objectMode: true, write: (_chunk, _encoding, written) => setImmediate(written) });
    const running = inRequest(scope, () => open(pool));
    const waiting = inRequest(scope, () => open(pool));
    running.pipe(sink());
    waiting.pipe(sink());
    await once(running, 'data');
    const closed = closeOf(running);
    expect(scope.end()).toHaveLength(2);
    await closed;
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  it('does no harm where a lease is cut whose streams have no listener for errors', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const scope = new LeaseScope();
    const client = await inRequest(scope, () => pool.connect());
    const first = client.query(new QueryStream(MANY));
    const second = client.query(new QueryStream(MANY));
    const closed = [first, second].map((stream) => closeOf(stream.resume()));
    await once(first, 'data');
    expect(scope.end()).toHaveLength(1);
    await Promise.all(closed);
    expect((await pool.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  });

  it.each<[string, (pool: PostgresPool, begun: () => void) => Promise<unknown>]>([
    [
      'a query that was sent',
      async (pool, begun) => {
        const answer = pool.query('select pg_sleep(0.05)');
        begun();
        return (await answer).rowCount;
      },
    ],
    [
      'a use',
      (pool, begun) =>
        pool.use(async (client) => {
          begun();
          return (await client.query('select pg_sleep(0.05)')).rowCount;
        }),
    ],
    [
      'a transaction',
      (pool, begun) =>
        pool.transaction(async (tx) => {
          begun();
          return (await tx.query('select pg_sleep(0.05)')).rowCount;
        }),
    ],
  ])('lets what ends by itself go on: %s', async (_, work) => {
    const pool = await pools.create({ maxSize: 1 });
    await pool.query('select 1');
    const scope = new LeaseScope();
    let begin: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const outcome = inRequest(scope, () => work(pool, begin));
    await begun;
    expect(scope.end()).toEqual([]);
    expect(await outcome).toBe(1);
    await eventually(() => pool.stats().active === 0);
    expect(pool.stats().destroyed.borrower).toBe(0);
  });

  it.each(ways)('leaves alone what was asked for apart from it: %s', async (_, ask) => {
    const pool = await pools.create({ maxSize: 1 });
    const held = await pool.connect();
    const scope = new LeaseScope();
    void inRequest(scope, () => pools.tenants.runDetached('acme', () => ask(pool))).catch(() => undefined);
    await eventually(() => pool.waitingCount === 1);
    expect(scope.end()).toEqual([]);
    expect(pool.waitingCount).toBe(1);
    held.release();
  });
});
