/**
 * What the rest of this folder needs to know of ioredis, in one place.
 */
import { once } from 'node:events';

import type { Cluster, Command, Pipeline, Redis } from 'ioredis';

import { runOutside } from '../engine/outside-context.js';
import { MissingDriverError } from '../errors.js';
import { guardReplies, replaceReplyHandler } from './reply-guard.js';
import { isOutOfStep, isReply } from './server-answers.js';

/** The module, loaded when the first Redis pool is created. */
export interface IoredisModule {
  readonly Redis: typeof Redis;
  readonly Cluster: typeof Cluster;
  readonly Command: typeof Command;
  readonly Pipeline: typeof Pipeline;
}

/** One connection (standalone, Sentinel), or a client of a whole cluster. */
export type RedisClient = Redis | Cluster;

/** The part of both through which every command goes. */
export interface CommandSink {
  sendCommand(command: Command, stream?: unknown, node?: unknown): unknown;
}

/** @throws MissingDriverError when the package isn't installed. */
export async function loadIoredis(poolId: string): Promise<IoredisModule> {
  try {
    const ioredis = await import('ioredis');
    await replaceReplyHandler();
    return ioredis;
  } catch (cause) {
    throw new MissingDriverError(poolId, 'ioredis', cause);
  }
}

/** The sockets' owners: the client itself, or the nodes that a cluster client is connected to. */
export function connectionsOf(client: RedisClient): readonly Redis[] {
  return 'nodes' in client ? client.nodes() : [client];
}

/** The sockets' owners that hear of what others publish: of a cluster's client, the one that subscribes for it. */
export function listeningConnectionsOf(client: RedisClient): readonly Redis[] {
  if (!('nodes' in client)) return [client];
  const subscriber: unknown = Reflect.get(client, 'subscriber');
  if (typeof subscriber !== 'object' || subscriber === null || !('getInstance' in subscriber)) return [];
  const { getInstance } = subscriber;
  const instance: unknown = typeof getInstance === 'function' ? Reflect.apply(getInstance, subscriber, []) : undefined;
  return isConnection(instance) ? [instance] : [];
}

function isConnection(value: unknown): value is Redis {
  return typeof value === 'object' && value !== null && 'commandQueue' in value && 'sendCommand' in value;
}

/** Whether a command given to the client now would leave at once. */
export function isWritable(client: RedisClient): boolean {
  if (client.status !== 'ready') return false;
  return 'nodes' in client || client.stream.writable;
}

/** Whether a command still waits for its reply. */
export function owesReplies(client: RedisClient): boolean {
  return connectionsOf(client).some((connection) => connection.commandQueue.length > 0);
}

/** Ends the client now: no goodbye, no reconnect. */
export function destroyClient(client: RedisClient): void {
  const connections = connectionsOf(client);
  ending(client, () => client.disconnect());
  for (const connection of connections) destroyStream(connection);
}

/** Drops the connection of a client that reconnects by itself. */
export function dropConnection(client: Redis, reason: Error): void {
  client.disconnect(true);
  destroyStream(client, reason);
}

function destroyStream(client: Redis, reason?: Error): void {
  // Declared as always there, but a client that never connected has none.
  const stream: Redis['stream'] | undefined = client.stream;
  stream?.destroy(reason);
}

/**
 * Calls `end`, which ends the client, and finishes what ioredis leaves undone when the client waits to reconnect.
 *
 * ioredis cancels the reconnect then, but there is no socket whose close would take the client from `reconnecting` to
 * `end`: it would never emit `end`, and what waits in its offline queue would never settle.
 */
export function ending<T>(client: RedisClient, end: () => T): T {
  const wasWaiting = client.status === 'reconnecting';
  const result = end();
  if (!wasWaiting || Reflect.get(client, 'reconnectTimeout') !== null) return result;
  Reflect.set(client, 'status', 'end');
  Reflect.set(client, 'manuallyClosing', false);
  const offline: unknown = Reflect.get(client, 'offlineQueue');
  if (isCommandQueue(offline)) {
    for (let item = offline.shift(); item !== undefined; item = offline.shift())
      item.command.reject(new Error('Connection is closed.'));
  }
  process.nextTick(() => client.emit('end'));
  return result;
}

function isCommandQueue(queue: unknown): queue is Redis['commandQueue'] {
  return typeof queue === 'object' && queue !== null && 'shift' in queue && typeof queue.shift === 'function';
}

/** Makes a client, which may begin to connect: outside every caller's async context, and with its replies guarded. */
export function makeOutside<C extends RedisClient>(make: () => C): C {
  const client = connectingOutside(make);
  connectOutside(client);
  // A reply came that belongs to no command: each that follows could reach the wrong caller.
  if ('nodes' in client) client.on('+node', dropOutOfStep);
  else renewSubscriptions(client);
  return client;
}

type Subscribing = 'subscribe' | 'psubscribe' | 'ssubscribe';

/** Of each client the subscriptions to renew, by command: whether that is under way, or has failed. */
const RENEWALS = new WeakMap<RedisClient, ReadonlyMap<string, Map<string, 'asked' | 'failed'>>>();

/**
 * Takes care of the subscriptions that ioredis renews by itself once it has reconnected. It doesn't look at what comes
 * of them: one that fails would be an unhandled rejection, and the client deaf. One that is refused, or lost with its
 * connection, is asked for again over the next connection.
 */
