import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';

import { afterEach, describe, expect, it } from '@jest/globals';

import { LeaseScope } from '../../lib/engine/lease-scope.js';
import {
  NestedAcquireError,
  PoolConfigError,
  TenantInvalidError,
  TenantLimitError,
  TenantRequiredError,
} from '../../lib/errors.js';
import { createExternalPool, type ExternalPool } from '../../lib/external/external-pool.js';
import { type ExternalPoolOptions, parseExternalPoolOptions } from '../../lib/external/external-pool.options.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { type FakeConnection, FakeDriver, FatalError } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';
import { problemsOf } from '../support/problems.js';

const pools: ExternalPool<FakeConnection>[] = [];

function setUp(options: Omit<ExternalPoolOptions, 'driver'> = {}) {
  const driver = new FakeDriver();
  const tenants = new TenantContext();
  const clock = new FakeClock();
  const logger = new LogBook();
  const config = parseExternalPoolOptions('orders', { maxSize: 3, ...options, driver }, {});
  const pool = createExternalPool('orders', driver, config, {
    tenants,
    clock,
    logger,
    random: () => 0.5,
    owner: 'test',
  });
  pools.push(pool);
  return { pool, driver, tenants, clock, logger };
}

afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close({ deadlineMs: 0 });
});

describe('whose work a pool does', () => {
  it("is that of the running code's tenant", async () => {
    const { pool, tenants } = setUp();
    await tenants.run('acme', async () => {
      await using lease = await pool.acquire();
      expect(lease.tenantId).toBe('acme');
    });
    await using lease = await pool.acquire();
    expect(lease.tenantId).toBeUndefined();
  });

  it('can be fixed by a view, which is the same pool', async () => {
    const { pool, tenants } = setUp({ tenants: { max: 1, whenFull: 'reject' } });
    const acme = pool.forTenant('acme');
    await using held = await acme.acquire();
    expect(held.tenantId).toBe('acme');
    expect(acme.stats().tenant('acme')?.active).toBe(1);
    expect(pool.stats().active).toBe(1);
    expect(acme.constructor.name).toContain('Pool');
    await expect(tenants.run('acme', () => pool.acquire())).rejects.toBeInstanceOf(TenantLimitError);
    await using other = await tenants.run('acme', () => pool.forTenant('globex').acquire());
    expect(other.tenantId).toBe('globex');
  });

  it('is that of the context, unless another is named visibly', async () => {
    const { pool, tenants } = setUp();
    await expect(tenants.run('acme', () => pool.acquire({ tenantId: 'globex' }))).rejects.toBeInstanceOf(
      TenantInvalidError,
    );
    await expect(pool.unscoped().acquire({ tenantId: 'globex' })).rejects.toBeInstanceOf(TenantInvalidError);
    await using named = await pool.acquire({ tenantId: 'globex' });
    expect(named.tenantId).toBe('globex');
    await using same = await tenants.run('acme', () => pool.acquire({ tenantId: 'acme' }));
    expect(same.tenantId).toBe('acme');
  });

  it('must be there where a tenant is required; unscoped() is the way out, and it is counted', async () => {
    const { pool } = setUp({ tenants: { required: true } });
    await expect(pool.acquire()).rejects.toBeInstanceOf(TenantRequiredError);
    expect(() => pool.tryAcquire()).toThrow(TenantRequiredError);
    await using lease = await pool.unscoped().acquire();
    expect(lease.tenantId).toBeUndefined();
    expect(pool.stats().unscopedUses).toBe(1);
  });

  it('is refused when the id is malformed', () => {
    const { pool } = setUp();
    expect(() => pool.forTenant('')).toThrow(TenantInvalidError);
    expect(() => pool.forTenant('a\u0000b')).toThrow(TenantInvalidError);
  });
});

