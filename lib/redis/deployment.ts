/**
 * Where the data is, and what clients are made for it: one server (or a group that sentinels watch over), or a cluster.
 *
 * Promise: what the pool must decide itself (reconnecting, queueing, repeating) is decided here and in no other place;
 * all other options of ioredis reach it as they were given, functions among them guarded. Clients are made unconnected,
 * but for duplicates that are not lazy.
 */
import type { Cluster, ClusterNode, ClusterOptions, Redis, RedisOptions } from 'ioredis';

import { backoffMs, clientBackoff } from './backoff.js';
import { guarded, guardedConnector, type ReportThrown } from './caller-code.js';
import { Credentials } from './credentials.js';
import { makeOutside, type IoredisModule, type RedisClient } from './redis-client.js';
import { DELICATE_COMMANDS } from './redis-commands.js';
import type { ResolvedRedisPoolOptions } from './redis-pool.options.js';
import { parseRedisUrl } from './redis-url.js';
import { isReadOnly } from './server-answers.js';
import { effectiveTls } from './tls.js';

/** A client, and the options that it shows its callers: its duplicates have those too. */
export interface Made<C extends RedisClient> {
  readonly client: C;
  readonly shown: object;
  /** Whether it connects with the pool's own credentials, which may be rotated. */
  readonly ownCredentials: boolean;
}

export interface Deployment<C extends RedisClient> {
  /** For ordinary commands of everybody: reconnects, queues nothing. */
  shared(): C;
  /** What the shared client shows as its options. */
  readonly shown: object;
  /** For one borrower: never reconnects, queues nothing, repeats nothing. */
  exclusive(): C;
  /**
   * For a caller of its own: like `original` (by default the shared client as it shows itself), with the caller's
   * options on top; `args` as ioredis' `duplicate()` takes them. Connects by itself unless it is lazy.
   */
  duplicate(args: readonly unknown[], original?: Made<C>): Made<C>;
  readonly credentials: Credentials;
  /** The database that every connection is on. */
  readonly database: number;
  /** Whether what was unanswered when a connection was lost is sent again. */
  readonly resends: boolean;
  /** Errors after which the command is to be sent again over a new connection: `reconnectOnError` has said 2. */
  readonly repeatable: WeakSet<Error>;
  /** The caller's own say on which errors cost a connection. */
  readonly reconnectOnError: ReconnectOnError | undefined;
  /** Whether a server that says it is read-only is the wrong one. */
  readonly writes: boolean;
}

export type ReconnectOnError = (error: Error) => boolean | 1 | 2;

/**
 * Options for the constructor. `replyMapping` passes unseen: it is a parameter of ioredis 6's classes, and would make
 * the type of every client depend on a value in an application's configuration.
 */
type ServerOptions = Omit<RedisOptions, 'replyMapping'>;
type NodeOptions = Omit<NonNullable<ClusterOptions['redisOptions']>, 'replyMapping'>;
/** A cluster's options; those of its nodes are given separately. */
type GroupOptions = Omit<ClusterOptions, 'redisOptions'> & { readonly redisOptions?: NodeOptions };

/** A server that is loading its data is asked again this often at least. */
const LOADING_RETRY_MS = 500;
/**
 * How long ioredis lets the other side take to close; its timer keeps the process alive even when there is no socket
 * any more.
 */
const DISCONNECT_TIMEOUT_MS = 500;
const SENTINEL_PORT = 26_379;

/**
 * Turns ioredis' own connect time-out off: {@link ConnectDeadline} bounds connects without cutting those that a blocked
 * event loop delays.
 */
const NO_TIMEOUT = 0;

export class ServerDeployment implements Deployment<Redis> {
  readonly credentials: Credentials;
  readonly database: number;
  readonly resends: boolean;
  readonly repeatable = new WeakSet<Error>();
  readonly reconnectOnError: ReconnectOnError | undefined;
  readonly writes: boolean;
  readonly shown: ServerOptions;
  readonly #ioredis: IoredisModule;
  readonly #backoff: (times: number) => number;
  readonly #random: () => number;
  readonly #report: ReportThrown;
  readonly #watchedBySentinels: boolean;

