/**
 * One server, or a group that sentinels watch over.
 */
import type { Redis, RedisOptions } from 'ioredis';

import type { RetryStrategies } from './backoff.js';
import { guardedConnector, type ReportThrown } from './caller-code.js';
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
import { parseRedisUrl } from './redis-url.js';
import { isReadOnly } from './server-answers.js';
import { effectiveTls } from './tls.js';

/**
 * Options for the constructor. `replyMapping` passes unseen: it is a parameter of ioredis 6's classes, and would make
 * the type of every client depend on a value in an application's configuration.
 */
type ServerOptions = Omit<RedisOptions, 'replyMapping'>;

/** A server that is loading its data is asked again this often at least. */
const LOADING_RETRY_MS = 500;
const SENTINEL_PORT = 26_379;

export class ServerDeployment implements Deployment<Redis> {
  readonly credentials: Credentials;
  readonly database: number;
  readonly resends: boolean;
  readonly repeatable = new WeakSet<Error>();
  readonly reconnectOnError: ReconnectOnError | undefined;
  readonly writes: boolean;
  readonly shown: ServerOptions;
  readonly #ioredis: IoredisModule;
  readonly #retries: RetryStrategies;
  readonly #report: ReportThrown;
  readonly #watchedBySentinels: boolean;

  constructor(
    ioredis: IoredisModule,
    config: ResolvedRedisPoolOptions,
    name: string,
    retries: RetryStrategies,
    report: ReportThrown,
  ) {
    const { client, sentinel } = config;
    const fromUrl = config.url === undefined ? {} : parseRedisUrl(config.url);
    this.#ioredis = ioredis;
    this.#report = report;
    this.#retries = retries;
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
      retryStrategy: client.retryStrategy === undefined ? retries.own : client.retryStrategy,
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
      retryStrategy: shown.retryStrategy ?? this.#retries.own,
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
    const retries = this.#retries;
    const { retryStrategy, sentinelRetryStrategy, sentinelReconnectStrategy, Connector } = options;
    const clientOptions: ServerOptions = {
      ...options,
      ...(retryStrategy != null && { retryStrategy: retries.of(retryStrategy, 'retryStrategy') }),
      ...(sentinelRetryStrategy != null && {
        sentinelRetryStrategy: retries.of(sentinelRetryStrategy, 'sentinelRetryStrategy'),
      }),
      ...(sentinelReconnectStrategy != null && {
        sentinelReconnectStrategy: retries.of(sentinelReconnectStrategy, 'sentinelReconnectStrategy'),
      }),
      ...(Connector !== undefined && { Connector: guardedConnector(Connector, this.#report) }),
      // The same option bounds how long a sentinel is waited for before the next one is asked.
      ...(!this.#watchedBySentinels && { connectTimeout: NO_TIMEOUT }),
    };
    return makeOutside(() => new this.#ioredis.Redis(clientOptions));
  }
}
