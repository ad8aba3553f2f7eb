import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import pg from 'pg';

import { claimRedis, createDatabase, type TestDatabase } from './databases.js';

describe('a database for one test file', () => {
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createDatabase();
  });

  afterAll(() => database.drop());

  it('is fresh, and belongs to an ordinary role', async () => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query('select current_database() as name, current_user as user');
    expect(rows).toEqual([{ name: database.name, user: database.user }]);
    await client.query('create table mine (n int)');
    await client.end();
  });

  it('lets a superuser look on', async () => {
    const [me] = await database.query<{ rolsuper: boolean; application_name: string }>(
      `select rolsuper, current_setting('application_name') as application_name from pg_roles where rolname = current_user and $1`,
      [true],
    );
    expect(me).toEqual({ rolsuper: true, application_name: 'observer' });
  });

  it('is not seen by another file', async () => {
    await using other = await createDatabase();
    expect(other.name).not.toBe(database.name);
    expect(await other.query(`select to_regclass('mine') as mine`)).toEqual([{ mine: null }]);
  });

  it('can be dropped while sessions are open on it', async () => {
    const other = await createDatabase();
    const client = new pg.Client({ connectionString: other.url });
    // pg reports what the server said, and then that the connection is gone.
    const ended = new Promise((resolve) => client.on('error', resolve));
    await client.connect();
    await other.drop();
    await other.drop();
    expect(await ended).toMatchObject({ code: '57P01' });
    expect(await database.query('select from pg_database where datname = $1', [other.name])).toEqual([]);
  });
});

describe('a Redis database for one test file', () => {
  it('is empty, belongs to one test file, and is emptied afterwards', async () => {
    await using mine = await claimRedis();
    const other = await claimRedis();
    expect(other.db).not.toBe(mine.db);

    const client = new Redis(other.url);
    expect(await client.dbsize()).toBe(0);
    await client.set('a', '1');
    await other.release();
    await other.release();
    expect(await client.dbsize()).toBe(0);
    client.disconnect();
  });
});