describe('use()', () => {
  it('gives the slot back however the function ends, and keeps the connection after an ordinary error', async () => {
    const { pool, driver } = setUp({ maxSize: 1 });
    expect(await pool.use((connection) => connection.serial)).toBe(1);
    await expect(pool.use(() => Promise.reject(new Error('no such table')))).rejects.toThrow('no such table');
    expect(await pool.use((connection) => connection.serial)).toBe(1);
    await expect(pool.use(() => Promise.reject(new FatalError('reset')))).rejects.toThrow('reset');
    expect(driver.opened[0]?.state).toBe('killed');
    expect(await pool.use((connection) => connection.serial)).toBe(2);
    expect(pool.stats().active).toBe(0);
  });

  it('recognises an acquire inside it that could never be granted', async () => {
    const { pool } = setUp({ maxSize: 1 });
    await expect(pool.use(() => pool.use(() => 'never'))).rejects.toBeInstanceOf(NestedAcquireError);
    await expect(pool.use(() => pool.acquire())).rejects.toBeInstanceOf(NestedAcquireError);
    expect(await pool.use(() => 'still works')).toBe('still works');
  });

  it('keeps the tenant of its caller inside', async () => {
    const { pool, tenants } = setUp();
    expect(await tenants.run('acme', () => pool.use(() => tenants.current()))).toBe('acme');
  });
});

