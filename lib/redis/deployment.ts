/**
 * Where the data is, and what clients are made for it: one server (or a group that sentinels watch over), or a cluster.
 *
 * Promise: what the pool must decide itself (reconnecting, queueing, repeating) is decided here and in no other place;
 * all other options of ioredis reach it as they were given. Clients are made unconnected.
 */
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from 'ioredis';

import { Credentials } from './credentials.js';
import type { IoredisModule, RedisClient } from './redis-client.js';
import { DELICATE_COMMANDS } from './redis-commands.js';
import type { ResolvedRedisPoolOptions } from './redis-pool.options.js';
import { parseRedisUrl } from './redis-url.js';

export interface Deployment<C extends RedisClient> {
  /** For ordinary commands of everybody: reconnects, queues nothing. */
  shared(): C;
  /** For one borrower: never reconnects, queues nothing, repeats nothing. */
  exclusive(): C;
  /** For a caller of its own, with the caller's options on top: `args` as ioredis' `duplicate()` takes them. Connects by itself. */
  dedicated(args: readonly unknown[]): C;
  readonly credentials: Credentials;
  /** The database that every connection is on. */
  readonly database: number;
  /** Whether what was unanswered when a connection was lost is sent again. */
  readonly resends: boolean;
}

/**
 * Options for the constructor. `replyMapping` passes unseen: it is a parameter of ioredis 6's classes, and would make the type of
 * every client depend on a value in somebody's configuration.
 */
type ServerOptions = Omit<RedisOptions, 'replyMapping'>;
type NodeOptions = Omit<NonNullable<ClusterOptions['redisOptions']>, 'replyMapping'>;

/** Backoff of clients that reconnect by themselves, in milliseconds. */
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 2_000;
/** A server that is loading its data is asked again this often at least. */
const LOADING_RETRY_MS = 500;
/** How long ioredis lets the other side take to close; its timer keeps the process alive even when there is no socket any more. */
const DISCONNECT_TIMEOUT_MS = 500;
const SENTINEL_PORT = 26_379;

export class ServerDeployment implements Deployment<Redis> {
  readonly credentials: Credentials;
  readonly database: number;
  readonly resends: boolean;
  readonly #ioredis: IoredisModule;
  readonly #options: ServerOptions;
  readonly #client: Readonly<RedisOptions>;
  readonly #random: () => number;
  readonly #watchedBySentinels: boolean;

  constructor(ioredis: IoredisModule, config: ResolvedRedisPoolOptions, name: string, random: () => number) {
    const { client, sentinel } = config;
    const fromUrl = config.url === undefined ? {} : parseRedisUrl(config.url);
    this.#ioredis = ioredis;
    this.#client = client;
    this.#random = random;
    this.#watchedBySentinels = sentinel !== undefined;
    this.credentials = new Credentials(config.password ?? fromUrl.password ?? client.password, sentinel?.password);
    this.database = config.db ?? fromUrl.db ?? client.db ?? 0;
    this.resends = client.autoResendUnfulfilledCommands ?? false;
    this.#options = {
      ...client,
      ...fromUrl,
      ...(sentinel !== undefined && {
        sentinels: sentinel.nodes.map(({ host, port }) => ({ host, port: port ?? SENTINEL_PORT })),
        name: sentinel.name,
        role: sentinel.role,
        sentinelUsername: sentinel.username,
        sentinelCommandTimeout: client.sentinelCommandTimeout ?? config.connectTimeoutMs,
      }),
      ...(config.username !== undefined && { username: config.username }),
      ...tlsOf(config.tls),
      db: this.database,
      connectTimeout: config.connectTimeoutMs,
      connectionName: client.connectionName ?? name,
      autoResendUnfulfilledCommands: this.resends,
      disconnectTimeout: client.disconnectTimeout ?? DISCONNECT_TIMEOUT_MS,
      maxLoadingRetryTime: client.maxLoadingRetryTime ?? LOADING_RETRY_MS,
    };
  }

  shared(): Redis {
    return new this.#ioredis.Redis({
      ...this.#options,
      ...this.credentials.current,
      lazyConnect: true,
      // The shared client has a queue of its own, with an end.
      enableOfflineQueue: false,
      maxRetriesPerRequest: this.#client.maxRetriesPerRequest ?? null,
      retryStrategy: this.#client.retryStrategy ?? ((times) => backoffMs(times, this.#random)),
      // After a failover the old primary answers as a replica until the client looks for the new one.
      reconnectOnError:
        this.#client.reconnectOnError ??
        (this.#watchedBySentinels ? (error) => error.message.startsWith('READONLY') : null),
      autoPipeliningIgnoredCommands: [...(this.#client.autoPipeliningIgnoredCommands ?? []), ...DELICATE_COMMANDS],
    });
  }

  exclusive(): Redis {
    return new this.#ioredis.Redis({
      ...this.#options,
      ...this.credentials.current,
      lazyConnect: true,
      enableOfflineQueue: false,
      enableAutoPipelining: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: null,
      retryStrategy: null,
      sentinelRetryStrategy: () => null,
      reconnectOnError: null,
    });
  }

  dedicated([override]: readonly unknown[]): Redis {
    return new this.#ioredis.Redis({
      ...this.#options,
      ...this.credentials.current,
      ...(isOptions<ServerOptions>(override) && override),
    });
  }
}

