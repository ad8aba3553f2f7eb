/**
 * Publishes the application's statements: what is sent, and what became of it. Never their values.
 */
import { AsyncResource } from 'node:async_hooks';
import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel';

import type { Clock } from '../../engine/time/clock.js';
import { POOL_CHANNELS, type PoolMessage, type QueryMessage } from '../../pool/pool-channels.js';
import type { ObservedCall, StatementText } from './instrumentation.js';

export class QueryChannel {
  readonly #pool: PoolMessage;
  readonly #clock: Clock;
  readonly #channels: TracingChannel<unknown, QueryMessage> = tracingChannel(POOL_CHANNELS.query);

  constructor(pool: PoolMessage, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
  }

  get hasSubscribers(): boolean {
    return this.#channels.hasSubscribers;
  }

  /**
   * A statement is about to be sent. Called in the async context of its caller.
   *
   * @param observed what instrumentation makes of it, in a process that has some.
   * @returns the same, to be told of the statement's end for both.
   */
  begin(
    tenantId: string | undefined,
    statement: StatementText,
    observed: ObservedCall = { ...statement, ahead: [], blocked: undefined, finish() {} },
  ): ObservedCall {
    const { text, name } = statement;
    const { start, end, asyncStart, asyncEnd, error: failed } = this.#channels;
    const startedAtMs = this.#clock.now();
    const message: QueryMessage = { ...this.#pool, tenantId, text, name, durationMs: undefined, error: undefined };
    // Made within the stores that subscribers bind: what they find at the end is what they had at the start.
    const context = start.runStores(message, () => new AsyncResource('PostgresQuery'));
    end.publish(message);
    return {
      ...observed,
      finish: (error, result) => {
        observed.finish(error, result);
        message.durationMs = this.#clock.now() - startedAtMs;
        message.error = error;
        context.runInAsyncScope(() => {
          if (error !== undefined) failed.publish(message);
          asyncStart.publish(message);
          asyncEnd.publish(message);
        });
      },
    };
  }
}
