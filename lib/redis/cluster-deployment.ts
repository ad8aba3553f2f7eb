/**
 * A cluster: its clients connect to nodes as they find them.
 */
import type { Cluster, ClusterNode, ClusterOptions, RedisOptions } from 'ioredis';

import type { RetryStrategies } from './backoff.js';
import type { ReportThrown } from './caller-code.js';
import { DELICATE_COMMANDS } from './command-effects.js';
import { Credentials } from './credentials.js';
import {
  type Deployment,
  DISCONNECT_TIMEOUT_MS,
  guardedReconnectOnError,
  isOptions,
  type Made,
  NO_TIMEOUT,
  type ReconnectOnError,
  repeating,
  setsCredentials,
} from './deployment.js';
import { type IoredisModule, makeOutside } from './redis-client.js';
import type { ResolvedRedisPoolOptions } from './redis-pool.options.js';
import { effectiveTls } from './tls.js';

/**
 * Options for the constructors. `replyMapping` passes unseen: it is a parameter of ioredis 6's classes, and would make
 * the type of every client depend on a value in an application's configuration.
 */
type NodeOptions = Omit<NonNullable<ClusterOptions['redisOptions']>, 'replyMapping'>;
/** A cluster's options; those of its nodes are given separately. */
type GroupOptions = Omit<ClusterOptions, 'redisOptions'> & { readonly redisOptions?: NodeOptions };

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
  readonly #retries: RetryStrategies;
  readonly #report: ReportThrown;
  /** The startup nodes of duplicates that were given their own. */
  readonly #nodesOf = new WeakMap<Cluster, readonly ClusterNode[]>();

  constructor(
    ioredis: IoredisModule,
    config: ResolvedRedisPoolOptions,
    nodes: readonly ClusterNode[],
    client: Readonly<ClusterOptions>,
    name: string,
    retries: RetryStrategies,
    report: ReportThrown,
  ) {
    const ofNodes: NodeOptions = { ...ownOfNodes(config.client), ...client.redisOptions };
    this.#ioredis = ioredis;
    this.#nodes = nodes;
    this.#report = report;
    this.#retries = retries;
    this.credentials = new Credentials(config.password ?? ofNodes.password, undefined);
    this.resends = ofNodes.autoResendUnfulfilledCommands ?? false;
    this.reconnectOnError = guardedReconnectOnError(ofNodes.reconnectOnError, report);
    this.shown = {
      ...client,
      lazyConnect: client.lazyConnect ?? false,
      clusterRetryStrategy: client.clusterRetryStrategy ?? retries.own,
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
    const retries = this.#retries;
    const { clusterRetryStrategy, clusterNodeRetryStrategy, redisOptions } = options;
    const clientOptions: GroupOptions = {
      ...options,
      ...(clusterRetryStrategy != null && {
        clusterRetryStrategy: retries.of(clusterRetryStrategy, 'clusterRetryStrategy'),
      }),
      ...(clusterNodeRetryStrategy != null && {
        clusterNodeRetryStrategy: retries.of(clusterNodeRetryStrategy, 'clusterNodeRetryStrategy'),
      }),
      redisOptions: {
        ...redisOptions,
        connectTimeout: NO_TIMEOUT,
        reconnectOnError: guardedReconnectOnError(redisOptions?.reconnectOnError, this.#report) ?? null,
      },
    };
    return makeOutside(() => new this.#ioredis.Cluster([...nodes], clientOptions));
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

function isNodes(value: unknown): value is ClusterNode[] {
  return Array.isArray(value);
}
