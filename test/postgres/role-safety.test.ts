/**
 * A pool that isolates by row security refuses a user that no policy binds: on every way in, from the moment it is
 * found until the moment it is mended.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

import { type Clock, systemClock } from '../../lib/engine/time/clock.js';
import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { TestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
let role: string;
let url: string;

beforeAll(async () => {
  database = await createDatabase();
  pools = new TestPools(database);
  role = `${database.name}_app`;
  await database.query(`create role "${role}" login password 'app'`);
  await database.query(`grant create on schema public to public`);
  const address = new URL(database.url);
  address.username = role;
  address.password = 'app';
  url = address.href;
});
afterEach(async () => {
  await pools.close();
  await database.query(`alter role "${role}" nobypassrls`);
  await database.query(`drop owned by "${role}"`);
});
afterAll(async () => {
  await database.query(`drop role "${role}"`);
  await database.drop();
});

const create = (options: PostgresPoolOptions = {}, clock?: Clock) =>
  pools.create({ connectionString: url, isolation: { mode: 'rls' }, maxSize: 4, ...options }, clock);

/** Every way to run something as a tenant. */
const WAYS: [way: string, run: (pool: PostgresPool) => Promise<unknown>][] = [
  ['query', (pool) => pool.query('select 1')],
  ['query with limits', (pool) => pool.query({ text: 'select 1', timeoutMs: 30_000 })],
  ['query of a script', (pool) => pool.query('select 1; select 2')],
  [
    'query with a callback',
    (pool) =>
      new Promise((resolve, reject) =>
        pool.query('select 1', (error, result) => (error ? reject(error) : resolve(result))),
      ),
  ],
  ['query of a cursor', (pool) => pool.query(new Cursor('select 1')).read(2)],
  ['query of a stream', (pool) => pool.query(new QueryStream('select 1')).toArray()],
  ['connect', async (pool) => (await pool.connect()).release()],
  [
    'connect with a callback',
    (pool) =>
      new Promise<void>((resolve, reject) =>
        pool.connect((error, _client, done) => {
          done();
          if (error === undefined) resolve();
          else reject(error);
        }),
      ),
  ],
  ['acquire', async (pool) => (await pool.acquire()).release()],
  ['tryAcquire', async (pool) => pool.tryAcquire()?.release()],
  ['use', (pool) => pool.use((client) => client.query('select 1'))],
  ['transaction', (pool) => pool.transaction((tx) => tx.query('select 1'))],
];

const UNSAFE = { code: 'POOL_UNSAFE_ROLE', name: 'UnsafeRoleError' };

/** Opens connections until one has looked at the user as it is now. */
async function openAnother(pool: PostgresPool): Promise<void> {
  const leases = await Promise.all(
    Array.from({ length: pool.totalCount + 1 }, () =>
      pool
        .forTenant('acme')
        .acquire()
        .catch(() => undefined),
    ),
  );
  for (const lease of leases) lease?.release();
}

/** Nothing is held or waited for: the pool itself may be taking a look. */
const expectQuiet = (pool: PostgresPool) =>
  eventually(() => expect([pool.stats().active, pool.waitingCount]).toEqual([0, 0]));

