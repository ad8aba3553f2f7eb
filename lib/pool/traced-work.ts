/**
 * Publishes one piece of work on a tracing channel: `start` and `end` around its beginning, `asyncStart` and `asyncEnd`
 * when it has gone on beyond that, `error` when it failed.
 *
 * As with Node's own `tracePromise`, all of them are published in the async context of the work's caller, with the
 * stores that subscribers have bound to `start`: what ends the work may run in the context of another caller.
 */
import { AsyncResource } from 'node:async_hooks';
import type { TracingChannel } from 'node:diagnostics_channel';

import type { Clock } from '../engine/time/clock.js';

export class TracedWork<M extends object> {
  readonly #channels: TracingChannel<unknown, M>;
  readonly #message: M;
  #context: AsyncResource | undefined = undefined;

  constructor(channels: TracingChannel<unknown, M>, message: M) {
    this.#channels = channels;
    this.#message = message;
  }

  /** Calls `work`, which begins it. */
  begin<T>(work: () => T): T {
    const { start, end } = this.#channels;
    return start.runStores(this.#message, () => {
      this.#context = new AsyncResource('PoolTrace');
      try {
        return work();
      } finally {
        end.publish(this.#message);
      }
    });
  }

  /** It has failed. */
  fail(): void {
    this.inContext(() => this.#channels.error.publish(this.#message));
  }

  /** It is over, after it has gone on beyond its beginning. */
  end(): void {
    const { asyncStart, asyncEnd } = this.#channels;
    this.inContext(() => {
      asyncStart.publish(this.#message);
      asyncEnd.publish(this.#message);
    });
  }

  /** Calls `fn` in the context of the work's caller. */
  inContext(fn: () => void): void {
    if (this.#context === undefined) fn();
    else this.#context.runInAsyncScope(fn);
  }
}

/** A message of work that takes time. */
interface TimedMessage {
  durationMs: number | undefined;
  error: unknown;
}

/** Publishes what becomes of `work`. What it throws is a rejection. */
export async function traced<M extends TimedMessage, T>(
  channels: TracingChannel<unknown, M>,
  message: M,
  clock: Clock,
  work: () => Promise<T>,
): Promise<T> {
  const startedAtMs = clock.now();
  const trace = new TracedWork(channels, message);
  let hasFailed = false;
  try {
    return await trace.begin(async () => work());
  } catch (error) {
    hasFailed = true;
    message.error = error;
    throw error;
  } finally {
    message.durationMs = clock.now() - startedAtMs;
    if (hasFailed) trace.fail();
    trace.end();
  }
}
