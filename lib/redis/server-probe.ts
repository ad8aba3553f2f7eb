/**
 * Asks the server, over the shared connection, whether it can serve and whether it has room for another client.
 */
import { once } from 'node:events';

import { isWritable, type RedisClient } from './redis-client.js';
import { reasonNotToServe } from './server-answers.js';
import type { SharedClient } from './shared-client.js';
import type { SharedConnection } from './shared-connection.js';

export class ServerProbe<C extends RedisClient> {
  readonly #connection: SharedConnection<C>;
  readonly #shared: SharedClient<C>;

  constructor(connection: SharedConnection<C>, shared: SharedClient<C>) {
    this.#connection = connection;
    this.#shared = shared;
  }

  /**
   * Asks the server whether it is there; rejects when it hasn't answered within `timeoutMs`.
   *
   * @returns why it can't serve at the moment, although it is there: its reply to PING, or that it loads its data.
   */
  async ping(timeoutMs: number): Promise<Error | undefined> {
    const { client } = this.#connection;
    // Connected, and not ready: INFO is what a server that loads its data answers.
    const getsReady = !('nodes' in client) && client.status === 'connect' && client.stream.writable;
    try {
      const reply = await this.#shared.ask(getsReady ? 'info' : 'ping', getsReady ? ['persistence'] : [], timeoutMs);
      return getsReady && String(reply).includes('loading:1')
        ? new Error('LOADING the server loads its data')
        : undefined;
    } catch (error) {
      return reasonNotToServe(error);
    }
  }

  /**
   * Whether the server says that it has as many clients as it takes. Never rejects; `false` when it can't be asked, or
   * `signal` aborts.
   */
  async isFull(timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    const { client } = this.#connection;
    if ('nodes' in client || !isWritable(client)) return false;
    const asked = new AbortController();
    try {
      const aborted = once(signal, 'abort', { signal: asked.signal }).then(() => '');
      // Without a section's name: servers before Redis 7 take one name only.
      const info = String(await Promise.race([this.#shared.ask('info', [], timeoutMs), aborted]));
      const [clients = 0, replicas = 0, max = Infinity] = ['connected_clients', 'connected_slaves', 'maxclients'].map(
        (name) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? NaN),
      );
      // Replicas take up places of `maxclients`, and are no clients to INFO. Without one of the numbers: not known to
      // be.
      return clients + replicas >= max;
    } catch {
      return false;
    } finally {
      asked.abort();
    }
  }
}
