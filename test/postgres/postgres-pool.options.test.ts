import { describe, expect, it } from '@jest/globals';

import { parsePostgresPoolOptions, type PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { problemsOf } from '../support/problems.js';

const URL = 'postgres://orders:hunter2@db.example:5432/orders';

const parse = (options: PostgresPoolOptions, env = {}) => parsePostgresPoolOptions('orders', options, env);
const refusals = (options: unknown, env = {}) => problemsOf(() => parse(options as PostgresPoolOptions, env));

describe('the options of a PostgreSQL pool', () => {
  it('have the documented defaults', () => {
    expect(JSON.parse(JSON.stringify(parse({ connectionString: URL })))).toEqual({
      type: 'database',
      minSize: 1,
      maxSize: 10,
      maxQueue: 10_000,
      acquireTimeoutMs: 10_000,
      connectTimeoutMs: 10_000,
      connectConcurrency: 2,
      failFastAfterMs: 5_000,
      validateAfterIdleMs: 500,
      idleTimeoutMs: 300_000,
      maxBatch: 8,
      maxLifetimeMs: 1_800_000,
      maxUses: 0,
      keepaliveMs: 0,
      leakDetectionMs: 0,
      slowAcquireMs: 0,
      slowUseMs: 0,
      recycleTimeoutMs: 5_000,
      closeTimeoutMs: 5_000,
      tenants: {
        max: null,
        weight: 1,
        reserved: 0,
        maxWaiting: 256,
        whenFull: 'queue',
        required: false,
        overrides: {},
      },
      healthCheck: { intervalMs: 30_000, timeoutMs: 5_000, failureThreshold: 3 },
      critical: true,
      startup: 'wait',
      startupTimeoutMs: 30_000,
      connectionString: '[hidden]',
      statementTimeoutMs: 0,
      queryTimeoutMs: 0,
      idleInTransactionTimeoutMs: 0,
      isolation: { mode: 'none' },
      session: { trustOneShot: false },
      client: {},
    });
  });

  describe('where the database is', () => {
    it('comes from DATABASE_URL when the options do not say', () => {
      expect(parse({}, { DATABASE_URL: URL }).connectionString).toBe(URL);
      expect(parse({ connectionString: undefined }, { DATABASE_URL: URL }).connectionString).toBe(URL);
    });

    it('is what the options say when both do', () => {
      const other = 'postgres://elsewhere/orders';
      expect(parse({ connectionString: other }, { DATABASE_URL: URL }).connectionString).toBe(other);
    });

    it('may be a host among the driver options, and then is not looked for anywhere else', () => {
      const config = parse({ client: { host: 'db.example', user: 'orders' } }, { DATABASE_URL: URL });
      expect(config.connectionString).toBeUndefined();
      expect(config.client).toEqual({ host: 'db.example', user: 'orders' });
    });

    it('must be known', () => {
      const required =
        'pools.orders.connectionString: is required: a postgres:// URL here or in the environment variable DATABASE_URL, or client.host';
      expect(refusals({})).toEqual([required]);
      expect(refusals({}, { DATABASE_URL: '' })).toEqual([required]);
      expect(refusals({ client: { port: 5432 } })).toEqual([required]);
    });

    it.each([
      ['postgresql://db/orders'],
      ['postgres://user@/orders?host=/var/run/postgresql'],
      ['postgres://user:p%40ss@[::1]:5432/orders?sslmode=require'],
      ['/var/run/postgresql orders'],
      ['socket:/var/run/postgresql?db=orders'],
    ])('may be %s', (connectionString) => {
      expect(parse({ connectionString }).connectionString).toBe(connectionString);
    });

    it.each([['mysql://user:hunter2@db/orders'], ['db.example:5432 hunter2'], [' postgres://db'], ['postgres:orders']])(
      'must be a URL that pg understands, not %j',
      (connectionString) => {
        const rule = 'must be a postgres:// URL; special characters in user and password are percent-encoded';
        expect(refusals({ connectionString })).toEqual([`pools.orders.connectionString: ${rule}`]);
      },
    );

    it('names the variable when the address was read from there', () => {
      expect(refusals({}, { DATABASE_URL: 'mysql://user:hunter2@db/orders' })).toEqual([
        'pools.orders.connectionString: must be a postgres:// URL; special characters in user and password are percent-encoded (read from DATABASE_URL)',
      ]);
    });

    it('is not passed to the driver behind the pool’s back', () => {
      expect(refusals({ client: { connectionString: URL } })).toEqual([
        'pools.orders.client.connectionString: is not a driver option here. Set connectionString of the pool instead',
      ]);
    });

    it.each([
      ['url', 'connectionString'],
      ['host', 'client.host'],
      ['user', 'client.user'],
      ['conectionString', 'connectionString'],
      ['statement_timeout', 'statementTimeoutMs'],
      ['query_timeout', 'queryTimeoutMs'],
      ['unsafeRole', 'isolation.unsafeRole'],
      ['min', 'minSize'],
    ])('or the rest under the name of another library (%s) is answered with ours', (name, ours) => {
      expect(refusals({ connectionString: URL, [name]: 'x' })).toEqual([
        `pools.orders.${name}: is not an option. Did you mean ${ours}?`,
      ]);
    });
  });

  describe('isolation', () => {
    const isolated = (isolation: unknown, more = {}) => refusals({ connectionString: URL, isolation, ...more });

    it('by row security has a setting and refuses roles that escape it', () => {
      const config = parse({ connectionString: URL, isolation: { mode: 'rls' } });
      expect(config.isolation).toEqual({ mode: 'rls', setting: 'app.tenant_id', unsafeRole: 'refuse' });
      expect(Object.isFrozen(config.isolation)).toBe(true);
    });

    it('makes the pool refuse work without a tenant', () => {
      const role = (tenantId: string) => `tenant_${tenantId}`;
      expect(parse({ connectionString: URL, isolation: { mode: 'role', role } }).tenants.required).toBe(true);
      expect(parse({ connectionString: URL, isolation: { mode: 'none' } }).tenants.required).toBe(false);
      expect(parse({ connectionString: URL, tenants: { required: true } }).tenants.required).toBe(true);
    });

    it.each([
      [{ mode: 'rsl' }, 'isolation.mode: must be "none", "rls", "role" or "schema", got "rsl". Did you mean "rls"?'],
      [{}, 'isolation.mode: is required: "none", "rls", "role" or "schema"'],
      ['rls', "isolation: must be an object, got a text. Did you mean { mode: 'rls' }?"],
      [{ mode: 'role' }, 'isolation.role: is required: a function'],
      [{ mode: 'schema', schema: 'acme' }, 'isolation.schema: must be a function, got a text'],
      [
        { mode: 'rls', setting: 'tenant' },
        "isolation.setting: must be a setting's name with a dot in it, such as 'app.tenant_id'",
      ],
      [
        { mode: 'rls', setting: "app.x'; drop table orders; --" },
        "isolation.setting: must be a setting's name with a dot in it, such as 'app.tenant_id'",
      ],
      [
        { mode: 'rls', setting: 'search_path' },
        "isolation.setting: must be a setting's name with a dot in it, such as 'app.tenant_id'",
      ],
      [
        { mode: 'rls', setting: 'PlPgSql.extra_warnings' },
        'isolation.setting: must not be of the class "PlPgSql", whose settings belong to PostgreSQL or an extension',
      ],
      [
        { mode: 'rls', setting: `app.${'x'.repeat(64)}` },
        'isolation.setting: must have at most 63 bytes on each side of a dot',
      ],
      [{ mode: 'rls', unsafeRole: 'ignore' }, 'isolation.unsafeRole: must be "refuse" or "warn", got "ignore"'],
      [
        { mode: 'role', role: () => 'x', setting: 'app.x' },
        'isolation.setting: is not an option. There are: mode, role',
      ],
    ])('is refused as %j', (isolation, problem) => {
      expect(isolated(isolation)).toEqual([`pools.orders.${problem}`]);
    });

    it('and work without a tenant exclude each other', () => {
      expect(isolated({ mode: 'rls' }, { tenants: { required: false } })).toEqual([
        'pools.orders.tenants.required: must not be false with isolation; call unscoped() where no tenant is meant',
      ]);
    });
  });

  it('takes a password that is asked for when it is needed', () => {
    const password = () => Promise.resolve('hunter2');
    expect(parse({ connectionString: URL, password }).password).toBe(password);
    expect(refusals({ connectionString: URL, password: 12345 })).toEqual([
      'pools.orders.password: must be a text, or a function that returns one (or a promise of one), got a number',
    ]);
  });

  it.each([
    'query_timeout',
    'statement_timeout',
    'lock_timeout',
    'idle_in_transaction_session_timeout',
    'connectionTimeoutMillis',
  ])('takes a time-out of pg’s own only as milliseconds that a timer can run (%s)', (name) => {
    for (const value of [0, 300, 2_147_483_647, false, undefined])
      expect(parse({ connectionString: URL, client: { [name]: value } })).toBeDefined();
    for (const value of [NaN, Infinity, -1, 2_147_483_648, '30s'])
      expect(refusals({ connectionString: URL, client: { [name]: value } })).toEqual([
        `pools.orders.client.${name}: must be milliseconds, from 0 to 2147483647, or false`,
      ]);
  });

  it('lets pg’s connectionTimeoutMillis shorten connectTimeoutMs', () => {
    expect(parse({ connectionString: URL, client: { connectionTimeoutMillis: 700 } }).connectTimeoutMs).toBe(700);
    expect(parse({ connectionString: URL, client: { connectionTimeoutMillis: 20_000 } }).connectTimeoutMs).toBe(10_000);
    expect(parse({ connectionString: URL, client: { connectionTimeoutMillis: 0 } }).connectTimeoutMs).toBe(10_000);
  });

  it('passes driver options on as they are', () => {
    const types = { getTypeParser: () => (value: string) => value };
    const client = { types, keepAlive: true, options: '-c geqo=off' };
    expect(parse({ connectionString: URL, client }).client).toBe(client);
  });

  it('tells TLS options from anything else', () => {
    const ssl = { ca: 'certificate', rejectUnauthorized: true };
    expect(parse({ connectionString: URL, ssl }).ssl).toBe(ssl);
    expect(parse({ connectionString: URL, ssl: false }).ssl).toBe(false);
    expect(refusals({ connectionString: URL, ssl: 'require' })).toEqual([
      'pools.orders.ssl: must be true, false, or an object of TLS options, got a text',
    ]);
  });
});
