// The quick start of README.md as it stands: its SQL on a real PostgreSQL, its application in a process of its own.
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from '@jest/globals';
import pg from 'pg';

import { type ChildProgram, startChild } from '../support/children.js';
import { claimRedis, createDatabase, type TestDatabase, type TestRedis } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { freePort } from '../support/servers/index.js';
import { type SnippetFiles, writeSnippets } from './snippet-files.js';
import { ROOT, snippetsOf } from './snippets.js';

const snippets = snippetsOf('README.md');
const named = snippets.filter(({ file }) => file !== undefined);
const main = named.find(({ file }) => file === 'main.ts');
const LOADER = join(ROOT, 'test/support/typescript/register.mjs');

let database: TestDatabase;
let redis: TestRedis;
let files: SnippetFiles;
let application: ChildProgram | undefined;

beforeEach(async () => {
  database = await createDatabase();
  redis = await claimRedis();
  files = writeSnippets(named);
});
afterEach(async () => {
  await application?.stop();
  files[Symbol.dispose]();
  await redis.release();
  // It is the server's and not the database's: what it was granted goes with the role.
  await database.query('drop owned by orders_app; drop role orders_app');
  await database.drop();
});

it('shows each tenant its own rows, adds to them, refuses a request without one, and ends with exit code 0', async () => {
  if (main === undefined) throw new Error('README.md has no block that is named main.ts.');
  const client = new pg.Client({ connectionString: database.superuserUrl });
  await client.connect();
  for (const { code } of snippets.filter(({ language }) => language === 'sql')) await client.query(code);
  await client.end();

  const address = new URL(database.url);
  address.username = 'orders_app';
  address.password = 'change-me';
  const port = await freePort();
  const url = `http://127.0.0.1:${port}/orders`;
  application = startChild(process.execPath, ['--import', LOADER, files.fileOf(main)], {
    cwd: ROOT,
    env: { ...process.env, NODE_OPTIONS: '', DATABASE_URL: address.href, REDIS_URL: redis.url, PORT: String(port) },
  });
  await application.waitForLine(/successfully started/);
  // Nest says so before its server listens.
  await eventually(() => fetch(url).then(() => true));
  const of = async (tenant: string, init: RequestInit = {}): Promise<unknown> => {
    const headers = { 'x-tenant-id': tenant, 'content-type': 'application/json' };
    return (await fetch(url, { ...init, headers })).json();
  };

  expect(await of('acme')).toEqual([
    { id: '1', item: 'anvil' },
    { id: '2', item: 'rocket skates' },
  ]);
  expect(await of('globex')).toEqual([{ id: '3', item: 'hammock' }]);
  expect(await of('globex', { method: 'POST', body: '{"item":"lamp"}' })).toEqual({ id: '4', item: 'lamp' });
  expect(await of('globex')).toEqual([
    { id: '3', item: 'hammock' },
    { id: '4', item: 'lamp' },
  ]);
  expect(await of('acme')).toHaveLength(2);
  expect((await fetch(url)).status).toBe(400);
  expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);

  application.signal('SIGTERM');
  expect(await application.exited).toMatchObject({ code: 0 });
}, 120_000);
