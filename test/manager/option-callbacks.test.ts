// In which async context each function among the options is called. A new one fails here until it has its row.
import { AsyncLocalStorage } from 'node:async_hooks';

import { afterEach, describe, expect, it } from '@jest/globals';
import { z } from 'zod';

import { ConnectionPoolManager } from '../../lib/manager/connection-pool-manager.js';
import { poolKinds } from '../../lib/manager/pool-kinds.js';
import type { PoolHandle, PoolType } from '../../lib/pool/pool-handle.js';
import { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { TestDatabase } from '../support/databases.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';
import { withDatabase } from '../support/with-database.js';

let database: TestDatabase;
withDatabase((made) => (database = made));

/** Paths of the options that take a function. */
function callbacksOf(schema: z.core.$ZodType, path: string): string[] {
  if (schema instanceof z.ZodObject)
    return Object.entries(schema.shape).flatMap(([name, option]) => callbacksOf(asType(option), `${path}.${name}`));
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
    return callbacksOf(schema.def.innerType, path);
  if (schema instanceof z.ZodArray) return callbacksOf(schema.def.element, `${path}[]`);
  if (schema instanceof z.ZodMap || schema instanceof z.ZodRecord)
    return callbacksOf(schema.def.valueType, `${path}.*`);
  if (schema instanceof z.ZodUnion) return schema.def.options.flatMap((option) => callbacksOf(option, path));
  if (schema instanceof z.ZodPipe) return [...callbacksOf(schema.def.in, path), ...callbacksOf(schema.def.out, path)];
  return schema instanceof z.ZodType && /\bfunction\b/.test(schema.description ?? '') ? [path] : [];
}

function asType(option: unknown): z.core.$ZodType {
  if (option instanceof z.core.$ZodType) return option;
  throw new TypeError('An option of a schema is no schema.');
}

type Callbacks = (note: () => void) => object;

const nobody = () => undefined;

/**
 * What a pool of each kind can't be without. Nothing listens on the port `discard`; what is asked before a connect is
 * asked all the same.
 */
const smallest: Readonly<Record<PoolType, () => object>> = {
  database: () => ({ connectionString: database.url }),
  redis: () => ({ url: 'redis://127.0.0.1:9' }),
  http: () => ({ baseURL: 'http://127.0.0.1:9' }),
  external: () => ({ driver: new FakeDriver() }),
};
const types = Object.values(poolKinds).map(({ type }) => type);
const CALLER = 'acme';

const limits: readonly (readonly [string, Callbacks])[] = [
  ['tenants.resolve', (note) => ({ tenants: { resolve: () => note() } })],
  ['tenants.known', (note) => ({ tenants: { known: () => (note(), true) } })],
];
/** The option, options that set it, the pool's other options, and whose context it runs in. */
const rows: readonly (readonly [PoolType, string, Callbacks, () => object, string | undefined])[] = [
  ...limits.flatMap(([path, set]) => types.map((type) => [type, path, set, smallest[type], CALLER] as const)),
  [
    'database',
    'isolation.schema',
    (note) => ({ isolation: { mode: 'schema', schema: () => (note(), 'public') } }),
    smallest.database,
    CALLER,
  ],
  [
    'database',
    'isolation.role',
    (note) => ({ isolation: { mode: 'role', role: () => (note(), 'somebody') } }),
    smallest.database,
    CALLER,
  ],
  ['database', 'onConnect', (note) => ({ onConnect: note }), smallest.database, undefined],
  [
    'database',
    'verify',
    (note) => ({ verify: (_client: unknown, done: () => void) => (note(), done()) }),
    smallest.database,
    undefined,
  ],
  [
    'database',
    'password',
    (note) => ({ password: () => (note(), new URL(database.url).password) }),
    smallest.database,
    undefined,
  ],
  ['redis', 'password', (note) => ({ password: () => (note(), 'secret') }), smallest.redis, undefined],
  [
    'redis',
    'sentinel.password',
    (note) => ({
      sentinel: { nodes: [{ host: '127.0.0.1', port: 9 }], name: 'primary', password: () => (note(), 'secret') },
    }),
    () => ({}),
    undefined,
  ],
];

/** The table's options are put together at run time, and checked as those of JavaScript are. */
function managerOf(options: unknown): ConnectionPoolManager {
  const made: unknown = Reflect.construct(ConnectionPoolManager, [options, { logger: new LogBook() }]);
  if (made instanceof ConnectionPoolManager) return made;
  throw new TypeError('The constructor made something else.');
}

const work = (pool: PoolHandle): Promise<unknown> =>
  pool instanceof PostgresPool ? pool.query('select 1') : pool.use(nobody);

describe('A function among the options', () => {
  const managers: ConnectionPoolManager[] = [];
  afterEach(() => Promise.all(managers.splice(0).map((manager) => manager.stop({ deadlineMs: 0 }))));

  it('of every kind of pool has its row here', () => {
    const found = Object.values(poolKinds).flatMap(({ type, schema }) => callbacksOf(schema, type));
    const known = rows.map(([kind, path]) => `${kind}.${path}`);
    expect(found.sort()).toEqual(known.sort());
  });

  it.each(rows)('runs where it should: %s.%s', async (type, _path, set, others, expected) => {
    const store = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const note = (): void => void seen.push(store.getStore());
    const it = {
      type,
      maxSize: 1,
      startup: 'background',
      failFastAfterMs: 0,
      acquireTimeoutMs: 2_000,
      ...others(),
      ...set(note),
    };
    const manager = managerOf({ pools: { it } });
    managers.push(manager);
    await store.run('creator', () => manager.start());
    const pool = manager.getPool('it');
    // One that waits is served by what another caller does.
    const held = await store.run('other', () => pool.unscoped().acquire()).catch(nobody);
    const served = store.run(CALLER, () => work(pool.forTenant('t'))).catch(nobody);
    store.run('other', () => held?.release());
    await served;
    expect(new Set(seen)).toEqual(new Set([expected]));
  });
});