describe('the end of a request', () => {
  const inScope = <T>(tenants: TenantContext, scope: LeaseScope, fn: () => T): T =>
    tenants.runFrame({ tenantId: 'acme', scope, holding: undefined }, fn);

  it('makes no connection count as fresh for longer than validateAfterIdleMs', async () => {
    const { pool, driver, tenants, clock } = setUp({ maxSize: 1, validateAfterIdleMs: 0 });
    (await pool.acquire()).release();
    const { pings } = driver;
    await clock.advance(1);
    const scope = new LeaseScope();
    (await inScope(tenants, scope, () => pool.acquire())).release();
    expect(driver.pings).toBe(pings + 1);
    expect(scope.size).toBe(0);
  });

  it('takes back what was acquired and forgotten, and destroys its connection', async () => {
    const { pool, driver, tenants } = setUp();
    const scope = new LeaseScope();
    const forgotten = await inScope(tenants, scope, () => pool.acquire());
    const returned = await inScope(tenants, scope, () => pool.acquire());
    returned.release();
    expect(scope.end()).toMatchObject([{ state: 'leased', poolId: 'orders', tenantId: 'acme' }]);
    expect(forgotten.released).toBe(true);
    expect(driver.opened[0]?.state).toBe('killed');
    expect(driver.opened[1]?.state).toBe('open');
    // Whoever had it may release it once more: it was taken away, not given back.
    forgotten.release();
    expect(pool.stats().doubleReleases).toBe(0);
    forgotten.release();
    expect(pool.stats().doubleReleases).toBe(1);
  });

  describe.each([
    ['acquire', (pool: ExternalPool<FakeConnection>) => pool.acquire()],
    [
      'acquire with a signal and a time-out of its own',
      (pool: ExternalPool<FakeConnection>) => pool.acquire({ signal: new AbortController().signal, timeoutMs: 60_000 }),
    ],
    ['acquire of a view', (pool: ExternalPool<FakeConnection>) => pool.forTenant('acme').acquire()],
    ['use', (pool: ExternalPool<FakeConnection>) => pool.use(() => 'served')],
  ])('while it waits for a slot: %s', (_, ask) => {
    it('withdraws the wait, and another request gets the slot', async () => {
      const { pool, tenants } = setUp({ maxSize: 1 });
      const scope = new LeaseScope();
      const held = await pool.acquire();
      const waiting = inScope(tenants, scope, () => ask(pool));
      expect({ waiting: pool.stats().waiting, inScope: scope.size }).toEqual({ waiting: 1, inScope: 1 });
      const next = pool.acquire();
      expect(scope.end()).toMatchObject([{ state: 'waiting', poolId: 'orders', tenantId: 'acme' }]);
      await expect(waiting).rejects.toMatchObject({ code: 'POOL_REQUEST_ENDED', poolId: 'orders', tenantId: 'acme' });
      held.release();
      (await next).release();
      expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
    });

    it('leaves it alone where the work was detached from the request', async () => {
      const { pool, tenants } = setUp({ maxSize: 1 });
      const scope = new LeaseScope();
      const held = await pool.acquire();
      const waiting = inScope(tenants, scope, () => tenants.runDetached('acme', () => ask(pool)));
      expect(scope.end()).toEqual([]);
      held.release();
      const outcome = await waiting;
      if (typeof outcome !== 'string') {
        expect(outcome).toMatchObject({ tenantId: 'acme', released: false });
        outcome.release();
      }
    });

    it('is no unhandled rejection where the caller awaits nothing', async () => {
      const { pool, tenants } = setUp({ maxSize: 1 });
      const scope = new LeaseScope();
      const held = await pool.acquire();
      void inScope(tenants, scope, () => ask(pool));
      scope.end();
      expect(pool.stats().waiting).toBe(0);
      // Jest fails what is running when a rejection is found to be unhandled.
      await turn();
      await turn();
      held.release();
    });
  });

  it('takes back a lease that was granted after a wait, and only once it is granted', async () => {
    const { pool, tenants } = setUp({ maxSize: 1 });
    const scope = new LeaseScope();
    const held = await pool.acquire();
    const waiting = inScope(tenants, scope, () => pool.acquire());
    held.release();
    // Granted in the same step; its caller has not heard of it yet.
    expect(scope.end()).toMatchObject([{ state: 'leased' }]);
    expect((await waiting).released).toBe(true);
    expect(pool.stats().active).toBe(0);
  });

  it("still ends a wait by the caller's own signal", async () => {
    const { pool, tenants } = setUp({ maxSize: 1 });
    const scope = new LeaseScope();
    const held = await pool.acquire();
    const abort = new AbortController();
    const waiting = inScope(tenants, scope, () => pool.acquire({ signal: abort.signal }));
    abort.abort(new Error('enough'));
    await expect(waiting).rejects.toMatchObject({ code: 'POOL_ACQUIRE_ABORTED', cause: new Error('enough') });
    await expect(inScope(tenants, scope, () => pool.acquire({ signal: abort.signal }))).rejects.toMatchObject({
      code: 'POOL_ACQUIRE_ABORTED',
    });
    expect(scope.size).toBe(0);
    held.release();
  });

  it('ends the other work too when the end of one piece throws', async () => {
    const { pool, tenants } = setUp();
    const scope = new LeaseScope();
    const forgotten = await inScope(tenants, scope, () => pool.acquire());
    const takeBack = (): never => {
      throw new Error('no end');
    };
    scope.join({ poolId: 'orders', tenantId: 'acme', since: Date.now(), state: 'open', takeBack });
    expect(scope.end()).toMatchObject([{ state: 'open', failure: new Error('no end') }, { state: 'leased' }]);
    expect(forgotten.released).toBe(true);
  });

  it('leaves alone what was detached from it', async () => {
    const { pool, tenants } = setUp();
    const scope = new LeaseScope();
    const detached = (await inScope(tenants, scope, () => pool.acquire())).detach();
    expect(scope.end()).toEqual([]);
    expect(detached.released).toBe(false);
    detached.release();
  });

  it('does not cut a use(), which ends by itself: a client that goes away must not undo work half way', async () => {
    const { pool, tenants } = setUp();
    const scope = new LeaseScope();
    let begun: () => void = () => undefined;
    const inside = new Promise<void>((resolve) => (begun = resolve));
    let finish: () => void = () => undefined;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const working = inScope(tenants, scope, () =>
      pool.use(async (connection) => {
        begun();
        await finished;
        return connection.serial;
      }),
    );
    await inside;
    expect(scope.end()).toEqual([]);
    finish();
    expect(await working).toBe(1);
  });
});

