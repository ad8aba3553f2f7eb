import { describe, expect, it } from '@jest/globals';

import { type FakeConnection, FakeDriver, FatalError } from '../support/fakes/fake-driver.js';
import { fakePool, type FakePoolOptions } from '../support/fakes/fake-pool.js';

class UnprovenDriver extends FakeDriver {
  override readonly openProvesAlive = false;
}

/** A pool whose backend accepts connections and drops them after some time. */
function droppingPool(dropAfterMs: number, options: FakePoolOptions = {}) {
  const fake = fakePool({
    driver: new UnprovenDriver(),
    ...options,
    limits: { minSize: 1, maxSize: 5, ...options.limits },
  });
  const watch = fake.driver.onBroken.bind(fake.driver);
  fake.driver.onBroken = (connection: FakeConnection, listener) => {
    watch(connection, listener);
    if (dropAfterMs < 0) connection.breakNow();
    else fake.clock.setTimer(() => connection.breakNow(), dropAfterMs);
  };
  return fake;
}

describe('a backend that accepts connections and drops them', () => {
  it.each([
    ['before anyone has seen them', -1],
    ['at once', 0],
    ['after some milliseconds', 20],
    ['after half a second', 500],
  ])('%s is met by one connect at a time with growing pauses', async (_when, dropAfterMs) => {
    const { driver, clock, pool } = droppingPool(dropAfterMs);
    pool.start();
    await clock.advance(10_000);
    expect(driver.opens).toBeGreaterThan(5);
    expect(driver.opens).toBeLessThan(20);
    expect(pool.counters.connectFailures).toBeGreaterThanOrEqual(driver.opens - 1);
    await pool.close({ deadlineMs: 0 });
  });

  it.each([
    ['before anyone has seen them', -1],
    ['at once', 0],
    ['after some milliseconds', 20],
  ])('after a handshake that proves it to be there, %s, is met the same way', async (_when, dropAfterMs) => {
    const seen: string[] = [];
    const { driver, clock, pool } = droppingPool(dropAfterMs, {
      driver: new FakeDriver(),
      observer: { proved: () => seen.push('proved'), connectFailed: () => seen.push('failed') },
    });
    pool.start();
    await clock.advance(10_000);
    expect(driver.opens).toBeGreaterThan(5);
    expect(driver.opens).toBeLessThan(20);
    expect(pool.counters.connectFailures).toBeGreaterThanOrEqual(driver.opens - 1);
    expect(seen.length).toBeLessThanOrEqual(2 * driver.opens);
    await pool.close({ deadlineMs: 0 });
  });

  it('does not make the pool ready, and no observer is told that the backend is there', async () => {
    const seen: string[] = [];
    const { clock, pool } = droppingPool(10, {
      observer: { proved: () => seen.push('proved'), connectFailed: () => seen.push('failed') },
    });
    let ready = false;
    pool.whenReady().then(
      () => (ready = true),
      () => undefined,
    );
    await clock.advance(2_000);
    expect(ready).toBe(false);
    expect(new Set(seen)).toEqual(new Set(['failed']));
    await pool.close({ deadlineMs: 0 });
  });

  it('is found to be back, and the pool ready then', async () => {
    const { driver, clock, pool } = droppingPool(0);
    const ready = pool.whenReady();
    await clock.advance(5_000);
    driver.onBroken = () => undefined;
    await clock.advance(2_200);
    await ready;
    expect([pool.numbers.idle, pool.numbers.connectFailures]).toEqual([1, 0]);
  });

  it('fails waiters after failFastAfterMs, and lends them nothing that has not answered a ping', async () => {
    const { driver, clock, pool } = droppingPool(0, { limits: { minSize: 0, failFastAfterMs: 1_000 } });
    driver.pingBehaviour = 'hang';
    const first = pool.acquire('acme', { timeoutMs: 60_000 }).then((lease) => lease.release(new FatalError('gone')));
    await clock.advance(100);
    await first;
    const waiting = pool.acquire('acme', { timeoutMs: 60_000 });
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'POOL_BACKEND_UNAVAILABLE' });
    await clock.advance(5_000);
    await outcome;
  });

  it('keeps its pauses though a ping that needs no answer says that all is well', async () => {
    const { driver, clock, pool } = droppingPool(5);
    pool.start();
    for (let probe = 0; probe < 500; probe++) {
      void pool.probe({ timeoutMs: 100, recentMs: 0 }).catch(() => undefined);
      await clock.advance(20);
    }
    expect(driver.opens).toBeLessThan(25);
    await pool.close({ deadlineMs: 0 });
  });
});

describe('a connection that has been of use', () => {
  it('is replaced without a pause when it dies in its first lease: its borrower may have ended it', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    (await pool.acquire('acme')).release(new FatalError('terminated'));
    (await pool.acquire('globex')).release();
    expect([driver.opens, pool.counters.connectFailures]).toEqual([2, 0]);
  });

  it('is replaced without a pause when it dies later', async () => {
    const { pool, driver, clock } = fakePool({ limits: { minSize: 1 } });
    await pool.whenReady();
    await clock.advance(2_000);
    driver.opened[0]?.breakNow();
    await clock.advance(0);
    expect([pool.numbers.idle, pool.counters.connectFailures]).toEqual([1, 0]);
  });
});

describe('a driver whose connections have shown nothing when they are open', () => {
  it('is ready when the first has stayed alive for a moment', async () => {
    const { pool, clock } = fakePool({ limits: { minSize: 1 }, driver: new UnprovenDriver() });
    let ready = false;
    void pool.whenReady().then(() => (ready = true));
    await clock.advance(40);
    expect([ready, pool.numbers.idle]).toEqual([false, 1]);
    await clock.advance(30);
    expect(ready).toBe(true);
  });

  it('lends them at once all the same', async () => {
    const { pool, driver } = fakePool({ driver: new UnprovenDriver() });
    (await pool.acquire('acme')).release();
    expect(driver.pings).toBe(0);
  });
});

describe('a connection that dies while an observer is told that it works', () => {
  it('ends once when it was being pinged', async () => {
    const destroyed: string[] = [];
    const { driver, clock, pool } = fakePool({
      driver: new UnprovenDriver(),
      limits: { minSize: 1, maxSize: 5 },
      observer: {
        proved: () => driver.opened[0]?.breakNow(),
        destroyed: (_connection, reason) => destroyed.push(reason),
      },
    });
    pool.start();
    await clock.advance(0);
    await pool.probe({ timeoutMs: 100, recentMs: 0 });
    expect(destroyed).toEqual(['broken']);
    expect(pool.counters.destroyed.broken).toBe(1);
    await pool.close({ deadlineMs: 0 });
  });

  it('is not said to have lasted when it had just stayed alive for a moment', async () => {
    const { driver, clock, pool } = fakePool({
      driver: new UnprovenDriver(),
      limits: { minSize: 1, maxSize: 5 },
      observer: { proved: () => driver.opened[0]?.breakNow() },
    });
    pool.start();
    await clock.advance(60);
    expect(driver.live).toEqual([]);
    // Nothing is left to be looked at.
    await pool.close({ deadlineMs: 0 });
    expect(pool.deadlines.pending).toBe(0);
  });
});
