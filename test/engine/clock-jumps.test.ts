import { afterEach, describe, expect, it, jest } from '@jest/globals';

import { LeaseScope } from '../../lib/engine/lease-scope.js';
import { ResourcePool } from '../../lib/engine/resource-pool.js';
import { requestWithin } from '../../lib/engine/scoped-request.js';
import { systemClock, type TimerHandle } from '../../lib/engine/time/clock.js';
import { Deadlines } from '../../lib/engine/time/deadlines.js';
import { AcquireTimeoutError, RequestEndedError } from '../../lib/errors.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { fakeLimits, noTenantLimits } from '../support/fakes/fake-pool.js';

const DAY_MS = 86_400_000;

class CountingClock extends FakeClock {
  set = 0;

  override setTimer(callback: () => void, delayMs: number): TimerHandle {
    this.set++;
    return super.setTimer(callback, delayMs);
  }
}

async function busyPool(idle: number) {
  const clock = new CountingClock();
  const driver = new FakeDriver();
  const limits = {
    ...fakeLimits,
    maxSize: idle + 1,
    connectConcurrency: idle + 1,
    keepaliveMs: 1_000,
    leakDetectionMs: 500,
  };
  const pool = new ResourcePool<FakeConnection>({
    id: 'orders',
    driver,
    deadlines: new Deadlines(clock),
    limits,
    tenants: noTenantLimits,
  });
  const acquired = Array.from({ length: idle + 1 }, () => pool.acquire('acme'));
  await clock.advance(0);
  const leases = await Promise.all(acquired);
  leases.slice(1).forEach((lease) => lease.release());
  await clock.advance(100);
  return { clock, driver, pool, leases };
}

describe('a clock that jumps by days', () => {
  it.each([3, 30, 300])(
    'costs each idle connection one ping and a few timers, whatever is due: after %d days',
    async (days) => {
      const { clock, driver, pool, leases } = await busyPool(8);
      const before = { set: clock.set, pings: driver.pings };
      clock.block(days * DAY_MS);
      await clock.advance(0);
      await clock.advance(100);
      expect(driver.pings - before.pings).toBe(8);
      expect([pool.numbers.idle, pool.counters.leaks]).toEqual([8, 1]);
      // For each ping its own, and those of the pool's clock: none for the time that has gone by.
      expect(clock.set - before.set).toBeLessThan(40);
      leases[0]?.release();
      await pool.close({ deadlineMs: 0 });
      await clock.advance(DAY_MS);
      expect(clock.pendingTimers).toBe(0);
    },
  );

  it('lets every waiter get its answer: a slot that came back in time, or a time-out', async () => {
    const { clock, pool, leases } = await busyPool(0);
    const waiting = [pool.acquire('acme'), pool.acquire('globex', { timeoutMs: 50_000 }), pool.acquire('initech')];
    const answers = waiting.map((lease) =>
      lease.then(
        () => 'lent',
        (error: Error) => error.name,
      ),
    );
    clock.block(3 * DAY_MS);
    await clock.unblock(() => leases[0]?.release());
    await clock.advance(0);
    expect((await Promise.all(answers)).sort()).toEqual(['AcquireTimeoutError', 'AcquireTimeoutError', 'lent']);
    expect(pool.numbers.waiting).toBe(0);
  });
});

describe('a wall clock that is set', () => {
  afterEach(() => void jest.restoreAllMocks());

  it.each([30, -30])('by %d days moves no deadline and no age', async (days) => {
    const driver = new FakeDriver();
    const limits = { ...fakeLimits, maxSize: 1, acquireTimeoutMs: 20 };
    const pool = new ResourcePool<FakeConnection>({ id: 'orders', driver, limits, tenants: noTenantLimits });
    const lease = await pool.acquire('acme');
    const scope = new LeaseScope();
    const withdrawn = new Promise<Error>((resolve) => {
      requestWithin(pool, scope, 'left', { granted: () => undefined, refused: resolve }, 'globex', {
        timeoutMs: DAY_MS,
      });
    });
    const waiting = pool.acquire('initech').catch((error: unknown) => error);
    const now = Date.now();
    jest.spyOn(Date, 'now').mockReturnValue(now + days * DAY_MS);
    expect(await waiting).toBeInstanceOf(AcquireTimeoutError);
    scope.end();
    const error = await withdrawn;
    expect(error).toBeInstanceOf(RequestEndedError);
    const age = error instanceof RequestEndedError ? error.waitedMs : -1;
    expect(age).toBeGreaterThanOrEqual(0);
    expect(age).toBeLessThan(DAY_MS);
    expect(pool.clock).toBe(systemClock);
    lease.release();
    await pool.close({ deadlineMs: 0 });
  });
});
