// A database of the shared servers for each test file that needs one. The servers are started by the first that asks.
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';

import pg from 'pg';

import type { TestDatabaseAccess, TestRedisAccess } from './shared-servers.js';

/** A fresh PostgreSQL database. */
export interface TestDatabase extends TestDatabaseAccess, AsyncDisposable {
  /**
   * Runs a statement as superuser, on a connection of its own whose application name is `observer`; resolves with the
   * rows.
   */
  query<Row extends pg.QueryResultRow = pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Ends every session on it and drops it. Idempotent. */
  drop(): Promise<void>;
}

/** An empty database of the shared Redis. */
export interface TestRedis extends TestRedisAccess, AsyncDisposable {
  /** Empties it and gives it back. Idempotent. */
  release(): Promise<void>;
}

/**
 * Creates a database that no other test file sees.
 *
 * @example
 * let database: TestDatabase;
 * beforeAll(async () => { database = await createDatabase(); });
 * afterAll(() => database.drop());
 */
export async function createDatabase(): Promise<TestDatabase> {
  const access = await ask<TestDatabaseAccess>('POST', '/postgres/databases');
  let observer: Promise<pg.Client> | undefined;
  const connect = async () => {
    const client = new pg.Client({ connectionString: access.superuserUrl, application_name: 'observer' });
    // The next query says that the connection is lost.
    client.on('error', () => {});
    await client.connect();
    return client;
  };
  let dropped: Promise<void> | undefined;
  const drop = () =>
    (dropped ??= (async () => {
      await (await observer)?.end();
      await ask('DELETE', `/postgres/databases/${access.name}`);
    })());
  return {
    ...access,
    query: async <Row extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []) => {
      observer ??= connect();
      const { rows } = await (await observer).query<Row>(sql, [...values]);
      return rows;
    },
    drop,
    [Symbol.asyncDispose]: drop,
  };
}

/** Claims a database of the shared Redis that no other test file uses. */
export async function claimRedis(): Promise<TestRedis> {
  const access = await ask<TestRedisAccess>('POST', '/redis/databases');
  let released: Promise<void> | undefined;
  const release = () => (released ??= ask<undefined>('DELETE', `/redis/databases/${access.db}`));
  return { ...access, release, [Symbol.asyncDispose]: release };
}

/** Asks the program that keeps the shared servers (shared-servers.ts). */
async function ask<Answer>(method: string, path: string): Promise<Answer> {
  const base = process.env.TEST_SERVERS_URL;
  if (base === undefined) throw new Error('The shared servers are only there under Jest, after its global set-up.');
  const outgoing = request(`${base}${path}`, { method, agent: false });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk as string;
  const body: unknown = text === '' ? undefined : JSON.parse(text);
  if (response.statusCode === 200 || response.statusCode === 204) return body as Answer;
  const reason = typeof body === 'object' && body !== null && 'error' in body ? String(body.error) : text;
  throw new Error(`The shared servers can't do ${method} ${path}: ${reason}`);
}
