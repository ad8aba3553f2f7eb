// A real PostgreSQL on 127.0.0.1, with a directory of its own that goes when it goes.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';

import pg from 'pg';

import { freePort, LOOPBACK } from './free-port.js';
import { postgresFiles } from './postgres-binaries.js';
import { type TestServer, untouchable } from './server.js';
import { SupervisedServer } from './supervised-server.js';
import { temporaryFolder, unprivilegedUser } from './unprivileged-user.js';

/** How the server differs from the one that everybody gets. */
export interface PostgresOptions {
  /** Default 100. */
  readonly maxConnections?: number;
  /** Further settings of the server, as in postgresql.conf. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
}

/** `fast` ends sessions and writes everything; `immediate` is a crash. */
export type HaltMode = 'fast' | 'immediate';

export interface PostgresServer extends TestServer {
  /** The database of `url`, owned by its user. */
  readonly database: string;
  /** An ordinary role: neither superuser nor BYPASSRLS. */
  readonly user: string;
  readonly password: string;
  /** Connects as the ordinary role. */
  readonly url: string;
  /** Connects to the same database as a superuser. */
  readonly superuserUrl: string;
  /** Where its data is; empty on a server that isn't ours. */
  readonly dataDir: string;
  /** Takes it down; its data and its port are kept for `start`. Default: fast. */
  halt(mode?: HaltMode): Promise<void>;
  /** `halt`, then `start`. Default: fast. */
  restart(mode?: HaltMode): Promise<void>;
}

const SUPERUSER = 'pool_admin';
const USER = 'pool_user';
const DATABASE = 'pool_test';

/** What halts the postmaster how (PostgreSQL's documentation, "Shutting Down the Server"). */
const HALT_SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

/**
 * Quick, but what was committed survives the crash of the server (not the machine's): tests kill servers, and look
 * afterwards.
 */
const QUICK = {
  fsync: 'off',
  // PREPARE TRANSACTION works.
  max_prepared_transactions: 4,
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: 0,
  // No helper processes for reading, and no shared memory that a killed server would leave in /dev/shm.
  io_method: 'sync',
  dynamic_shared_memory_type: 'mmap',
  shared_buffers: '64MB',
  listen_addresses: LOOPBACK,
  unix_socket_directories: '',
  timezone: 'UTC',
  log_timezone: 'UTC',
} as const;

/** Starts a PostgreSQL of our own, whatever DATABASE_URL says. Takes about a second. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const owner = process.getuid?.() === 0 ? await unprivilegedUser() : undefined;
  const files = await postgresFiles(owner);
  const programs = files.copied ? '{directory}/postgresql' : files.folder;
  const env = serverEnvironment();
  const adminPassword = randomBytes(12).toString('hex');
  const settings = { ...QUICK, max_connections: options.maxConnections ?? 100, ...options.settings };

  const server = await SupervisedServer.prepare({
    prefix: join(await temporaryFolder(owner), 'nestjs-pool-manager-postgres-'),
    owner,
    files: [{ name: 'password', text: `${adminPassword}\n` }],
    folders: files.copied ? [{ name: 'postgresql', from: files.folder }] : [],
    commands: [
      {
        file: `${programs}/bin/initdb`,
        args: [
          '--pgdata={directory}/data',
          `--username=${SUPERUSER}`,
          '--pwfile={directory}/password',
          '--auth=scram-sha-256',
          '--encoding=UTF8',
          '--locale=C',
          '--wal-segsize=1',
          '--no-data-checksums',
          '--no-sync',
          '--no-instructions',
          ...Object.entries(settings).map(([name, value]) => `--set=${name}=${value}`),
        ],
        env,
      },
    ],
  });

  const launch = (onPort: number) =>
    server.launch({
      file: `${programs}/bin/postgres`,
      args: ['-D', '{directory}/data', '-p', String(onPort)],
      env,
      ready: 'database system is ready to accept connections',
      quit: 'SIGQUIT',
    });

  try {
    const port = await launchOnFreePort(launch);
    const userPassword = randomBytes(12).toString('hex');
    const maintenance = postgresUrl({ user: SUPERUSER, password: adminPassword, port, database: 'postgres' });
    await run(maintenance, [
      `CREATE ROLE ${USER} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '${userPassword}'`,
      `CREATE DATABASE ${DATABASE} OWNER ${USER}`,
    ]);
    const halt = (mode: HaltMode = 'fast') => server.halt(HALT_SIGNALS[mode]);
    const start = () => launch(port);
    return {
      own: true,
      host: LOOPBACK,
      port,
      database: DATABASE,
      user: USER,
      password: userPassword,
      url: postgresUrl({ user: USER, password: userPassword, port, database: DATABASE }),
      superuserUrl: postgresUrl({ user: SUPERUSER, password: adminPassword, port, database: DATABASE }),
      dataDir: join(server.directory, 'data'),
      get pid() {
        return server.pid;
      },
      halt,
      start,
      restart: async (mode) => {
        await halt(mode);
        await start();
      },
      pause: () => server.pause(),
      resume: () => server.resume(),
      log: () => server.log(),
      stop: () => server.stop(),
      [Symbol.asyncDispose]: () => server.stop(),
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** The server of DATABASE_URL where that is set (both URLs are then that one), else {@link startPostgres}. */
export async function providePostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const existing = process.env.DATABASE_URL;
  if (!existing) return startPostgres(options);
  const url = new URL(existing);
  return {
    ...untouchable('DATABASE_URL'),
    host: url.hostname,
    port: Number(url.port || 5432),
    database: decodeURIComponent(url.pathname.slice(1)),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    url: existing,
    superuserUrl: existing,
    dataDir: '',
  };
}

/** Tries further ports while another process is quicker to take the chosen one. */
async function launchOnFreePort(launch: (port: number) => Promise<void>): Promise<number> {
  for (let tries = 1; ; tries++) {
    const port = await freePort();
    try {
      await launch(port);
      return port;
    } catch (error) {
      if (tries === 5 || !/in use/i.test(String(error))) throw error;
    }
  }
}

function postgresUrl(to: { user: string; password: string; port: number; database: string }): string {
  return `postgres://${to.user}:${to.password}@${LOOPBACK}:${to.port}/${to.database}`;
}

async function run(url: string, statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

/**
 * This process's environment without what would configure PostgreSQL (PGDATA, PGPORT, …), in the language of the log
 * lines we read.
 */
function serverEnvironment(): NodeJS.ProcessEnv {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PG')));
  return { ...env, LC_ALL: 'C' };
}
