import { performance } from 'node:perf_hooks';

import { describe, expect, it } from '@jest/globals';

import { systemClock } from '../../../lib/engine/time/clock.js';

describe("the process's own clock", () => {
  it('agrees with performance.now()', () => {
    const before = performance.now();
    const reading = systemClock.now();
    const after = performance.now();
    expect(reading).toBeGreaterThanOrEqual(before);
    expect(reading).toBeLessThanOrEqual(after);
  });

  it.each([2 ** 31, Infinity])('does not run a timer of %d ms at once', async (delayMs) => {
    let ran = false;
    const warnings: string[] = [];
    const warned = (warning: Error): void => void warnings.push(warning.name);
    process.on('warning', warned);
    const timer = systemClock.setTimer(() => (ran = true), delayMs);
    // Node runs a timer with too long a delay after 1 ms: before one of 2 ms that was set later.
    await new Promise<void>((resolve) => systemClock.setTimer(resolve, 2).ref());
    timer.cancel();
    process.off('warning', warned);
    expect(ran).toBe(false);
    expect(warnings).toEqual([]);
  });
});
