/**
 * What a migration or a failover leaves behind in open connections heals by itself, where nothing can have been
 * executed.
 */
import { beforeAll, describe, expect, it } from '@jest/globals';

import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { serverMessage, startMessageProxy } from '../support/servers/message-proxy.js';
import { TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  () => ['create schema s; grant all on schema public, s to public'],
);

describe('a named statement whose result a migration has changed', () => {
  const ask = { name: 'all of them', text: 'select * from migrated' };
  const migrate = async (): Promise<void> => {
    await database.query('alter table migrated add column b int default 2');
  };
  const create = async (options = {}) => {
    await database.query(
      'drop table if exists migrated; create table migrated (a int); grant all on migrated to public',
    );
    await database.query('insert into migrated values (1)');
    return pools.create({ maxSize: 1, ...options });
  };

  it.each<[string, object]>([
    ['without isolation', {}],
    ['as a tenant', { isolation: { mode: 'rls' } }],
    ['as a tenant’s schema', { isolation: { mode: 'schema', schema: () => 'public' } }],
  ])('is prepared again, once, by query %s', async (_how, options) => {
    const pool = (await create(options)).forTenant('acme');
    expect((await pool.query(ask)).rows).toEqual([{ a: 1 }]);
    await migrate();
    expect((await pool.query(ask)).rows).toEqual([{ a: 1, b: 2 }]);
    expect((await pool.query(ask)).rows).toEqual([{ a: 1, b: 2 }]);
    expect(pool.stats().connects).toBe(1);
  });

  it('writes once', async () => {
    const pool = await create();
    const insert = { name: 'one more', text: 'insert into migrated (a) values (7) returning *' };
    await pool.query(insert);
    await migrate();
    expect((await pool.query(insert)).rows).toEqual([{ a: 7, b: 2 }]);
    expect(await database.query('select count(*)::int as n from migrated where a = 7')).toEqual([{ n: 2 }]);
  });

  // The statement is closed under its name and prepared again: a reset would take the lease's state along.
  it('is prepared again in a lease outside a transaction', async () => {
    const pool = await create();
    await pool.use(async (client) => {
      await client.query(ask);
      await migrate();
      expect((await client.query(ask)).rows).toEqual([{ a: 1, b: 2 }]);
    });
  });

  it('stays an error in a transaction, which has failed by then', async () => {
    const pool = await create();
    await pool.use(async (client) => {
      await client.query(ask);
      await migrate();
      await client.query('begin');
      await expect(client.query(ask)).rejects.toMatchObject({ code: '0A000' });
      await client.query('rollback');
    });
    expect((await pool.query(ask)).rows).toEqual([{ a: 1, b: 2 }]);
  });
});

