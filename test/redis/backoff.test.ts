import { describe, expect, it } from '@jest/globals';

import { clientBackoff } from '../../lib/redis/backoff.js';
import { FakeClock } from '../support/fakes/fake-clock.js';

/** The pause that follows each of so many calls. @param livesMs how long the connection in between was there. */
async function pauses(calls: number, livesMs: number | undefined): Promise<number[]> {
  const clock = new FakeClock();
  const retry = clientBackoff(() => 1, clock);
  const seen: number[] = [];
  for (let call = 1; call <= calls; call++) {
    // ioredis begins to count anew once a connection was ready.
    const pauseMs = retry(livesMs === undefined ? call : 1);
    seen.push(pauseMs);
    await clock.advance(pauseMs + (livesMs ?? 0));
  }
  return seen;
}

describe('the pause before ioredis connects again', () => {
  const GROWING = [50, 100, 200, 400, 800, 1_600, 2_000, 2_000];

  it('grows while no connect works', async () => {
    expect(await pauses(8, undefined)).toEqual(GROWING);
  });

  it('grows while connections are lost as soon as they are there', async () => {
    expect(await pauses(8, 20)).toEqual(GROWING);
  });

  it('is a first one after a connection that has lasted', async () => {
    expect(await pauses(3, 5_000)).toEqual([50, 50, 50]);
  });
});
