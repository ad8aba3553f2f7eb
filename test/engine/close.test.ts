import { describe, expect, it } from '@jest/globals';

import { LeaseReleasedError, PoolClosedError } from '../../lib/errors.js';
import { settle } from '../support/fakes/fake-clock.js';
import { fakePool } from '../support/fakes/fake-pool.js';

describe('closing a pool', () => {
  it('refuses newcomers and waiters at once, waits for leases, and reports', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire('acme');
    const waiting = pool.acquire('globex');
    const refused = expect(waiting).rejects.toBeInstanceOf(PoolClosedError);
    const closing = pool.close({ deadlineMs: 1_000 });
    await refused;
    await expect(pool.acquire(undefined)).rejects.toBeInstanceOf(PoolClosedError);
    expect(pool.lifecycle).toBe('draining');

    await clock.advance(400);
    held.release();
    const report = await closing;
    expect(report).toMatchObject({ poolId: 'orders', finished: 1, cut: 0, refused: 1, holders: [] });
    expect(report.waitedMs).toBe(400);
    expect(driver.live).toHaveLength(0);
    expect(driver.disposals).toBe(1);
    expect(pool.lifecycle).toBe('closed');
    expect(clock.keepsProcessAlive).toBe(false);
  });

  it('cuts a lease that never comes back at the deadline, and says who held it', async () => {
    const { pool, driver, clock } = fakePool();
    const held = await pool.acquire('acme');
    const closing = pool.close({ deadlineMs: 1_000 });
    await clock.advance(1_100);
    const report = await closing;
    expect(report.cut).toBe(1);
    expect(report.holders[0]).toMatchObject({ tenantId: 'acme' });
    expect(driver.opened[0]?.state).toBe('killed');
    expect(() => held.connection).toThrow(LeaseReleasedError);
    expect(() => held.release()).not.toThrow();
  });

  it('resolves though the driver never finishes closing a connection', async () => {
    const { pool, driver, clock } = fakePool();
    (await pool.acquire(undefined)).release();
    driver.closeBehaviour = 'hang';
    const closing = pool.close({ deadlineMs: 1_000 });
    await clock.advance(300);
    await closing;
    expect(driver.opened[0]?.state).toBe('killed');
  });

  it('gives up connects that are under way', async () => {
    const { pool, driver } = fakePool();
    driver.openBehaviour = 'hang';
    const waiting = pool.acquire(undefined);
    const refused = expect(waiting).rejects.toBeInstanceOf(PoolClosedError);
    await settle();
    await pool.close({ deadlineMs: 1_000 });
    await refused;
    expect(driver.aborted).toBe(1);
    expect(driver.live).toHaveLength(0);
  });

  it('is the same however often it is called, and a later call can bring the deadline forward', async () => {
    const { pool } = fakePool();
    await pool.acquire(undefined);
    const patient = pool.close({ deadlineMs: 60_000 });
    const hasty = pool.close({ deadlineMs: 0 });
    expect(await hasty).toEqual(await patient);
    expect((await patient).cut).toBe(1);
    expect((await pool.close({ deadlineMs: 10 })).cut).toBe(1);
  });

  it('ends though it was told no sensible deadline', async () => {
    const { pool } = fakePool();
    const lease = await pool.acquire(undefined);
    const patient = pool.close({ deadlineMs: Infinity });
    expect(pool.lifecycle).toBe('draining');
    expect((await pool.close({ deadlineMs: Number.NaN })).cut).toBe(1);
    await patient;
    lease.release();
    expect(pool.counters.doubleReleases).toBe(0);
  });

  it('ends a pool that was never opened', async () => {
    const { pool, driver } = fakePool();
    await pool.close({ deadlineMs: 10 });
    expect(driver.opens).toBe(0);
    await expect(pool.whenReady()).rejects.toBeInstanceOf(PoolClosedError);
  });

  it('cuts a connection that is still being cleaned', async () => {
    const { pool, driver, clock } = fakePool({ limits: { recycleTimeoutMs: 5_000 } });
    driver.recycleBehaviour = 'hang';
    (await pool.acquire(undefined)).release();
    const closing = pool.close({ deadlineMs: 100 });
    await clock.advance(200);
    await closing;
    expect(driver.opened[0]?.state).toBe('killed');
  });

  it('does not wait past its deadline for a ping that is still under way', async () => {
    const { pool, driver, clock } = fakePool();
    (await pool.acquire(undefined)).release();
    driver.pingBehaviour = 'hang';
    const probe = expect(pool.probe({ timeoutMs: 60_000, recentMs: 0 })).rejects.toBeInstanceOf(Error);
    const closing = pool.close({ deadlineMs: 100 });
    await clock.advance(200);
    expect(pool.lifecycle).toBe('closed');
    expect(driver.live).toHaveLength(0);
    expect(await closing).toMatchObject({ cut: 0 });
    await clock.advance(60_000);
    await probe;
  });

  it('cuts every lease though the end of one connection makes the holder of another give it back', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 4, connectConcurrency: 4 } });
    const leases = await Promise.all(Array.from({ length: 4 }, () => pool.acquire(undefined)));
    const kill = driver.kill.bind(driver);
    driver.kill = (connection) => {
      const ended = kill(connection);
      if (leases[1]?.released === false) leases[1].release();
      return ended;
    };
    const closing = pool.close({ deadlineMs: 0 });
    await clock.advance(500);
    expect(pool.lifecycle).toBe('closed');
    expect(await closing).toMatchObject({ finished: 1, cut: 3 });
  });

  it('leaves no newcomer behind whose place in a full queue made another caller close the pool', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 1, maxQueue: 2 } });
    await pool.acquire('acme');
    const first = pool.acquire('acme');
    let closing: Promise<unknown> | undefined;
    pool.request(
      {
        granted: () => undefined,
        refused: () => {
          closing = pool.close({ deadlineMs: 0 });
        },
      },
      'acme',
    );
    const newcomer = pool.acquire('globex');
    await expect(newcomer).rejects.toBeInstanceOf(PoolClosedError);
    await expect(first).rejects.toBeInstanceOf(PoolClosedError);
    await clock.advance(500);
    await closing;
    expect(pool.numbers.waiting).toBe(0);
  });
});

