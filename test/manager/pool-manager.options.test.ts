import { describe, expect, it } from '@jest/globals';

import { PoolConfigError } from '../../lib/errors.js';
import { poolKinds } from '../../lib/manager/pool-kinds.js';
import { parseManagerOptions, parsePoolId, type PoolManagerOptions } from '../../lib/manager/pool-manager.options.js';
import { errorOf, problemsOf } from '../support/problems.js';

const DATABASE_URL = 'postgres://orders:hunter2@db/orders';
const REDIS_URL = 'redis://:hunter2@cache';
const env = { DATABASE_URL, REDIS_URL };

const types = new Intl.ListFormat('en', { type: 'disjunction' })
  .format(Object.keys(poolKinds).map((type) => `"${type}"`))
  .replace(/, or/, ' or');

const parse = (options: unknown, staticNames?: readonly string[]) =>
  parseManagerOptions(options as PoolManagerOptions, { env, staticNames });
const refusals = (options: unknown, staticNames?: readonly string[]) => problemsOf(() => parse(options, staticNames));

function tenancy(options: object): unknown {
  return { pools: {}, tenancy: { resolve: () => 'acme', ...options } };
}

describe('the options of a registration', () => {
  it('resolve every pool by its own kind', () => {
    const driver = {
      open: () => Promise.resolve({}),
      close: () => Promise.resolve(),
      kill: () => {},
      ping: () => Promise.resolve(),
      onBroken: () => {},
      isFatal: () => false,
    };
    const { pools } = parse({
      pools: {
        orders: { type: 'database' },
        cache: { type: 'redis' },
        billing: { type: 'http', critical: false },
        files: { type: 'external', driver },
      },
    });
    expect(Object.keys(pools)).toEqual(['orders', 'cache', 'billing', 'files']);
    expect(pools.orders).toMatchObject({ type: 'database', maxSize: 10 });
    expect(pools.cache).toMatchObject({ type: 'redis', maxSize: 10 });
    expect(pools.billing).toMatchObject({ type: 'http', maxSize: 100, startup: 'background' });
    expect(pools.files).toMatchObject({ type: 'external', maxSize: 10 });
  });

  it('have the documented defaults', () => {
    expect(JSON.parse(JSON.stringify(parse({ pools: {} })))).toEqual({
      applicationName: 'nestjs-pool-manager',
      pools: {},
      shutdown: { drainTimeoutMs: 10_000, readinessGraceMs: 0 },
    });
    const resolve = () => 'acme';
    expect(parse({ pools: {}, tenancy: { resolve } }).tenancy).toEqual({ resolve, required: true });
  });

  it.each([
    [undefined, 'options: is required: an object'],
    [null, 'options: must be an object, got null'],
    [[], 'options: must be an object, got a list'],
    [{}, 'pools: is required: an object'],
    [{ pools: ['orders'] }, 'pools: must be an object, got a list'],
    [{ pools: { orders: {} } }, `pools.orders.type: is required: ${types}`],
    [{ pools: { orders: undefined } }, 'pools.orders: is required: an object'],
    [{ pools: { orders: { type: 'kafka' } } }, `pools.orders.type: must be ${types}, got "kafka"`],
    [
      { pools: { 'my pool': { type: 'http' } } },
      'pools["my pool"]: is not a name for a pool: letters, digits, and _ . : - after the first, 64 at most',
    ],
    [{ pools: {}, pool: {} }, 'pool: is not an option. Did you mean pools?'],
    [{ pools: {}, tenancy: {} }, 'tenancy.resolve: is required: a function'],
    [tenancy({ exempt: ['/metrics'] }), 'tenancy.exempt: must be an object, got a list'],
    [tenancy({ exclude: ['/metrics'] }), 'tenancy.exclude: is not an option. Did you mean exempt?'],
    [tenancy({ exempt: { path: '/metrics' } }), 'tenancy.exempt.path: is not an option. Did you mean paths?'],
    [tenancy({ exempt: { paths: '/metrics' } }), 'tenancy.exempt.paths: must be a list, got a text'],
    [tenancy({ exempt: { paths: [/metrics/] } }), 'tenancy.exempt.paths[0]: must be a text, got an object'],
    [
      tenancy({ exempt: { paths: ['/metrics', '/admin?all=1'] } }),
      'tenancy.exempt.paths[1]: has a "?" or "#": it is the path of a route, without a query string',
    ],
    [
      tenancy({ exempt: { controllers: [() => true] } }),
      'tenancy.exempt.controllers[0]: must be a class, got a function',
    ],
    [
      tenancy({ exempt: { controllers: ['MetricsController'] } }),
      'tenancy.exempt.controllers[0]: must be a class, got a text',
    ],
    [tenancy({ exempt: { when: true } }), 'tenancy.exempt.when: must be a function, got a boolean'],
    [{ pools: {}, tenancy: { resolve: ['x-tenant-id'] } }, 'tenancy.resolve: must be a function, got a list'],
    [{ pools: {}, shutdown: { drainTimeoutMs: -1 } }, 'shutdown.drainTimeoutMs: must be at least 0, got -1'],
    [
      { pools: {}, shutdown: { drainTimeout: 1 } },
      'shutdown.drainTimeout: is not an option. Did you mean drainTimeoutMs?',
    ],
    [
      { pools: { files: { type: 'external', driver: { open: () => {} } } } },
      'pools.files.driver: must be a PoolDriver, got an object without close, kill, ping, onBroken, isFatal',
    ],
  ])('refuse %j', (options, problem) => {
    expect(refusals(options)).toEqual([problem]);
  });

  it('say everything that is wrong at once, with the key, the rule and the value', () => {
    const error = errorOf(() =>
      parse(
        {
          pools: {
            orders: { type: 'database', minSize: 5, maxSize: 2, isolation: { mode: 'rls', setting: 'x' } },
            cache: { type: 'redis', url: 'http://:hunter2@cache', acquireTimeout: 5 },
            extra: { type: 'http' },
          },
          shutdown: { readinessGraceMs: 'a while' },
        },
        ['orders', 'cache', 'billing'],
      ),
    );
    expect(error).toBeInstanceOf(PoolConfigError);
    expect(error.code).toBe('POOL_CONFIG');
    expect(error.problems.map(({ key }) => key).sort()).toEqual([
      'pools',
      'pools.cache.acquireTimeout',
      'pools.cache.url',
      'pools.orders.isolation.setting',
      'pools.orders.maxSize',
      'shutdown.readinessGraceMs',
    ]);
    expect(error.message).toContain('pools.orders.maxSize: must be at least minSize (5), got 2');
  });

  it('name the variable that an address was read from when it is wrong', () => {
    const pools = { orders: { type: 'database' }, cache: { type: 'redis' } } as const;
    const broken = { DATABASE_URL: 'http://u:hunter2@db', REDIS_URL: 'cache:6379' };
    const problems = problemsOf(() => parseManagerOptions({ pools }, { env: broken }));
    expect(problems).toHaveLength(2);
    expect(problems[0]).toMatch(/^pools\.orders\.connectionString: must be .* \(read from DATABASE_URL\)$/);
    expect(problems[1]).toMatch(/^pools\.cache\.url: must be .* \(read from REDIS_URL\)$/);
  });

  it('do not name the variable for an address that they give themselves', () => {
    const pools = { orders: { type: 'database', connectionString: 'nowhere' } } as const;
    expect(problemsOf(() => parseManagerOptions({ pools }, { env }))[0]).not.toContain('DATABASE_URL');
  });

  describe('names that were announced before the options were known', () => {
    const pools = { orders: { type: 'http' }, cache: { type: 'http' } };

    it('are the names of the pools', () => {
      expect(Object.keys(parse({ pools }, ['cache', 'orders']).pools)).toEqual(['orders', 'cache']);
    });

    it.each([
      [['orders'], 'not announced: "cache"'],
      [['orders', 'cache', 'billing'], 'no options for "billing"'],
      [['order', 'cache'], 'no options for "order"; not announced: "orders"'],
    ])('or else both lists are shown (%j)', (announced, difference) => {
      expect(refusals({ pools }, announced)).toEqual([
        'pools: must be the pools that the registration announced. ' +
          `Announced in forRootAsync({ pools: […] }): ${announced.map((name) => `"${name}"`).join(', ')}; ` +
          `configured by the factory: "orders", "cache"; ${difference}`,
      ]);
    });

    it('may be none', () => {
      expect(refusals({ pools: { orders: { type: 'http' } } }, [])[0]).toContain('forRootAsync({ pools: […] }): none;');
    });
  });

  it('take no pool from the prototype of an object, and refuse a name that would be one', () => {
    const input: unknown = JSON.parse('{"pools":{"__proto__":{"type":"http"},"orders":{"type":"http"}}}');
    expect(refusals(input)).toEqual([expect.stringMatching(/^pools\.__proto__: is not a name for a pool/)]);
    const { pools } = parse({ pools: Object.create({ inherited: { type: 'http' } }, {}) });
    expect(Object.keys(pools)).toEqual([]);
  });

  it.each(['constructor', 'toString', 'hasOwnProperty'])('take a pool called %s like any other', (name) => {
    const { pools } = parse({ pools: Object.fromEntries([[name, { type: 'http' }]]) });
    expect(Object.entries(pools)).toMatchObject([[name, { type: 'http' }]]);
  });

  it('can be made by a class', () => {
    class Settings {
      readonly pools = { billing: { type: 'http' as const } };
    }
    expect(parseManagerOptions(new Settings(), { env }).pools.billing?.type).toBe('http');
  });
});

describe('the name of a pool', () => {
  it.each([['orders'], ['orders-2'], ['eu.orders:read_only'], ['2fa'], ['constructor']])('may be %j', (id) => {
    expect(parsePoolId(id)).toBe(id);
  });

  it.each([[''], ['my pool'], ['.orders'], ['__proto__'], ['bestellübersicht'], ['x'.repeat(65)], ['a\n']])(
    'may not be %j',
    (id) => {
      expect(problemsOf(() => parsePoolId(id))).toHaveLength(1);
    },
  );
});
