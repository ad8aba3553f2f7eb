// What PostgreSQL pools publish of statements and transactions: what is sent, what became of it, and never a value.
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';

import { describe, expect, it } from '@jest/globals';
import Cursor from 'pg-cursor';

import { POOL_CHANNELS, PoolClosedError, TenantRequiredError } from '../../lib/index.js';
import { eventsOf, record, recordTrace } from '../support/channels.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { type TestPools, withTestPools } from './pools.js';

let pools: TestPools;
withTestPools((made) => ({ pools } = made));

const SECRET = 'a value that no subscriber may see';

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

  it('counts as one use without a tenant, whether it is published or not', async () => {
    const pool = await pools.create({ isolation: { mode: 'rls', setting: 'app.tenant' } });
    await pool.unscoped().transaction((tx) => tx.query('select 1'));
    const before = pool.stats().unscopedUses;
    using _ = recordTrace(POOL_CHANNELS.transaction);
    await pool.unscoped().transaction((tx) => tx.query('select 1'));
    expect(pool.stats().unscopedUses).toBe(2 * before);
  });

  it('without the tenant that it needs is published, and rejects', async () => {
    const pool = await pools.create({ isolation: { mode: 'rls', setting: 'app.tenant' } });
    using transactions = recordTrace(POOL_CHANNELS.transaction);
    await expect(pool.transaction((tx) => tx.query('select 1'))).rejects.toThrow(TenantRequiredError);
    expect(transactions.at(-1)?.message).toMatchObject({ tenantId: undefined, attempts: 1 });
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

describe('the log of slow work', () => {
  it('names the frame of the application for a transaction, and for each statement that shares a lease', async () => {
    const pool = await pools.create({ maxSize: 1, slowAcquireMs: 1, slowUseMs: 1 });
    await pool.transaction((tx) => tx.query('select pg_sleep(0.01)'));
    const lines = pools.log.lines.filter((line) => line.includes('lasted'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/Asked for at .*test.postgres.channels\.test/);
  });

  it('counts the statements that share a lease among the acquires that waited', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1, slowAcquireMs: 100 }, clock);
    const lease = await pool.acquire();
    const answers = Array.from({ length: 8 }, () => pool.query('select 1'));
    await clock.advance(200);
    lease.release();
    await Promise.all(answers);
    await clock.advance(1_000);
    const again = await pool.acquire();
    const late = pool.query('select 1');
    await clock.advance(200);
    again.release();
    await late;
    const lines = pools.log.lines.filter((line) => line.includes('waited'));
    expect(lines).toHaveLength(2);
    expect(lines[1]).toContain('7 more since the last line of this sort');
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
  // Those that have their connection are served, each with its own answer; those that wait for one are refused.
  const outcomes = await Promise.all(
    answers.map((answer) =>
      answer.then(
        ({ rows }): unknown => rows[0],
        (error: unknown) => error,
      ),
    ),
  );
  await closed;
  expect(outcomes[0]).toEqual({ at: 0 });
  for (const [at, outcome] of outcomes.entries()) expect([{ at }, expect.any(PoolClosedError)]).toContainEqual(outcome);
  expect(pool.stats()).toMatchObject({ active: 0, waiting: 0, total: 0 });
});
