import { describe, expect, it } from '@jest/globals';

import { BackendUnavailableError } from '../../lib/errors.js';
import { settle } from '../support/fakes/fake-clock.js';
import { fakePool } from '../support/fakes/fake-pool.js';

describe('opening connections', () => {
  it('opens the minimum at start and is ready then', async () => {
    const { pool, driver } = fakePool({ limits: { minSize: 3, maxSize: 5 } });
    await pool.whenReady();
    expect(pool.numbers.idle).toBe(3);
    expect(driver.opens).toBe(3);
  });

  it('counts no slot as active while there is no lease', async () => {
    const seen: number[] = [];
    const { pool } = fakePool({ observer: { opened: () => seen.push(pool.numbers.active) } });
    await pool.whenReady();
    expect(seen).toEqual([0]);
  });

  it.each(['acquires', 'probes'] as const)(
    'opens no second one for an observer that %s when told of the first',
    async (how) => {
      const { pool, driver, clock } = fakePool({
        limits: { maxSize: 1 },
        observer: {
          opened: () => {
            if (how === 'acquires') void pool.acquire('globex');
            else void pool.probe({ timeoutMs: 100, recentMs: 0 });
          },
        },
      });
      void pool.acquire('acme');
      await clock.advance(50);
      expect([driver.opens, pool.numbers.total]).toEqual([1, 1]);
    },
  );

  it('lends no connection that was dead before anyone could have it', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1 } });
    const watch = driver.onBroken.bind(driver);
    driver.onBroken = (connection, listener) => {
      watch(connection, listener);
      if (connection === driver.opened[0]) connection.breakNow();
    };
    const acquired = pool.acquire('acme');
    await clock.advance(500);
    expect((await acquired).connection).toBe(driver.opened[1]);
  });

  it('opens at most connectConcurrency at once', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 10, connectConcurrency: 3 } });
    driver.openBehaviour = 'hang';
    for (let i = 0; i < 10; i++) void pool.acquire(undefined).catch(() => undefined);
    await settle();
    expect(driver.opens).toBe(3);
    await pool.close({ deadlineMs: 0 });
  });

  it('gives up a connect that is never answered, and tears it down', async () => {
    const { pool, driver, clock } = fakePool({ limits: { connectTimeoutMs: 100 } });
    driver.openBehaviour = 'hang';
    const waiting = pool.acquire(undefined, { timeoutMs: 150 });
    const outcome = expect(waiting).rejects.toMatchObject({ kind: 'backend' });
    await clock.advance(120);
    expect(driver.aborted).toBe(1);
    await clock.advance(200);
    await outcome;
    await expect(waiting).rejects.toThrow(/last connect failed with OperationTimeoutError/);
  });

  it('does not lend a connection that arrives after its connect was given up', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1, connectTimeoutMs: 100 } });
    const opening = driver.open.bind(driver);
    let lateOpen: (() => void) | undefined;
    driver.open = async (signal) => {
      if (lateOpen !== undefined) return opening(signal);
      // A driver that ignores its signal.
      await new Promise<void>((resolve) => {
        lateOpen = resolve;
      });
      return opening(new AbortController().signal);
    };
    const waiting = pool.acquire(undefined, { timeoutMs: 5_000 });
    await clock.advance(1_000);
    const lease = await waiting;
    lateOpen?.();
    await settle();
    expect(driver.opened.map((connection) => connection.state)).toEqual(['open', 'killed']);
    expect(pool.numbers.total).toBe(1);
    lease.release();
  });

  it('never spins while the backend is down: one prober with growing pauses', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { maxSize: 10, connectConcurrency: 5, failFastAfterMs: 60_000, acquireTimeoutMs: 60_000 },
    });
    driver.openBehaviour = new Error('connection refused');
    const waiting = Array.from({ length: 10 }, () => pool.acquire(undefined).catch((error: unknown) => error));
    await clock.advance(1_500);
    // Five at first, then one at a time: after pauses of 37 to 75 ms, 75 to 150 ms, …
    expect(driver.opens).toBeGreaterThanOrEqual(7);
    expect(driver.opens).toBeLessThanOrEqual(15);
    await pool.close({ deadlineMs: 0 });
    await Promise.all(waiting);
  });

  it('opens 1, 2, 4, … at once when the backend comes back', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { maxSize: 8, connectConcurrency: 8, acquireTimeoutMs: 60_000, connectTimeoutMs: 60_000 },
    });
    driver.openBehaviour = new Error('connection refused');
    const waiting = Array.from({ length: 8 }, () => pool.acquire(undefined));
    await clock.advance(200);
    driver.openBehaviour = 'hang';
    const waves: number[] = [];
    await clock.advance(2_000);
    for (let wave = 0; wave < 4; wave++) {
      waves.push(pool.numbers.connecting);
      driver.openBehaviour = 'hang';
      driver.letGo();
      await settle();
    }
    expect(waves).toEqual([1, 1, 2, 4]);
    for (const acquire of waiting) (await acquire).release();
  });

  it('goes by the failFastAfterMs that an observer sets as it is told of the outage', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { failFastAfterMs: 60_000, acquireTimeoutMs: 120_000, connectTimeoutMs: 60_000 },
      observer: { connectFailed: () => pool.changeLimits({ failFastAfterMs: 500 }) },
    });
    driver.openBehaviour = new Error('connection refused');
    const waiting = pool.acquire('acme');
    let error: unknown;
    waiting.catch((reason: unknown) => (error = reason));
    await clock.advance(0);
    driver.openBehaviour = 'hang';
    await clock.advance(600);
    expect(error).toBeInstanceOf(BackendUnavailableError);
  });

  it('fails waiters after failFastAfterMs with the last connect error, and newcomers at once', async () => {
    const { pool, driver, clock } = fakePool({ limits: { failFastAfterMs: 500, acquireTimeoutMs: 10_000 } });
    const cause = new Error('password authentication failed for postgres://app:hunter2@db/orders');
    driver.openBehaviour = cause;
    const waiting = pool.acquire('acme');
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'POOL_BACKEND_UNAVAILABLE', cause });
    await clock.advance(600);
    await outcome;
    const refused = pool.acquire('acme');
    await expect(refused).rejects.toBeInstanceOf(BackendUnavailableError);
    await expect(refused).rejects.toThrow(/\*\*\*@db/);
    await expect(refused).rejects.not.toThrow(/hunter2/);
  });

  it('finds by itself that the backend is back, though every acquire was refused', async () => {
    const { pool, driver, clock } = fakePool({ limits: { failFastAfterMs: 100 } });
    driver.openBehaviour = new Error('connection refused');
    const first = pool.acquire(undefined).catch((error: unknown) => error);
    await clock.advance(5_000);
    expect(await first).toBeInstanceOf(BackendUnavailableError);
    driver.openBehaviour = 'ok';
    await clock.advance(2_500);
    (await pool.acquire(undefined)).release();
  });

  it('replaces connections by generation after evict(): idle ones now, lent ones when they come back', async () => {
    const { pool, driver } = fakePool({ limits: { minSize: 1, maxSize: 3, connectConcurrency: 3 } });
    const held = await pool.acquire(undefined);
    (await pool.acquire(undefined)).release();
    pool.evict();
    await settle();
    expect(driver.opened[1]?.state).toBe('closed');
    expect(held.released).toBe(false);
    held.release();
    await settle();
    expect(driver.opened[0]?.state).toBe('closed');
    const next = await pool.acquire(undefined);
    expect(next.connection.serial).toBeGreaterThan(2);
  });

  it('gives up connects that began before evict(), and does not wait for them', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    driver.openBehaviour = 'hang';
    const waiting = pool.acquire(undefined);
    await settle();
    driver.openBehaviour = 'ok';
    pool.evict();
    expect(driver.aborted).toBe(1);
    (await waiting).release();
    expect([driver.opens, pool.numbers.total, pool.numbers.connectFailures]).toEqual([2, 1, 0]);
  });

  it('shrinks to a smaller maxSize as connections come back, and grows at once', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 3, connectConcurrency: 3 } });
    const leases = await Promise.all([pool.acquire(undefined), pool.acquire(undefined), pool.acquire(undefined)]);
    const waiting = pool.acquire(undefined);
    pool.changeLimits({ maxSize: 1 });
    leases[0].release();
    leases[1].release();
    await settle();
    expect(pool.numbers.total).toBe(1);
    expect(pool.numbers.waiting).toBe(1);
    pool.changeLimits({ maxSize: 2 });
    (await waiting).release();
    expect(driver.live.length).toBe(2);
    leases[2].release();
  });

  it('is ready as soon as a lower minimum is there', async () => {
    const { pool, driver } = fakePool({ limits: { minSize: 2, maxSize: 2, connectConcurrency: 1 } });
    let ready = false;
    void pool.whenReady().then(() => (ready = true));
    await settle();
    expect(ready).toBe(true);

    const slow = fakePool({ limits: { minSize: 2, maxSize: 2, connectConcurrency: 1 } });
    void slow.pool.whenReady().then(() => (ready = true));
    ready = false;
    slow.driver.opened.length = 0;
    expect(driver.live).toHaveLength(2);
    const { open } = slow.driver;
    slow.driver.open = (signal) => {
      if (slow.driver.opens > 0) slow.driver.openBehaviour = 'hang';
      return open.call(slow.driver, signal);
    };
    await settle();
    expect(ready).toBe(false);
    slow.pool.changeLimits({ minSize: 1 });
    await settle();
    expect(ready).toBe(true);
  });
});
