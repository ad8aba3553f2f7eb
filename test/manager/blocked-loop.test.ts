/**
 * An event loop that is blocked for longer than a limit costs nothing that was answered in time: the answers are read
 * before the limit is looked at.
 */
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { httpPool } from '../http/support/http-pools.js';
import { type TestPools, withTestPools } from '../postgres/pools.js';

const LIMIT_MS = 300;

/** Blocks this thread for longer than the limit. What other processes and threads send meanwhile stays unread. */
function block(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2 * LIMIT_MS);
}

/** Until what was just asked for has been written to its socket, some turns of the event loop. */
async function sent(): Promise<void> {
  for (let passed = 0; passed < 3; passed++) await turn();
}

describe('answers of PostgreSQL that came while the event loop was blocked', () => {
  let pools: TestPools;
  withTestPools((made) => ({ pools } = made));

  const LIMITED = { text: 'select 1 as n', timeoutMs: LIMIT_MS };
  const rowsOf = async (query: Promise<{ rows: unknown[] }>): Promise<unknown> => (await query).rows;

  it.each<[string, object, (pool: PostgresPool) => Promise<unknown>]>([
    ['a query with a limit', {}, (pool) => rowsOf(pool.query(LIMITED))],
    ['a query under the pool’s limit', { queryTimeoutMs: LIMIT_MS }, (pool) => rowsOf(pool.query('select 1 as n'))],
    ['a statement of a lease', {}, (pool) => pool.use((client) => rowsOf(client.query(LIMITED)))],
    [
      'a ping of a connection that was idle, and what waits for it',
      { validateAfterIdleMs: 0, acquireTimeoutMs: LIMIT_MS },
      (pool) => rowsOf(pool.query('select 1 as n')),
    ],
  ])('are used: %s', async (_what, options, run) => {
    const pool = await pools.create({ maxSize: 1, ...options });
    await pool.query('select 1');
    const answer = run(pool);
    await sent();
    block();
    expect(await answer).toEqual([{ n: 1 }]);
    expect(pool.stats()).toMatchObject({ connects: 1, destroyed: { broken: 0, validation: 0 } });
  });

  it('are used: a connect', async () => {
    const pool = await pools.create({ maxSize: 1, connectTimeoutMs: LIMIT_MS });
    const answer = rowsOf(pool.query('select 1 as n'));
    await sent();
    block();
    expect(await answer).toEqual([{ n: 1 }]);
    expect(pool.stats()).toMatchObject({ connects: 1, connectFailures: 0 });
  });
});

describe('answers of an HTTP upstream that came while the event loop was blocked', () => {
  let upstream: Worker;
  let baseURL: string;

  beforeAll(async () => {
    // A thread of its own: this one is blocked.
    upstream = new Worker(
      `const { createServer } = require('node:http');
       const server = createServer((request, response) => response.end('answered'));
       server.listen(0, '127.0.0.1', () => require('node:worker_threads').parentPort.postMessage(server.address().port));`,
      { eval: true },
    );
    const [port] = await once(upstream, 'message');
    baseURL = `http://127.0.0.1:${port}`;
  });
  afterAll(() => upstream.terminate());

  it.each<[client: string, limit: string, limits: { readonly timeoutMs?: number; readonly timeout?: number }]>([
    ['undici', 'timeoutMs', { timeoutMs: LIMIT_MS }],
    ['undici', 'timeout', { timeout: LIMIT_MS }],
    ["Node's client", 'timeoutMs', { timeoutMs: LIMIT_MS }],
  ])('are used: over %s, within %s', async (client, _limit, limits) => {
    await using made = await httpPool({ baseURL, maxSize: 1 });
    const { pool } = made;
    if (client !== 'undici') pool.axiosRef.defaults.onDownloadProgress = () => {};
    await pool.axiosRef.get('/first');
    const answer = pool.axiosRef.get<string>('/second', limits);
    await sent();
    block();
    expect((await answer).data).toBe('answered');
    expect(pool.stats()).toMatchObject({ active: 0 });
  });
});
