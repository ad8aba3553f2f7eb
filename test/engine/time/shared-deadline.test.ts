import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import { Deadlines, TICK_MS } from '../../../lib/engine/time/deadlines.js';
import { type InLine, SharedDeadline } from '../../../lib/engine/time/shared-deadline.js';
import { FakeClock } from '../../support/fakes/fake-clock.js';

const TIMEOUT_MS = 200;

class Someone implements InLine {
  place = -1;
  expiredAtMs: number | undefined;
  constructor(readonly enqueuedAtMs: number) {}
}

/** A line with a clock of its own; whoever expires leaves it, as a waiter does. */
function line(timeoutMs = TIMEOUT_MS) {
  const clock = new FakeClock(1_000.5);
  const deadlines = new Deadlines(clock);
  const expired: Someone[] = [];
  const shared = new SharedDeadline<Someone>(deadlines, timeoutMs, (someone, nowMs) => {
    shared.remove(someone);
    someone.expiredAtMs = nowMs;
    expired.push(someone);
  });
  const join = (): Someone => {
    const someone = new Someone(clock.now());
    shared.add(someone);
    return someone;
  };
  return { clock, deadlines, shared, expired, join };
}

describe('the deadline that waiters share', () => {
  it('lets each of them expire once, in their order, within a tick after its time-out and never before it', async () => {
    const turn = fc.oneof(
      // Enough at once that the line has to grow, and gaps that it can close instead.
      { weight: 4, arbitrary: fc.record({ join: fc.integer({ min: 1, max: 60 }) }) },
      { weight: 4, arbitrary: fc.record({ leave: fc.array(fc.nat(500), { maxLength: 60 }) }) },
      { weight: 2, arbitrary: fc.record({ passMs: fc.integer({ min: 1, max: 150 }) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(turn, { minLength: 5, maxLength: 40 }), async (program) => {
        const { clock, deadlines, shared, expired, join } = line();
        const all: Someone[] = [];
        const gone = new Set<Someone>();
        for (const step of program) {
          if ('join' in step) for (let i = 0; i < step.join; i++) all.push(join());
          else if ('leave' in step) {
            for (const which of step.leave) {
              const waiting = all.filter((someone) => someone.place >= 0);
              const someone = waiting[which % Math.max(1, waiting.length)];
              if (someone === undefined) continue;
              shared.remove(someone);
              gone.add(someone);
            }
          } else await clock.advance(step.passMs);
          const late = all.filter(
            (someone) => someone.place >= 0 && clock.now() - someone.enqueuedAtMs > TIMEOUT_MS + 2 * TICK_MS,
          );
          expect(late).toEqual([]);
        }
        await clock.advance(TIMEOUT_MS + 2 * TICK_MS);
        expect(expired).toEqual(all.filter((someone) => !gone.has(someone)));
        for (const { expiredAtMs = NaN, enqueuedAtMs } of expired)
          expect(expiredAtMs - enqueuedAtMs).toBeGreaterThanOrEqual(TIMEOUT_MS);
        expect(deadlines.pending).toBe(0);
        expect(clock.keepsProcessAlive).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  it('keeps the process alive while anyone waits, and not when all have been served', () => {
    const { clock, shared, join } = line();
    const [first, second] = [join(), join()];
    expect(clock.keepsProcessAlive).toBe(true);
    shared.remove(second);
    expect(clock.keepsProcessAlive).toBe(true);
    shared.remove(first);
    expect(clock.keepsProcessAlive).toBe(false);
  });

  it('is another for those who wait already when the time-out changes', async () => {
    const { clock, shared, expired, join } = line(10_000);
    const someone = join();
    shared.timeoutMs = 100;
    await clock.advance(100 + TICK_MS);
    expect(expired).toEqual([someone]);
  });

  it('lets those behind expire too when the expiry of one throws', async () => {
    const clock = new FakeClock();
    const deadlines = new Deadlines(clock);
    const met: Someone[] = [];
    const shared = new SharedDeadline<Someone>(deadlines, TIMEOUT_MS, (someone) => {
      shared.remove(someone);
      met.push(someone);
      if (met.length === 1) throw new Error('a receiver that must not throw');
    });
    const both = [new Someone(0), new Someone(0)];
    for (const someone of both) shared.add(someone);
    await expect(clock.advance(TIMEOUT_MS + TICK_MS)).rejects.toThrow('must not throw');
    await clock.advance(2 * TICK_MS);
    expect(met).toEqual(both);
  });
});
