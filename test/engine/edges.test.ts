import { describe, expect, it } from '@jest/globals';

import { FOLLOWS_MAX_SIZE } from '../../lib/engine/limits.js';
import { PoolSuspendedError, QueueFullError, TenantLimitError } from '../../lib/errors.js';
import { settle } from '../support/fakes/fake-clock.js';
import { fakePool, type FakePoolOptions } from '../support/fakes/fake-pool.js';

const edges: [string, FakePoolOptions][] = [
  ['maxQueue: 0', { limits: { maxQueue: 0 } }],
  ['maxWaiting: 0', { tenants: { maxWaiting: 0 } }],
  ["whenFull: 'reject'", { tenants: { whenFull: 'reject', max: 1 } }],
  ['minSize: 0', { limits: { minSize: 0 } }],
  ['minSize as large as maxSize', { limits: { minSize: 2 } }],
  ['maxSize: 1', { limits: { maxSize: 1 } }],
  ['validateAfterIdleMs: 0', { limits: { validateAfterIdleMs: 0 } }],
  ['maxUses: 1', { limits: { maxUses: 1 } }],
  ['failFastAfterMs: 0', { limits: { failFastAfterMs: 0 } }],
  ['reserved as large as maxSize', { tenants: { reserved: 2 } }],
  ['reserved for another', { tenants: { overrides: { vip: { reserved: 2 } } } }],
  ['tenants.max: 1', { tenants: { max: 1 } }],
  ['maxUnknown: 0', { tenants: { maxUnknown: 0, known: () => false } }],
  ['an idle time beyond the range of a timer', { limits: { idleTimeoutMs: 1e12 } }],
  ['no end of an idle time', { limits: { idleTimeoutMs: Infinity, keepaliveMs: Infinity } }],
  ['a lifetime beyond the range of a timer', { limits: { maxLifetimeMs: 1e12 } }],
  ['time-outs without end', { limits: { acquireTimeoutMs: Infinity, connectTimeoutMs: Infinity } }],
  ['graceful closes without time', { limits: { closeTimeoutMs: 0, maxUses: 1 } }],
  [
    'nothing may wait at all',
    { limits: { maxQueue: 0, validateAfterIdleMs: 0, minSize: 0, maxSize: 1 }, tenants: { maxWaiting: 0, max: 1 } },
  ],
];

describe('an idle healthy pool serves', () => {
  it.each(edges)(
    'with %s: cold, when its connection is warm, and when it has been idle for long',
    async (_name, options) => {
      const { pool, clock } = fakePool({ ...options, limits: { validateAfterIdleMs: 500, ...options.limits } });
      for (const pauseMs of [0, 0, 1, 600, 86_400_000]) {
        await clock.advance(pauseMs);
        const lease = await pool.acquire('acme');
        expect(lease.released).toBe(false);
        await clock.advance(5);
        lease.release();
        await settle();
      }
      await pool.close({ deadlineMs: 0 });
    },
  );

  it.each(edges)(
    'with %s: whatever a request with no time waits for is there within a tick',
    async (_name, options) => {
      const { pool, clock } = fakePool({ ...options, limits: { validateAfterIdleMs: 500, ...options.limits } });
      for (const timeoutMs of [0, -1, Number.NaN, Infinity]) {
        await clock.advance(600);
        const lease = await pool.acquire('acme', { timeoutMs });
        expect(lease.released).toBe(false);
        lease.release();
      }
    },
  );
});

describe('bounds of the queue', () => {
  it('with maxQueue 0 serve as many at once as there are slots, and refuse the next', async () => {
    const { pool } = fakePool({ limits: { maxSize: 3, maxQueue: 0, connectConcurrency: 1 } });
    const leases = await Promise.all([pool.acquire('a'), pool.acquire('b'), pool.acquire('c')]);
    await expect(pool.acquire('d')).rejects.toBeInstanceOf(QueueFullError);
    for (const lease of leases) lease.release();
    (await pool.acquire('d')).release();
  });

  it('count those that no slot is free for: a cold pool has its whole queue', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 2, maxQueue: 2 } });
    driver.openBehaviour = 'hang';
    const waiting = Array.from({ length: 4 }, () => pool.acquire('a'));
    expect(pool.numbers.waiting).toBe(4);
    await expect(pool.acquire('a')).rejects.toBeInstanceOf(QueueFullError);
    driver.openBehaviour = 'ok';
    driver.letGo();
    for (const acquire of waiting) (await acquire).release();
  });

  it('with maxWaiting 0 let a tenant have its maximum at once, and refuse it the next', async () => {
    const { pool } = fakePool({ limits: { maxSize: 5 }, tenants: { maxWaiting: 0, max: 2 } });
    const leases = await Promise.all([pool.acquire('a'), pool.acquire('a')]);
    await expect(pool.acquire('a')).rejects.toBeInstanceOf(TenantLimitError);
    for (const lease of leases) lease.release();
  });

  it('hold while the pool is suspended: no slot is free then', async () => {
    const { pool } = fakePool({ limits: { maxQueue: 1 } });
    (await pool.acquire('a')).release();
    pool.suspend();
    const waiting = pool.acquire('a');
    await expect(pool.acquire('a')).rejects.toBeInstanceOf(QueueFullError);
    pool.resume();
    (await waiting).release();
  });
});

