import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { DeadlineEntry, Deadlines, TICK_MS } from '../../../lib/engine/time/deadlines.js';
import { FakeClock } from '../../support/fakes/fake-clock.js';

class Alarm extends DeadlineEntry {
  override readonly keepsProcessAlive: boolean;
  expiredAtMs: number | undefined;
  expiries = 0;
  onExpire: (() => void) | undefined;

  constructor(keepsProcessAlive = false) {
    super();
    this.keepsProcessAlive = keepsProcessAlive;
  }

  override expire(nowMs: number): void {
    this.expiries++;
    this.expiredAtMs = nowMs;
    this.onExpire?.();
  }
}

describe('deadlines on one coarse clock', () => {
  it('expire once, never early, and within a tick', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ addAt: fc.nat(3_000), after: fc.nat(30_000) }), { maxLength: 40 }),
        async (plan) => {
          const clock = new FakeClock(12_345.678);
          const deadlines = new Deadlines(clock);
          const alarms: { alarm: Alarm; dueAtMs: number }[] = [];
          const startMs = clock.now();
          for (const { addAt, after } of [...plan].sort((a, b) => a.addAt - b.addAt)) {
            await clock.advance(startMs + addAt - clock.now());
            const alarm = new Alarm();
            const dueAtMs = clock.now() + after;
            deadlines.add(alarm, dueAtMs);
            alarms.push({ alarm, dueAtMs });
          }
          await clock.advance(40_000);
          for (const { alarm, dueAtMs } of alarms) {
            expect(alarm.expiries).toBe(1);
            expect(alarm.expiredAtMs).toBeGreaterThanOrEqual(dueAtMs);
            expect(alarm.expiredAtMs).toBeLessThanOrEqual(dueAtMs + 2 * TICK_MS);
          }
          expect(deadlines.pending).toBe(0);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('are not late because one that was added later is due soon after them', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const expired: [string, number][] = [];
    const due = (name: string, afterMs: number): void => {
      const alarm = new Alarm();
      alarm.onExpire = () => void expired.push([name, clock.now()]);
      deadlines.add(alarm, clock.now() + afterMs);
    };
    due('far', 10_250);
    due('first', 30);
    await clock.advance(100);
    due('second', 100);
    due('near', 10_170);
    await clock.advance(20_000);
    expect(expired).toEqual([
      ['first', 30],
      ['second', 200],
      ['far', 10_250],
      ['near', 10_270],
    ]);
  });

  it('never expire after they were removed, not even by another that was due with them', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const first = new Alarm();
    const second = new Alarm();
    first.onExpire = () => deadlines.remove(second);
    second.onExpire = () => deadlines.remove(first);
    deadlines.add(first, 100);
    deadlines.add(second, 100);
    await clock.advance(1_000);
    expect(first.expiries + second.expiries).toBe(1);
  });

  it('expire all the same behind one that throws', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const [broken, behind, later] = [new Alarm(), new Alarm(), new Alarm()];
    broken.onExpire = () => {
      throw new Error('broken');
    };
    deadlines.add(broken, 100);
    deadlines.add(behind, 105);
    deadlines.add(later, 500);
    await expect(clock.advance(200)).rejects.toThrow('broken');
    await clock.advance(800);
    expect([broken, behind, later].map((alarm) => alarm.expiries)).toEqual([1, 1, 1]);
  });

  it('share one timer, and set none when nothing is pending', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const alarms = Array.from({ length: 1_000 }, () => new Alarm());
    for (const [index, alarm] of alarms.entries()) deadlines.add(alarm, 50 + index);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(2_000);
    expect(alarms.every((alarm) => alarm.expiries === 1)).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('keep the process alive only while one of them must', () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const quiet = new Alarm(false);
    const important = new Alarm(true);
    deadlines.add(quiet, 100);
    expect(clock.keepsProcessAlive).toBe(false);
    deadlines.add(important, 5_000);
    expect(clock.keepsProcessAlive).toBe(true);
    deadlines.remove(important);
    expect(clock.keepsProcessAlive).toBe(false);
  });

  it('come before one that was set earlier for later', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const late = new Alarm();
    const soon = new Alarm();
    deadlines.add(late, 20_000);
    deadlines.add(soon, 30);
    await clock.advance(50);
    expect(soon.expiries).toBe(1);
    expect(late.expiries).toBe(0);
    await clock.advance(20_000);
    expect(late.expiries).toBe(1);
  });

  it('wake the process for nothing but themselves, however far away they are', async () => {
    const clock = new CountingClock();
    const deadlines = new Deadlines(clock);
    const tomorrow = new Alarm();
    const never = new Alarm();
    deadlines.add(tomorrow, 86_400_000);
    deadlines.add(never, Infinity);
    await clock.advance(86_400_000 - 20);
    expect([clock.fired, tomorrow.expiries]).toEqual([0, 0]);
    await clock.advance(40);
    expect([clock.fired, tomorrow.expiries, never.expiries]).toEqual([1, 1, 0]);
  });

  it.each([1, 30, 400])(
    'expire in their order after a clock that jumped by %d days, and those to come in time',
    async (days) => {
      const clock = new FakeClock();
      const deadlines = new Deadlines(clock);
      const order: number[] = [];
      for (const dueAtMs of [500, 40_000, 20, 11_000, 90_000]) {
        const alarm = new Alarm();
        alarm.onExpire = () => order.push(dueAtMs);
        deadlines.add(alarm, dueAtMs);
      }
      const later = new Alarm();
      const laterAtMs = days * 86_400_000 + 60_000;
      deadlines.add(later, laterAtMs);
      clock.block(days * 86_400_000);
      await clock.advance(10);
      expect(order).toEqual([20, 500, 11_000, 40_000, 90_000]);
      await clock.advance(59_000);
      expect(later.expiries).toBe(0);
      await clock.advance(1_010);
      expect(later.expiries).toBe(1);
    },
  );

  it('are over at once where the due time is no time', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const alarm = new Alarm();
    deadlines.add(alarm, Number.NaN);
    await clock.advance(10);
    expect(alarm.expiries).toBe(1);
  });

  it('keep the process alive for one that never comes', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    deadlines.add(new Alarm(true), Infinity);
    await clock.advance(1_000);
    expect(clock.keepsProcessAlive).toBe(true);
  });
});

class CountingClock extends FakeClock {
  fired = 0;

  override setTimer(callback: () => void, delayMs: number) {
    return super.setTimer(() => {
      this.fired++;
      callback();
    }, delayMs);
  }
}