describe('events', () => {
  it('run each listener in the context that added it, and survive one that throws', async () => {
    const { pool, tenants, driver, logger } = setUp();
    const who = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    who.run('listener', () => pool.on('connectError', () => seen.push(who.getStore())));
    pool.on('connectError', () => {
      throw new Error('listener is broken');
    });
    pool.once('connectError', () => seen.push('once'));
    const removed = () => seen.push('removed');
    pool.on('connectError', removed).off('connectError', removed);
    driver.openBehaviour = new Error('refused');
    const acquire = tenants.run('acme', () => pool.acquire());
    acquire.catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    expect(seen).toEqual(['listener', 'once']);
    expect(logger.says(/listener is broken/)).toBe(true);
  });

  it('report the end of the pool once', async () => {
    const { pool } = setUp();
    const reports: string[] = [];
    pool.on('close', (report) => reports.push(report.poolId));
    await Promise.all([pool.close({ deadlineMs: 0 }), pool.close({ deadlineMs: 0 })]);
    expect(reports).toEqual(['orders']);
    expect(pool.status).toBe('closed');
  });
});

describe('the log', () => {
  it('tells of one outage once, and of its changes of status', async () => {
    const { pool, driver, clock, logger } = setUp({ minSize: 1 });
    driver.openBehaviour = new Error('ECONNREFUSED');
    void pool.start().catch(() => undefined);
    await clock.advance(60_000);
    expect(driver.opens).toBeGreaterThan(20);
    expect(logger.lines.filter((line) => line.startsWith('warn'))).toEqual([
      'warn: Pool "orders" could not connect: Error: ECONNREFUSED',
      'warn: Pool "orders" is unhealthy: Error: ECONNREFUSED',
    ]);
    driver.openBehaviour = 'ok';
    // Until it has been back for a while the next failure is still the same outage.
    await clock.advance(15_000);
    expect(logger.lines.at(-1)).toBe('log: Pool "orders" is healthy');
    logger.lines.length = 0;
    driver.openBehaviour = new Error('ETIMEDOUT');
    driver.opened.at(-1)?.breakNow();
    await clock.advance(10_000);
    const warnings = logger.lines.filter((line) => line.startsWith('warn'));
    expect(warnings).toHaveLength(2);
    expect(warnings).toEqual([expect.stringContaining('is degraded'), expect.stringContaining('is unhealthy')]);
  });

  it('tells once of a server that is full, while the pool goes on', async () => {
    const { pool, driver, clock, logger } = setUp({ maxSize: 3 });
    Object.assign(driver, { isServerFull: (error: unknown) => String(error).includes('too many') });
    await pool.start();
    driver.openBehaviour = new Error('too many clients');
    const lease = await pool.acquire();
    const waiting = pool.acquire({ timeoutMs: 60_000 });
    await clock.advance(20_000);
    expect(driver.opens).toBeGreaterThan(5);
    expect(pool.status).toBe('degraded');
    expect(logger.lines.filter((line) => line.startsWith('warn'))).toEqual([
      'warn: Pool "orders" is degraded: Error: too many clients',
    ]);
    lease.release();
    (await waiting).release();
  });
});

describe('a pool that is used before anything has started it', () => {
  it('has the status of its backend', async () => {
    const { pool, driver, clock } = setUp();
    expect(pool.status).toBe('starting');
    (await pool.acquire()).release();
    expect(pool.status).toBe('healthy');
    driver.pingBehaviour = new Error('reset');
    driver.openBehaviour = new Error('ECONNREFUSED');
    await clock.advance(120_000);
    expect(pool.status).toBe('unhealthy');
  });
});