describe('connections that lead to a server that takes no writes any more', () => {
  const writeForReal = 'insert into written values (1)';
  const writeInReadOnly = async (tx: Pick<PostgresPool, 'query'>): Promise<void> => {
    await tx.query('set transaction read only');
    await tx.query(writeForReal);
  };
  const field = (text: string): Buffer => Buffer.concat([Buffer.from([0, 0, 0, text.length]), Buffer.from(text)]);
  beforeAll(() => database.query('create table written (n int); grant all on written to public'));

  const bothPids = async (pool: PostgresPool): Promise<unknown[]> => {
    const clients = [await pool.connect(), await pool.connect()];
    const pids = clients.map(({ processID }) => processID);
    for (const client of clients) client.release();
    return pids;
  };

  it('are all replaced, when the server has become a standby', async () => {
    await using proxy = await startMessageProxy(database.url);
    const url = new URL(database.url);
    url.port = String(proxy.port);
    await using proxied = new TestPools({ url: url.href });
    const pool = await proxied.create({ maxSize: 2 });
    const before = await bothPids(pool);
    const [primary, standby] = [
      ['f', 'off'],
      ['t', 'on'],
    ].map((values) => serverMessage('D', Buffer.concat([Buffer.from([0, 2]), ...values.map(field)])));
    proxy.edit = (_type, message) => [primary?.equals(message) === true && standby ? standby : message];
    await expect(pool.transaction(writeInReadOnly)).rejects.toMatchObject({ code: '25006' });
    let after: unknown[] = [];
    await eventually(async () => {
      after = await bothPids(pool);
      return !after.some((pid) => before.includes(pid));
    });
    expect(proxied.log.lines.filter((line) => line.includes('takes no writes any more'))).toHaveLength(1);
    // As long as they lead to a standby too, only the one that has met it is replaced at once.
    await expect(pool.transaction(writeInReadOnly)).rejects.toMatchObject({ code: '25006' });
    expect((await bothPids(pool)).filter((pid) => after.includes(pid))).toHaveLength(1);
  });

  it.each<[string, (pool: PostgresPool) => Promise<unknown>]>([
    ['a transaction', (pool) => pool.transaction(writeInReadOnly)],
    ['a transaction that was begun so', (pool) => pool.transaction((tx) => tx.query(writeForReal), { readOnly: true })],
    ['a script', (pool) => pool.query(`begin read only; ${writeForReal}`)],
    [
      'a lease',
      (pool) =>
        pool.use(async (client) => {
          await client.query('begin read only');
          await client.query(writeForReal);
        }),
    ],
  ])('are kept when the application itself has made %s read-only', async (_what, write) => {
    const pool = await pools.create({ maxSize: 2 });
    const before = await bothPids(pool);
    for (let round = 0; round < 3; round++) await expect(write(pool)).rejects.toMatchObject({ code: '25006' });
    await pool.query(writeForReal);
    expect(await bothPids(pool)).toEqual(expect.arrayContaining(before));
    expect(pools.log.lines.filter((line) => line.includes('takes no writes'))).toEqual([]);
  });

  it.each<[string, (pool: PostgresPool) => Promise<unknown>]>([
    [
      'a lease',
      (pool) =>
        pool.use(async (client) => {
          await client.query('set default_transaction_read_only = on');
          await client.query(writeForReal);
        }),
    ],
    [
      'a lease that is released without the error',
      async (pool) => {
        const client = await pool.connect();
        await client.query('set default_transaction_read_only = on');
        const write = client.query(writeForReal);
        await write.catch(() => {});
        client.release();
        await write;
      },
    ],
    [
      'a tenant’s one-shot queries',
      async (pool) => {
        const tenant = pool.forTenant('acme');
        await tenant.query('set default_transaction_read_only = on');
        await tenant.query(writeForReal);
      },
    ],
  ])('are kept when %s has made the session read-only, which a reset undoes', async (_what, write) => {
    const pool = await pools.create({ maxSize: 1 });
    await pool.query(writeForReal);
    await expect(write(pool)).rejects.toMatchObject({ code: '25006' });
    await pool.query(writeForReal);
    expect(pool.stats().connects).toBe(1);
    expect(pools.log.lines.filter((line) => line.includes('takes no writes'))).toEqual([]);
  });

  it('are found by a lease that is released without the error', async () => {
    const pool = await pools.create({ maxSize: 1 });
    await pool.query(writeForReal);
    await database.query(`alter database "${database.name}" set default_transaction_read_only = on`);
    try {
      pool.evict();
      await pool.query('select 1');
    } finally {
      await database.query('begin read write');
      await database.query(`alter database "${database.name}" reset default_transaction_read_only`);
      await database.query('commit');
    }
    const client = await pool.connect();
    await expect(client.query(writeForReal)).rejects.toMatchObject({ code: '25006' });
    client.release();
    await pool.query(writeForReal);
    expect(pool.stats().connects).toBe(3);
  });

  it('are replaced one by one, when it is the session that is read-only', async () => {
    const pool = await pools.create({ maxSize: 2 });
    await pool.query(writeForReal);
    // What a connection keeps that was opened while the database was read-only.
    await pool.query(`select set_config('default_transaction_read_only', 'on', false)`);
    await expect(pool.query(writeForReal)).rejects.toMatchObject({ code: '25006' });
    await pool.query(writeForReal);
    expect(pool.stats().connects).toBe(2);
    expect(pools.log.lines.filter((line) => line.includes('takes no writes any more'))).toHaveLength(1);
  });

  it('are kept after a transaction that had asked to be read-only', async () => {
    const pool = await pools.create({ maxSize: 1 });
    await expect(pool.transaction((tx) => tx.query(writeForReal), { readOnly: true })).rejects.toMatchObject({
      code: '25006',
    });
    await pool.query('select 1');
    expect(pool.stats().connects).toBe(1);
  });

  it('are kept where the pool never could write', async () => {
    const pool = await pools.create({ maxSize: 1, client: { options: '-c default_transaction_read_only=on' } });
    for (let round = 0; round < 3; round++)
      await expect(pool.query(writeForReal)).rejects.toMatchObject({ code: '25006' });
    expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    expect(pool.stats().connects).toBe(1);
  });
});
