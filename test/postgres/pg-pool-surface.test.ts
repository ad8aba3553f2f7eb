/**
 * What users of pg.Pool, and libraries that are handed one, rely on: its end, its events, its refusals, its class.
 */
import { EventEmitter } from 'node:events';

import { afterEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import Cursor from 'pg-cursor';
import PgPool from 'pg-pool';

import { asPgModule } from '../../lib/postgres/as-pg-module.js';
import { asPgPool } from '../../lib/postgres/as-pg-pool.js';
import { fromPgPoolConfig } from '../../lib/postgres/from-pg-pool-config.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools((made) => ({ database, pools } = made));

const CLOSED = { code: 'POOL_CLOSED' };
/** A call that the types forbid, as JavaScript makes it. */
type Loose = (...args: unknown[]) => unknown;

describe('end()', () => {
  it.each([1, 3, 20])('serves what was asked for before it, on %i connections', async (maxSize) => {
    const pool = await pools.create({ maxSize });
    const asked = [
      ...Array.from({ length: 20 }, () => pool.query('select 1 as n').then(({ rows }) => rows[0] as unknown)),
      pool.transaction(async (tx) => (await tx.query('select 1 as n')).rows[0] as unknown),
      pool.use(async (client) => (await client.query('select 1 as n')).rows[0] as unknown),
      pool
        .query(new Cursor<{ n: number }>('select 1 as n'))
        .read(2)
        .then((rows) => rows[0]),
      pool.connect().then(async (client) => {
        const { rows } = await client.query('select 1 as n');
        client.release();
        return rows[0];
      }),
    ];
    const ended = pool.end();
    expect([pool.ending, pool.ended]).toEqual([true, false]);
    expect(await Promise.all(asked)).toEqual(asked.map(() => ({ n: 1 })));
    await ended;
    expect([pool.ending, pool.ended, pool.totalCount]).toEqual([true, true, 0]);
  });

  it('refuses what is asked for after it, on every way in', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const client = await pool.connect();
    const waiting = pool.query('select 1 as n');
    const ended = pool.end();
    await expect(pool.query('select 1')).rejects.toMatchObject(CLOSED);
    await expect(pool.query('select 1; select 2')).rejects.toMatchObject(CLOSED);
    await expect(pool.query(new Cursor('select 1')).read(1)).rejects.toMatchObject(CLOSED);
    await expect(pool.connect()).rejects.toMatchObject(CLOSED);
    await expect(pool.acquire()).rejects.toMatchObject(CLOSED);
    await expect(pool.use(() => 1)).rejects.toMatchObject(CLOSED);
    await expect(pool.transaction(() => 1)).rejects.toMatchObject(CLOSED);
    await expect(pool.forTenant('acme').query('select 1')).rejects.toMatchObject(CLOSED);
    expect(() => pool.tryAcquire()).toThrow(expect.objectContaining(CLOSED));
    await expect(pool.end()).rejects.toThrow('Called end on pool more than once');
    client.release();
    expect((await waiting).rows).toEqual([{ n: 1 }]);
    await ended;
  });

  it('calls back, and can be cut short by close()', async () => {
    const pool = await pools.create({ maxSize: 1 });
    await pool.connect();
    const waiting = pool.query('select 1');
    const ended = new Promise<void>((resolve) => pool.end(() => resolve()));
    await pool.close({ deadlineMs: 0 });
    await expect(waiting).rejects.toMatchObject(CLOSED);
    await ended;
    const other = await pools.create();
    await other.end();
    const again: unknown = await new Promise((resolve) => other.end((error) => resolve(error)));
    expect(again).toMatchObject({ message: 'Called end on pool more than once' });
  });
});