describe('listeners that call the pool', () => {
  const done = (promise: Promise<unknown>): void => void promise.catch(() => undefined);

  it.each<[string, (pool: ExternalPool<FakeConnection>) => void]>([
    ['close it', (pool) => done(pool.close({ deadlineMs: 0 }))],
    ['acquire', (pool) => done(pool.acquire({ timeoutMs: 1 }).then((lease) => lease.release()))],
    ['tryAcquire', (pool) => pool.tryAcquire()?.release()],
    ['resize it', (pool) => pool.resize({ minSize: 0, maxSize: 1 })],
    ['replace its connections', (pool) => pool.evict()],
    ['suspend and resume it', (pool) => (pool.suspend('reject'), pool.resume())],
    ['check it', (pool) => done(pool.healthCheck())],
    ['listen once more', (pool) => void pool.once('status', () => undefined)],
    [
      'throw',
      () => {
        throw new Error('listener is broken');
      },
    ],
  ])('%s: every event, no slot lost, one close', async (_, act) => {
    const { pool, driver, clock } = setUp({ maxSize: 2, leakDetectionMs: 1_000 });
    const seen: string[] = [];
    const listen = (event: 'status' | 'leak' | 'connectError' | 'close'): void => {
      pool.on(event, () => {
        seen.push(event);
        act(pool);
      });
    };
    for (const event of ['status', 'leak', 'connectError', 'close'] as const) listen(event);
    done(pool.start());
    await clock.advance(0);
    const lease = pool.tryAcquire();
    await clock.advance(5_000);
    driver.openBehaviour = new Error('ECONNREFUSED');
    if (lease !== undefined) driver.opened[0]?.breakNow();
    if (lease?.released === false) lease.release();
    await clock.advance(5_000);
    driver.openBehaviour = 'ok';
    await clock.advance(10_000);
    if (pool.status !== 'closed') {
      (await pool.acquire()).release();
      await clock.advance(5_000);
    }
    await pool.close({ deadlineMs: 0 });
    await pool.close({ deadlineMs: 0 });
    expect(seen.filter((event) => event === 'close')).toEqual(['close']);
    expect(pool.stats()).toMatchObject({ active: 0, waiting: 0, total: 0 });
    expect(driver.live).toEqual([]);
  });
});

describe('changing a pool while it runs', () => {
  it('refuses sizes that make no sense, all at once', () => {
    const { pool } = setUp();
    expect(() => pool.resize({ maxSize: 0, minSize: -1 })).toThrow(PoolConfigError);
    expect(() => pool.resize({ minSize: 5, maxSize: 2 })).toThrow(/must be at least minSize \(5\), got 2/);
  });

  it('applies new tenant limits to those at work', async () => {
    const { pool } = setUp({ tenants: { max: 1 } });
    const acme = pool.forTenant('acme');
    const first = await acme.acquire();
    const second = acme.acquire();
    expect(pool.stats().waiting).toBe(1);
    pool.limitTenants({ max: 2 });
    (await second).release();
    first.release();
  });

  it('applies limits to one tenant, and refuses those that make no sense', async () => {
    const { pool } = setUp({ tenants: { max: 1, whenFull: 'reject' } });
    pool.limitTenants({ max: 2 }, 'acme');
    await using first = await pool.forTenant('acme').acquire();
    await using second = await pool.forTenant('acme').acquire();
    expect([first.tenantId, second.tenantId]).toEqual(['acme', 'acme']);
    await using other = await pool.forTenant('globex').acquire();
    expect(other.tenantId).toBe('globex');
    await expect(pool.forTenant('globex').acquire()).rejects.toBeInstanceOf(TenantLimitError);
    expect(() => pool.limitTenants({ weight: 0 })).toThrow(PoolConfigError);
    expect(() => pool.limitTenants({ max: Number.NaN })).toThrow(PoolConfigError);
  });
});

