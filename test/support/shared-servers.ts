// A program of its own, started by Jest's global set-up: keeps the PostgreSQL and the Redis that all test files share,
// starts each when the first test file asks for it, and hands every file a database to itself. Everything goes when its
// standard input closes.
//
//   POST   /postgres/databases        → 200 TestDatabaseAccess
//   DELETE /postgres/databases/:name  → 204
//   POST   /redis/databases           → 200 TestRedisAccess
//   DELETE /redis/databases/:number   → 204
//
// What fails answers 500 with {error}. The path begins with a secret, so that only this run's tests ask.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';

import { Redis } from 'ioredis';
import pg from 'pg';

import { LOOPBACK, type PostgresServer, providePostgres, provideRedis, type RedisServer } from './servers/index.js';

/** A database of the shared PostgreSQL that one test file has to itself. */
export interface TestDatabaseAccess {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** An ordinary role (neither superuser nor BYPASSRLS) that owns the database. */
  readonly user: string;
  readonly password: string;
  readonly url: string;
  readonly superuserUrl: string;
}

/** A numbered database of the shared Redis that one test file has to itself; empty. */
export interface TestRedisAccess {
  readonly host: string;
  readonly port: number;
  readonly password: string | undefined;
  readonly db: number;
  readonly url: string;
}

class SharedPostgres {
  readonly #server: PostgresServer;
  readonly #user: string;
  readonly #password: string;
  readonly #names = new Set<string>();

  private constructor(server: PostgresServer, user: string, password: string) {
    this.#server = server;
    this.#user = user;
    this.#password = password;
  }