describe('query() with wrong arguments', () => {
  const WRONG: [what: string, args: unknown[]][] = [
    ['nothing', []],
    ['null', [null]],
    ['a number', [5]],
    ['values that are no array', ['select 1', 'values']],
    ['values that are an object', ['select 1', { a: 1 }]],
    ['a config without text', [{}]],
    ['a config whose text is a number', [{ text: 5 }]],
    ['a config whose values are no array', [{ text: 'select 1', values: 'values' }]],
    ['a callback that is no function', ['select 1', [], 'callback']],
    ['a config with a callback that is no function', [{ text: 'select 1', callback: 5 }]],
    ['a name that is a number', [{ name: 5, text: 'select 1' }]],
    ['a value that can’t be turned into one', ['select $1', [{ toPostgres: () => failToConvert() }]]],
  ];

  it.each(WRONG)('rejects, and never throws: %s', async (_what, args) => {
    const pool = await pools.create({ maxSize: 1 });
    const query: Loose = pool.query.bind(pool);
    await expect(query(...args)).rejects.toThrow();
    expect(pool.stats().active).toBe(0);
    expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });

  it.each(WRONG.filter(([what]) => !what.includes('callback')))(
    'calls back, and never throws: %s',
    async (_what, args) => {
      const pool = await pools.create({ maxSize: 1 });
      const query: Loose = pool.query.bind(pool);
      const [first, second = undefined] = args;
      const error: unknown = await new Promise((resolve) => {
        expect(query(first, second, resolve)).toBeUndefined();
      });
      expect(error).toBeInstanceOf(Error);
      expect((await pool.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    },
  );

  it('calls back to a function that stands in place of the text, as pg.Pool does', async () => {
    const pool = await pools.create();
    const query: Loose = pool.query.bind(pool);
    const error: unknown = await new Promise((resolve) => query(resolve));
    expect(error).toMatchObject({ message: expect.stringContaining('a text, a config object or a Submittable') });
  });
});

function failToConvert(): never {
  throw new Error('no value');
}

describe('events', () => {
  it('tell of a release with its error, then of the removal, when the connection isn’t counted any more', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const seen: unknown[] = [];
    pool.on('release', (error) => seen.push(['release', error, pool.totalCount]));
    pool.on('remove', () => seen.push(['remove', pool.totalCount]));
    const error = new Error('gone');
    const releases: (Error | boolean | undefined)[] = [error, true, undefined, false];
    for (const destroy of releases) {
      (await pool.connect()).release(destroy);
      await eventually(() => pool.stats().active === 0);
    }
    await eventually(() => pool.totalCount === 1);
    const told = seen.filter((entry) => Array.isArray(entry)).map((entry: unknown[]) => entry.slice(0, 2));
    expect(told).toEqual([
      ['release', error],
      ['remove', 0],
      ['release', true],
      ['remove', 0],
      ['release', undefined],
      ['release', undefined],
    ]);
    seen.length = 0;
    await expect(pool.query('select wrong')).rejects.toMatchObject({ code: '42703' });
    await eventually(() => seen.length > 0);
    expect(seen).toEqual([['release', expect.objectContaining({ code: '42703' }), 1]]);
    seen.length = 0;
    pool.evict();
    await eventually(() => seen.length > 0);
    expect(seen).toEqual([['remove', 0]]);
  });

  it('tell a listener that comes late of nothing that was before', async () => {
    const pool = await pools.create({ maxSize: 1 });
    (await pool.connect()).release();
    const seen: unknown[] = [];
    pool.on('release', () => seen.push('release'));
    pool.on('remove', () => seen.push('remove'));
    pool.evict();
    await eventually(() => seen.length > 0);
    expect(seen).toEqual(['remove']);
  });
});

describe('fromPgPoolConfig', () => {
  const variables = ['PGHOST', 'PGPORT', 'PGUSER', 'PGPASSWORD', 'PGDATABASE', 'PGAPPNAME', 'DATABASE_URL'] as const;
  const before = Object.fromEntries(variables.map((name) => [name, process.env[name]]));
  afterEach(() => {
    for (const name of variables) {
      const value = before[name];
      if (value === undefined) Reflect.deleteProperty(process.env, name);
      else process.env[name] = value;
    }
  });

  it('reads what pg reads from the environment, and nothing else', async () => {
    Object.assign(process.env, {
      PGHOST: database.host,
      PGPORT: String(database.port),
      PGUSER: database.user,
      PGPASSWORD: database.password,
      PGDATABASE: database.name,
      PGAPPNAME: 'from-environment',
      DATABASE_URL: 'postgres://elsewhere.example/elsewhere',
    });
    const pool = await pools.create({ ...fromPgPoolConfig({}), connectionString: undefined });
    const { rows } = await pool.query(
      `select current_user::text as user, current_database()::text as database, current_setting('application_name') as app`,
    );
    expect(rows).toEqual([{ user: database.user, database: database.name, app: 'from-environment' }]);
    expect(pool.options).toMatchObject({ host: database.host, port: database.port, user: database.user });
    expect(JSON.stringify([pool.options, pool.config])).not.toContain(database.password);
  });

  it('means localhost when nothing is given', () => {
    Reflect.deleteProperty(process.env, 'PGHOST');
    expect(fromPgPoolConfig().client).toEqual({ host: 'localhost' });
    expect(fromPgPoolConfig({ host: 'db.example' }).client).toEqual({ host: 'db.example' });
  });

  it('accepts the stock client, and no other', () => {
    expect(fromPgPoolConfig({ Client: pg.Client })).toMatchObject({ minSize: 0 });
    expect(() => fromPgPoolConfig({ Client: class extends pg.Client {} })).toThrow(TypeError);
    expect(() => fromPgPoolConfig({ Client: EventEmitter as never })).toThrow(TypeError);
    expect(() => fromPgPoolConfig({ Client: 'Client' as never })).toThrow(TypeError);
  });

  it.each([
    [{ max: 0 }, { minSize: 0 }],
    [{ poolSize: 7 }, { maxSize: 7 }],
    [{ idleTimeoutMillis: Infinity }, { idleTimeoutMs: 0 }],
    [{ idleTimeoutMillis: null }, { idleTimeoutMs: 0 }],
    [{ connectionTimeoutMillis: NaN }, { acquireTimeoutMs: 2 ** 31 - 1 }],
    [{ maxLifetimeSeconds: Infinity }, { maxLifetimeMs: 0 }],
    [{ maxLifetimeSeconds: 10_000_000 }, { maxLifetimeMs: 0 }],
    [
      { statement_timeout: 30_000, query_timeout: 5_000 },
      { statementTimeoutMs: 30_000, queryTimeoutMs: 5_000 },
    ],
    [{ statement_timeout: false as const }, {}],
    [{ connectionString: '' }, { client: { host: process.env.PGHOST ?? 'localhost' } }],
  ])('takes %j for %j', (config, expected) => {
    expect(fromPgPoolConfig(config)).toMatchObject(expected);
    expect(fromPgPoolConfig(config).maxSize === 0).toBe(false);
  });

  it.each([
    ['a port on which nobody listens', { host: '127.0.0.1', port: 1 }, 'ECONNREFUSED'],
    ['a database that isn’t there', { database: 'not-there' }, '3D000'],
    ['a role that isn’t there', { user: 'not-there' }, expect.stringMatching(/^28/)],
  ])('keeps the driver’s code reachable, at once: %s', async (_what, wrong, code) => {
    const { host, port, user, password, name } = database;
    const config = fromPgPoolConfig({ host, port, user, password, database: name, ...wrong });
    const pool = await pools.create({ ...config, connectionString: undefined });
    await expect(pool.query('select 1')).rejects.toMatchObject({ code: 'POOL_BACKEND_UNAVAILABLE', cause: { code } });
    await expect(pool.connect()).rejects.toMatchObject({ code: 'POOL_BACKEND_UNAVAILABLE', cause: { code } });
  });
});

describe('what is handed to libraries', () => {
  interface Module {
    readonly Pool: new (config?: object) => pg.Pool;
    readonly Client: new (config?: object) => pg.Client;
    readonly native: unknown;
    readonly default: unknown;
    readonly types: unknown;
  }
  const tenantPool = async () => (await pools.create({ isolation: { mode: 'rls' }, maxSize: 2 })).forTenant('acme');
  const me = `select current_setting('app.tenant_id', true) as me`;

  it('is an instance of pg.Pool, and works for its tenant', async () => {
    const pool = await tenantPool();
    const driver = asPgModule(pool) as Module;
    for (const handed of [asPgPool(pool), new driver.Pool({ host: 'elsewhere.example' })]) {
      expect(handed).toBeInstanceOf(pg.Pool);
      expect(handed).toBeInstanceOf(PgPool);
      expect(handed).toBeInstanceOf(EventEmitter);
      expect((await handed.query(me)).rows).toEqual([{ me: 'acme' }]);
      const client = await handed.connect();
      expect((await client.query(me)).rows).toEqual([{ me: 'acme' }]);
      expect([handed.totalCount, handed.idleCount]).toEqual([pool.totalCount, pool.idleCount]);
      client.release();
      const seen: string[] = [];
      const listener = (): void => void seen.push('acquire');
      handed.on('acquire', listener);
      await handed.query('select 1');
      handed.off('acquire', listener);
      await handed.query('select 1');
      expect(seen).toEqual(['acquire']);
      expect(handed.constructor.name).toContain('Pool');
      for (const inside of ['_pulseQueue', 'newClient', '_clients', '_idle', 'Client'])
        expect(Reflect.get(handed, inside)).toBeUndefined();
    }
    expect(new driver.Pool()).toBeInstanceOf(driver.Pool);
    // Ending it is not closing ours.
    await new driver.Pool().end();
    await asPgPool(pool).end();
    await new Promise<void>((resolve) => void asPgPool(pool).end(resolve));
    expect((await pool.query(me)).rows).toEqual([{ me: 'acme' }]);
  });

  it('has no way past the pool: neither Client nor the native module', async () => {
    const pool = await tenantPool();
    for (const view of [pool, pool.unscoped(), await pools.create()]) {
      const driver = asPgModule(view) as Module;
      expect(() => new driver.Client({ connectionString: database.url })).toThrow(
        expect.objectContaining({ code: 'POOL_CLIENT_REFUSED', poolId: view.id }),
      );
      expect(driver.native).toBeUndefined();
      expect(driver.default).toBe(driver);
      expect(driver.types).toBe(pg.types);
      expect(new pg.Client()).toBeInstanceOf(pg.Client);
    }
  });

  it('sees what an application puts in place of a method', async () => {
    const pool = await pools.create();
    const handed = asPgPool(pool);
    Object.defineProperty(pool, 'query', { value: () => 'replaced', configurable: true });
    expect(handed.query('select 1')).toBe('replaced');
    Reflect.deleteProperty(pool, 'query');
    expect((await handed.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });
});