  constructor(
    ioredis: IoredisModule,
    config: ResolvedRedisPoolOptions,
    name: string,
    random: () => number,
    report: ReportThrown,
  ) {
    const { client, sentinel } = config;
    const fromUrl = config.url === undefined ? {} : parseRedisUrl(config.url);
    this.#ioredis = ioredis;
    this.#report = report;
    this.#backoff = (times) => backoffMs(times, random);
    this.#random = random;
    this.#watchedBySentinels = sentinel !== undefined || Array.isArray(client.sentinels);
    this.writes = (sentinel?.role ?? client.role) !== 'slave' && client.readOnly !== true;
    this.credentials = new Credentials(config.password ?? fromUrl.password ?? client.password, sentinel?.password);
    this.database = config.db ?? fromUrl.db ?? client.db ?? 0;
    this.resends = client.autoResendUnfulfilledCommands ?? false;
    this.reconnectOnError = guardedReconnectOnError(client.reconnectOnError, report);
    this.shown = {
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
      tls: effectiveTls(config.tls, client.tls, fromUrl.tls !== undefined),
      db: this.database,
      connectTimeout: config.connectTimeoutMs,
      connectionName: client.connectionName ?? name,
      autoResendUnfulfilledCommands: this.resends,
      disconnectTimeout: client.disconnectTimeout ?? DISCONNECT_TIMEOUT_MS,
      maxLoadingRetryTime: client.maxLoadingRetryTime ?? LOADING_RETRY_MS,
      maxRetriesPerRequest: client.maxRetriesPerRequest === undefined ? null : client.maxRetriesPerRequest,
      retryStrategy: client.retryStrategy === undefined ? this.#backoff : client.retryStrategy,
      lazyConnect: client.lazyConnect ?? false,
      enableOfflineQueue: client.enableOfflineQueue ?? true,
      autoPipeliningIgnoredCommands: [...(client.autoPipeliningIgnoredCommands ?? [])],
    };
  }