describe('a user that becomes unsafe while the pool runs', () => {
  it.each(WAYS)('is refused by %s, and served again once that is mended', async (_way, run) => {
    const pool = await create();
    const acme = pool.forTenant('acme');
    await run(acme);
    await acme.query('select 1');
    await database.query(`alter role "${role}" bypassrls`);
    await openAnother(pool);
    await expect(run(acme)).rejects.toMatchObject(UNSAFE);
    await expectQuiet(pool);
    await database.query(`alter role "${role}" nobypassrls`);
    await eventually(() => run(acme));
    await expectQuiet(pool);
  });

  it('is refused to those who waited already, although the connection they get is an older one', async () => {
    const pool = await create({ maxSize: 2 });
    const acme = pool.forTenant('acme');
    const lease = await acme.acquire();
    await database.query(`alter role "${role}" bypassrls`);
    // The first of them opens a connection; the others have to wait.
    const waiting = WAYS.filter(([way]) => way !== 'tryAcquire').map(([, run]) => run(acme));
    const outcomes = Promise.allSettled(waiting);
    await eventually(() => expect(acme.query('select 1')).rejects.toMatchObject(UNSAFE));
    lease.release();
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: UNSAFE });
    await expectQuiet(pool);
  });

  it('makes the pool unhealthy, which says why, until it is mended', async () => {
    const pool = await create({ minSize: 1 });
    await pool.start();
    const changes: unknown[] = [];
    pool.on('status', ({ from, to, error }) => changes.push([from, to, error]));
    await pool.forTenant('acme').query('select 1');
    await database.query(`alter role "${role}" bypassrls`);
    await openAnother(pool);
    expect(pool.status).toBe('unhealthy');
    const check = await pool.healthCheck();
    expect(check).toMatchObject({ status: 'unhealthy', available: false });
    expect(check.error).toMatchObject(UNSAFE);
    expect(pool.stats().lastError).toContain('POOL_UNSAFE_ROLE');
    expect(changes).toEqual([['healthy', 'unhealthy', expect.objectContaining(UNSAFE)]]);
    expect(pools.log.lines.filter((line) => line.includes('BYPASSRLS')).length).toBeGreaterThan(0);
    await database.query(`alter role "${role}" nobypassrls`);
    await eventually(() => pool.status === 'healthy');
    expect(pools.log.lines.at(-1)).toContain('it serves its tenants');
  });

  it('is found by a pool that opens no connection, within the half minute after which a pool in use looks again', async () => {
    let passedMs = 0;
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + passedMs };
    const pool = await create({ maxSize: 1, maxLifetimeMs: 0, idleTimeoutMs: 0 }, clock);
    const acme = pool.forTenant('acme');
    await acme.query('select 1');
    await database.query(
      `set role "${role}"; create table late (n int); alter table late enable row level security; reset role`,
    );
    await acme.query('select 1');
    passedMs = 30_000;
    await eventually(() => expect(acme.query('select 1')).rejects.toMatchObject(UNSAFE));
    const refusal: unknown = await acme.query('select 1').catch((error: unknown) => error);
    expect(refusal).toMatchObject({ fix: 'ALTER TABLE late FORCE ROW LEVEL SECURITY;' });
    await database.query((refusal as { fix: string }).fix);
    await eventually(() => acme.query('select 1'));
    expect(pool.stats().connects).toBe(1);
  });
});

describe('a two-step migration', () => {
  it('stops the pool for as long as it is between its steps', async () => {
    const pool = await create();
    await pool.start();
    const acme = pool.forTenant('acme');
    await acme.query('select 1');
    await database.query(
      `set role "${role}"; create table half (n int); alter table half enable row level security; reset role`,
    );
    await openAnother(pool);
    const refusal: unknown = await acme.query('select 1').catch((error: unknown) => error);
    expect(refusal).toMatchObject({ ...UNSAFE, fix: 'ALTER TABLE half FORCE ROW LEVEL SECURITY;' });
    await database.query((refusal as { fix: string }).fix);
    await eventually(() => acme.query('select 1'));
    await eventually(() => pool.status === 'healthy');
  });
});

describe('a user that is unsafe from the start', () => {
  it.each(WAYS.filter(([way]) => way !== 'tryAcquire'))(
    'is refused by %s, at once and not when the wait is over',
    async (_way, run) => {
      await database.query(`alter role "${role}" bypassrls`);
      // Without a verdict of its own a call would wait for ever.
      const pool = await create({ failFastAfterMs: 2_000_000_000, acquireTimeoutMs: 2_000_000_000 });
      await expect(run(pool.forTenant('acme'))).rejects.toMatchObject(UNSAFE);
      await expect(pool.start()).rejects.toMatchObject(UNSAFE);
      await database.query(`alter role "${role}" nobypassrls`);
      await eventually(() => run(pool.forTenant('acme')));
      await pool.start();
      await eventually(() => pool.status === 'healthy');
    },
  );

  it('says nothing of safety to those whose tenant is missing, and leaves pools without row security alone', async () => {
    const pool = await create();
    await expect(pool.query('select 1')).rejects.toMatchObject({ code: 'POOL_TENANT_REQUIRED' });
    await database.query(`alter role "${role}" bypassrls`);
    const plain = await pools.create({ connectionString: url });
    expect((await plain.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });
});
