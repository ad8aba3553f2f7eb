import { describe, expect, it } from '@jest/globals';

import { settle } from '../support/fakes/fake-clock.js';
import { fakePool } from '../support/fakes/fake-pool.js';

describe('replacing every connection after a failover', () => {
  it('cuts slow graceful closes after 250 ms while an acquire waits for their slots', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { maxSize: 2, closeTimeoutMs: 5_000, validateAfterIdleMs: 1e9 },
    });
    const leases = await Promise.all([pool.acquire('a'), pool.acquire('b')]);
    for (const lease of leases) lease.release();
    driver.closeBehaviour = 'hang';
    pool.evict();
    const waiting = pool.acquire('a');
    await clock.advance(240);
    expect([pool.numbers.closing, pool.numbers.waiting]).toEqual([2, 1]);
    await clock.advance(30);
    (await waiting).release();
    expect(driver.opened[0]?.state).toBe('killed');
  });

  it('leaves them their time while no acquire waits, and cuts them as soon as one does', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1, closeTimeoutMs: 5_000 } });
    (await pool.acquire('a')).release();
    driver.closeBehaviour = 'hang';
    pool.evict();
    await clock.advance(2_000);
    expect([pool.numbers.closing, driver.opened[0]?.state]).toEqual([1, 'open']);
    (await pool.acquire('a')).release();
    expect(driver.opened[0]?.state).toBe('killed');
  });

  it('waits neither for a ping nor for a cleaning with the old server', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { maxSize: 2, validateAfterIdleMs: 100, recycleTimeoutMs: 60_000 },
    });
    const [pinged, cleaned] = await Promise.all([pool.acquire('a'), pool.acquire('b')]);
    pinged.release();
    await clock.advance(200);
    driver.pingBehaviour = 'hang';
    driver.recycleBehaviour = 'hang';
    const first = pool.acquire('a');
    cleaned.release();
    await clock.advance(0);
    expect([pool.numbers.validating, pool.numbers.recycling]).toEqual([1, 1]);
    pool.evict();
    await settle();
    (await first).release(true);
    expect([pool.numbers.validating, pool.numbers.recycling]).toEqual([0, 0]);
  });

  it('tries again soon, but not at once, when the old server could not be reached', async () => {
    const { pool, driver, clock } = fakePool({ limits: { failFastAfterMs: 60_000, acquireTimeoutMs: 60_000 } });
    driver.openBehaviour = new Error('refused');
    const waiting = pool.acquire('a');
    await clock.advance(20_000);
    driver.openBehaviour = 'ok';
    const { opens } = driver;
    pool.evict();
    await settle();
    expect(driver.opens).toBe(opens);
    await clock.advance(60);
    (await waiting).release();
  });

  it('does not begin a hot loop when every connection is replaced as it is opened', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { minSize: 1 },
      observer: { opened: () => pool.evict(), connectFailed: () => pool.evict() },
    });
    pool.start();
    await clock.advance(1_000);
    expect(driver.opens).toBeGreaterThan(2);
    expect(driver.opens).toBeLessThan(50);
    await pool.close({ deadlineMs: 0 });
  });
});

describe('dead idle connections', () => {
  it('cost one acquire one late ping, not one after the other', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { maxSize: 10, connectConcurrency: 10, validateAfterIdleMs: 100 },
    });
    const leases = await Promise.all(Array.from({ length: 10 }, () => pool.acquire('a')));
    for (const lease of leases) lease.release();
    await clock.advance(5_000);
    driver.pingBehaviour = 'hang';
    const waiting = pool.acquire('a', { timeoutMs: 10_000 });
    await clock.advance(1_050);
    (await waiting).release();
    expect(driver.opens).toBe(11);
    await clock.advance(1_100);
    expect(pool.counters.destroyed.validation).toBe(10);
  });

  it('are kept when they answer after all', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { maxSize: 3, connectConcurrency: 3, validateAfterIdleMs: 100 },
    });
    const leases = await Promise.all(Array.from({ length: 3 }, () => pool.acquire('a')));
    for (const lease of leases) lease.release();
    await clock.advance(5_000);
    driver.pingBehaviour = new Error('reset');
    const waiting = pool.acquire('a');
    driver.pingBehaviour = 'ok';
    await settle();
    (await waiting).release();
    expect(pool.counters.destroyed.validation).toBe(1);
    expect(pool.numbers.open).toBeGreaterThanOrEqual(2);
  });
});

describe('a kill that has work left on the server', () => {
  it('takes up its place until that is done', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1 } });
    let cancelled: (() => void) | undefined;
    const lease = await pool.acquire('a');
    Object.assign(driver, { kill: () => new Promise<void>((resolve) => (cancelled = resolve)) });
    lease.release(true);
    const waiting = pool.acquire('a');
    await clock.advance(100);
    expect([pool.numbers.closing, driver.opens]).toEqual([1, 1]);
    cancelled?.();
    (await waiting).release();
    expect(driver.opens).toBe(2);
  });

  it.each([
    ['250 ms while somebody waits', true, 300],
    ['a second otherwise', false, 1_050],
  ])('takes no longer than %s, and keeps close() from ending for no longer', async (_limit, waits, afterMs) => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1, closeTimeoutMs: 5_000 } });
    const lease = await pool.acquire('a');
    Object.assign(driver, { kill: () => new Promise<void>(() => undefined) });
    lease.release(true);
    const waiting = waits ? pool.acquire('a') : undefined;
    await clock.advance(200);
    expect(pool.numbers.closing).toBe(1);
    await clock.advance(afterMs - 200);
    expect(pool.numbers.closing).toBe(0);
    (await waiting)?.release();
  });
});
