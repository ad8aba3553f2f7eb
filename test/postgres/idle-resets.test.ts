/**
 * What a one-shot query leaves on the server is gone soon after its session has become idle, and not only when the
 * session serves another tenant.
 */
import { describe, expect, it } from '@jest/globals';

import { LOOK_MS } from '../../lib/postgres/session/reset-schedule.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  ({ name }) => [`grant all on database "${name}" to public`],
);

const LOCKS = `select 1 from pg_locks where locktype = 'advisory' and
  database = (select oid from pg_database where datname = current_database())`;
const locks = async (): Promise<number> => (await database.query(LOCKS)).length;
const temporaryTables = async (): Promise<number> =>
  (await database.query(`select 1 from pg_class where relpersistence = 't' and relname = 'mine'`)).length;

describe('an idle session', () => {
  it.each<[string, string, () => Promise<number>]>([
    ['an advisory lock', 'select pg_advisory_lock(1)', locks],
    ['a temporary table', 'create temp table mine (n int)', temporaryTables],
  ])('loses %s of a one-shot query', async (_what, text, left) => {
    const pool = await pools.create({ maxSize: 1 });
    await pool.forTenant('acme').query(text);
    expect(await left()).toBe(1);
    await eventually(async () => (await left()) === 0);
    expect(pool.stats()).toMatchObject({ resets: 1, idle: 1, connects: 1 });
  });

  it('loses a subscription of a one-shot query', async () => {
    const pool = await pools.create({ maxSize: 1 });
    await pool.forTenant('acme').query('listen news');
    await eventually(() => pool.stats().resets === 1);
    expect((await pool.forTenant('acme').query('select pg_listening_channels()')).rows).toEqual([]);
  });

  it('is reset once, and no timer is set after that', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1 }, clock);
    const trusting = new FakeClock();
    await (await pools.create({ maxSize: 1, session: { trustOneShot: true } }, trusting)).query('select 1');
    await pool.forTenant('acme').query('select pg_advisory_lock(2)');
    await clock.advance(LOOK_MS + 20);
    expect(pool.stats().resets).toBe(0);
    await clock.advance(LOOK_MS + 20);
    expect(pool.stats().resets).toBe(1);
    await eventually(async () => (await locks()) === 0);
    await clock.advance(100 * LOOK_MS);
    expect(pool.stats().resets).toBe(1);
    expect(clock.pendingTimers).toBe(trusting.pendingTimers);
  });

  it('keeps no process alive for it', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1 }, clock);
    await pool.query('select 1');
    expect(clock.keepsProcessAlive).toBe(false);
  });

  it('is left as it is after unscoped queries of a pool without isolation', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1 }, clock);
    await pool.query({ name: 'kept', text: 'select pg_advisory_lock(4)' });
    await clock.advance(10 * LOOK_MS);
    expect(pool.stats().resets).toBe(0);
    expect(await locks()).toBe(1);
    const { rows } = await pool.query(`select name from pg_prepared_statements where name = 'kept'`);
    expect(rows).toEqual([{ name: 'kept' }]);
    await pool.forTenant('acme').query('select 1');
    expect(await locks()).toBe(0);
  });

  it('is reset after unscoped queries, too, in a pool with isolation', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'schema', schema: (id: string) => id } }, clock);
    await pool.unscoped().query('select pg_advisory_lock(5)');
    await clock.advance(2 * LOOK_MS + 40);
    expect(pool.stats().resets).toBe(1);
    await eventually(async () => (await locks()) === 0);
  });

  it('is left as it is with trustOneShot', async () => {
    const clock = new FakeClock();
    const pool = await pools.create({ maxSize: 1, session: { trustOneShot: true } }, clock);
    await pool.forTenant('acme').query('select pg_advisory_lock(3)');
    await clock.advance(10 * LOOK_MS);
    expect(pool.stats().resets).toBe(0);
    expect(await locks()).toBe(1);
  });
});

describe('a session that its tenant goes on using', () => {
  it('is not reset, however long that goes', async () => {
    const clock = new FakeClock();
    const pool = (await pools.create({ maxSize: 1 }, clock)).forTenant('acme');
    for (let round = 0; round < 10; round++) {
      await pool.query('select 1');
      await clock.advance(LOOK_MS * 0.9);
    }
    expect(pool.stats().resets).toBe(0);
  });
});