  static async start(): Promise<SharedPostgres> {
    const server = await providePostgres({ maxConnections: 400 });
    if (server.own) return new SharedPostgres(server, server.user, server.password);
    // A server that runs already: an ordinary role is added for the time of the tests.
    const shared = new SharedPostgres(
      server,
      `pool_user_${randomBytes(4).toString('hex')}`,
      randomBytes(12).toString('hex'),
    );
    try {
      await shared.#administer(
        `CREATE ROLE ${shared.#user} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '${shared.#password}'`,
      );
    } catch (cause) {
      throw new Error(
        'DATABASE_URL must name a superuser: the tests add databases and a role of their own, and remove them again. ' +
          'Or unset it, and the tests start a server themselves.',
        { cause },
      );
    }
    return shared;
  }

  async create(): Promise<TestDatabaseAccess> {
    const name = `test_${randomBytes(6).toString('hex')}`;
    await this.#administer(`CREATE DATABASE ${name} OWNER ${this.#user}`);
    this.#names.add(name);
    const { host, port } = this.#server;
    const superuser = new URL(this.#server.superuserUrl);
    superuser.pathname = name;
    const url = new URL(superuser);
    url.username = this.#user;
    url.password = this.#password;
    return {
      name,
      host,
      port,
      user: this.#user,
      password: this.#password,
      url: url.href,
      superuserUrl: superuser.href,
    };
  }

  async drop(name: string): Promise<void> {
    if (!this.#names.delete(name)) throw new Error(`${name} is no database of the tests.`);
    await this.#administer(`DROP DATABASE ${name} WITH (FORCE)`);
  }

  async stop(): Promise<void> {
    if (!this.#server.own) {
      for (const name of [...this.#names]) await this.drop(name);
      await this.#administer(`DROP ROLE ${this.#user}`);
    }
    await this.#server.stop();
  }

  async #administer(statement: string): Promise<void> {
    const client = new pg.Client({ connectionString: this.#server.superuserUrl });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  }
}

class SharedRedis {
  readonly #server: RedisServer;
  readonly #client: Redis;
  readonly #claimed = new Set<number>();
  #last: Promise<unknown> = Promise.resolve();

  private constructor(server: RedisServer) {
    this.#server = server;
    this.#client = new Redis(server.url, { retryStrategy: () => null, maxRetriesPerRequest: 0 });
    // A failed connection shows in the command that meets it.
    this.#client.on('error', () => {});
  }

  static async start(): Promise<SharedRedis> {
    return new SharedRedis(await provideRedis({ databases: 512 }));
  }

  /** One after the other, so that no two files get the same number. */
  claim(): Promise<TestRedisAccess> {
    const claim = this.#last.catch(() => {}).then(() => this.#claimNext());
    this.#last = claim;
    return claim;
  }

  async release(db: number): Promise<void> {
    if (!this.#claimed.delete(db)) throw new Error(`No test has claimed database ${db}.`);
    await this.#client.select(db);
    await this.#client.flushdb();
  }

  async stop(): Promise<void> {
    if (!this.#server.own) for (const db of [...this.#claimed]) await this.release(db);
    this.#client.disconnect();
    await this.#server.stop();
  }

  async #claimNext(): Promise<TestRedisAccess> {
    const keyspace = await this.#client.info('keyspace');
    const used = new Set([...keyspace.matchAll(/^db(\d+):/gm)].map(([, db]) => Number(db)));
    const [, count] = (await this.#client.config('GET', 'databases')) as [string, string];
    // From the top: those that are used by habit are at the bottom, and a server that runs already may be somebody's.
    for (let db = Number(count) - 1; db >= 0; db--) {
      if (used.has(db) || this.#claimed.has(db)) continue;
      this.#claimed.add(db);
      const { host, port, password } = this.#server;
      const url = new URL(this.#server.url);
      url.pathname = `/${db}`;
      return { host, port, password, db, url: url.href };
    }
    throw new Error(`Each of the ${count} databases of the Redis is used: the tests need an empty one each.`);
  }
}

let postgres: Promise<SharedPostgres> | undefined;
let redis: Promise<SharedRedis> | undefined;

async function serve(method: string | undefined, path: string): Promise<object | undefined> {
  const [, kind, , which] = /^\/(postgres|redis)\/databases(\/(\w+))?$/.exec(path) ?? [];
  if (kind === 'postgres') {
    postgres ??= SharedPostgres.start();
    if (method === 'POST') return (await postgres).create();
    if (method === 'DELETE' && which !== undefined) return void (await (await postgres).drop(which));
  } else if (kind === 'redis') {
    redis ??= SharedRedis.start();
    if (method === 'POST') return (await redis).claim();
    if (method === 'DELETE' && which !== undefined) return void (await (await redis).release(Number(which)));
  }
  throw new Error(`Nothing is done for ${method ?? 'no method'} ${path}.`);
}

const secret = `/${randomBytes(12).toString('hex')}`;
const server = createServer({ keepAlive: false }, (request: IncomingMessage, response) => {
  const path = request.url ?? '/';
  void (
    path.startsWith(secret) ? serve(request.method, path.slice(secret.length)) : Promise.reject(new Error('No.'))
  ).then(
    (body) => response.writeHead(body ? 200 : 204, { connection: 'close' }).end(body && JSON.stringify(body)),
    (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      response.writeHead(500, { connection: 'close' }).end(JSON.stringify({ error: message }));
    },
  );
});
server.listen({ host: LOOPBACK, port: 0 });
await once(server, 'listening');
const address = server.address();
if (address === null || typeof address === 'string') throw new Error('The server of the shared servers has no port.');
console.log(`http://${LOOPBACK}:${address.port}${secret}`);

process.stdin.resume();
await once(process.stdin, 'close');
server.close();
/** What could not be started has nothing to stop: whoever asked for it has the error. */
const stopped = (shared: Promise<SharedPostgres | SharedRedis> | undefined) =>
  shared?.then(
    (started) => started.stop(),
    () => {},
  );
const stops = await Promise.allSettled([stopped(postgres), stopped(redis)]);
for (const stop of stops) if (stop.status === 'rejected') console.error(stop.reason);
// Whatever a failed stop has left open must not keep the run from ending.
process.exit(stops.some((stop) => stop.status === 'rejected') ? 1 : 0);
