/**
 * Clients that callers got from `duplicate()`: each a connection of the caller's own, outside the pool's slots.
 *
 * Promise: the pool knows every one of them and of their duplicates, lets no more than `max` be open at once, and ends
 * what is left when it closes. Everything is allowed on them, and they reconnect by themselves like any ioredis client;
 * what a caller sent over a connection that died is rejected rather than repeated or forgotten, what ioredis itself
 * sent (a resubscription) is sent again.
 */
import type { Command, Redis, RedisOptions } from 'ioredis';

import type { Clock } from '../engine/time/clock.js';
import type { Deadlines } from '../engine/time/deadlines.js';
import { withTimeout } from '../engine/time/with-timeout.js';
import { DedicatedLimitError, type LeaseHolder, PoolClosedError } from '../errors.js';
import type { TenantContext } from '../tenancy/tenant-context.js';
import { ClientFacade, type FacadeOptions } from './client-facade.js';
import { effectOf } from './command-effects.js';
import { boundConnects } from './connect-deadline.js';
import type { Deployment, Made } from './deployment.js';
import { IdlePings } from './idle-pings.js';
import {
  type CommandSink,
  connectionsOf,
  destroyClient,
  dropConnection,
  end,
  ending,
  forgetUnsubscribed,
  makeOutside,
  owesReplies,
  type RedisClient,
  rejectUnanswered,
} from './redis-client.js';
import { isOutOfStep, withoutSecrets } from './server-answers.js';

export interface DedicatedClientsDependencies<C extends RedisClient> extends FacadeOptions {
  readonly max: number;
  readonly deployment: Deployment<C>;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly connectTimeoutMs: number;
  /** How often those that wait for nothing are pinged, and how long they may take to answer; 0: never. */
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
  readonly tenants: TenantContext;
}

/** What is known of an open client. */
interface Opened {
  readonly tenantId: string | undefined;
  readonly atMs: number;
}

export class DedicatedClients<C extends RedisClient> {
  readonly #dependencies: DedicatedClientsDependencies<C>;
  readonly #open = new Map<RedisClient, Opened>();
  readonly #pings: IdlePings;
  #closed = false;
  readonly #atWork = new Map<RedisClient, LeaseHolder>();

