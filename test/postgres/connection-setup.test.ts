/**
 * What `onConnect` and listeners of `connect` do to a new connection holds for as long as it lives.
 */
import { setImmediate as turn } from 'node:timers/promises';

import { afterEach, describe, expect, it } from '@jest/globals';

import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools((made) => ({ database, pools } = made));
// After the pools have closed: Jest fails what is running when a rejection is found to be unhandled.
afterEach(() => turn());

type SetUp = (client: LeasedClient) => unknown;

/** The two places where people prepare connections. */
const PLACES: [place: string, create: (setUp: SetUp, options?: PostgresPoolOptions) => Promise<PostgresPool>][] = [
  ['onConnect', (setUp, options) => pools.create({ maxSize: 1, failFastAfterMs: 0, ...options, onConnect: setUp })],
  [
    'a listener of connect',
    async (setUp, options) => {
      const pool = await pools.create({ maxSize: 1, failFastAfterMs: 0, ...options });
      pool.on('connect', (client) => setUp(client));
      return pool;
    },
  ],
];

/** Uses the connection in every way, as other tenants, so that it is reset in between. */
async function useBetween(pool: PostgresPool): Promise<void> {
  await pool.forTenant('one').query('select 1');
  await pool.forTenant('two').transaction((tx) => tx.query('select 1'));
  await pool.forTenant('three').use((client) => client.query('set a.b = 1'));
}

describe.each(PLACES)('in %s', (_place, create) => {
  it('a promise is awaited', async () => {
    const pool = await create(async (client) => {
      await client.query("set timezone to 'Asia/Tokyo'");
      await turn();
      await client.query("set statement_timeout to '7s'");
    });
    const settings = `select current_setting('timezone') as zone, current_setting('statement_timeout') as timeout`;
    for (let round = 0; round < 3; round++) {
      expect((await pool.query(settings)).rows).toEqual([{ zone: 'Asia/Tokyo', timeout: '7s' }]);
      await useBetween(pool);
    }
  });

  it('a promise that isn’t returned has time for statement after statement, as in pg', async () => {
    const pool = await create((client) => {
      const steps = async (): Promise<void> => {
        for (let step = 0; step < 4; step++) await client.query(`select set_config('a.step${step}', 'done', false)`);
      };
      void steps();
    });
    await useBetween(pool);
    expect((await pool.query(`select current_setting('a.step3', true) as last`)).rows).toEqual([{ last: 'done' }]);
  });

  it('type parsers are the connection’s, for every way to ask, through resets', async () => {
    const pool = await create(async (client) => {
      // As pgvector's registerTypes does it: look the type up, then set its parser.
      const { rows } = await client.query<{ oid: number }>(`select oid::int from pg_type where typname = 'int8'`);
      client.setTypeParser(Number(rows[0]?.oid), 'text', BigInt as never);
      client.setTypeParser(25, (text) => `parsed ${String(text)}`);
    });
    const ask = `select 5::int8 as n, 'x'::text as t`;
    const expected = [{ n: 5n, t: 'parsed x' }];
    for (let round = 0; round < 2; round++) {
      expect((await pool.query(ask)).rows).toEqual(expected);
      expect((await pool.query({ name: 'ask', text: ask })).rows).toEqual(expected);
      expect((await pool.use((client) => client.query(ask))).rows).toEqual(expected);
      expect(await pool.transaction(async (tx) => (await tx.query(ask)).rows)).toEqual(expected);
      await useBetween(pool);
    }
    // A lease's own parsers still end with it.
    await pool.use(async (client) => {
      client.setTypeParser(20, 'text', () => 'of the lease');
      expect((await client.query(ask)).rows).toEqual([{ n: 'of the lease', t: 'parsed x' }]);
    });
    expect((await pool.query(ask)).rows).toEqual(expected);
  });

  it('listeners hear the connection as long as it lives, in every lease', async () => {
    const seen: string[] = [];
    const pool = await create(async (client) => {
      client.on('notice', (notice: Error) => seen.push(`notice ${notice.message}`));
      client.on('notification', ({ payload }: { payload: string }) => seen.push(`notification ${payload}`));
      client.on('error', () => seen.push('error'));
      client.once('end', () => seen.push('end'));
      await client.query('listen orders');
    });
    for (let round = 0; round < 3; round++) {
      await pool.query(`do $$ begin raise notice 'round ${round}'; end $$`);
      await useBetween(pool);
      // Sent again: while the connection is reset it listens to nothing.
      await eventually(async () => {
        await database.query(`select pg_notify('orders', 'payload ${round}')`);
        return seen.includes(`notification payload ${round}`);
      });
      expect(seen).toContain(`notice round ${round}`);
    }
    seen.length = 0;
    const pid = Number((await pool.query('select pg_backend_pid() as pid')).rows[0]?.pid);
    await database.query('select pg_terminate_backend($1)', [pid]);
    await eventually(() => seen.includes('error') && seen.includes('end'));
  });

  it.each<[string, SetUp]>([
    ['throws', () => failAtOnce()],
    ['rejects', () => Promise.reject(new Error('not this one'))],
    ['rejects after a while', (client) => client.query('select 1').then(failAtOnce)],
  ])('work that %s refuses the connection, and rejects nowhere else', async (_how, setUp) => {
    const pool = await create(setUp);
    await expect(pool.query('select 1')).rejects.toMatchObject({ cause: { message: 'not this one' } });
  });

  it('a statement that fails refuses the connection when it is waited for', async () => {
    const pool = await create((client) => client.query('select wrong'));
    await expect(pool.query('select 1')).rejects.toMatchObject({ cause: { code: '42703' } });
  });
});

function failAtOnce(): never {
  throw new Error('not this one');
}

describe('a listener', () => {
  it('is called with the others at once, and all are waited for', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const seen: string[] = [];
    for (const name of ['first', 'second']) {
      const setUp: SetUp = async (client) => {
        seen.push(`${name} begins`);
        await client.query('select 1');
        seen.push(`${name} is done`);
      };
      pool.on('connect', (client) => setUp(client));
    }
    pool.once('connect', () => seen.push('once'));
    await pool.query('select 1');
    expect(seen.slice(0, 3)).toEqual(['first begins', 'second begins', 'once']);
    expect(seen.slice(3).sort()).toEqual(['first is done', 'second is done']);
    pool.evict();
    await pool.query('select 1');
    expect(seen.filter((entry) => entry === 'once')).toHaveLength(1);
  });

  it.each(['acquire', 'release', 'remove', 'status'] as const)(
    'of %s that rejects is logged, and ends no process',
    async (event) => {
      const pool = await pools.create({ maxSize: 1, minSize: 1 });
      const listener = (): unknown => Promise.reject(new Error(`${event} went wrong`));
      pool.on(event, () => listener());
      await pool.start();
      await pool.query('select 1');
      pool.evict();
      await eventually(() => pools.log.lines.some((line) => line.includes(`${event} went wrong`)));
      expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    },
  );
});
