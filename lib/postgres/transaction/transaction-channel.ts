/**
 * Publishes calls of `transaction`. The function and its statements run in the stores that subscribers bind to the
 * call's start.
 */
import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel';

import { POOL_CHANNELS, type PoolMessage, type TransactionMessage } from '../../pool/pool-channels.js';
import { traced } from '../../pool/traced-work.js';
import type { TransactionHost } from './run-transaction.js';

export class TransactionChannel {
  readonly #pool: PoolMessage;
  readonly #channels: TracingChannel<unknown, TransactionMessage> = tracingChannel(POOL_CHANNELS.transaction);

  constructor(pool: PoolMessage) {
    this.#pool = pool;
  }

  get hasSubscribers(): boolean {
    return this.#channels.hasSubscribers;
  }

  /** @param run runs the transaction; each acquire of the host that it is given is an attempt. */
  follow<T>(
    host: TransactionHost,
    tenantId: string | undefined,
    run: (host: TransactionHost) => Promise<T>,
  ): Promise<T> {
    const message: TransactionMessage = {
      ...this.#pool,
      tenantId,
      attempts: 0,
      durationMs: undefined,
      error: undefined,
    };
    const counting: TransactionHost = {
      ...host,
      acquire: (limits) => {
        message.attempts++;
        return host.acquire(limits);
      },
    };
    return traced(this.#channels, message, host.clock, () => run(counting));
  }
}
