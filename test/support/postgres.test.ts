import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';

import { eventually } from './eventually.js';
import {
  type PostgresServer,
  providePostgres,
  ServerNotOwnedError,
  startFaultProxy,
  startPostgres,
} from './servers/index.js';
import { isReachable, unprivilegedUser } from './servers/unprivileged-user.js';

async function query(url: string, sql: string): Promise<pg.QueryResultRow | undefined> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<pg.QueryResultRow>(sql)).rows[0];
  } finally {
    await client.end();
  }
}

/** As Linux tells it. */
function stateOf(pid: number | undefined): string | undefined {
  return /^State:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
}

describe('a PostgreSQL of our own', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres({ maxConnections: 37, settings: { work_mem: '5MB' } });
  });

  afterAll(() => server.stop());

  it('has an ordinary role that owns the database, and a superuser', async () => {
    const sql = `select current_user as name, current_database() as database, r.rolsuper, r.rolbypassrls,
      pg_get_userbyid(d.datdba) as owner
      from pg_roles r, pg_database d where r.rolname = current_user and d.datname = current_database()`;
    const { user, database } = server;
    expect(await query(server.url, sql)).toEqual({
      name: user,
      database,
      rolsuper: false,
      rolbypassrls: false,
      owner: user,
    });
    expect(await query(server.superuserUrl, sql)).toMatchObject({ database, rolsuper: true, owner: user });
  });

  it('listens on 127.0.0.1 and nowhere else', async () => {
    const sql = `select current_setting('listen_addresses') as tcp, current_setting('unix_socket_directories') as unix`;
    expect(await query(server.superuserUrl, sql)).toEqual({ tcp: '127.0.0.1', unix: '' });
  });

  it('runs with the settings that were asked for', async () => {
    expect(
      await query(
        server.url,
        "select current_setting('max_connections') as connections, current_setting('work_mem') as memory",
      ),
    ).toEqual({ connections: '37', memory: '5MB' });
  });

  it.each(['fast', 'immediate'] as const)('keeps its data and its port over a restart (%s)', async (mode) => {
    await query(server.url, `create table kept_${mode} (n int)`);
    const before = server.pid;
    const broken = new pg.Client({ connectionString: server.url });
    // pg reports what the server said, and then that the connection is gone.
    const error = new Promise((resolve) => broken.on('error', resolve));
    await broken.connect();
    await server.restart(mode);
    expect(await error).toBeInstanceOf(Error);
    expect(server.pid).not.toBe(before);
    expect(await query(server.url, `select count(*)::int as rows from kept_${mode}`)).toEqual({ rows: 0 });
  });

  it('refuses connections while it is down', async () => {
    await server.halt();
    expect(server.pid).toBe(0);
    await expect(query(server.url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await server.start();
    expect(await query(server.url, 'select 1 as one')).toEqual({ one: 1 });
  });

  it('notices that it was killed, and starts again', async () => {
    process.kill(server.pid, 'SIGKILL');
    await eventually(() => server.pid === 0);
    await server.start();
    expect(await query(server.url, 'select 1 as one')).toEqual({ one: 1 });
  });

  it('answers nothing while it is paused, and everything afterwards', async () => {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    await server.pause();
    const answer = client.query<{ two: number }>('select 2 as two');
    const states = process.platform === 'linux' ? [server.pid, rows[0]?.pid].map(stateOf) : [];
    await server.resume();
    expect((await answer).rows).toEqual([{ two: 2 }]);
    await client.end();
    for (const state of states) expect(state).toBe('T (stopped)');
  });

  it('answers a query in one round trip', async () => {
    await using proxy = await startFaultProxy({ target: server });
    const url = new URL(server.url);
    url.port = String(proxy.port);
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    proxy.resetCounters();
    await client.query('select $1::int', [1]);
    await client.query('select 2');
    expect(proxy.counters.roundTrips).toBe(2);
    await client.end();
  });

  it('is gone with its directory once it is stopped, even while it is paused', async () => {
    const other = await startPostgres();
    const { pid, dataDir } = other;
    expect(existsSync(dataDir)).toBe(true);
    await other.pause();
    await other.stop();
    await other.stop();
    expect(existsSync(dirname(dataDir))).toBe(false);
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    await expect(other.start()).rejects.toThrow('was stopped');
  });

  it('says what is wrong when it does not start, and leaves nothing behind', async () => {
    await expect(startPostgres({ settings: { max_connections: 'plenty' } })).rejects.toThrow('max_connections');
  });
});

describe('a PostgreSQL that was running before us', () => {
  it('is used as DATABASE_URL says, and left alone', async () => {
    const before = process.env.DATABASE_URL;
    process.env.DATABASE_URL = 'postgres://some%20one:p%40ss@db.example:6543/orders';
    try {
      const server = await providePostgres();
      expect(server).toMatchObject({
        own: false,
        host: 'db.example',
        port: 6543,
        database: 'orders',
        user: 'some one',
        password: 'p@ss',
        url: process.env.DATABASE_URL,
      });
      for (const fault of [server.halt(), server.start(), server.restart(), server.pause(), server.resume()]) {
        await expect(fault).rejects.toThrow(ServerNotOwnedError);
      }
      await server.stop();
    } finally {
      if (before === undefined) delete process.env.DATABASE_URL;
      else process.env.DATABASE_URL = before;
    }
  });
});

describe('the user that PostgreSQL runs as under root', () => {
  it('is one that exists already; without any, the error says what to do', async () => {
    const { uid, gid } = await unprivilegedUser();
    expect(uid).toBeGreaterThan(0);
    expect(gid).toBeGreaterThan(0);
    await expect(unprivilegedUser(['no-such-user-here'])).rejects.toThrow('useradd --system postgres');
  });

  it('may not be able to reach every folder', async () => {
    const closed = await mkdtemp(join(tmpdir(), 'nestjs-pool-manager-closed-'));
    const stranger = { uid: (process.getuid?.() ?? 0) + 1, gid: (process.getgid?.() ?? 0) + 1 };
    try {
      expect(await isReachable('/', stranger)).toBe(true);
      expect(await isReachable(closed, stranger)).toBe(false);
    } finally {
      await rm(closed, { recursive: true });
    }
  });
});
