/**
 * Every kind of pool as the behaviour suite needs it: made by a manager, on a real backend, with a way to work on what
 * is lent and a way to lose it.
 */
import type { AxiosInstance } from 'axios';
import type { Redis } from 'ioredis';
import pg from 'pg';

import type {
  BasePoolOptions,
  ConnectionPoolManager,
  Lease,
  LeasedClient,
  PoolHandle,
  PoolType,
} from '../../lib/index.js';
import { claimRedis, createDatabase } from './databases.js';
import { type FakeConnection, FakeDriver } from './fakes/fake-driver.js';
import { startHttpServer } from './servers/index.js';

/** What a test sets, whatever the kind. */
export type KindOptions = Pick<
  BasePoolOptions,
  'maxSize' | 'minSize' | 'acquireTimeoutMs' | 'leakDetectionMs' | 'tenants' | 'maxQueue'
>;

/** A kind of pool with its backend, which lends `L`. */
export interface RunningKind<L> extends AsyncDisposable {
  create(manager: ConnectionPoolManager, id: string, options: KindOptions): Promise<PoolHandle<L>>;
  /** Asks the backend for something. Resolves with a name of the connection that it went over. */
  work(connection: L): Promise<string>;
  /** The backend ends the connection of a lease, while that is at work or idle. Resolves once it has. */
  lose(lease: Lease<L>): Promise<void>;
}

export interface Kind {
  readonly name: string;
  /** Whether a slot is one connection, that can be told from others. An HTTP slot opens sockets as it needs them. */
  readonly slotIsConnection: boolean;
  start(): Promise<RunningKind<unknown>>;
}

/** Hides of what type the leases are: the suite only hands them back to their kind. */
function kind<L>(name: string, slotIsConnection: boolean, start: () => Promise<RunningKind<L>>): Kind {
  return { name, slotIsConnection, start };
}

async function postgres(): Promise<RunningKind<LeasedClient>> {
  const database = await createDatabase();
  const work = async (client: LeasedClient): Promise<string> => {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    return String(rows[0]?.pid);
  };
  return {
    create: (manager, id, options) =>
      manager.createDatabasePool(id, { connectionString: database.url, minSize: 0, ...options }),
    work,
    lose: async ({ connection }) => {
      const lost = new Promise<void>((resolve) => connection.once('end', () => resolve()));
      const admin = new pg.Client(database.superuserUrl);
      await admin.connect();
      await admin.query('select pg_terminate_backend($1)', [connection.processID]);
      await admin.end();
      await lost;
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  };
}

async function redis(): Promise<RunningKind<Redis>> {
  const server = await claimRedis();
  return {
    create: (manager, id, options) => manager.createRedisPool(id, { url: server.url, minSize: 0, ...options }),
    work: async (client) => String(await client.client('ID')),
    lose: async ({ connection }) => {
      const lost = new Promise<void>((resolve) => connection.once('close', () => resolve()));
      // A connection that kills itself hears of it by its end.
      const id = await connection.client('ID');
      connection.call('CLIENT', 'KILL', 'ID', String(id), 'SKIPME', 'no').catch(() => undefined);
      await lost;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function http(): Promise<RunningKind<AxiosInstance>> {
  const server = await startHttpServer();
  return {
    create: (manager, id, options) =>
      manager.createHttpPool(id, { baseURL: server.url, minSize: 0, healthCheck: { path: '/echo' }, ...options }),
    work: async (axios) => String((await axios.get<unknown>('/echo')).status),
    lose: () => {
      server.closeIdleSockets();
      return server.waitUntil(({ counters }) => counters.openSockets === 0);
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function external(): Promise<RunningKind<FakeConnection>> {
  const driver = new FakeDriver();
  return Promise.resolve({
    create: (manager: ConnectionPoolManager, id: string, options: KindOptions) =>
      manager.createPool(id, driver, { minSize: 0, ...options }),
    work: (connection: FakeConnection) =>
      connection.state === 'open'
        ? Promise.resolve(String(connection.serial))
        : Promise.reject(new Error(`The connection is ${connection.state}`)),
    lose: ({ connection }: Lease<FakeConnection>) => {
      connection.breakNow();
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

const byType: Readonly<Record<PoolType, Kind>> = {
  database: kind('PostgreSQL', true, postgres),
  redis: kind('Redis', true, redis),
  http: kind('HTTP', false, http),
  external: kind('external', true, external),
};

export const kinds: readonly Kind[] = Object.values(byType);
