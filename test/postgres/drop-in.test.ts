import { AsyncLocalStorage } from 'node:async_hooks';
import { inspect } from 'node:util';

import { describe, expect, it } from '@jest/globals';
import type pg from 'pg';

import { fromPgPoolConfig } from '../../lib/postgres/from-pg-pool-config.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools((made) => ({ database, pools } = made));

describe('a PostgresPool in place of a pg.Pool', () => {
  it('has its types', async () => {
    const pool: pg.Pool = await pools.create();
    const client: pg.PoolClient = await pool.connect();
    const { rows } = await client.query<{ n: number }>('select 1 as n');
    client.release();
    expect(rows).toEqual([{ n: 1 }]);
    expect(pool.constructor.name).toContain('Pool');
  });

  it('tells what happens to its connections, in the listener’s context', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const store = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    store.run('mine', () => {
      for (const event of ['connect', 'acquire', 'remove'] as const)
        pool.on(event, (client) => seen.push([event, client?.processID, store.getStore()]));
      pool.on('release', (error, client) => seen.push(['release', error, client?.processID]));
      pool.on('error', (error, client) => seen.push(['error', error.message.includes('terminat'), client?.processID]));
    });
    const client = await store.run('somebody else', () => pool.connect());
    const pid = client.processID;
    const gone = new Error('gone');
    client.release(gone);
    await eventually(() => pool.totalCount === 0);
    expect(seen).toEqual([
      ['connect', pid, 'mine'],
      ['acquire', pid, 'mine'],
      ['release', gone, pid],
      ['remove', pid, 'mine'],
    ]);
    seen.length = 0;
    const next = Number((await pool.query('select pg_backend_pid() as pid')).rows[0]?.pid);
    await database.query('select pg_terminate_backend($1)', [next]);
    await eventually(() => pool.totalCount === 0);
    expect(seen).toEqual([
      ['connect', next, 'mine'],
      ['acquire', next, 'mine'],
      ['release', undefined, next],
      ['error', true, next],
      ['remove', next, 'mine'],
    ]);
  });

  it('counts as pg.Pool counts', async () => {
    const pool = await pools.create({ maxSize: 2 });
    expect([pool.totalCount, pool.idleCount, pool.waitingCount, pool.expiredCount]).toEqual([0, 0, 0, 0]);
    const clients = [await pool.connect(), await pool.connect()];
    const waiting = pool.connect();
    expect([pool.totalCount, pool.idleCount, pool.waitingCount]).toEqual([2, 0, 1]);
    for (const client of clients) client.release();
    (await waiting).release();
    expect([pool.totalCount, pool.idleCount, pool.waitingCount, pool.ending, pool.ended]).toEqual([
      2,
      2,
      0,
      false,
      false,
    ]);
  });

  it('shows its options without secrets', async () => {
    const pool = await pools.create({ maxSize: 3 });
    expect(pool.options).toMatchObject({
      max: 3,
      min: 0,
      host: database.host,
      port: database.port,
      database: database.name,
    });
    expect(inspect([pool, pool.options, pool.config, await pool.connect()], { depth: 6 })).not.toContain(
      database.password,
    );
  });

  it('repeats after every reset what was set up on a new connection', async () => {
    const setUp: number[] = [];
    const pool = await pools.create({
      maxSize: 1,
      onConnect: async (client) => {
        setUp.push(client.processID ?? 0);
        await client.query('set search_path = $user, public, extra'.replace('$user', 'public'));
        await client.query('select set_config($1, $2, false)', ['app.flavour', "it's"]);
      },
    });
    pool.on('connect', (client) => void client.query(`set statement_timeout = '33s'`));
    for (let round = 0; round < 3; round++) {
      const client = await pool.connect();
      expect(
        (
          await client.query(
            `select current_setting('search_path') as path, current_setting('app.flavour') as flavour, current_setting('statement_timeout') as timeout`,
          )
        ).rows,
      ).toEqual([{ path: 'public, public, extra', flavour: "it's", timeout: '33s' }]);
      await client.query('set search_path = elsewhere; set app.flavour = none; reset statement_timeout');
      client.release();
    }
    expect(setUp).toHaveLength(1);
  });

  it('does not use a connection that onConnect or verify refuses', async () => {
    const pool = await pools.create({
      maxSize: 1,
      failFastAfterMs: 0,
      verify: (_client, done) => done(new Error('not this one')),
    });
    await expect(pool.query('select 1')).rejects.toMatchObject({ cause: { message: 'not this one' } });
    const other = await pools.create({
      maxSize: 1,
      failFastAfterMs: 0,
      onConnect: (client) => client.query('select wrong'),
    });
    await expect(other.query('select 1')).rejects.toMatchObject({ cause: { code: '42703' } });
    const scripted = await pools.create({
      maxSize: 1,
      failFastAfterMs: 0,
      onConnect: (client) => client.query('set a.b = 1; set a.c = 2'),
    });
    await expect(scripted.query('select 1')).rejects.toMatchObject({
      cause: { message: expect.stringContaining('one statement a query') },
    });
    // The pools go on trying; once they are closed the server has nothing left of them.
    await pools.close();
    const sessions = `select 1 from pg_stat_activity where datname = current_database() and application_name <> 'observer' and pid <> pg_backend_pid()`;
    await eventually(async () => expect(await database.query(sessions)).toEqual([]));
  });

  it('takes pg.Pool’s configuration', async () => {
    const config: pg.PoolConfig = {
      connectionString: database.url,
      max: 4,
      min: 1,
      idleTimeoutMillis: 0,
      connectionTimeoutMillis: 1500,
      maxUses: 100,
      maxLifetimeSeconds: 60,
      statement_timeout: 7000,
      application_name: 'legacy',
      keepAlive: true,
      allowExitOnIdle: true,
    };
    const pool = await pools.create(fromPgPoolConfig(config));
    expect(pool.config).toMatchObject({
      maxSize: 4,
      minSize: 1,
      idleTimeoutMs: 0,
      acquireTimeoutMs: 1500,
      connectTimeoutMs: 1500,
      maxUses: 100,
      maxLifetimeMs: 60_000,
    });
    expect(
      (
        await pool.query(
          `select current_setting('statement_timeout') as timeout, current_setting('application_name') as name`,
        )
      ).rows,
    ).toEqual([{ timeout: '7s', name: 'legacy' }]);
    expect(fromPgPoolConfig({})).toMatchObject({ minSize: 0, idleTimeoutMs: 10_000, maxLifetimeMs: 0 });
    expect(() => fromPgPoolConfig({ Client: class {} as never })).toThrow(TypeError);
  });

  it('names itself to the server, and sets its time-outs there', async () => {
    const pool = await pools.create({ statementTimeoutMs: 4000, idleInTransactionTimeoutMs: 5000 });
    const { rows } = await pool.query(
      `select current_setting('application_name') as name, current_setting('statement_timeout') as statement, current_setting('idle_in_transaction_session_timeout') as idle`,
    );
    expect(rows).toEqual([{ name: `tests:${pool.id}:${process.pid}`, statement: '4s', idle: '5s' }]);
    await expect(pool.query({ text: 'select pg_sleep(30)', timeoutMs: 20 })).rejects.toThrow();
  });

  it('asks for the password at every connect, so that it can be rotated', async () => {
    const role = `${database.name}_rotating`;
    await database.query(`create role "${role}" login password 'first'`);
    try {
      let password = 'first';
      const pool = await pools.create({
        connectionString: undefined,
        maxSize: 1,
        failFastAfterMs: 0,
        password: async () => password,
        client: { host: database.host, port: database.port, user: role, database: database.name },
      });
      const pid = async (): Promise<unknown> => (await pool.query('select pg_backend_pid() as pid')).rows[0]?.pid;
      const before = await pid();
      await database.query(`alter role "${role}" password 'second'`);
      expect(await pid()).toBe(before);
      password = 'second';
      pool.evict();
      expect(await pid()).not.toBe(before);
      await pool.close();
    } finally {
      await database.query(`drop role "${role}"`);
    }
  });
});

