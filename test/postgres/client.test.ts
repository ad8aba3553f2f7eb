import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { describe, expect, it } from '@jest/globals';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';

import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { type TestPools, THINGS_TABLE, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  () => [THINGS_TABLE],
);

describe('connect', () => {
  it('lends a client by promise and by callback', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    expect((await client.query('select pg_backend_pid() as pid')).rows).toEqual([{ pid: client.processID }]);
    client.release();
    const store = new AsyncLocalStorage<string>();
    const seen = await store.run(
      'me',
      () =>
        new Promise((resolve) => {
          pool.connect((error, lent, done) => {
            lent?.query('select 7 as n', (_error, result) => {
              done();
              resolve([error, result.rows, store.getStore()]);
            });
          });
        }),
    );
    expect(seen).toEqual([undefined, [{ n: 7 }], 'me']);
    expect(pool.idleCount).toBe(1);
  });

  it('refuses a client that is kept after its release, and lets the next borrower alone', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const stale = await pool.connect();
    stale.release();
    const next = await pool.connect();
    await expect(stale.query('set search_path = nowhere')).rejects.toMatchObject({ code: 'POOL_LEASE_RELEASED' });
    expect(() => stale.query(new Cursor('select 1'))).toThrow(/released/);
    expect(() => stale.on('notification', () => {})).toThrow(/released/);
    await new Promise<void>((resolve) =>
      stale.query('select 1', (error) => {
        expect(error).toMatchObject({ code: 'POOL_LEASE_RELEASED' });
        resolve();
      }),
    );
    stale.release();
    expect(pool.idleCount).toBe(0);
    expect((await next.query('show search_path')).rows).toEqual([{ search_path: '"$user", public' }]);
    next.release();
    expect(pools.log.lines.filter((line) => line.includes('released twice'))).toHaveLength(1);
  });

  it('closes the connection on release(true), keeps it after a refused statement', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const first = await pool.connect();
    const refusal: unknown = await first.query('select wrong').catch((error: unknown) => error);
    first.release(refusal instanceof Error ? refusal : undefined);
    const second = await pool.connect();
    expect(second.processID).toBe(first.processID);
    second.release(true);
    const third = await pool.connect();
    expect(third.processID).not.toBe(first.processID);
    third.release(new Error('something is odd about this connection'));
    const fourth = await pool.connect();
    expect(fourth.processID).not.toBe(third.processID);
    fourth.release();
  });

  it('rolls back what is left open', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    await client.query('begin');
    await client.query('insert into things (name) values ($1)', ['never']);
    client.release();
    expect((await pool.query('select * from things where name = $1', ['never'])).rows).toEqual([]);
    expect((await pool.query('select pg_backend_pid() as pid')).rows).toEqual([{ pid: client.processID }]);
  });

  it('finishes what was sent before release, in order', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const sent = [
      client.query('begin'),
      client.query('insert into things (name) values ($1)', ['kept']),
      client.query('commit'),
    ];
    client.release();
    await Promise.all(sent);
    expect((await pool.query('select name from things where name = $1', ['kept'])).rows).toEqual([{ name: 'kept' }]);
  });

  it('resets the session before the next borrower uses it', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    await client.query(`set search_path = nowhere; set statement_timeout = 12345; set client_encoding = latin1; set foo.bar = 'x';
      create temp table mine (n int); select pg_advisory_lock(42); listen news; declare c cursor with hold for select 1; prepare p as select 1`);
    await client.query({ name: 'named', text: 'select 1 as n' });
    client.release();
    const next =
      await pool.query(`select current_setting('search_path') as path, current_setting('statement_timeout') as timeout,
      current_setting('client_encoding') as encoding, nullif(current_setting('foo.bar', true), '') as guc, to_regclass('pg_temp.mine') as temp,
      (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks, (select count(*)::int from pg_listening_channels()) as channels,
      (select count(*)::int from pg_cursors where name = 'c') as cursors, (select count(*)::int from pg_prepared_statements where name in ('p', 'named')) as prepared,
      pg_backend_pid() as pid`);
    expect(next.rows).toEqual([
      {
        path: '"$user", public',
        timeout: '0',
        encoding: 'UTF8',
        guc: null,
        temp: null,
        locks: 0,
        channels: 0,
        cursors: 0,
        prepared: 0,
        pid: client.processID,
      },
    ]);
    expect((await pool.query({ name: 'named', text: 'select 1 as n' })).rows).toEqual([{ n: 1 }]);
  });

  it('lets go of locks even when no other borrower comes', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const locks = () =>
      database.query(
        `select 1 from pg_locks where database = (select oid from pg_database where datname = current_database()) and locktype = 'advisory' and objid = 77`,
      );
    await client.query('select pg_advisory_lock(77)');
    expect(await locks()).toHaveLength(1);
    client.release();
    await eventually(async () => (await locks()).length === 0);
  });

  it('keeps listeners and type parsers within the lease', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const store = new AsyncLocalStorage<string>();
    const client = await pool.connect();
    const heard: unknown[] = [];
    store.run('listener', () =>
      client.on('notification', (message: { payload: string }) => heard.push([message.payload, store.getStore()])),
    );
    client.setTypeParser(23, () => 'mine');
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 'mine' }]);
    await client.query('listen news');
    const notified = once(client, 'notification');
    await database.query(`notify news, 'hello'`);
    await notified;
    expect(heard).toEqual([['hello', 'listener']]);
    client.release();
    const next = await pool.connect();
    expect(next.listenerCount('notification')).toBe(0);
    expect(next.session.client.listenerCount('notification')).toBe(0);
    expect((await next.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    next.release();
  });

  it('refuses listeners after its release, also where it had some before', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    client.on('notification', () => {});
    client.release();
    expect(() => client.on('notification', () => {})).toThrow(/released/);
    expect(() => client.once('notice', () => {})).toThrow(/released/);
    await expect(once(client, 'notification')).rejects.toMatchObject({ code: 'POOL_LEASE_RELEASED' });
    expect(client.removeAllListeners().listenerCount('notification')).toBe(0);
  });

  it('copies in and out with pg-copy-streams', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    await pipeline(
      Readable.from(['copied\n', 'copied too\n']),
      client.query(copyFrom('copy things (name) from stdin')),
    );
    const chunks: Buffer[] = [];
    for await (const chunk of client.query(
      copyTo(`copy (select name from things where name like 'copied%' order by id) to stdout`),
    ))
      chunks.push(Buffer.from(chunk as Buffer));
    client.release();
    expect(Buffer.concat(chunks).toString()).toBe('copied\ncopied too\n');
    expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });

  it('passes for a pg client', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    expect(client.escapeIdentifier('a"b')).toBe('"a""b"');
    expect(client.escapeLiteral("a'b")).toBe("'a''b'");
    expect(client.database).toBe(database.name);
    expect(client.getTypeParser(23)('5')).toBe(5);
    expect(client.getTransactionStatus()).toBe('I');
    expect(client.constructor.name).not.toContain('Pool');
    await expect(client.connect()).rejects.toThrow(/connected already/);
    client.release();
  });

  it('leaves no error event that could end the process when a lent connection dies', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const errors: unknown[] = [];
    client.on('error', (error) => errors.push(error));
    await database.query('select pg_terminate_backend($1)', [client.processID]);
    await eventually(() => errors.length > 0);
    await expect(client.query('select 1')).rejects.toThrow();
    client.release();
    expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });

  it('calls a waiting connect(callback) back in the context of who waits', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const store = new AsyncLocalStorage<string>();
    const holder = await store.run('holder', () => pool.connect());
    const seen = new Promise((resolve) => {
      store.run('waiter', () => {
        pool.connect((_error, _client, done) => {
          done();
          resolve(store.getStore());
        });
      });
    });
    store.run('holder', () => holder.release());
    expect(await seen).toBe('waiter');
  });

  it('counts its resets', async () => {
    const pool = await pools.create({ maxSize: 1 });
    for (let round = 0; round < 3; round++) {
      const client = await pool.connect();
      await client.query('select 1');
      client.release();
      await pool.query('select 1');
    }
    expect(pool.stats().resets).toBe(3);
    const unused = await pool.connect();
    unused.release();
    await pool.query('select 1');
    expect(pool.stats().resets).toBe(3);
  });

  it('ends with a promise, with a callback, and only once', async () => {
    const pool = await pools.create({ maxSize: 2 });
    await pool.query('select 1');
    await pool.end();
    expect([pool.ending, pool.ended, pool.totalCount]).toEqual([true, true, 0]);
    await expect(pool.end()).rejects.toThrow('Called end on pool more than once');
    await expect(pool.query('select 1')).rejects.toMatchObject({ code: 'POOL_CLOSED' });
    const other = await pools.create();
    await new Promise<void>((resolve) => other.end(() => resolve()));
    expect(other.ended).toBe(true);
  });
});
