// What PostgreSQL pools publish of statements and transactions: what is sent, what became of it, and never a value.
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';

import { describe, expect, it } from '@jest/globals';
import Cursor from 'pg-cursor';

import { POOL_CHANNELS } from '../../lib/index.js';
import { eventsOf, record, recordTrace } from '../support/channels.js';
import { type TestPools, withTestPools } from './pools.js';

let pools: TestPools;
withTestPools((made) => ({ pools } = made));

const SECRET = 'a value that nobody else may see';

describe('a statement', () => {
  it.each(['the pool', 'a lease', 'a transaction'])(
    'of %s is published with its text, and without its values',
    async (way) => {
      const pool = await pools.create({ isolation: { mode: 'rls', setting: 'app.tenant' } });
      const acme = pool.forTenant('acme');
      using queries = recordTrace(POOL_CHANNELS.query);
      const query = 'select $1::text as word';
      if (way === 'the pool') await acme.query(query, [SECRET]);
      else if (way === 'a lease') await acme.use((client) => client.query(query, [SECRET]));
      else await acme.transaction((tx) => tx.query(query, [SECRET]));
      expect(eventsOf(queries)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd']);
      expect(queries[3]?.message).toMatchObject({
        poolId: pool.id,
        poolType: 'database',
        tenantId: 'acme',
        text: query,
        error: undefined,
      });
      expect(queries[3]?.message.durationMs).toBeGreaterThan(0);
      expect(JSON.stringify(queries)).not.toContain(SECRET);
    },
  );

  it('that fails is published with the error that its caller gets', async () => {
    const pool = await pools.create();
    using queries = recordTrace(POOL_CHANNELS.query);
    const failure: unknown = await pool.query('select 1 / $1::int', [0]).catch((error: unknown) => error);
    expect(eventsOf(queries)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
    expect(queries[4]?.message.error).toBe(failure);
  });

  it('that waits for a connection is published when it has one', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const lease = await pool.acquire();
    using queries = recordTrace(POOL_CHANNELS.query);
    const answer = pool.query('select 1');
    expect(queries).toHaveLength(0);
    lease.release();
    await answer;
    expect(eventsOf(queries)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd']);
  });

  it('that travels with others is published like any other', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const lease = await pool.acquire();
    using queries = recordTrace(POOL_CHANNELS.query);
    const answers = Array.from({ length: 8 }, (_, at) => pool.query('select $1::int as at', [at]));
    lease.release();
    const rows = (await Promise.all(answers)).map((result) => result.rows[0]);
    expect(rows).toEqual(Array.from({ length: 8 }, (_, at) => ({ at })));
    expect(eventsOf(queries).filter((event) => event === 'asyncEnd')).toHaveLength(8);
  });

  it('of the pool itself is not published: bindings, resets, probes', async () => {
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls', setting: 'app.tenant' } });
    await pool.forTenant('acme').use((client) => client.query('listen news'));
    using queries = recordTrace(POOL_CHANNELS.query);
    await pool.forTenant('globex').query('select 1');
    await pool.healthCheck();
    expect(queries.filter(({ event }) => event === 'start').map(({ message }) => message.text)).toEqual(['select 1']);
  });

  it('by a cursor is published too', async () => {
    const pool = await pools.create();
    using queries = recordTrace(POOL_CHANNELS.query);
    await pool.use(async (client) => {
      const cursor = client.query(new Cursor('select generate_series(1, 3) as n'));
      await cursor.read(2);
      await cursor.close();
    });
    expect(eventsOf(queries)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd']);
    expect(queries[0]?.message.text).toBe('select generate_series(1, 3) as n');
  });

  it('ends in the stores that a subscriber has bound to its start', async () => {
    const span = new AsyncLocalStorage<object>();
    const channels = tracingChannel(POOL_CHANNELS.query);
    const ended: unknown[] = [];
    const noteStore = (): void => void ended.push(span.getStore());
    channels.start.bindStore(span, (message) => ({ message }));
    subscribe(`tracing:${POOL_CHANNELS.query}:asyncEnd`, noteStore);
    try {
      const pool = await pools.create({ maxSize: 1 });
      await Promise.all([pool.query('select 1'), pool.query('select 2')]);
      expect(ended).toEqual([
        { message: expect.objectContaining({ text: 'select 1' }) },
        { message: expect.objectContaining({ text: 'select 2' }) },
      ]);
    } finally {
      channels.start.unbindStore(span);
      unsubscribe(`tracing:${POOL_CHANNELS.query}:asyncEnd`, noteStore);
    }
  });
});

describe('a transaction', () => {
  it('is published with how often it was tried', async () => {
    const pool = await pools.create();
    using transactions = recordTrace(POOL_CHANNELS.transaction);
    let calls = 0;
    await pool.forTenant('acme').transaction(
      async (tx) => {
        if (++calls === 1) await tx.query(`do $$ begin raise 'only its timing' using errcode = '40001'; end $$`);
        await tx.query('select 1');
      },
      { retries: 1 },
    );
    expect(eventsOf(transactions)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd']);
    expect(transactions[3]?.message).toMatchObject({ tenantId: 'acme', attempts: 2, error: undefined });
  });

  it('that is rolled back is published with what its function threw', async () => {
    const pool = await pools.create();
    using transactions = recordTrace(POOL_CHANNELS.transaction);
    const thrown = new Error('changed my mind');
    await expect(pool.transaction(() => Promise.reject(thrown))).rejects.toBe(thrown);
    expect(eventsOf(transactions)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
    expect(transactions[4]?.message).toMatchObject({ attempts: 1, error: thrown });
  });

  it('runs its function in the stores that a subscriber has bound to its start', async () => {
    const span = new AsyncLocalStorage<string>();
    const { start } = tracingChannel(POOL_CHANNELS.transaction);
    start.bindStore(span, () => 'the span of the transaction');
    try {
      const pool = await pools.create();
      const around = await pool.transaction(() => span.getStore());
      expect(around).toBe('the span of the transaction');
      expect(span.getStore()).toBeUndefined();
    } finally {
      start.unbindStore(span);
    }
  });
});

it('a subscriber that ends the pool while statements travel together loses none of them', async () => {
  const pool = await pools.create({ maxSize: 1 });
  const lease = await pool.acquire();
  let closed: Promise<unknown> | undefined;
  using _ = record(POOL_CHANNELS.release, () => {
    closed ??= pool.close({ deadlineMs: 5_000 });
  });
  const answers = Array.from({ length: 8 }, (_, at) => pool.query('select $1::int as at', [at]));
  lease.release();
  const outcomes = await Promise.allSettled(answers);
  await closed;
  expect(outcomes).toHaveLength(8);
  expect(pool.stats()).toMatchObject({ active: 0, waiting: 0, total: 0 });
});
