/**
 * What the rest of this folder needs to know of ioredis, in one place.
 */
import { once } from 'node:events';

import type { Cluster, Command, Pipeline, Redis } from 'ioredis';
import { isError } from '../engine/thrown.js';
import { MissingDriverError } from '../errors.js';

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
    return await import('ioredis');
  } catch (cause) {
    throw new MissingDriverError(poolId, 'ioredis', cause);
  }
}

/** The sockets' owners: the client itself, or the nodes that a cluster client is connected to. */
export function connectionsOf(client: RedisClient): readonly Redis[] {
  return 'nodes' in client ? client.nodes() : [client];
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
export function sever(client: RedisClient): void {
  const connections = connectionsOf(client);
  client.disconnect();
  for (const connection of connections) {
    // Declared as always there, but a client that never connected has none.
    const stream: Redis['stream'] | undefined = connection.stream;
    stream?.destroy();
  }
}

/** Waits for the replies that are owed, if `patient`; then ends the client. Resolves when its sockets are closed. */
export async function end(client: RedisClient, patient: boolean): Promise<void> {
  if (patient && client.status === 'ready' && owesReplies(client)) await client.quit().catch(() => undefined);
  // One that isn't connected, or waits to reconnect, may never say that it has ended.
  const ended = client.status === 'ready' ? once(client, 'end') : undefined;
  sever(client);
  await ended;
}

/**
 * Rejects what was sent over a connection that closed.
 *
 * With `autoResendUnfulfilledCommands: false` ioredis forgets such commands once it has reconnected, and their promises
 * never settle.
 */
export function rejectUnanswered(client: Redis, error: () => Error): void {
  for (let item = client.commandQueue.shift(); item !== undefined; item = client.commandQueue.shift())
    item.command.reject(error());
}

/** Words by which ioredis says that a connection is gone: it has neither classes nor codes for them. */
const CONNECTION_GONE = [
  'Connection is closed.',
  "Stream isn't writeable and enableOfflineQueue options is false",
  'Command aborted due to connection close',
  "Cluster isn't ready and enableOfflineQueue options is false",
  'Cluster is ended.',
  'None of startup nodes is available',
];

const SOCKET_CODES: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
]);

/** Whether an error says no more than that there is no connection: it never explains why. */
export function isEcho(error: Error): boolean {
  return CONNECTION_GONE.includes(error.message);
}

/** Whether an error says that the connection is gone, rather than that the server refused the command. */
export function isConnectionError(error: unknown): boolean {
  if (!isError(error)) return false;
  if (isEcho(error) || error.name === 'MaxRetriesPerRequestError') return true;
  return 'code' in error && typeof error.code === 'string' && SOCKET_CODES.has(error.code);
}

/** Answers of a server that can't serve: still loading, or no longer (or never) the one to write to. */
const UNFIT_SERVER = /^(READONLY|LOADING|MASTERDOWN|NOAUTH|UNBLOCKED) /;

/** Whether a reply means that this connection leads to the wrong server, or to one that is not ready. */
export function isUnfitServer(error: unknown): boolean {
  return isError(error) && error.name === 'ReplyError' && UNFIT_SERVER.test(error.message);
}
