import { describe, expect, it } from '@jest/globals';

import { settle } from '../support/fakes/fake-clock.js';
import { FatalError } from '../support/fakes/fake-driver.js';
import { fakePool } from '../support/fakes/fake-pool.js';

describe('giving a connection back', () => {
  it('keeps it after an ordinary error and destroys it after a connection-class one', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    (await pool.acquire(undefined)).release(new Error('syntax error'));
    (await pool.acquire(undefined)).release(new FatalError('connection terminated'));
    expect(driver.opened[0]?.state).toBe('killed');
    const next = await pool.acquire(undefined);
    expect(next.connection.serial).toBe(2);
    expect(pool.counters.destroyed.fatal).toBe(1);
  });

  it('destroys it when the borrower says so', async () => {
    const { pool, driver } = fakePool();
    (await pool.acquire(undefined)).release(true);
    expect(driver.opened[0]?.state).toBe('killed');
    expect(pool.numbers.total).toBe(0);
  });

  it('is cleaned before the next borrower gets it, and the tenant keeps its slot meanwhile', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 }, tenants: { max: 1 } });
    driver.recycleBehaviour = 'hang';
    (await pool.acquire('acme')).release();
    const next = pool.acquire('globex');
    await settle();
    expect(pool.numbers.recycling).toBe(1);
    expect([...pool.numbers.tenants()].find((tenant) => tenant.id === 'acme')?.inUse).toBe(1);
    driver.letGo();
    const lease = await next;
    expect(lease.connection.leftBy).toEqual(['acme']);
    lease.release();
  });

  it('is destroyed when cleaning fails or takes too long, and its slot comes back', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1 } });
    driver.recycleBehaviour = new Error('rollback failed');
    (await pool.acquire(undefined)).release();
    await settle();
    expect(driver.opened[0]?.state).toBe('killed');
    driver.recycleBehaviour = 'hang';
    (await pool.acquire(undefined)).release();
    await clock.advance(300);
    expect(driver.opened[1]?.state).toBe('killed');
    expect(pool.counters.destroyed.cleaning).toBe(2);
    expect(pool.numbers.total).toBe(0);
  });

  it('retires connections by number of uses', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1, maxUses: 2 } });
    for (let i = 0; i < 4; i++) (await pool.acquire(undefined)).release();
    await settle();
    expect(driver.opens).toBe(2);
    expect(pool.counters.destroyed.uses).toBe(2);
  });

  it('replaces an idle connection that breaks, and no caller notices', async () => {
    const { pool, driver, clock } = fakePool({ limits: { minSize: 1 } });
    await pool.whenReady();
    await clock.advance(1_000);
    driver.opened[0]?.breakNow();
    await settle();
    expect(pool.numbers.idle).toBe(1);
    expect((await pool.acquire(undefined)).connection.serial).toBe(2);
  });

  it('does not put back a connection that broke while it was lent', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const lease = await pool.acquire(undefined);
    driver.opened[0]?.breakNow();
    lease.release();
    expect(pool.numbers.idle).toBe(0);
    expect(pool.counters.destroyed.broken).toBe(1);
    (await pool.acquire(undefined)).release();
  });

  it('pings a connection that was idle for long before lending it, and opens another if it is dead', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1, validateAfterIdleMs: 500 } });
    (await pool.acquire(undefined)).release();
    (await pool.acquire(undefined)).release();
    expect(driver.pings).toBe(0);
    await clock.advance(600);
    driver.pingBehaviour = new Error('broken pipe');
    const lease = await pool.acquire(undefined);
    expect(driver.pings).toBe(1);
    expect(lease.connection.serial).toBe(2);
    lease.release();
  });

  it('gives a ping a short deadline of its own, so that a half-open socket does not eat the acquire', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { maxSize: 1, validateAfterIdleMs: 500, acquireTimeoutMs: 5_000 },
    });
    (await pool.acquire(undefined)).release();
    await clock.advance(600);
    driver.pingBehaviour = 'hang';
    const waiting = pool.acquire(undefined);
    await clock.advance(1_100);
    expect((await waiting).connection.serial).toBe(2);
    expect(driver.opened[0]?.state).toBe('killed');
  });
});