  constructor(dependencies: DedicatedClientsDependencies<C>) {
    const { pingIntervalMs, pingTimeoutMs, clock, deadlines, ioredis } = dependencies;
    this.#dependencies = dependencies;
    this.#pings = new IdlePings({
      clients: this.#open,
      intervalMs: pingIntervalMs,
      timeoutMs: pingTimeoutMs,
      clock,
      deadlines,
      ioredis,
    });
  }

  /** How many are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Those that were at work when the pool closed them. */
  get cut(): readonly LeaseHolder[] {
    return [...this.#atWork.values()];
  }

  /**
   * Makes one, like `original` or like the shared client, with the caller's options on top.
   *
   * @throws DedicatedLimitError when there are `max` already, PoolClosedError after the pool has closed.
   */
  duplicate(args: readonly unknown[], original?: Made<C>): C {
    const { deployment } = this.#dependencies;
    return this.#adopt(
      () => deployment.duplicate(args, original),
      (others, made) => this.duplicate(others, made),
    );
  }

  /** The same, like a node of the cluster alone. */
  duplicateNode(node: Redis, [changes]: readonly unknown[]): Redis {
    const { ioredis, connectTimeoutMs } = this.#dependencies;
    return this.#adopt(
      () => {
        // Its replyMapping is a parameter of the client's type, and passes unseen.
        const options: Omit<RedisOptions, 'replyMapping'> = node.options;
        const shown = {
          ...options,
          lazyConnect: false,
          connectTimeout: connectTimeoutMs,
          ...(typeof changes === 'object' ? changes : {}),
        };
        const client = makeOutside(() => new ioredis.Redis({ ...shown, connectTimeout: options.connectTimeout }));
        return { client, shown, ownCredentials: shown.password === options.password };
      },
      (others, { client }) => this.duplicateNode(client, others),
    );
  }

  #adopt<D extends RedisClient>(make: () => Made<D>, duplicate: (args: readonly unknown[], original: Made<D>) => D): D {
    const { poolId, max, clock, tenants } = this.#dependencies;
    if (this.#closed) throw new PoolClosedError(poolId);
    if (this.#open.size >= max) throw new DedicatedLimitError(poolId, this.#open.size, max, 'maxDuplicates');
    const opened = { tenantId: tenants.frame()?.tenantId, atMs: clock.now() };
    const made = make();
    this.#listenTo(made, opened);
    return new DedicatedFacade(made, this.#dependencies, duplicate, (node, args) => this.duplicateNode(node, args))
      .proxy;
  }

  /**
   * Ends all that are open: after the replies they are owed, except those that wait for something that may never come.
   */
  async close(timeoutMs: number, clock: Clock): Promise<void> {
    this.#closed = true;
    this.#pings.stop();
    for (const [client, opened] of this.#open) {
      if (owesReplies(client)) this.#atWork.set(client, factsOf(client, opened, clock.now()));
    }
    const outcome = await withTimeout(clock, timeoutMs, async () => {
      await Promise.all(
        [...this.#open.keys()].map(async (client) => {
          const blocked = isBlocked(client);
          await end(client, !blocked && !waitsForEvents(client));
          if (!blocked) this.#atWork.delete(client);
        }),
      );
    });
    if (outcome.kind !== 'done') for (const client of this.#open.keys()) destroyClient(client);
    this.#open.clear();
  }

  #listenTo(made: Made<RedisClient>, opened: Opened): void {
    const { client, ownCredentials } = made;
    const { connectTimeoutMs, deployment } = this.#dependencies;
    this.#open.set(client, opened);
    this.#pings.start();
    if (ownCredentials) deployment.credentials.follow(client);
    boundConnects(client, connectTimeoutOf(made.shown) ?? connectTimeoutMs, this.#dependencies);
    // Without a listener ioredis prints every lost connection to the console; callers that care add their own.
    client.on('error', (error: Error) => {
      const outOfStep = isOutOfStep(error);
      withoutSecrets(error);
      // A reply came that belongs to no command: each that follows could be taken for another command's.
      if (outOfStep && !('nodes' in client)) dropConnection(client, error);
    });
    client.on('end', () => this.#open.delete(client));
    client.on('connecting', () => this.#reopened(client, opened));
    if (!('nodes' in client) && !resends(made.shown)) {
      // In ioredis' own words: libraries recognise a lost connection by them.
      client.on('close', () => rejectUnanswered(client, () => new Error('Connection is closed.')));
    }
  }

  /** An ended client can be connected again by its owner. */
  #reopened(client: RedisClient, opened: Opened): void {
    if (this.#closed) return destroyClient(client);
    this.#open.set(client, opened);
    this.#pings.start();
  }
}

function factsOf(client: RedisClient, opened: Opened, nowMs: number): LeaseHolder {
  const commands = connectionsOf(client).flatMap(({ commandQueue }) =>
    commandQueue.toArray().map(({ command }) => command.name.toUpperCase()),
  );
  const at = [...new Set(commands)].join(', ');
  const stack = `through client.duplicate() "${nameOf(client)}", at ${at}`;
  return { tenantId: opened.tenantId, heldMs: nowMs - opened.atMs, stack };
}

/** Whether a client subscribes or monitors. */
function waitsForEvents(client: RedisClient): boolean {
  return connectionsOf(client).some(({ mode }) => mode !== 'normal');
}

function isBlocked(client: RedisClient): boolean {
  return connectionsOf(client).some(({ commandQueue }) =>
    commandQueue.toArray().some(({ command }) => effectOf(command.name, command.args) === 'blocking'),
  );
}

function nameOf(client: RedisClient): string {
  const ofNodes = 'nodes' in client ? client.options.redisOptions : client.options;
  const name: unknown = ofNodes === undefined ? undefined : Reflect.get(ofNodes, 'connectionName');
  return typeof name === 'string' ? name : '';
}

/** What the caller has set; what ioredis itself is given says something else. */
function connectTimeoutOf(shown: object): number | undefined {
  const timeoutMs: unknown = Reflect.get(shown, 'connectTimeout');
  return typeof timeoutMs === 'number' ? timeoutMs : undefined;
}

function resends(shown: object): boolean {
  return Reflect.get(shown, 'autoResendUnfulfilledCommands') === true;
}

class DedicatedFacade<C extends RedisClient> extends ClientFacade<C> {
  readonly #made: Made<C>;
  readonly #sink: CommandSink;
  readonly #duplicate: (args: readonly unknown[], original: Made<C>) => C;
  readonly #duplicateNode: (node: Redis, args: readonly unknown[]) => Redis;

  constructor(
    made: Made<C>,
    facade: FacadeOptions,
    duplicate: (args: readonly unknown[], original: Made<C>) => C,
    duplicateNode: (node: Redis, args: readonly unknown[]) => Redis,
  ) {
    super(made.client, facade, made.shown);
    this.#made = made;
    this.#sink = made.client;
    this.#duplicate = duplicate;
    this.#duplicateNode = duplicateNode;
  }

  protected override get client(): C {
    return this.#made.client;
  }

  protected override send(command: Command, stream: unknown, node: unknown): unknown {
    const { noAddress } = this.facade;
    if (noAddress !== undefined) {
      command.reject(noAddress);
      return command.promise;
    }
    forgetUnsubscribed(this.client, command);
    if (command.name !== 'quit') return this.#sink.sendCommand(command, stream, node);
    return ending(this.client, () => this.#sink.sendCommand(command, stream, node));
  }

  protected override duplicate(args: readonly unknown[]): C {
    return this.#duplicate(args, this.#made);
  }

  override sendToNode(node: CommandSink, command: Command, stream: unknown): unknown {
    return node.sendCommand(command, stream);
  }

  override duplicateNode(node: Redis, args: readonly unknown[]): Redis {
    return this.#duplicateNode(node, args);
  }

  override endNode(node: Redis): void {
    node.disconnect();
  }

  protected override replacement(key: string | symbol): unknown {
    const { client } = this;
    switch (key) {
      case 'connect':
        // Its handshake would otherwise go through the facade.
        return (callback?: unknown): unknown => this.told(client.connect(), callback);
      case 'disconnect':
        return (reconnect = false): void => void ending(client, () => client.disconnect(reconnect));
      case 'end':
        return (): void => void ending(client, () => client.disconnect());
      case 'quit':
        // A cluster's client has one of its own; that of a server is a command like any other.
        return 'nodes' in client
          ? (callback?: unknown): unknown => ending(client, () => this.told(client.quit(), callback))
          : undefined;
      default:
        return undefined;
    }
  }

  override assertUsable(): void {}

  override rejectionInPipeline(): undefined {}

  override rejectionOfPipeline(): Error | undefined {
    return this.facade.noAddress;
  }
}
