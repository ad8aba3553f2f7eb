// Waiting for something that no event announces (a server's own view, a process table). Where there is an event, await
// the event.
import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  /** Give up after this. Default 5,000. */
  readonly withinMs?: number;
  /** Time between two looks. Default 10. */
  readonly everyMs?: number;
}

/**
 * Looks until `probe` neither throws nor returns false, and returns what it returned.
 * Rejects, when the time is over, with the last error of the probe as cause.
 */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  { withinMs = 5_000, everyMs = 10 }: EventuallyOptions = {},
): Promise<Exclude<T, false>> {
  const giveUpAt = performance.now() + withinMs;
  for (;;) {
    let last: unknown;
    try {
      const seen = await probe();
      if (seen !== false) return seen as Exclude<T, false>;
    } catch (error) {
      last = error;
    }
    if (performance.now() > giveUpAt) {
      const why = last instanceof Error ? `: ${last.message}` : '';
      throw new Error(`It did not happen within ${withinMs} ms${why}`, { cause: last });
    }
    await delay(everyMs);
  }
}