describe('housekeeping', () => {
  it('closes idle connections above the minimum after idleTimeoutMs', async () => {
    const { pool, clock } = fakePool({
      limits: { minSize: 1, maxSize: 3, connectConcurrency: 3, idleTimeoutMs: 1_000 },
    });
    const leases = await Promise.all([pool.acquire(undefined), pool.acquire(undefined), pool.acquire(undefined)]);
    for (const lease of leases) lease.release();
    await clock.advance(900);
    expect(pool.numbers.idle).toBe(3);
    await clock.advance(500);
    expect(pool.numbers.idle).toBe(1);
    expect(pool.counters.destroyed.idle).toBe(2);
  });

  it('replaces connections at their maximum lifetime, each a little earlier by its own jitter', async () => {
    const randoms = [0, 1, 0.5];
    const { pool, driver, clock } = fakePool({
      limits: { minSize: 2, maxSize: 2, maxLifetimeMs: 100_000 },
      random: () => randoms.shift() ?? 0,
    });
    await pool.whenReady();
    await clock.advance(97_400);
    expect(driver.live.map((connection) => connection.serial)).toEqual([1, 2]);
    await clock.advance(1_200);
    expect(driver.live.map((connection) => connection.serial)).toEqual([1, 3]);
    await clock.advance(2_500);
    expect(driver.live.map((connection) => connection.serial)).toEqual([3, 4]);
  });

  it('keeps idle connections alive with pings', async () => {
    const { pool, driver, clock } = fakePool({ limits: { minSize: 1, keepaliveMs: 2_000 } });
    await pool.whenReady();
    await clock.advance(7_000);
    expect(driver.pings).toBeGreaterThanOrEqual(2);
    expect(pool.numbers.idle).toBe(1);
  });

  it('does not take the last idle connection while others are at work', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 2, keepaliveMs: 100, idleTimeoutMs: 100 } });
    const held = await pool.acquire(undefined);
    (await pool.acquire(undefined)).release();
    await clock.advance(2_000);
    expect(driver.pings).toBe(0);
    expect(pool.numbers.idle).toBe(1);
    held.release();
  });

  it('reports a lease that is out for too long, once, with the stack of its acquire', async () => {
    const leaks: { tenantId: string | undefined; stack?: string | undefined }[] = [];
    const { pool, clock } = fakePool({
      limits: { leakDetectionMs: 500 },
      observer: { leaked: (holder) => leaks.push(holder) },
    });
    const forgotten = await pool.acquire('acme');
    await clock.advance(3_000);
    expect(leaks).toHaveLength(1);
    expect(leaks[0]?.tenantId).toBe('acme');
    expect(leaks[0]?.stack).toContain('release.test');
    expect(pool.counters.leaks).toBe(1);
    forgotten.release();
  });

  it('does not report a lease that came back while another was reported', async () => {
    const reported: (string | undefined)[] = [];
    const { pool, clock } = fakePool({
      limits: { leakDetectionMs: 500 },
      observer: {
        leaked: ({ tenantId }) => {
          reported.push(tenantId);
          second.release();
        },
      },
    });
    const first = await pool.acquire('acme');
    const second = await pool.acquire('globex');
    await clock.advance(3_000);
    expect(reported).toEqual(['acme']);
    first.release();
  });

  it('keeps as many as the new maximum allows while those above it close gracefully', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 4, minSize: 4, connectConcurrency: 4 } });
    await pool.whenReady();
    driver.closeBehaviour = 'hang';
    pool.changeLimits({ maxSize: 2, minSize: 0 });
    expect([pool.numbers.idle, pool.numbers.closing]).toEqual([2, 2]);
    const leases = await Promise.all([pool.acquire(undefined), pool.acquire(undefined)]);
    for (const lease of leases) lease.release();
    expect([pool.numbers.idle, pool.numbers.closing]).toEqual([2, 2]);
  });
});
