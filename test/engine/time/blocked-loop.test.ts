import { describe, expect, it } from '@jest/globals';

import { setDeadline } from '../../../lib/engine/time/late-timer.js';
import { withTimeout } from '../../../lib/engine/time/with-timeout.js';
import { FakeClock } from '../../support/fakes/fake-clock.js';
import { fakePool } from '../../support/fakes/fake-pool.js';

describe('an event loop that was blocked', () => {
  it('costs no connection whose ping was answered in time', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1, validateAfterIdleMs: 500 } });
    (await pool.acquire(undefined)).release();
    await clock.advance(700);
    driver.pingBehaviour = 'hang';
    const waiting = pool.acquire(undefined, { timeoutMs: 500 });
    await clock.advance(0);
    clock.block(1_300);
    await clock.unblock(() => driver.letGo());
    (await waiting).release();
    expect(pool.counters.destroyed.validation).toBe(0);
    expect(driver.opens).toBe(1);
  });

  it('costs no connect that was answered in time', async () => {
    const { pool, driver, clock } = fakePool({ limits: { connectTimeoutMs: 1_000, acquireTimeoutMs: 5_000 } });
    driver.openBehaviour = 'hang';
    const waiting = pool.acquire(undefined);
    await clock.advance(0);
    clock.block(1_300);
    await clock.unblock(() => driver.letGo());
    (await waiting).release();
    expect([pool.counters.connectFailures, driver.aborted]).toEqual([0, 0]);
  });

  it('gives a connect that takes several round trips the time that it had none of, once', async () => {
    const { pool, driver, clock } = fakePool({
      limits: { maxSize: 1, connectTimeoutMs: 1_000, acquireTimeoutMs: 60_000 },
    });
    driver.openBehaviour = 'hang';
    const waiting = pool.acquire(undefined);
    await clock.advance(0);
    clock.block(1_300);
    await clock.unblock(() => undefined);
    await clock.advance(900);
    driver.letGo();
    (await waiting).release();
    expect(pool.counters.connectFailures).toBe(0);

    const silent = fakePool({ limits: { maxSize: 1, connectTimeoutMs: 1_000, acquireTimeoutMs: 60_000 } });
    silent.driver.openBehaviour = 'hang';
    void silent.pool.acquire(undefined).catch(() => undefined);
    await silent.clock.advance(0);
    silent.clock.block(1_300);
    await silent.clock.unblock(() => undefined);
    await silent.clock.advance(1_100);
    expect(silent.pool.counters.connectFailures).toBe(1);
  });

  it('costs no graceful close that was answered in time', async () => {
    const { pool, driver, clock } = fakePool({ limits: { closeTimeoutMs: 200 } });
    (await pool.acquire(undefined)).release();
    driver.closeBehaviour = 'hang';
    const closing = pool.close({ deadlineMs: 1_000 });
    await clock.advance(0);
    clock.block(900);
    await clock.unblock(() => driver.letGo());
    await closing;
    expect(driver.opened[0]?.state).toBe('closed');
  });
});

describe('a single deadline', () => {
  it.each([
    ['0', 0, 0],
    ['less than nothing', -5, 0],
    ['NaN', Number.NaN, 0],
    ['some time', 1_500, 1_500],
    ['longer than a timer can wait', 40 * 86_400_000, 40 * 86_400_000],
  ])('of %s is over after %d ms: not before, and once', async (_name, delayMs, afterMs) => {
    const clock = new ShortTimers();
    const overAtMs: number[] = [];
    setDeadline(clock, () => overAtMs.push(clock.now()), delayMs);
    await clock.advance(50 * 86_400_000);
    expect(overAtMs).toEqual([afterMs]);
  });

  it('of Infinity never is', async () => {
    const clock = new ShortTimers();
    let over = false;
    const deadline = setDeadline(clock, () => (over = true), Infinity);
    deadline.ref();
    await clock.advance(100 * 86_400_000);
    expect([over, clock.keepsProcessAlive]).toEqual([false, true]);
    deadline.cancel();
    expect(clock.pendingTimers).toBe(0);
  });

  it('is not over when it is cancelled by what the poll phase delivers', async () => {
    const clock = new FakeClock();
    let answer: (() => void) | undefined;
    const outcome = withTimeout(clock, 100, () => new Promise((resolve) => (answer = resolve)));
    clock.block(10_000);
    await clock.unblock(() => answer?.());
    expect(await outcome).toEqual({ kind: 'done' });
  });
});

/** As the process's own: a timer of more than 24.8 days runs after that time. */
class ShortTimers extends FakeClock {
  override setTimer(callback: () => void, delayMs: number) {
    return super.setTimer(callback, Math.min(delayMs, 2 ** 31 - 1));
  }
}
