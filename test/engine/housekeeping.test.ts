import { describe, expect, it } from '@jest/globals';

import { settle } from '../support/fakes/fake-clock.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { fakePool } from '../support/fakes/fake-pool.js';

function countPings(driver: { ping(connection: FakeConnection, signal: AbortSignal): Promise<void> }) {
  const pings = new Map<FakeConnection, number>();
  const ping = driver.ping.bind(driver);
  driver.ping = (connection, signal) => {
    pings.set(connection, (pings.get(connection) ?? 0) + 1);
    return ping(connection, signal);
  };
  return pings;
}

describe('keepalive', () => {
  it.each([1, 2, 3, 10, 20, 50])('pings each of %d idle connections as often as it says', async (size) => {
    const { pool, driver, clock } = fakePool({
      limits: { minSize: size, maxSize: size, connectConcurrency: size, keepaliveMs: 1_000 },
    });
    const pings = countPings(driver);
    await pool.whenReady();
    await clock.advance(10_500);
    expect(pings.size).toBe(size);
    for (const count of pings.values()) expect(count).toBeGreaterThanOrEqual(9);
    for (const count of pings.values()) expect(count).toBeLessThanOrEqual(10);
  });

  it('leaves some to serve while others are pinged', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { minSize: 4, maxSize: 4, connectConcurrency: 4, keepaliveMs: 1_000 },
    });
    await pool.whenReady();
    driver.pingBehaviour = 'hang';
    await clock.advance(1_050);
    expect([pool.numbers.validating, pool.numbers.idle]).toEqual([2, 2]);
    expect(pool.tryAcquire('acme')).toBeDefined();
  });

  it('pings the last idle connection while others are lent', async () => {
    const { pool, driver, clock } = fakePool({ limits: { minSize: 2, maxSize: 2, keepaliveMs: 1_000 } });
    await pool.whenReady();
    const held = await pool.acquire('acme');
    const pings = countPings(driver);
    await clock.advance(3_500);
    expect([...pings.values()]).toEqual([3]);
    held.release();
  });
});

class DyingDriver extends FakeDriver {
  readonly dead = new Set<FakeConnection>();
  end: Promise<never> | undefined;

  override ping(connection: FakeConnection, signal: AbortSignal): Promise<void> {
    if (!this.dead.has(connection)) return super.ping(connection, signal);
    this.pings++;
    return this.end ?? Promise.reject(new Error('reset'));
  }
}

describe('keepalive while every idle connection is dead', () => {
  it.each([
    ['are refused', undefined],
    ['are not answered', new Promise<never>(() => undefined)],
  ])('pings each once, ends them all and leaves the pool fit to serve: pings %s', async (_how, end) => {
    const driver = new DyingDriver();
    driver.end = end;
    const { pool, clock } = fakePool({
      driver,
      limits: { maxSize: 8, minSize: 2, connectConcurrency: 8, keepaliveMs: 10_000 },
    });
    const leases = Promise.all(Array.from({ length: 8 }, () => pool.acquire('acme')));
    await clock.advance(0);
    for (const lease of await leases) lease.release();
    for (const connection of driver.live) driver.dead.add(connection);
    await clock.advance(18_000);
    expect([...driver.dead].filter(({ state }) => state === 'open')).toEqual([]);
    expect(driver.pings).toBe(8);
    expect([pool.numbers.idle, pool.numbers.validating, pool.numbers.total]).toEqual([2, 0, 2]);
    const acquired = pool.acquire('globex');
    await clock.advance(0);
    (await acquired).release();
    await pool.close({ deadlineMs: 0 });
  });
});

describe('the last idle connection', () => {
  it.each([
    ['its lifetime', { maxLifetimeMs: 5_000 }, 'lifetime' as const],
    ['its idle time', { idleTimeoutMs: 5_000 }, 'idle' as const],
  ])('is not closed at the end of %s while others are lent, but right after', async (_what, limits, reason) => {
    const { pool, clock } = fakePool({ limits: { maxSize: 2, ...limits } });
    const held = await pool.acquire('acme');
    (await pool.acquire('globex')).release();
    await clock.advance(8_000);
    expect([pool.numbers.idle, pool.counters.destroyed[reason]]).toEqual([1, 0]);
    held.release();
    await clock.advance(6_000);
    expect(pool.counters.destroyed[reason]).toBeGreaterThanOrEqual(1);
    expect(pool.numbers.idle).toBe(0);
  });
});

describe('a pool with nothing to keep', () => {
  it('sets no timer while it is idle', async () => {
    const { pool, clock } = fakePool({ limits: { minSize: 2, maxSize: 2 } });
    await pool.whenReady();
    const lease = await pool.acquire('acme');
    lease.release();
    expect(clock.pendingTimers).toBe(0);
  });

  it('wakes only when the next thing is due', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { minSize: 1, maxSize: 4, idleTimeoutMs: 300_000, maxLifetimeMs: 1_800_000, connectConcurrency: 4 },
    });
    await pool.whenReady();
    const leases = await Promise.all([pool.acquire('a'), pool.acquire('b'), pool.acquire('c')]);
    for (const lease of leases) lease.release();
    let timers = 0;
    const setTimer = clock.setTimer.bind(clock);
    clock.setTimer = (callback, delayMs) => {
      timers++;
      return setTimer(callback, delayMs);
    };
    await clock.advance(299_000);
    expect(pool.numbers.idle).toBe(3);
    // That of a deadline that was removed goes by once.
    expect(timers).toBeLessThanOrEqual(1);
    await clock.advance(2_000);
    await settle();
    expect([pool.numbers.idle, driver.live.length]).toEqual([1, 1]);
    await clock.advance(1_000_000);
    expect(timers).toBeLessThan(10);
  });

  it('is looked after as new limits want it', async () => {
    const { pool, driver, clock } = fakePool({ limits: { minSize: 1 } });
    await pool.whenReady();
    pool.changeLimits({ keepaliveMs: 500 });
    await clock.advance(1_200);
    expect(driver.pings).toBe(2);
  });
});
