/** The servers that the application of the matrix works with: all on loopback, all gone with this process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { text as textOf } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

import pg from 'pg';

const root = fileURLToPath(new URL('../..', import.meta.url));
const TENANTS = ['acme', 'bolt'];

/**
 * A PostgreSQL and a Redis, kept by the program that keeps those of the tests (test/support/shared-servers.ts).
 */
export class SharedServers {
  /** @type {import('node:child_process').ChildProcess} */
  #program;
  #url;

  /**
   * @param {import('node:child_process').ChildProcess} program
   * @param {string} url
   */
  constructor(program, url) {
    this.#program = program;
    this.#url = url;
  }

  /** @returns {Promise<SharedServers>} */
  static async start() {
    const program = spawn(
      process.execPath,
      ['--import', './test/support/typescript/register.mjs', 'test/support/shared-servers.ts'],
      // A session of its own: Ctrl-C ends this process, and with it the standard input of the other. Then it tidies up,
      // undisturbed.
      { cwd: root, detached: true, stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' } },
    );
    const ended = once(program, 'exit').then(() => {
      throw new Error('The program that keeps the servers has ended: see its message above.');
    });
    const [url] = await Promise.race([once(createInterface({ input: program.stdout }), 'line'), ended]);
    ended.catch(() => {});
    return new SharedServers(program, url);
  }

  async stop() {
    this.#program.stdin?.end();
    if (this.#program.exitCode === null) await once(this.#program, 'exit');
  }

  /**
   * Runs `fn` with a fresh database of each server, made ready for the application.
   *
   * @template T
   * @param {(databases: { databaseUrl: string, redisUrl: string, roles: Record<string, string> }) => Promise<T>} fn
   * @returns {Promise<T>}
   */
  async withDatabases(fn) {
    const database = await this.#ask('POST', '/postgres/databases');
    const redis = await this.#ask('POST', '/redis/databases');
    const roles = Object.fromEntries(TENANTS.map((tenant) => [tenant, `${database.name}_${tenant}`]));
    try {
      await prepare(database, roles);
      return await fn({ databaseUrl: database.url, redisUrl: redis.url, roles });
    } finally {
      await this.#ask('DELETE', `/redis/databases/${redis.db}`);
      await this.#dropDatabase(database, roles);
    }
  }

  /**
   * @param {Database} database
   * @param {Record<string, string>} roles
   */
  async #dropDatabase({ name, superuserUrl }, roles) {
    await statements(
      superuserUrl,
      Object.values(roles).flatMap((role) => [`drop owned by ${role}`, `drop role ${role}`]),
    );
    await this.#ask('DELETE', `/postgres/databases/${name}`);
  }

  /**
   * @param {string} method
   * @param {string} path
   */
  async #ask(method, path) {
    const response = await fetch(`${this.#url}${path}`, { method });
    const text = await response.text();
    if (!response.ok) throw new Error(`The servers can't do ${method} ${path}: ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }
}

/** @typedef {{ name: string, user: string, url: string, superuserUrl: string }} Database */

/**
 * In one database what each mode of isolation needs: a table with row security for the setting and the roles, a schema
 * a tenant.
 *
 * @param {Database} database
 * @param {Record<string, string>} roles
 */
async function prepare({ user, url, superuserUrl }, roles) {
  await statements(url, [
    'create table things (owner text not null, n int not null)',
    `insert into things select owner, n from unnest(array['acme', 'bolt']) as owner, generate_series(1, 4) as n`,
    'alter table things enable row level security',
    'alter table things force row level security',
    // The end of a role's name is its tenant.
    `create policy own on things using (
       owner = case when current_user = '${user}' then current_setting('app.tenant_id', true) else substring(current_user from '[a-z]+$') end
     )`,
  ]);
  await statements(
    superuserUrl,
    TENANTS.flatMap((tenant) => [
      `create role ${roles[tenant]}`,
      `grant ${roles[tenant]} to ${user}`,
      `grant select, insert on things to ${roles[tenant]}`,
    ]),
  );
  await statements(
    url,
    TENANTS.flatMap((tenant) => [
      `create schema ${tenant}`,
      `create table ${tenant}.things as select '${tenant}' as owner, n from generate_series(1, 4) as n`,
    ]),
  );
}

/**
 * @param {string} connectionString
 * @param {readonly string[]} texts
 */
async function statements(connectionString, texts) {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    for (const text of texts) await client.query(text);
  } finally {
    await client.end();
  }
}

/**
 * The upstream of HTTP pools, which is the agent of every APM too: what they send stays on this machine.
 *
 *   /echo…    says what it was asked, and which headers of an APM came along
 *   /large    a megabyte
 *   /missing  404
 *   /cut      cuts the connection
 *   /never    never answers
 *   else      200
 *
 * @returns {Promise<{ readonly url: string, stop(): Promise<void> }>}
 */
export async function startUpstream() {
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The upstream has no port.');
  return {
    url: `http://127.0.0.1:${address.port}`,
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/**
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 */
async function answer(request, response) {
  const { pathname } = new URL(request.url ?? '/', 'http://upstream');
  const body = await textOf(request);
  if (pathname === '/cut') return void request.socket.resetAndDestroy();
  if (pathname === '/never') return;
  if (pathname === '/large') return void response.end('x'.repeat(1024 * 1024));
  if (pathname === '/missing') response.statusCode = 404;
  const tracing = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => /trace|datadog|baggage|x-request-id/.test(name)),
  );
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(pathname.startsWith('/echo') ? { method: request.method, pathname, body, tracing } : {}));
}
