/** The servers that scripts try the packed project out with: all on loopback, all gone with this process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import pg from 'pg';

const root = fileURLToPath(new URL('..', import.meta.url));

/** @typedef {{ name: string, user: string, url: string, superuserUrl: string }} Database */

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
   * Runs `fn` with a fresh database of each server. Roles that it makes are the server's, and are dropped here.
   *
   * @template T
   * @param {(databases: { readonly postgres: Database, readonly redisUrl: string }) => Promise<T>} fn
   * @param {(postgres: Database) => readonly string[]} [roles] those that `fn` makes
   * @returns {Promise<T>}
   */
  async withDatabases(fn, roles = () => []) {
    const postgres = await this.#ask('POST', '/postgres/databases');
    const redis = await this.#ask('POST', '/redis/databases');
    try {
      return await fn({ postgres, redisUrl: redis.url });
    } finally {
      await this.#ask('DELETE', `/redis/databases/${redis.db}`);
      await dropRoles(postgres, roles(postgres));
      await this.#ask('DELETE', `/postgres/databases/${postgres.name}`);
    }
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

/**
 * Runs statements, one after the other, on a connection of their own.
 *
 * @param {string} connectionString
 * @param {readonly string[]} texts
 */
export async function statements(connectionString, texts) {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    for (const text of texts) await client.query(text);
  } finally {
    await client.end();
  }
}

/**
 * @param {Database} database
 * @param {readonly string[]} roles some may not have been made
 */
async function dropRoles({ superuserUrl }, roles) {
  const client = new pg.Client({ connectionString: superuserUrl });
  await client.connect();
  try {
    for (const role of roles) {
      const { rowCount } = await client.query('select from pg_roles where rolname = $1', [role]);
      if (rowCount === 0) continue;
      await client.query(`drop owned by ${role}`);
      await client.query(`drop role ${role}`);
    }
  } finally {
    await client.end();
  }
}

/** @returns {Promise<number>} a port that nothing listens on, at the moment */
export async function freePort() {
  const server = createServer();
  const { port } = await listening(server);
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * Has a server listen on loopback, on a free port.
 *
 * @param {import('node:net').Server} server
 * @returns {Promise<import('node:net').AddressInfo>}
 */
export async function listening(server) {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('A server has no port.');
  return address;
}

/**
 * Closes an HTTP server with all of its connections.
 *
 * @param {import('node:http').Server} server
 */
export async function stopped(server) {
  server.closeAllConnections();
  await once(server.close(), 'close');
}