function renewSubscriptions(client: Redis): void {
  const renewals = new Map<Subscribing, Map<string, 'asked' | 'failed'>>();
  RENEWALS.set(client, renewals);
  for (const name of ['subscribe', 'psubscribe', 'ssubscribe'] as const) {
    const method: unknown = Reflect.get(client, name);
    if (typeof method !== 'function') continue;
    const channels = new Map<string, 'asked' | 'failed'>();
    renewals.set(name, channels);
    Object.defineProperty(client, name, {
      value: function (this: unknown, ...args: readonly unknown[]): unknown {
        const subscribed: unknown = Reflect.apply(method, this, args);
        // Callers call it on a facade, and look after the promise themselves.
        if (this !== client || !(subscribed instanceof Promise)) return subscribed;
        const asked = args.flat().map(String);
        for (const channel of asked) channels.set(channel, 'asked');
        subscribed.then(
          () => {
            for (const channel of asked) channels.delete(channel);
          },
          (error: Error) => {
            // One that its caller has unsubscribed meanwhile is not in there any more.
            for (const channel of asked) if (channels.has(channel)) channels.set(channel, 'failed');
            if (isReply(error)) client.emit('error', error);
          },
        );
        return subscribed;
      },
      configurable: true,
      writable: true,
    });
  }
  client.on('close', () => {
    // ioredis may have forgotten what was under way, and then its promise never settles.
    for (const channels of renewals.values()) for (const channel of channels.keys()) channels.set(channel, 'failed');
  });
  client.on('ready', () => {
    for (const [name, channels] of renewals) {
      const failed = [...channels.keys()].filter((channel) => channels.get(channel) === 'failed');
      // Shard channels of one command must be of one slot.
      const commands = name === 'ssubscribe' ? failed.map((channel) => [channel]) : failed.length > 0 ? [failed] : [];
      for (const some of commands) void Reflect.apply(client[name], client, some);
    }
  });
}

/** To be called with each command that a caller sends: what it unsubscribes is not renewed any more. */
export function forgetUnsubscribed(client: RedisClient, { name, args }: Command): void {
  if (!/^[ps]?unsubscribe$/i.test(name)) return;
  const channels = RENEWALS.get(client)?.get(name.toLowerCase().replace('un', ''));
  if (args.length === 0) channels?.clear();
  for (const channel of args.flat()) channels?.delete(String(channel));
}

function connectingOutside<T>(connect: () => T): T {
  return runOutside(() => guardReplies(connect));
}

function dropOutOfStep(node: Redis): void {
  node.on('error', (error: Error) => {
    if (isOutOfStep(error)) dropConnection(node, error);
  });
}

/**
 * Has everything that connects the client do so outside every caller's async context.
 *
 * ioredis connects a lazy client, and a cluster's client a node, when the first command is sent: the socket's events
 * would run in the context of the request that happened to send it.
 */
function connectOutside(client: RedisClient): void {
  const connect: unknown = Reflect.get(client, 'connect');
  if (typeof connect !== 'function') return;
  Object.defineProperty(client, 'connect', {
    value: (...args: readonly unknown[]): unknown =>
      connectingOutside((): unknown => Reflect.apply(connect, client, args)),
    configurable: true,
    writable: true,
  });
  if ('nodes' in client) client.on('+node', connectOutside);
}

/** Waits for the replies that are owed, if `patient`; then ends the client. Resolves when its sockets are closed. */
export async function end(client: RedisClient, patient: boolean): Promise<void> {
  if (patient && client.status === 'ready' && owesReplies(client)) await client.quit().catch(() => undefined);
  // One that isn't connected, or waits to reconnect, may never say that it has ended.
  const ended = client.status === 'ready' ? once(client, 'end') : undefined;
  destroyClient(client);
  await ended;
}

/** Names of the methods of ioredis that send a command, and take a callback as their last argument. */
export function commandMethods(ioredis: IoredisModule): ReadonlySet<string> {
  const commander = Reflect.getPrototypeOf(ioredis.Redis.prototype) ?? {};
  let names = COMMAND_METHODS.get(commander);
  if (names === undefined) {
    // Of that class, ioredis makes its commands enumerable, and nothing else.
    names = new Set([...Object.keys(commander), 'exec']);
    COMMAND_METHODS.set(commander, names);
  }
  return names;
}

const COMMAND_METHODS = new WeakMap<object, ReadonlySet<string>>();

/**
 * Whether a command could be built: where its arguments can't be turned into text, ioredis leaves it without `resolve`.
 */
export function isSendable(command: Command): boolean {
  const resolve: Command['resolve'] | undefined = command.resolve;
  return resolve !== undefined;
}

/**
 * On commands that callers sent. All others are ioredis' own: handshake, ready check, resubscription. Not a WeakSet:
 * its table grows with every command, and collecting it took a quarter of a lone command's processor time.
 */
const IS_CALLERS = Symbol("caller's command");

/** Marks a command as a caller's, so that it is rejected when its connection is lost. */
export function markAsCallers(command: Command & { [IS_CALLERS]?: true }): void {
  command[IS_CALLERS] = true;
}

/**
 * Rejects what callers had sent over a connection that closed.
 *
 * With `autoResendUnfulfilledCommands: false` ioredis forgets such commands once it has reconnected, and their promises
 * never settle. ioredis' own commands stay in the queue: no caller waits for them, so a rejection would be an unhandled
 * one, and a client that resends sends a resubscription again.
 */
export function rejectUnanswered(client: Redis, error: () => Error): void {
  const { commandQueue } = client;
  for (let left = commandQueue.length; left > 0; left--) {
    const item = commandQueue.shift();
    if (item === undefined) return;
    if (IS_CALLERS in item.command) item.command.reject(error());
    else commandQueue.push(item);
  }
}
