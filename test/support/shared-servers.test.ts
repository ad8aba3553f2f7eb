import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';
import pg from 'pg';

import { startChild } from './children.js';
import { type PostgresServer, type RedisServer, startPostgres, startRedis } from './servers/index.js';

describe('shared servers that were running before the tests', () => {
  let postgres: PostgresServer;
  let redis: RedisServer;

  beforeAll(async () => {
    [postgres, redis] = await Promise.all([startPostgres(), startRedis({ databases: 4 })]);
  });

  afterAll(async () => {
    await Promise.all([postgres.stop(), redis.stop()]);
  });

  /** The program that Jest's global set-up starts, with these servers as the existing ones. */
  function startProgram(databaseUrl: string) {
    const loader = './test/support/typescript/register.mjs';
    return startChild(process.execPath, ['--import', loader, 'test/support/shared-servers.ts'], {
      env: { ...process.env, NODE_OPTIONS: '', DATABASE_URL: databaseUrl, REDIS_URL: redis.url },
    });
  }

  async function post(base: string, path: string): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(`${base}${path}`, { method: 'POST', headers: { connection: 'close' } });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  it('are given back as they were: without our databases, our role and our keys', async () => {
    const admin = new pg.Client({ connectionString: postgres.superuserUrl });
    await admin.connect();
    const names = 'select datname as name from pg_database union select rolname from pg_roles order by 1';
    const contents = async () => (await admin.query<{ name: string }>(names)).rows;
    const before = await contents();
    const client = new Redis(redis.url, { db: 3 });
    await client.set('theirs', '1');

    await using program = startProgram(postgres.superuserUrl);
    const [base] = await program.waitForLine(/^http:.*$/);
    const database = (await post(base, '/postgres/databases')).body;
    expect(database).toMatchObject({ port: postgres.port });
    expect(await contents()).toHaveLength(before.length + 2);
    const mine = new pg.Client({ connectionString: String(database.url) });
    await mine.connect();
    const { rows } = await mine.query('select rolsuper from pg_roles where rolname = current_user');
    expect(rows).toEqual([{ rolsuper: false }]);
    await mine.end();

    // Database 3 holds somebody's key.
    const claimed = (await post(base, '/redis/databases')).body;
    expect(claimed).toMatchObject({ port: redis.port, db: 2 });
    await client.select(2);
    await client.set('ours', '1');

    program.closeInput();
    expect(await program.exited).toEqual({ code: 0, signal: null });
    expect(await contents()).toEqual(before);
    expect(await client.info('keyspace')).toMatch(/db3:/);
    expect(await client.info('keyspace')).not.toMatch(/db2:/);
    client.disconnect();
    await admin.end();
  });

  it('have to let the tests add databases, or the error says so', async () => {
    await using program = startProgram(postgres.url);
    const [base] = await program.waitForLine(/^http:.*$/);
    expect(await post(base, '/postgres/databases')).toMatchObject({
      status: 500,
      body: { error: expect.stringContaining('DATABASE_URL must name a superuser') },
    });
  });

  it('are handed out to this run only', async () => {
    await using program = startProgram(postgres.superuserUrl);
    const [base] = await program.waitForLine(/^http:.*$/);
    expect((await post(new URL(base).origin, '/postgres/databases')).status).toBe(500);
  });
});
