/**
 * The pools that are compared in `acquire`: each lends objects without I/O, with a maximum, a minimum of the same size,
 * an acquire time-out, and whatever statistics it keeps.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { EventEmitter } from 'node:events';

import Denque from 'denque';
import { createPool } from 'generic-pool';
import { Pool as LightningPool } from 'lightning-pool';
import { ConnectionPoolManager, type Lease, type PoolDriver } from 'nestjs-pool-manager';
import type { PoolClient } from 'pg';
import PgPool from 'pg-pool';
import { Pool as SequelizePool } from 'sequelize-pool';
import { Pool as TarnPool } from 'tarn';

import { quietLogger } from '../harness/quiet-logger.js';
import { OURS } from '../harness/rows.js';

export const CEILING = 'ceiling: array and deque';

const ACQUIRE_TIMEOUT_MS = 60_000;
const TENANT = 'acme';

/** A pool under measurement. What `acquire` gives, `release` takes. */
export interface AcquireSubject {
  readonly name: string;
  acquire(): PromiseLike<unknown>;
  tryAcquire?: (() => unknown) | undefined;
  release(resource: unknown): void;
  /** Runs `fn` as a tenant: in the pool's own context where it has one, else in any. */
  asTenant<T>(fn: () => T): T;
}

const anyContext = new AsyncLocalStorage<string>();

interface Resource {
  readonly serial: number;
}

let serial = 0;
const create = (): Resource => ({ serial: serial++ });

/** Makes a subject whose resources have a type; the measurement needn't know it. */
function subject<R>(parts: {
  readonly name: string;
  readonly acquire: () => PromiseLike<R>;
  readonly tryAcquire?: () => R;
  readonly release: (resource: R) => void;
  readonly asTenant?: <T>(fn: () => T) => T;
}): AcquireSubject {
  return { asTenant: (fn) => anyContext.run(TENANT, fn), ...parts };
}

const driver: PoolDriver<Resource> = {
  open: () => Promise.resolve(create()),
  close: () => Promise.resolve(),
  kill: () => undefined,
  ping: () => Promise.resolve(),
  onBroken: () => undefined,
  isFatal: () => false,
};

async function ours(size: number): Promise<AcquireSubject> {
  const manager = new ConnectionPoolManager({ pools: {} }, { logger: quietLogger });
  await manager.start();
  const pool = await manager.createPool('resources', driver, {
    minSize: size,
    maxSize: size,
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    maxQueue: 1_000_000,
    tenants: { max: size, maxWaiting: 1_000_000 },
  });
  // Outside a tenant's context the tenant is named, so that its limits are looked at there too.
  let current = pool.forTenant(TENANT);
  return subject<Lease<Resource>>({
    name: OURS,
    acquire: () => current.acquire(),
    tryAcquire: () => {
      const lease = current.tryAcquire();
      if (lease === undefined) throw new Error('no slot was idle');
      return lease;
    },
    release: (lease) => lease.release(),
    asTenant: (fn) => {
      current = pool;
      return manager.tenants.run(TENANT, fn);
    },
  });
}

function genericPool(size: number): AcquireSubject {
  const pool = createPool(
    { create: () => Promise.resolve(create()), destroy: () => Promise.resolve() },
    { min: size, max: size, acquireTimeoutMillis: ACQUIRE_TIMEOUT_MS },
  );
  return subject<Resource>({
    name: 'generic-pool',
    acquire: () => pool.acquire(),
    release: (resource) => void pool.release(resource),
  });
}

function tarn(size: number): AcquireSubject {
  const pool = new TarnPool<Resource>({
    create,
    destroy: () => undefined,
    min: size,
    max: size,
    acquireTimeoutMillis: ACQUIRE_TIMEOUT_MS,
  });
  return subject<Resource>({
    name: 'tarn',
    acquire: () => pool.acquire().promise,
    release: (resource) => void pool.release(resource),
  });
}

function lightning(size: number): AcquireSubject {
  const pool = new LightningPool<Resource>(
    { create: () => Promise.resolve(create()), destroy: () => Promise.resolve() },
    { min: size, max: size, acquireTimeoutMillis: ACQUIRE_TIMEOUT_MS, maxQueue: 1_000_000 },
  );
  pool.start();
  return subject<Resource>({
    name: 'lightning-pool',
    acquire: () => pool.acquire(),
    release: (resource) => void pool.release(resource),
  });
}

function sequelizePool(size: number): AcquireSubject {
  const pool = new SequelizePool<Resource>({
    create: () => Promise.resolve(create()),
    destroy: () => undefined,
    validate: () => true,
    min: size,
    max: size,
    acquireTimeoutMillis: ACQUIRE_TIMEOUT_MS,
    idleTimeoutMillis: 300_000,
  });
  return subject<Resource>({
    name: 'sequelize-pool',
    acquire: () => pool.acquire(),
    release: (resource) => pool.release(resource),
  });
}

