/**
 * Publishes work that takes time on a tracing channel.
 */
import type { TracingChannel } from 'node:diagnostics_channel';

import type { Clock } from '../engine/time/clock.js';

/** A message of work that takes time. */
interface TimedMessage {
  durationMs: number | undefined;
  error: unknown;
}

/**
 * Publishes what becomes of `work`, which is called at once, in the stores that subscribers have bound to `start`.
 *
 * As Node's `tracePromise`, but that the message says how long it took, and that what `work` throws rejects.
 */
export function traced<M extends TimedMessage, T>(
  channels: TracingChannel<unknown, M>,
  message: M,
  clock: Clock,
  work: () => Promise<T>,
): Promise<T> {
  const startedAtMs = clock.now();
  const ended = (error: unknown, failed: boolean): void => {
    message.durationMs = clock.now() - startedAtMs;
    message.error = error;
    if (failed) channels.error.publish(message);
    channels.asyncStart.publish(message);
    channels.asyncEnd.publish(message);
  };
  const promise = channels.start.runStores(message, async () => work());
  channels.end.publish(message);
  return promise.then(
    (result) => {
      ended(undefined, false);
      return result;
    },
    (error: unknown) => {
      ended(error, true);
      throw error;
    },
  );
}
