import { chown, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';

import { eventually } from '../support/eventually.js';
import { CERTIFICATE, KEY } from '../support/self-signed.js';
import { type PostgresServer, startPostgres } from '../support/servers/index.js';
import { TestPools } from './pools.js';

let server: PostgresServer;
let pools: TestPools;

beforeAll(async () => {
  server = await startPostgres();
  const owner = await stat(server.dataDir);
  for (const [name, text] of [
    ['server.crt', CERTIFICATE],
    ['server.key', KEY],
  ] as const) {
    const path = join(server.dataDir, name);
    await writeFile(path, `${text}\n`, { mode: 0o600 });
    await chown(path, owner.uid, owner.gid);
  }
  const admin = new pg.Client(server.superuserUrl);
  await admin.connect();
  await admin.query('alter system set ssl = on');
  await admin.query('select pg_reload_conf()');
  await admin.end();
  pools = new TestPools(server);
});
afterEach(() => pools.close());
afterAll(() => server.stop());

const ENCRYPTED = 'select pg_backend_pid() as pid, ssl from pg_stat_ssl where pid = pg_backend_pid()';

describe('a pool over TLS', () => {
  it('encrypts, checks the certificate, and cancels over TLS too', async () => {
    const pool = await pools.create({ ssl: { ca: CERTIFICATE }, maxSize: 1 });
    const encrypted = async (): Promise<{ pid: number; ssl: boolean } | undefined> =>
      (await pool.query<{ pid: number; ssl: boolean }>(ENCRYPTED)).rows[0];
    // The server reads its configuration again in its own time.
    const first = await eventually(() => encrypted());
    expect(first?.ssl).toBe(true);
    await expect(pool.query({ text: 'select pg_sleep(60)', timeoutMs: 30 })).rejects.toMatchObject({
      code: 'POOL_OPERATION_TIMEOUT',
    });
    expect(await encrypted()).toEqual(first);
  });

  it('lets the option win over the connection string', async () => {
    const pool = await pools.create({ connectionString: `${server.url}?sslmode=disable`, ssl: { ca: CERTIFICATE } });
    expect((await pool.query(ENCRYPTED)).rows[0]?.ssl).toBe(true);
    const plain = await pools.create({ ssl: false });
    expect((await plain.query(ENCRYPTED)).rows[0]?.ssl).toBe(false);
  });

  it('refuses a server whose certificate no known authority has signed', async () => {
    const pool = await pools.create({ ssl: true, failFastAfterMs: 0 });
    await expect(pool.query('select 1')).rejects.toMatchObject({ cause: { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' } });
  });
});
