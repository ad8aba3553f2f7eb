/**
 * Bounds a driver's call: at the deadline the engine goes on without its answer.
 */
import { runOutside } from '../outside-context.js';
import type { Clock } from './clock.js';
import { setDeadline } from './late-timer.js';

/** How a bounded call ended. */
export type TimedOutcome =
  { readonly kind: 'done' } | { readonly kind: 'failed'; readonly error: unknown } | { readonly kind: 'late' };

/**
 * Calls `run` outside every caller's context and waits for it, but no longer than `timeoutMs`. Never rejects. An answer
 * that arrived in time counts, though the event loop was blocked when it came. The timer keeps the process alive:
 * the caller that waits here must get an answer.
 */
export function withTimeout(clock: Clock, timeoutMs: number, run: () => Promise<void>): Promise<TimedOutcome> {
  return new Promise((resolve) => {
    const timer = setDeadline(clock, () => resolve({ kind: 'late' }), timeoutMs);
    timer.ref();
    // The async wrapper turns a driver that throws into one that rejects.
    runOutside(async () => run()).then(
      () => {
        timer.cancel();
        resolve({ kind: 'done' });
      },
      (error: unknown) => {
        timer.cancel();
        resolve({ kind: 'failed', error });
      },
    );
  });
}
