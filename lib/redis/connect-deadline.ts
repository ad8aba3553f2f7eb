/**
 * Bounds the connects of a client that reconnects by itself.
 *
 * Promise: a connect whose server says nothing for `timeoutMs`, at any step of it, the handshake included, is given
 * up and tried again. Unlike ioredis' own time-out, which covers the socket alone, it first lets the event loop deliver
 * what has arrived: a loop that was blocked costs no connection.
 */
import type { Redis } from 'ioredis';

import type { Clock } from '../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../engine/time/deadlines.js';
import { dropConnection, type RedisClient } from './redis-client.js';

export interface ConnectDeadlineDependencies {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
}

/** Has every connect of `client` (of a cluster: of its nodes) end in time. */
export function boundConnects(client: RedisClient, timeoutMs: number, dependencies: ConnectDeadlineDependencies): void {
  if (!(timeoutMs > 0 && timeoutMs < Infinity)) return;
  if ('nodes' in client) client.on('+node', (node: Redis) => void new ConnectDeadline(node, timeoutMs, dependencies));
  else new ConnectDeadline(client, timeoutMs, dependencies);
}

class ConnectDeadline extends DeadlineEntry {
  override readonly keepsProcessAlive = false;
  readonly #client: Redis;
  readonly #timeoutMs: number;
  readonly #dependencies: ConnectDeadlineDependencies;

  constructor(client: Redis, timeoutMs: number, dependencies: ConnectDeadlineDependencies) {
    super();
    this.#client = client;
    this.#timeoutMs = timeoutMs;
    this.#dependencies = dependencies;
    const stop = (): void => dependencies.deadlines.remove(this);
    client.on('connecting', () => this.#start());
    client.on('connect', () => {
      const { stream } = client;
      // A server that loads its data answers all the while, and is not given up.
      const heard = (): void => {
        if (client.stream !== stream || !this.#start()) stream.off('data', heard);
      };
      stream.on('data', heard);
      this.#start();
    });
    client.on('ready', stop);
    client.on('close', stop);
    client.on('end', stop);
    if (client.status === 'connecting') this.#start();
  }

  override expire(): void {
    if (!this.#isUnderWay) return;
    const error = new Error(`connect ETIMEDOUT: the server said nothing for ${this.#timeoutMs} ms`);
    dropConnection(this.#client, Object.assign(error, { code: 'ETIMEDOUT' }));
  }

  /** The time begins anew. @returns whether there is a connect. */
  #start(): boolean {
    const { clock, deadlines } = this.#dependencies;
    const underWay = this.#isUnderWay;
    if (underWay) deadlines.add(this, clock.now() + this.#timeoutMs);
    return underWay;
  }

  get #isUnderWay(): boolean {
    return this.#client.status === 'connecting' || this.#client.status === 'connect';
  }
}