  shared(): Redis {
    const { reconnectOnError, shown, repeatable } = this;
    return this.#make({
      ...shown,
      ...this.credentials.current,
      lazyConnect: true,
      // The shared client has a queue, and deadlines, of its own.
      enableOfflineQueue: false,
      commandTimeout: undefined,
      socketTimeout: undefined,
      retryStrategy: shown.retryStrategy ?? this.#backoff,
      reconnectOnError: reconnectOnError === undefined ? null : repeating(reconnectOnError, repeatable),
      autoPipeliningIgnoredCommands: [...(shown.autoPipeliningIgnoredCommands ?? []), ...DELICATE_COMMANDS],
    });
  }

  exclusive(): Redis {
    return this.#make({
      ...this.shown,
      ...this.credentials.current,
      lazyConnect: true,
      enableOfflineQueue: false,
      enableAutoPipelining: false,
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      commandTimeout: undefined,
      socketTimeout: undefined,
      maxRetriesPerRequest: null,
      retryStrategy: null,
      sentinelRetryStrategy: () => null,
      reconnectOnError: null,
    });
  }

  duplicate([override]: readonly unknown[], original?: Made<Redis>): Made<Redis> {
    const changes = isOptions<ServerOptions>(override) ? override : {};
    const ownCredentials = (original?.ownCredentials ?? true) && !setsCredentials(changes);
    const shown: ServerOptions = {
      ...(original?.shown ?? this.shown),
      ...(ownCredentials && this.credentials.current),
      ...changes,
    };
    const client = this.#make({
      ...shown,
      // What callers sent is rejected when the connection is lost; what ioredis itself sent, a resubscription, is sent
      // again.
      autoResendUnfulfilledCommands: true,
      reconnectOnError:
        guardedReconnectOnError(shown.reconnectOnError, this.#report) ?? (this.writes ? isReadOnly : null),
    });
    return { client, shown, ownCredentials };
  }

  #make(options: ServerOptions): Redis {
    const report = this.#report;
    const { retryStrategy, sentinelRetryStrategy, sentinelReconnectStrategy, Connector } = options;
    const clientOptions: ServerOptions = {
      ...options,
      ...(retryStrategy != null && {
        retryStrategy:
          retryStrategy === this.#backoff
            ? clientBackoff(this.#random)
            : guarded(retryStrategy, 'retryStrategy', report, this.#backoff),
      }),
      ...(sentinelRetryStrategy != null && {
        sentinelRetryStrategy: guarded(sentinelRetryStrategy, 'sentinelRetryStrategy', report, this.#backoff),
      }),
      ...(sentinelReconnectStrategy != null && {
        sentinelReconnectStrategy: guarded(
          sentinelReconnectStrategy,
          'sentinelReconnectStrategy',
          report,
          this.#backoff,
        ),
      }),
      ...(Connector !== undefined && { Connector: guardedConnector(Connector, report) }),
      // The same option bounds how long a sentinel is waited for before the next one is asked.
      ...(!this.#watchedBySentinels && { connectTimeout: NO_TIMEOUT }),
    };
    return makeOutside(() => new this.#ioredis.Redis(clientOptions));
  }
}

export class ClusterDeployment implements Deployment<Cluster> {
  readonly credentials: Credentials;
  readonly database = 0;
  readonly resends: boolean;
  readonly repeatable = new WeakSet<Error>();
  readonly reconnectOnError: ReconnectOnError | undefined;
  readonly writes = true;
  readonly shown: GroupOptions;
  readonly #ioredis: IoredisModule;
  readonly #nodes: readonly ClusterNode[];
  readonly #backoff: (times: number) => number;
  readonly #random: () => number;
  readonly #report: ReportThrown;
  /** The startup nodes of duplicates that were given their own. */
  readonly #nodesOf = new WeakMap<Cluster, readonly ClusterNode[]>();

  constructor(
    ioredis: IoredisModule,
    config: ResolvedRedisPoolOptions,
    nodes: readonly ClusterNode[],
    client: Readonly<ClusterOptions>,
    name: string,
    random: () => number,
    report: ReportThrown,
  ) {
    const ofNodes: NodeOptions = { ...ownOfNodes(config.client), ...client.redisOptions };
    this.#ioredis = ioredis;
    this.#nodes = nodes;
    this.#report = report;
    this.#backoff = (times) => backoffMs(times, random);
    this.#random = random;
    this.credentials = new Credentials(config.password ?? ofNodes.password, undefined);
    this.resends = ofNodes.autoResendUnfulfilledCommands ?? false;
    this.reconnectOnError = guardedReconnectOnError(ofNodes.reconnectOnError, report);
    this.shown = {
      ...client,
      lazyConnect: client.lazyConnect ?? false,
      clusterRetryStrategy: client.clusterRetryStrategy ?? this.#backoff,
      // ioredis sends again what was on its way to a node whose connection was lost, as it can't tell it from what was
      // never sent.
      retryDelayOnFailover: client.retryDelayOnFailover ?? (this.resends ? undefined : 0),
      redisOptions: {
        ...ofNodes,
        ...(config.username !== undefined && { username: config.username }),
        tls: effectiveTls(config.tls, ofNodes.tls, false),
        connectTimeout: config.connectTimeoutMs,
        connectionName: ofNodes.connectionName ?? name,
        autoResendUnfulfilledCommands: this.resends,
        disconnectTimeout: ofNodes.disconnectTimeout ?? DISCONNECT_TIMEOUT_MS,
        maxRetriesPerRequest: ofNodes.maxRetriesPerRequest === undefined ? null : ofNodes.maxRetriesPerRequest,
      },
    };
  }

  shared(): Cluster {
    const { reconnectOnError, shown, repeatable } = this;
    return this.#make(
      {
        ...shown,
        lazyConnect: true,
        autoPipeliningIgnoredCommands: [...(shown.autoPipeliningIgnoredCommands ?? []), ...DELICATE_COMMANDS],
        redisOptions: {
          ...shown.redisOptions,
          ...this.credentials.current,
          commandTimeout: undefined,
          socketTimeout: undefined,
          reconnectOnError: reconnectOnError === undefined ? null : repeating(reconnectOnError, repeatable),
        },
      },
      this.#nodes,
    );
  }

  exclusive(): Cluster {
    return this.#make(
      {
        ...this.shown,
        lazyConnect: true,
        clusterRetryStrategy: () => null,
        retryDelayOnFailover: 0,
        enableAutoPipelining: false,
        redisOptions: {
          ...this.shown.redisOptions,
          ...this.credentials.current,
          commandTimeout: undefined,
          socketTimeout: undefined,
          reconnectOnError: null,
        },
      },
      this.#nodes,
    );
  }

  duplicate([nodes, override]: readonly unknown[], original?: Made<Cluster>): Made<Cluster> {
    const changes = isOptions<GroupOptions>(override) ? override : {};
    const ofOriginal: GroupOptions = original?.shown ?? this.shown;
    const ownCredentials = (original?.ownCredentials ?? true) && !setsCredentials(changes.redisOptions ?? {});
    const shown: GroupOptions = {
      ...ofOriginal,
      ...changes,
      redisOptions: {
        ...ofOriginal.redisOptions,
        ...(ownCredentials && this.credentials.current),
        ...changes.redisOptions,
      },
    };
    const startup =
      isNodes(nodes) && nodes.length > 0
        ? nodes
        : ((original === undefined ? undefined : this.#nodesOf.get(original.client)) ?? this.#nodes);
    const client = this.#make(shown, startup);
    this.#nodesOf.set(client, startup);
    return { client, shown, ownCredentials };
  }

  #make(options: GroupOptions, nodes: readonly ClusterNode[]): Cluster {
    const report = this.#report;
    const { clusterRetryStrategy, clusterNodeRetryStrategy, redisOptions } = options;
    const clientOptions: GroupOptions = {
      ...options,
      ...(clusterRetryStrategy != null && {
        clusterRetryStrategy:
          clusterRetryStrategy === this.#backoff
            ? clientBackoff(this.#random)
            : guarded(clusterRetryStrategy, 'clusterRetryStrategy', report, this.#backoff),
      }),
      ...(clusterNodeRetryStrategy != null && {
        clusterNodeRetryStrategy: guarded(clusterNodeRetryStrategy, 'clusterNodeRetryStrategy', report, this.#backoff),
      }),
      redisOptions: {
        ...redisOptions,
        connectTimeout: NO_TIMEOUT,
        reconnectOnError: guardedReconnectOnError(redisOptions?.reconnectOnError, report) ?? null,
      },
    };
    return makeOutside(() => new this.#ioredis.Cluster([...nodes], clientOptions));
  }
}

/** A caller's `reconnectOnError`; when it throws, the error costs no connection. */
function guardedReconnectOnError(
  own: ReconnectOnError | null | undefined,
  report: ReportThrown,
): ReconnectOnError | undefined {
  return own == null ? undefined : guarded(own, 'reconnectOnError', report, () => false);
}

/**
 * Reconnects as `own` says. A command that is to be sent again is noted rather than left to ioredis, which would give
 * it to the connection that it has just begun to close.
 */
function repeating(own: ReconnectOnError, repeatable: WeakSet<Error>): ReconnectOnError {
  return (error) => {
    const verdict = own(error);
    if (verdict !== 2) return verdict;
    repeatable.add(error);
    return 1;
  };
}

function setsCredentials(options: { readonly username?: unknown; readonly password?: unknown }): boolean {
  return options.username !== undefined || options.password !== undefined;
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

function isOptions<T extends object>(value: unknown): value is T {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNodes(value: unknown): value is ClusterNode[] {
  return Array.isArray(value);
}