/** What pg-pool asks of a client. */
class FakeClient extends EventEmitter {
  connect(callback: (error?: Error) => void): void {
    process.nextTick(callback);
  }
  end(callback?: () => void): void {
    if (callback !== undefined) process.nextTick(callback);
  }
  ref(): void {}
  unref(): void {}
}

function pgPool(size: number): AcquireSubject {
  const options = {
    Client: FakeClient,
    max: size,
    min: size,
    connectionTimeoutMillis: ACQUIRE_TIMEOUT_MS,
    idleTimeoutMillis: 300_000,
  };
  const pool = Reflect.construct(PgPool, [options]) as InstanceType<typeof PgPool>;
  return subject<PoolClient>({
    name: 'pg-pool',
    acquire: () => pool.connect(),
    release: (client) => client.release(),
  });
}

/** No pool: nothing is limited, timed or counted. */
function ceiling(size: number): AcquireSubject {
  const idle = Array.from({ length: size }, create);
  const waiting = new Denque<(resource: Resource) => void>();
  const take = (): Resource => {
    const resource = idle.pop();
    if (resource === undefined) throw new Error('nothing is idle');
    return resource;
  };
  return subject<Resource>({
    name: CEILING,
    acquire: () =>
      idle.length > 0 ? Promise.resolve(take()) : new Promise<Resource>((resolve) => void waiting.push(resolve)),
    tryAcquire: take,
    release: (resource) => {
      const next = waiting.shift();
      if (next === undefined) idle.push(resource);
      else next(resource);
    },
  });
}

const SUBJECTS: Readonly<Record<string, (size: number) => AcquireSubject | Promise<AcquireSubject>>> = {
  [OURS]: ours,
  tarn,
  'generic-pool': genericPool,
  'lightning-pool': lightning,
  'sequelize-pool': sequelizePool,
  'pg-pool': pgPool,
  [CEILING]: ceiling,
};

export const ACQUIRE_SUBJECTS: readonly string[] = Object.keys(SUBJECTS);

/** The pool of that name, of `size` resources. */
export async function acquireSubject(name: string, size: number): Promise<AcquireSubject> {
  const make = SUBJECTS[name];
  if (make === undefined) throw new Error(`There is no subject "${name}"`);
  return make(size);
}

/** A pool whose waiters can be aborted. */
export interface AbortableSubject {
  readonly name: string;
  /** Lets `count` callers wait, aborts them all, and tells how long the aborting took, in milliseconds. */
  abort(count: number): Promise<number>;
  end(): Promise<void>;
}

export async function abortableSubjects(size: number): Promise<readonly AbortableSubject[]> {
  return [await abortableOurs(size), abortableTarn(size)];
}

async function abortableOurs(size: number): Promise<AbortableSubject> {
  const manager = new ConnectionPoolManager({ pools: {} }, { logger: quietLogger });
  await manager.start();
  const pool = await manager.createPool('resources', driver, {
    minSize: size,
    maxSize: size,
    maxQueue: 1_000_000,
    tenants: { maxWaiting: 1_000_000 },
  });
  return {
    name: OURS,
    abort: async (count) => {
      const held = await Promise.all(Array.from({ length: size }, () => pool.acquire()));
      const controllers = Array.from({ length: count }, () => new AbortController());
      const waiting = controllers.map(({ signal }) => pool.acquire({ signal }));
      const settled = Promise.allSettled(waiting);
      const startedAt = performance.now();
      for (const controller of controllers) controller.abort();
      await settled;
      const tookMs = performance.now() - startedAt;
      for (const lease of held) lease.release();
      return tookMs;
    },
    end: async () => void (await manager.stop({ deadlineMs: 0 })),
  };
}

function abortableTarn(size: number): AbortableSubject {
  const pool = new TarnPool<Resource>({
    create,
    destroy: () => undefined,
    min: size,
    max: size,
    acquireTimeoutMillis: ACQUIRE_TIMEOUT_MS,
  });
  return {
    name: 'tarn',
    abort: async (count) => {
      const held = await Promise.all(Array.from({ length: size }, () => pool.acquire().promise));
      const waiting = Array.from({ length: count }, () => pool.acquire());
      const settled = Promise.allSettled(waiting.map((pending) => pending.promise));
      const startedAt = performance.now();
      for (const pending of waiting) pending.abort();
      await settled;
      const tookMs = performance.now() - startedAt;
      for (const resource of held) pool.release(resource);
      return tookMs;
    },
    end: async () => void (await pool.destroy()),
  };
}