describe('row security with a user that it does not bind', () => {
  const rls = { isolation: { mode: 'rls' as const } };

  it('refuses superusers at start, and every call after', async () => {
    const pool = await pools.create({ ...rls, connectionString: database.superuserUrl });
    await expect(pool.start()).rejects.toMatchObject({
      code: 'POOL_UNSAFE_ROLE',
      fix: expect.stringContaining('NOSUPERUSER'),
    });
    await expect(pool.forTenant('acme').query('select 1')).rejects.toMatchObject({ code: 'POOL_UNSAFE_ROLE' });
    await expect(pool.forTenant('acme').connect()).rejects.toMatchObject({ code: 'POOL_UNSAFE_ROLE' });
  });

  it('refuses owners of tables without FORCE, and accepts them once it is forced', async () => {
    const owner = await pools.create();
    await owner.query('create table "My rows" (n int)');
    await owner.query('alter table "My rows" enable row level security');
    const pool = await pools.create(rls);
    const refusal: unknown = await pool.start().catch((error: unknown) => error);
    expect(refusal).toMatchObject({ code: 'POOL_UNSAFE_ROLE', fix: 'ALTER TABLE "My rows" FORCE ROW LEVEL SECURITY;' });
    if (refusal instanceof Error && 'fix' in refusal) await owner.query(String(refusal.fix));
    const mended = await pools.create(rls);
    await mended.start();
    expect((await mended.forTenant('acme').query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await owner.query('drop table "My rows"');
  });

  it('only warns where that was asked for', async () => {
    const pool = await pools.create({
      isolation: { mode: 'rls', unsafeRole: 'warn' },
      connectionString: database.superuserUrl,
      maxSize: 2,
      minSize: 2,
    });
    await pool.start();
    expect((await pool.forTenant('acme').query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    expect(pools.log.lines.filter((line) => line.includes('superuser'))).toHaveLength(1);
  });
});
