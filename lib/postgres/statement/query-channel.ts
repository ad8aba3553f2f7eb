/**
 * Publishes the application's statements: what is sent, and what became of it. Never their values.
 */
import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel';

import type { Clock } from '../../engine/time/clock.js';
import { POOL_CHANNELS, type PoolMessage, type QueryMessage } from '../../pool/pool-channels.js';
import { TracedWork } from '../../pool/traced-work.js';
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
    const startedAtMs = this.#clock.now();
    const message: QueryMessage = { ...this.#pool, tenantId, text, name, durationMs: undefined, error: undefined };
    const trace = new TracedWork(this.#channels, message);
    trace.begin(() => {});
    return {
      ...observed,
      finish: (error, result) => {
        observed.finish(error, result);
        message.durationMs = this.#clock.now() - startedAtMs;
        message.error = error;
        if (error !== undefined) trace.fail();
        trace.end();
      },
    };
  }
}