export class ClusterDeployment implements Deployment<Cluster> {
  readonly credentials: Credentials;
  readonly database = 0;
  readonly resends: boolean;
  readonly #ioredis: IoredisModule;
  readonly #nodes: readonly ClusterNode[];
  readonly #options: ClusterOptions;
  readonly #random: () => number;

  constructor(
    ioredis: IoredisModule,
    config: ResolvedRedisPoolOptions,
    nodes: readonly ClusterNode[],
    client: Readonly<ClusterOptions>,
    name: string,
    random: () => number,
  ) {
    const ofNodes: NodeOptions = { ...ownOfNodes(config.client), ...client.redisOptions };
    this.#ioredis = ioredis;
    this.#nodes = nodes;
    this.#random = random;
    this.credentials = new Credentials(config.password ?? ofNodes.password, undefined);
    this.resends = ofNodes.autoResendUnfulfilledCommands ?? false;
    this.#options = {
      ...client,
      // ioredis sends again what was on its way to a node whose connection was lost, as it can't tell it from what was never sent.
      retryDelayOnFailover: client.retryDelayOnFailover ?? (this.resends ? undefined : 0),
      redisOptions: {
        ...ofNodes,
        ...(config.username !== undefined && { username: config.username }),
        ...tlsOf(config.tls),
        connectTimeout: config.connectTimeoutMs,
        connectionName: ofNodes.connectionName ?? name,
        autoResendUnfulfilledCommands: this.resends,
        disconnectTimeout: ofNodes.disconnectTimeout ?? DISCONNECT_TIMEOUT_MS,
      },
    };
  }

  shared(): Cluster {
    return this.#make({
      lazyConnect: true,
      clusterRetryStrategy: this.#options.clusterRetryStrategy ?? ((times) => backoffMs(times, this.#random)),
      autoPipeliningIgnoredCommands: [...(this.#options.autoPipeliningIgnoredCommands ?? []), ...DELICATE_COMMANDS],
    });
  }

  exclusive(): Cluster {
    return this.#make({
      lazyConnect: true,
      clusterRetryStrategy: () => null,
      retryDelayOnFailover: 0,
      enableAutoPipelining: false,
    });
  }

  dedicated([nodes, override]: readonly unknown[]): Cluster {
    return this.#make(
      isOptions<ClusterOptions>(override) ? override : {},
      isNodes(nodes) && nodes.length > 0 ? nodes : this.#nodes,
    );
  }

  #make(override: ClusterOptions, nodes: readonly ClusterNode[] = this.#nodes): Cluster {
    const redisOptions: NodeOptions = {
      ...this.#options.redisOptions,
      ...this.credentials.current,
      ...override.redisOptions,
    };
    return new this.#ioredis.Cluster([...nodes], { ...this.#options, ...override, redisOptions });
  }
}

/** What of a client's options goes for the nodes of a cluster. */
function ownOfNodes(client: Readonly<RedisOptions>): NodeOptions {
  const own = { ...client };
  // What a cluster's client knows itself: the addresses, and how it comes back.
  for (const name of [
    'host',
    'port',
    'path',
    'sentinels',
    'retryStrategy',
    'enableOfflineQueue',
    'readOnly',
    'himportFieldsets',
  ] as const)
    delete own[name];
  return own;
}

function tlsOf(tls: ResolvedRedisPoolOptions['tls']): Pick<RedisOptions, 'tls'> {
  if (tls === undefined) return {};
  return { tls: tls === true ? {} : tls === false ? undefined : tls };
}

/** Doubles with every attempt up to the last; half of it at random, so that clients of many processes don't come back in step. */
function backoffMs(attempt: number, random: () => number): number {
  const fullMs = Math.min(FIRST_RETRY_MS * 2 ** (attempt - 1), LAST_RETRY_MS);
  return fullMs / 2 + (fullMs / 2) * random();
}

function isOptions<T extends object>(value: unknown): value is T {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNodes(value: unknown): value is ClusterNode[] {
  return Array.isArray(value);
}
