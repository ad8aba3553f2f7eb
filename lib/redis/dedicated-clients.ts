/**
 * Clients that callers got from `duplicate()`: each a connection of the caller's own, outside the pool's slots.
 *
 * Promise: the pool knows every one of them and of their duplicates, lets no more than `max` be open at once, and ends
 * what is left when it closes. Everything is allowed on them, and they reconnect by themselves like any ioredis client;
 * what was sent over a connection that died is rejected rather than repeated or forgotten.
 */
import type { Command } from 'ioredis';
import { settleWithin } from '../engine/bounded.js';
import type { Clock } from '../engine/clock.js';
import { runOutside } from '../engine/outside-context.js';
import { DedicatedLimitError, PoolClosedError } from '../errors.js';
import { ClientFacade } from './client-facade.js';
import type { Credentials } from './credentials.js';
import {
  connectionsOf,
  end,
  rejectUnanswered,
  sever,
  type CommandSink,
  type IoredisModule,
  type RedisClient,
} from './redis-client.js';
import { effectOf } from './redis-commands.js';

export interface DedicatedClientsParts<C extends RedisClient> {
  readonly poolId: string;
  readonly max: number;
  /** Makes a client with the caller's options on top of the pool's. */
  readonly make: (args: readonly unknown[]) => C;
  readonly credentials: Credentials;
  readonly ioredis: IoredisModule;
}

export class DedicatedClients<C extends RedisClient> {
  readonly #parts: DedicatedClientsParts<C>;
  readonly #open = new Set<C>();
  #closed = false;

  constructor(parts: DedicatedClientsParts<C>) {
    this.#parts = parts;
  }

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Makes one.
   *
   * @throws DedicatedLimitError when there are `max` already, PoolClosedError after the pool has closed.
   */
  duplicate(args: readonly unknown[]): C {
    const { poolId, max, make, credentials, ioredis } = this.#parts;
    if (this.#closed) throw new PoolClosedError(poolId);
    if (this.#open.size >= max) throw new DedicatedLimitError(poolId, this.#open.size, max, 'maxDuplicates');
    const client = runOutside(() => make(args));
    this.#open.add(client);
    credentials.follow(client);
    // Without a listener ioredis prints every lost connection to the console; callers that care add their own.
    client.on('error', () => undefined);
    client.on('end', () => this.#open.delete(client));
    client.on('connecting', () => this.#reopened(client));
    if (!('nodes' in client) && client.options.autoResendUnfulfilledCommands === false) {
      // In ioredis' own words: libraries recognise a lost connection by them.
      client.on('close', () => rejectUnanswered(client, () => new Error('Connection is closed.')));
    }
    return new DedicatedFacade(client, ioredis, this).proxy;
  }

  /** Ends all that are open: after the replies they are owed, except those that wait for something that may never come. */
  async close(timeoutMs: number, clock: Clock): Promise<void> {
    this.#closed = true;
    const outcome = await settleWithin(clock, timeoutMs, async () => {
      await Promise.all([...this.#open].map((client) => end(client, !waitsForEvents(client))));
    });
    if (outcome.kind !== 'done') for (const client of this.#open) sever(client);
  }

  /** An ended client can be connected again by its owner. */
  #reopened(client: C): void {
    if (this.#closed) sever(client);
    else this.#open.add(client);
  }
}

/** Whether a client subscribes, monitors or blocks. */
function waitsForEvents(client: RedisClient): boolean {
  return connectionsOf(client).some(
    ({ mode, commandQueue }) =>
      mode !== 'normal' ||
      commandQueue.toArray().some(({ command }) => effectOf(command.name, command.args) === 'blocking'),
  );
}

class DedicatedFacade<C extends RedisClient> extends ClientFacade<C> {
  readonly #client: C;
  readonly #sink: CommandSink;
  readonly #siblings: DedicatedClients<C>;

  constructor(client: C, ioredis: IoredisModule, siblings: DedicatedClients<C>) {
    super(client, ioredis);
    this.#client = client;
    this.#sink = client;
    this.#siblings = siblings;
  }

  protected override get client(): C {
    return this.#client;
  }

  protected override send(command: Command, stream: unknown, node: unknown): unknown {
    return this.#sink.sendCommand(command, stream, node);
  }

  protected override duplicate(args: readonly unknown[]): C {
    return this.#siblings.duplicate(args);
  }

  protected override replacement(key: string | symbol): unknown {
    switch (key) {
      case 'connect':
        // Its handshake would otherwise go through the facade, and its socket would carry this caller's context.
        return (callback?: unknown): unknown =>
          runOutside((): unknown => Reflect.apply(this.#client.connect, this.#client, [callback]));
      default:
        return undefined;
    }
  }

  protected override assertUsable(): void {}

  protected override refusalInPipeline(): undefined {}

  protected override refusalOfPipeline(): undefined {}
}