describe('limits that are changed while the pool runs', () => {
  const refusalOf = (options: Omit<ExternalPoolOptions, 'driver'>): string[] =>
    problemsOf(() => parseExternalPoolOptions('orders', { driver: new FakeDriver(), ...options }, {}));

  it.each<[string, Omit<ExternalPoolOptions, 'driver'>, (pool: ExternalPool<FakeConnection>) => void]>([
    ['maxSize 0', { maxSize: 0 }, (pool) => pool.resize({ maxSize: 0 })],
    ['more minSize than maxSize', { minSize: 9, maxSize: 3 }, (pool) => pool.resize({ minSize: 9 })],
    ['a weight of 0', { tenants: { weight: 0 } }, (pool) => pool.limitTenants({ weight: 0 })],
    ['a fraction of a slot', { tenants: { reserved: 0.5 } }, (pool) => pool.limitTenants({ reserved: 0.5 })],
    [
      'more reserved than maxSize',
      { maxSize: 3, tenants: { reserved: 4 } },
      (pool) => pool.limitTenants({ reserved: 4 }),
    ],
    [
      'more reserved than max',
      { maxSize: 3, tenants: { max: 1, reserved: 2 } },
      (pool) => pool.limitTenants({ max: 1, reserved: 2 }),
    ],
    [
      'more reserved for one than its max',
      { maxSize: 3, tenants: { overrides: { acme: { max: 1, reserved: 2 } } } },
      (pool) => pool.limitTenants({ max: 1, reserved: 2 }, 'acme'),
    ],
  ])('are refused by the rules of the start, and change nothing: %s', (_, options, change) => {
    const { pool } = setUp({ maxSize: 3 });
    const before = pool.stats();
    const problems = problemsOf(() => change(pool));
    // The wording of a start says a little more of what came in.
    expect(problems.map((problem) => problem.split(':')[0])).toEqual(
      refusalOf(options).map((problem) => problem.split(':')[0]),
    );
    expect(pool.stats()).toEqual(before);
  });

  it('are refused in all combinations with what holds already', () => {
    const { pool } = setUp({
      maxSize: 6,
      tenants: { reserved: 2, max: 3, overrides: { acme: {}, globex: { reserved: 3 } } },
    });
    expect(problemsOf(() => pool.resize({ maxSize: 4 }))).toEqual([
      'pools.orders.tenants.overrides: must not reserve more than maxSize (4) slots together, got 5',
    ]);
    expect(problemsOf(() => pool.limitTenants({ max: 1 }))).toContain(
      'pools.orders.tenants.reserved: must be at most tenants.max (1), got 2',
    );
    expect(problemsOf(() => pool.limitTenants({ reserved: 2 }, 'initech'))).toEqual([
      'pools.orders.tenants.overrides: must not reserve more than maxSize (6) slots together, got 7',
    ]);
    expect(problemsOf(() => pool.limitTenants({ max: 1 }, 'acme'))).toEqual([
      "pools.orders.tenants.overrides.acme.reserved: must be at most the tenant's max (1), got 2",
    ]);
  });

  it.each<[string, unknown, string]>([
    ['more reserved than its max', { max: 1, reserved: 2 }, "reserved: must be at most the tenant's max (1), got 2"],
    ['more reserved than the pool has', { reserved: 9 }, 'reserved: must be at most maxSize (3), got 9'],
    ['no number', { max: Number.NaN }, 'max: must be a whole number'],
    ['an unknown option', { maximum: 1 }, 'maximum: is not an option'],
    ['null', null, 'must be an object, got null'],
    ['a promise', Promise.reject(new Error('late')), 'got a promise'],
  ])(
    'are refused where tenants.resolve gives %s: that acquire fails, typed, and no slot is lost',
    async (_, answer, message) => {
      const { pool } = setUp({
        maxSize: 3,
        tenants: { resolve: (id) => (id === 'bad' ? answer : undefined) as undefined },
      });
      const acquire = pool.forTenant('bad').acquire();
      await expect(acquire).rejects.toBeInstanceOf(PoolConfigError);
      await expect(acquire).rejects.toThrow(message);
      expect(() => pool.forTenant('bad').tryAcquire()).toThrow(PoolConfigError);
      await expect(pool.forTenant('bad').use(() => 'never')).rejects.toBeInstanceOf(PoolConfigError);
      const all = await Promise.all([1, 2, 3].map(() => pool.forTenant('good').acquire()));
      for (const lease of all) lease.release();
      expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
    },
  );
});