describe('closing a pool from what it tells or calls', () => {
  it('opens nothing any more when a borrower closes it in the middle of being served', async () => {
    const { pool, driver, clock } = fakePool({ limits: { minSize: 2, maxSize: 2, connectConcurrency: 1 } });
    let ended = false;
    pool.request(
      {
        granted: (lease) => {
          driver.openBehaviour = 'hang';
          void pool.close({ deadlineMs: 50 }).then(() => (ended = true));
          lease.release();
        },
        refused: () => undefined,
      },
      'acme',
    );
    await clock.advance(100);
    expect([driver.opens, pool.numbers.connecting, ended]).toEqual([1, 0, true]);
  });

  it('ends the connection of which it is told just then', async () => {
    const { pool, driver, clock } = fakePool({
      observer: { opened: () => void pool.close({ deadlineMs: 0 }) },
    });
    pool.start();
    await expect(pool.acquire('acme')).rejects.toBeInstanceOf(PoolClosedError);
    await clock.advance(1_000);
    expect([pool.lifecycle, pool.numbers.total, driver.live.length, driver.disposals]).toEqual(['closed', 0, 0, 1]);
  });

  it('refuses an acquire that was about to wait when opening the first connection closes it', async () => {
    const { pool, driver } = fakePool();
    const open = driver.open.bind(driver);
    driver.open = (signal) => {
      void pool.close({ deadlineMs: 0 });
      return open(signal);
    };
    await expect(pool.acquire('acme')).rejects.toBeInstanceOf(PoolClosedError);
  });

  it('does not wait for a cleaning that closed it, when leases get no time', async () => {
    const { pool, driver, clock } = fakePool({ limits: { recycleTimeoutMs: 60_000 } });
    const lease = await pool.acquire('acme');
    let ended = false;
    driver.recycle = () => {
      void pool.close({ deadlineMs: 0 }).then(() => (ended = true));
      return new Promise(() => undefined);
    };
    lease.release();
    await clock.advance(50);
    expect([ended, pool.numbers.total]).toEqual([true, 0]);
  });

  it('keeps no process alive when it is closed again while the driver disposes of the rest', async () => {
    const { pool, driver, clock } = fakePool();
    driver.dispose = () => new Promise((resolve) => clock.setTimer(resolve, 20));
    const closing = pool.close({ deadlineMs: 10_000 });
    void pool.close({ deadlineMs: 5_000 });
    await clock.advance(50);
    await closing;
    expect([clock.keepsProcessAlive, pool.deadlines.pending]).toEqual([false, 0]);
  });
});