describe('without waiting', () => {
  it('a pool with room has a connection the next time', async () => {
    const { pool, driver } = fakePool();
    expect(pool.tryAcquire('a')).toBeUndefined();
    expect(pool.tryAcquire('a')).toBeUndefined();
    await settle();
    expect([driver.opens, pool.numbers.knownTenants]).toEqual([1, 0]);
    const first = pool.tryAcquire('a');
    expect(first).toBeDefined();
    expect(pool.tryAcquire('b')).toBeUndefined();
    await settle();
    expect(pool.tryAcquire('b')).toBeDefined();
    expect(pool.tryAcquire('c')).toBeUndefined();
    await settle();
    expect([driver.opens, pool.numbers.total]).toEqual([2, 2]);
  });

  it.each([0, 500])(
    'a connection that was idle for long has been pinged the next time (validateAfterIdleMs %d)',
    async (ms) => {
      const { pool, driver, clock } = fakePool({ limits: { validateAfterIdleMs: ms } });
      (await pool.acquire('a')).release();
      await clock.advance(60_000);
      expect(pool.tryAcquire('a')).toBeUndefined();
      await clock.advance(20);
      expect(pool.tryAcquire('a')).toBeDefined();
      expect([driver.pings, driver.opens]).toEqual([1, 1]);
    },
  );

  it.each(['suspended', 'failing', 'at its maximum', 'closed'])(
    'nothing is opened while the pool is %s',
    async (how) => {
      const { pool, driver, clock } = fakePool({ tenants: { max: 1 } });
      if (how === 'suspended') pool.suspend();
      if (how === 'closed') await pool.close({ deadlineMs: 0 });
      if (how === 'at its maximum') await pool.acquire('a');
      if (how === 'failing') {
        driver.openBehaviour = new Error('refused');
        void pool.acquire('b').catch(() => undefined);
        await clock.advance(1);
      }
      const { opens } = driver;
      for (let attempt = 0; attempt < 5; attempt++) expect(pool.tryAcquire('a')).toBeUndefined();
      await settle();
      expect(driver.opens).toBe(opens);
    },
  );
});

describe('suspending to refuse', () => {
  it('refuses those that wait already, with how long they did', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 1 } });
    await pool.acquire('a');
    const waiting = [pool.acquire('a'), pool.acquire('b'), pool.acquire(undefined)].map((acquire) =>
      acquire.catch((error: unknown) => error),
    );
    await clock.advance(100);
    pool.suspend();
    expect(pool.numbers.waiting).toBe(3);
    pool.suspend('reject');
    for (const error of await Promise.all(waiting)) {
      expect(error).toBeInstanceOf(PoolSuspendedError);
      expect(String(error)).toMatch(/not resumed within 100 ms/);
    }
    expect(pool.counters.rejections.suspended).toBe(3);
  });
});

describe('resizing', () => {
  it.each([
    ['moves connectConcurrency where it was left to its default', true, 10],
    ['leaves one alone that was chosen', false, 2],
  ])('%s', async (_what, follows, connects) => {
    const { pool, driver } = fakePool({ limits: { maxSize: 8, connectConcurrency: 2, [FOLLOWS_MAX_SIZE]: follows } });
    driver.openBehaviour = 'hang';
    pool.changeLimits({ maxSize: 40 });
    expect(pool.limits.connectConcurrency).toBe(connects);
    for (let count = 0; count < 40; count++) void pool.acquire(undefined).catch(() => undefined);
    expect(pool.numbers.connecting).toBe(connects);
    await pool.close({ deadlineMs: 0 });
  });

  it('no longer moves one that was chosen while running', () => {
    const { pool } = fakePool({ limits: { [FOLLOWS_MAX_SIZE]: true } });
    pool.changeLimits({ connectConcurrency: 3 });
    pool.changeLimits({ maxSize: 100 });
    expect(pool.limits.connectConcurrency).toBe(3);
  });
});