describe.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf', 'then'])(
  'a tenant called %s',
  (id) => {
    const one = (limits: object): Record<string, object> => Object.fromEntries([[id, limits]]);

    it('has overrides, limits, and statistics like any other', async () => {
      const { pool, tenants } = setUp({
        maxSize: 4,
        tenants: { max: 3, whenFull: 'reject', overrides: one({ max: 1 }) },
      });
      await using first = await pool.forTenant(id).acquire();
      await expect(tenants.run(id, () => pool.acquire())).rejects.toBeInstanceOf(TenantLimitError);
      expect(pool.stats().tenant(id)).toMatchObject({ tenantId: id, active: 1, max: 1, rejections: 1 });
      pool.limitTenants({ max: 2 }, id);
      await using second = await tenants.run(id, () => pool.acquire());
      expect([first.tenantId, second.tenantId]).toEqual([id, id]);
      expect(pool.stats().tenant(id)).toMatchObject({ active: 2, max: 2 });
      pool.limitTenants({ weight: 5 }, id);
      expect(pool.stats().tenant(id)?.max).toBe(2);
      await using other = await pool.forTenant('acme').acquire();
      expect(pool.stats().tenant('acme')).toMatchObject({ active: 1, max: 3 });
      expect(other.tenantId).toBe('acme');
      expect(JSON.parse(JSON.stringify(pool.stats()))).toMatchObject({
        tenants: [{ tenantId: id }, { tenantId: 'acme' }],
      });
    });

    it('has no limits where none were given', async () => {
      const { pool } = setUp({ maxSize: 4, tenants: { max: 3, overrides: { acme: { max: 1 } } } });
      await using lease = await pool.forTenant(id).acquire();
      expect(pool.stats().tenant(lease.tenantId)).toMatchObject({ max: 3, active: 1 });
      expect(pool.stats().tenant('nobody')).toBeUndefined();
    });

    it('is refused limits that are wrong', () => {
      expect(problemsOf(() => setUp({ tenants: { overrides: one({ max: -1 }) } }))).toEqual([
        `pools.orders.tenants.overrides.${id}.max: must be a whole number, at least 1, or Infinity, got -1`,
      ]);
      const { pool } = setUp({ maxSize: 3 });
      expect(problemsOf(() => pool.limitTenants({ max: 1, reserved: 2 }, id))).toEqual([
        `pools.orders.tenants.overrides.${id}.reserved: must be at most the tenant's max (1), got 2`,
      ]);
    });
  },
);

describe('a duration that is none', () => {
  it.each([0, -1, Number.NaN, -Infinity])('is no time at all: %d', async (none) => {
    const { pool, driver, clock } = setUp({ maxSize: 1 });
    const held = await pool.acquire();
    const refused = expect(pool.acquire({ timeoutMs: none })).rejects.toMatchObject({ code: 'POOL_ACQUIRE_TIMEOUT' });
    await clock.advance(20);
    await refused;
    driver.pingBehaviour = 'hang';
    pool.start().catch(() => undefined);
    const checked = pool.healthCheck({ waitMs: none, maxAgeMs: none });
    await clock.advance(0);
    expect(await checked).toMatchObject({ status: 'healthy' });
    const closed = pool.close({ deadlineMs: none });
    expect(held.released).toBe(true);
    expect(await closed).toMatchObject({ cut: 1 });
  });

  it('is without end where it is Infinity, for a wait and for the leases of a close', async () => {
    const { pool, clock } = setUp({ maxSize: 1, healthCheck: { intervalMs: 0 }, idleTimeoutMs: 0, maxLifetimeMs: 0 });
    const held = await pool.acquire();
    const waiting = pool.acquire({ timeoutMs: Infinity });
    await clock.advance(100_000);
    expect(pool.stats()).toMatchObject({ waiting: 1, timeouts: { pool: 0 } });
    held.release();
    const next = await waiting;
    const closed = pool.close({ deadlineMs: Infinity });
    await clock.advance(100_000);
    expect(next.released).toBe(false);
    void pool.close({ deadlineMs: 0 });
    expect(await closed).toMatchObject({ cut: 1 });
  });
});

describe('jobs that begin each other inside use', () => {
  it('do not hold on to the leases of those that are over', async () => {
    const { pool, clock } = setUp();
    let earlier: unknown;
    let job: (() => Promise<unknown>) | undefined;
    await pool.use((_connection, lease) => {
      // Made inside the use, runs after it: what a timer that is set there does.
      job = AsyncLocalStorage.bind(() => pool.use((_again, next) => next.within));
      earlier = lease;
    });
    await clock.advance(0);
    expect(earlier).toBeDefined();
    expect(await job?.()).toBeUndefined();
  });
});
