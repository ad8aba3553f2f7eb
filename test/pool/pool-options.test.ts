import { describe, expect, it } from '@jest/globals';

import { type HttpPoolOptions, parseHttpPoolOptions } from '../../lib/http/http-pool.options.js';
import { parseTenantLimits } from '../../lib/pool/tenant-options.js';
import { problemsOf } from '../support/problems.js';

/** A pool with nothing but the common options set; unknown, because most of these are wrong. */
const parse = (options: unknown) => parseHttpPoolOptions('orders', options as HttpPoolOptions, {});
const refusals = (options: unknown) => problemsOf(() => parse(options));

describe('the options of every pool', () => {
  describe('sizes', () => {
    it.each([
      [{ maxSize: 0 }, 'pools.orders.maxSize: must be at least 1, got 0'],
      [{ maxSize: -3 }, 'pools.orders.maxSize: must be at least 1, got -3'],
      [{ maxSize: 2.5 }, 'pools.orders.maxSize: must be a whole number, got 2.5'],
      [
        { maxSize: NaN },
        'pools.orders.maxSize: must be a number, got NaN, which is what Number(…) makes of a variable that is not set and ' +
          'of a text that is no number',
      ],
      [{ maxSize: Infinity }, 'pools.orders.maxSize: must be a number, got Infinity'],
      [{ maxSize: null }, 'pools.orders.maxSize: must be a number, got null'],
      [{ maxSize: '20' }, 'pools.orders.maxSize: must be a number, got the text "20" (convert it with Number(…))'],
      [{ minSize: -1 }, 'pools.orders.minSize: must be at least 0, got -1'],
      [{ minSize: 5, maxSize: 2 }, 'pools.orders.maxSize: must be at least minSize (5), got 2'],
      [{ maxQueue: -1 }, 'pools.orders.maxQueue: must be at least 0, got -1'],
      [{ connectConcurrency: 0 }, 'pools.orders.connectConcurrency: must be at least 1, got 0'],
    ])('refuses %j', (options, problem) => {
      expect(refusals(options)).toEqual([problem]);
    });

    it('compares minSize with the default of maxSize too', () => {
      expect(refusals({ minSize: 500 })).toEqual(['pools.orders.maxSize: must be at least minSize (500), got 100']);
    });

    it('opens a quarter of the connections at once, and two of a small pool', () => {
      expect(parse({ maxSize: 40 }).connectConcurrency).toBe(10);
      expect(parse({ maxSize: 4 }).connectConcurrency).toBe(2);
      expect(parse({ maxSize: 40, connectConcurrency: 3 }).connectConcurrency).toBe(3);
    });
  });

  describe('durations', () => {
    it.each([
      [{ acquireTimeoutMs: -1 }, 'pools.orders.acquireTimeoutMs: must be at least 1, got -1'],
      [{ acquireTimeoutMs: 0 }, 'pools.orders.acquireTimeoutMs: must be at least 1, got 0'],
      [{ idleTimeoutMs: -1 }, 'pools.orders.idleTimeoutMs: must be at least 0, got -1'],
      [{ maxLifetimeMs: 2_147_483_648 }, 'pools.orders.maxLifetimeMs: must be at most 2147483647, got 2147483648'],
      [{ keepaliveMs: Infinity }, 'pools.orders.keepaliveMs: must be a number of milliseconds, got Infinity'],
      [
        { healthCheck: { intervalMs: '30s' } },
        'pools.orders.healthCheck.intervalMs: must be a number of milliseconds, got a text',
      ],
      [{ healthCheck: { timeoutMs: 0 } }, 'pools.orders.healthCheck.timeoutMs: must be at least 1, got 0'],
    ])('refuses %j', (options, problem) => {
      expect(refusals(options)).toEqual([problem]);
    });

    it('takes 0 for never where there is a never', () => {
      const never = { idleTimeoutMs: 0, maxLifetimeMs: 0, keepaliveMs: 0, leakDetectionMs: 0, maxUses: 0 };
      expect(parse(never)).toMatchObject(never);
    });

    it('takes the longest delay that a timer can have', () => {
      expect(parse({ maxLifetimeMs: 2_147_483_647 }).maxLifetimeMs).toBe(2_147_483_647);
    });
  });

  describe('unknown options', () => {
    it.each([
      ['maxsize', 'Did you mean maxSize?'],
      ['max_size', 'Did you mean maxSize?'],
      ['maxSzie', 'Did you mean maxSize?'],
      ['acquireTimeout', 'Did you mean acquireTimeoutMs?'],
      ['idleTimeOutMs', 'Did you mean idleTimeoutMs?'],
      ['helthCheck', 'Did you mean healthCheck?'],
      ['max', 'Did you mean maxSize?'],
      ['idleTimeoutMillis', 'Did you mean idleTimeoutMs?'],
      ['baseUrl', 'Did you mean baseURL?'],
    ])('answers %s with the right name', (name, suggestion) => {
      expect(refusals({ [name]: 1 })).toEqual([`pools.orders.${name}: is not an option. ${suggestion}`]);
    });

    it('suggests nothing for what resembles nothing', () => {
      expect(refusals({ colour: 'red' })).toEqual(['pools.orders.colour: is not an option']);
    });

    it('lists the options of a small group', () => {
      expect(refusals({ healthCheck: { colour: 'red' } })).toEqual([
        'pools.orders.healthCheck.colour: is not an option. There are: intervalMs, timeoutMs, failureThreshold, path',
      ]);
    });

    it('are named one by one, and names of inherited properties get no odd suggestion', () => {
      expect(refusals({ constructor: 1, toString: 2, maxsize: 3 })).toEqual([
        'pools.orders.constructor: is not an option',
        'pools.orders.toString: is not an option',
        'pools.orders.maxsize: is not an option. Did you mean maxSize?',
      ]);
    });

    it('does not compare endless names', () => {
      expect(refusals({ ['m'.repeat(100_000)]: 1 })).toHaveLength(1);
    });
  });

  describe('tenants', () => {
    it('have no maximum unless one is set', () => {
      expect(parse({}).tenants).toMatchObject({
        max: Infinity,
        weight: 1,
        reserved: 0,
        maxWaiting: 256,
        whenFull: 'queue',
        required: false,
        overrides: {},
      });
    });

    it('take their maximum from the short form', () => {
      expect(parse({ maxConnectionsPerTenant: 5 }).tenants.max).toBe(5);
      expect(parse({ tenants: { max: 5 } }).tenants.max).toBe(5);
      expect(parse({ tenants: { max: 5 }, maxConnectionsPerTenant: 5 }).tenants.max).toBe(5);
      expect(parse({ maxConnectionsPerTenant: 5 })).not.toHaveProperty('maxConnectionsPerTenant');
    });

    it('may have a maximum above the size of the pool', () => {
      expect(parse({ maxSize: 10, tenants: { max: 50 } }).tenants.max).toBe(50);
    });

    it.each([
      [
        { tenants: { max: 5 }, maxConnectionsPerTenant: 6 },
        'maxConnectionsPerTenant: must be left out or be the same as tenants.max (5), whose short form it is, got 6',
      ],
      [{ tenants: { max: -1 } }, 'tenants.max: must be a whole number, at least 1, or Infinity, got -1'],
      [
        { maxConnectionsPerTenant: -1 },
        'maxConnectionsPerTenant: must be a whole number, at least 1, or Infinity, got -1',
      ],
      [{ tenants: { weight: 0 } }, 'tenants.weight: must be more than 0, got 0'],
      [{ tenants: { weight: Infinity } }, 'tenants.weight: must be a number, got Infinity'],
      [{ tenants: { whenFull: 'drop' } }, 'tenants.whenFull: must be "queue" or "reject", got "drop"'],
      [{ tenants: { reserved: 3, max: 2 } }, 'tenants.reserved: must be at most tenants.max (2), got 3'],
      [
        { tenants: { reserved: 3 }, maxConnectionsPerTenant: 2 },
        'tenants.reserved: must be at most tenants.max (2), got 3',
      ],
      [{ tenants: { reserved: 11 }, maxSize: 10 }, 'tenants.reserved: must be at most maxSize (10), got 11'],
      [{ tenants: { resolve: 'acme' } }, 'tenants.resolve: must be a function, got a text'],
      [{ tenants: { known: ['acme'] } }, 'tenants.known: must be a function, got a list'],
      [{ tenants: { maxUnknown: -1 } }, 'tenants.maxUnknown: must be at least 0, got -1'],
      [{ tenants: null }, 'tenants: must be an object, got null'],
      [
        { tenants: { overrides: { acme: { max: 2, reserved: 3 } } } },
        "tenants.overrides.acme.reserved: must be at most the tenant's max (2), got 3",
      ],
      [
        { tenants: { reserved: 3, overrides: { acme: { max: 2 } } } },
        "tenants.overrides.acme.reserved: must be at most the tenant's max (2), got 3",
      ],
      [
        { tenants: { overrides: { acme: { maxx: 2 } } } },
        'tenants.overrides.acme.maxx: is not an option. Did you mean max?',
      ],
      [
        { maxSize: 10, tenants: { overrides: { acme: { reserved: 6 }, umbra: { reserved: 5 } } } },
        'tenants.overrides: must not reserve more than maxSize (10) slots together, got 11',
      ],
      [
        { tenants: { overrides: { 'a\nb': { max: 1 } } } },
        'tenants.overrides["a\\nb"]: is not a tenant id: it has 1 to 128 printable characters',
      ],
    ])('refuses %j', (options, problem) => {
      expect(refusals(options)).toEqual([`pools.orders.${problem}`]);
    });

    it('keep what an override sets to undefined', () => {
      const { overrides } = parse({ tenants: { max: 3, overrides: { acme: { max: undefined, weight: 2 } } } }).tenants;
      expect(overrides).toStrictEqual({ acme: { weight: 2 } });
    });

    it.each(['__proto__', 'constructor', 'toString'])('may be called %s', (id) => {
      const overrides = Object.fromEntries([[id, { max: 2 }]]);
      const { tenants } = parse({ tenants: { overrides } });
      expect(Object.entries(tenants.overrides)).toEqual([[id, { max: 2 }]]);
      expect(refusals({ tenants: { overrides: Object.fromEntries([[id, { max: 0 }]]) } })).toHaveLength(1);
    });

    it.each([
      ['a list', [], 'a list'],
      ['a map', new Map([['acme', { max: 1 }]]), 'a Map'],
      ['a number', 7, '7'],
    ])('are refused as overrides: %s', (_what, overrides, got) => {
      expect(refusals({ tenants: { overrides } })).toEqual([
        expect.stringContaining(`tenants.overrides: must be an object, got ${got}`),
      ]);
    });

    it('are refused limits that a resolver made up wrongly', () => {
      const { tenants } = parse({
        tenants: {
          resolve: (id: string) => (id === 'bad' ? { max: -1, wieght: 1 } : id === 'big' ? { max: 9 } : undefined),
        },
      });
      expect(tenants.resolve?.('big')).toEqual({ max: 9 });
      expect(tenants.resolve?.('other')).toBeUndefined();
      expect(problemsOf(() => tenants.resolve?.('bad'))).toEqual([
        'tenants["resolve(bad)"].max: must be a whole number, at least 1, or Infinity, got -1',
        'tenants["resolve(bad)"].wieght: is not an option. Did you mean weight?',
      ]);
    });

    it.each(['resolve', 'known'] as const)(
      'are refused an answer of %s that comes later, and its rejection',
      (name) => {
        const { tenants } = parse({ tenants: { [name]: () => Promise.reject(new Error('no database')) } });
        const expected = name === 'known' ? 'true or false' : 'an object';
        expect(problemsOf(() => tenants[name]?.('acme'))).toEqual([
          `tenants["${name}(acme)"]: must be ${expected}, got a promise: it is asked in the middle of an acquire, ` +
            'and has to answer at once',
        ]);
      },
    );

    it('get limits at run time by the same rules', () => {
      expect(parseTenantLimits({ max: Infinity, whenFull: 'reject' })).toEqual({ max: Infinity, whenFull: 'reject' });
      expect(problemsOf(() => parseTenantLimits({ weight: -1 }))).toEqual([
        'tenants.weight: must be more than 0, got -1',
      ]);
    });
  });

  describe('start', () => {
    it('waits for critical pools and goes on without others', () => {
      expect(parse({}).startup).toBe('wait');
      expect(parse({ critical: false }).startup).toBe('background');
      expect(parse({ critical: false, startup: 'wait' }).startup).toBe('wait');
    });
  });

  it('are all checked before anything is refused', () => {
    expect(
      refusals({
        minSize: 5,
        maxSize: 2,
        acquireTimeoutMs: 'soon',
        maxsize: 3,
        tenants: { reserved: 7, max: 6, weight: -1 },
        healthCheck: { failureThreshold: 0 },
      }).sort(),
    ).toEqual([
      'pools.orders.acquireTimeoutMs: must be a number of milliseconds, got a text',
      'pools.orders.healthCheck.failureThreshold: must be at least 1, got 0',
      'pools.orders.maxSize: must be at least minSize (5), got 2',
      'pools.orders.maxsize: is not an option. Did you mean maxSize?',
      'pools.orders.tenants.reserved: must be at most tenants.max (6), got 7',
      'pools.orders.tenants.weight: must be more than 0, got -1',
    ]);
  });

  it.each([[undefined], [null], ['postgres'], [[]], [42]])('must be an object, not %j', (options) => {
    expect(refusals(options)).toHaveLength(1);
    expect(refusals(options)[0]).toMatch(/^pools\.orders: (is required: an object|must be an object, got )/);
  });

  it('cannot be changed once they are resolved', () => {
    const config = parse({ tenants: { overrides: { acme: { max: 1 } } } });
    for (const part of [
      config,
      config.tenants,
      config.tenants.overrides,
      config.tenants.overrides.acme,
      config.healthCheck,
    ]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
  });

  it('leave the object that they came in as it was', () => {
    const options = { tenants: { overrides: { acme: { max: 1 } } }, headers: { accept: 'text/plain' } };
    parse(options);
    options.tenants.overrides.acme.max = 2;
    options.headers.accept = 'text/html';
    expect(Object.isFrozen(options)).toBe(false);
  });
});
