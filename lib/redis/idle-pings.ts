/**
 * Finds connections of duplicates that are dead without having been closed.
 *
 * A subscriber sends nothing, so it would never hear of a firewall or a host that has dropped its connection: it would
 * be deaf for as long as it lives. Promise: every connection that waits for nothing is pinged once an interval, and one
 * that doesn't answer within `timeoutMs` is dropped, whereupon ioredis connects and subscribes again. While there is no
 * duplicate there is no timer.
 */
import type { Redis } from 'ioredis';

import type { Clock } from '../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../engine/time/deadlines.js';
import { dropConnection, type IoredisModule, listeningConnectionsOf, type RedisClient } from './redis-client.js';

export interface IdlePingsDependencies {
  /** The open duplicates, as they come and go. */
  readonly clients: ReadonlyMap<RedisClient, unknown>;
  /** 0: never. */
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly ioredis: IoredisModule;
}

export class IdlePings extends DeadlineEntry {
  override readonly keepsProcessAlive = false;
  readonly #dependencies: IdlePingsDependencies;

  constructor(dependencies: IdlePingsDependencies) {
    super();
    this.#dependencies = dependencies;
  }

  /** There is a client to look after. */
  start(): void {
    const { intervalMs, deadlines, clock } = this.#dependencies;
    if (intervalMs > 0 && this.dueTick < 0) deadlines.add(this, clock.now() + intervalMs);
  }

  stop(): void {
    this.#dependencies.deadlines.remove(this);
  }

  override expire(): void {
    const { clients } = this.#dependencies;
    for (const client of clients.keys()) {
      for (const connection of listeningConnectionsOf(client)) this.#ping(connection);
    }
    if (clients.size > 0) this.start();
  }

  #ping(connection: Redis): void {
    const { clock, deadlines, ioredis, timeoutMs } = this.#dependencies;
    // What waits for a reply has its own time-outs, and would hold the ping's reply up.
    if (connection.status !== 'ready' || connection.mode === 'monitor' || connection.commandQueue.length > 0) return;
    const ping = new Ping(connection);
    deadlines.add(ping, clock.now() + timeoutMs);
    const command = new ioredis.Command('ping', [], { replyEncoding: 'utf8' });
    const answered = (): void => deadlines.remove(ping);
    // An error is an answer too; and when the connection is lost there is nothing left to find.
    command.promise.then(answered, answered);
    connection.sendCommand(command);
  }
}

class Ping extends DeadlineEntry {
  override readonly keepsProcessAlive = false;
  readonly #connection: Redis;
  readonly #stream: Redis['stream'];

  constructor(connection: Redis) {
    super();
    this.#connection = connection;
    this.#stream = connection.stream;
  }

  override expire(): void {
    // Over another connection by now, ioredis sends the ping again.
    if (this.#connection.stream === this.#stream)
      dropConnection(this.#connection, new Error('A ping was not answered.'));
  }
}
