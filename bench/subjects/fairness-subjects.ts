/**
 * The pools that are compared in `fairness`: each lends sessions of the same PostgreSQL, which sleep while they are
 * lent.
 *
 * Only ours knows whom it lends to; the others can't be told, which is the point.
 */
import { createPool } from 'generic-pool';
import { ConnectionPoolManager, type PostgresPoolOptions } from 'nestjs-pool-manager';
import pg from 'pg';

import { quietLogger } from '../harness/quiet-logger.js';
import { OURS } from '../harness/rows.js';

/** How long one hold waited for its session, and how long it had it. */
export interface Hold {
  readonly waitedMs: number;
  readonly heldMs: number;
}

export interface FairnessSubject {
  readonly name: string;
  /** Borrows a session for `tenant` and lets it sleep. */
  hold(tenant: string, sleepMs: number): Promise<Hold>;
  end(): Promise<void>;
}

interface Session {
  query(text: string, values: readonly unknown[]): Promise<unknown>;
}

/** What a pool must be able to do here. */
interface Lending<S extends Session> {
  readonly name: string;
  readonly acquire: (tenant: string) => PromiseLike<S>;
  readonly release: (session: S) => void;
  readonly end: () => Promise<void>;
}

function subject<S extends Session>({ name, acquire, release, end }: Lending<S>): FairnessSubject {
  return {
    name,
    end,
    hold: async (tenant, sleepMs) => {
      const askedAt = performance.now();
      const session = await acquire(tenant);
      const grantedAt = performance.now();
      try {
        await session.query('select pg_sleep($1)', [sleepMs / 1_000]);
      } finally {
        release(session);
      }
      return { waitedMs: grantedAt - askedAt, heldMs: performance.now() - grantedAt };
    },
  };
}

async function ours(url: string, size: number, tenants: PostgresPoolOptions['tenants']): Promise<FairnessSubject> {
  const manager = new ConnectionPoolManager(undefined, { logger: quietLogger });
  const pool = await manager.createDatabasePool('fairness', {
    connectionString: url,
    minSize: size,
    maxSize: size,
    acquireTimeoutMs: 60_000,
    tenants: { maxWaiting: 10_000, ...tenants },
  });
  await manager.start();
  return subject({
    name: OURS,
    acquire: (tenant) => pool.forTenant(tenant).connect(),
    release: (client) => client.release(),
    end: async () => void (await manager.stop()),
  });
}

function pgPool(url: string, size: number): FairnessSubject {
  const pool = new pg.Pool({ connectionString: url, min: size, max: size, connectionTimeoutMillis: 60_000 });
  return subject<pg.PoolClient>({
    name: 'pg-pool',
    acquire: () => pool.connect(),
    release: (client) => client.release(),
    end: () => pool.end(),
  });
}

function genericPool(url: string, size: number): FairnessSubject {
  const pool = createPool(
    {
      create: async () => {
        const client = new pg.Client({ connectionString: url });
        await client.connect();
        return client;
      },
      destroy: (client) => client.end(),
    },
    { min: size, max: size, acquireTimeoutMillis: 60_000 },
  );
  return subject<pg.Client>({
    name: 'generic-pool',
    acquire: () => pool.acquire(),
    release: (client) => void pool.release(client),
    end: async () => {
      await pool.drain();
      await pool.clear();
    },
  });
}

/** Runs `measure` with fresh pools of `size` sessions each; `tenants` are the limits that ours is given. */
export async function withFairnessSubjects(
  url: string,
  size: number,
  tenants: PostgresPoolOptions['tenants'],
  measure: (subjects: readonly FairnessSubject[]) => Promise<void>,
): Promise<void> {
  const subjects = [await ours(url, size, tenants), pgPool(url, size), genericPool(url, size)];
  try {
    await measure(subjects);
  } finally {
    for (const each of subjects) await each.end();
  }
}
