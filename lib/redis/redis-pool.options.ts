/**
 * The options of a Redis pool.
 */
import { isIPv6 } from 'node:net';
import type { ConnectionOptions } from 'node:tls';

import type { ClusterOptions, RedisOptions } from 'ioredis';
import { z } from 'zod';

import { type Environment, isRecord } from '../options/environment.js';
import { count, durationMs, optionsObject, secretText, tlsOptions, untouched } from '../options/option-types.js';
import { parsePool, type PoolKindOptions } from '../options/parse-pool.js';
import { hidden, namesOnly, seal } from '../options/sealed-options.js';
import { givenAsUndefined, unsetAddressProblem } from '../options/unset-address.js';
import {
  basePoolShape,
  checkPool,
  namesElsewhere,
  type ResolvedBasePoolOptions,
  resolvePool,
  whenObject,
} from '../pool/pool-options.js';
import { readRedisUrl } from './redis-url.js';
import { tlsConflict } from './tls.js';

const HOST_RULE = 'must be the name or address of a host, without scheme, user, password and port';

export const nodeShape = {
  /** Name or address. */
  host: z.string().min(1).refine(isHost, { error: HOST_RULE, abort: true }),
  /** TCP port. */
  port: z.int().min(1).max(65_535).optional(),
};

export interface NodeSchema extends z.ZodObject<typeof nodeShape, z.core.$strict> {}
const nodeSchema: NodeSchema = optionsObject(nodeShape);

export const sentinelShape = {
  /** Name of the group of servers, as the sentinels know it. */
  name: z.string().min(1),
  /** The sentinels; port 26379 where none is given. */
  nodes: z.array(nodeSchema).min(1, { error: 'must name at least one node' }).readonly(),
  /** Which server of the group to connect to. */
  role: z.enum(['master', 'slave']).default('master'),
  /** User name at the sentinels themselves. */
  username: z.string().min(1).optional(),
  /** Password at the sentinels themselves. */
  password: secretText().optional(),
};

export interface SentinelSchema extends z.ZodObject<typeof sentinelShape, z.core.$strict> {}
const sentinelOptions: SentinelSchema = optionsObject(sentinelShape, { sentinels: 'nodes', group: 'name' });
const sentinelSchema = sentinelOptions.transform((sentinel) => seal(sentinel, { password: hidden }));

export const clusterShape = {
  /** Some of the cluster's nodes, from which the others are found; port 6379 where none is given. */
  nodes: z.array(nodeSchema).min(1, { error: 'must name at least one node' }).readonly(),
  /** Options of `ioredis.Cluster` that have no name here; they are passed on as they are. */
  client: untouched<Readonly<ClusterOptions>>().default({}),
};

export interface ClusterSchema extends z.ZodObject<typeof clusterShape, z.core.$strict> {}
const clusterOptions: ClusterSchema = optionsObject(clusterShape, { options: 'client' });
const clusterSchema = clusterOptions.transform((cluster) => seal(cluster, { client: namesOnly }));

/** Redis. */
export const redisPoolShape = {
  /**
   * Where the server is: `redis://user:password@host:6379/0`, `rediss://…` for TLS, or the path of a socket. Not needed
   * with `sentinel`, `cluster` or `client.host`.
   * @defaultValue the environment variable `REDIS_URL`
   */
  url: z
    .string()
    .superRefine((text, context) => {
      const problem = unsetAddressProblem(text) ?? readRedisUrl(text).problem;
      if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
    })
    .optional(),
  /** A server that sentinels watch over, instead of `url`. */
  sentinel: sentinelSchema.optional(),
  /** A cluster, instead of `url`. */
  cluster: clusterSchema.optional(),
  /**
   * User name.
   * @defaultValue that of the URL
   */
  username: z.string().min(1).optional(),
  /**
   * The password, or a function that gives it for every new connection (rotation: change it, then `evict()` the pool).
   * @defaultValue that of the URL
   */
  password: secretText().optional(),
  /**
   * Number of the database. A cluster has only 0.
   * @defaultValue that of the URL, else 0
   */
  db: count(0).optional(),
  /**
   * TLS: `true`, `false`, or options of Node's `tls.connect`.
   * @defaultValue on for `rediss://`
   */
  tls: tlsOptions<ConnectionOptions>().optional(),
  /**
   * How long a command may take, on the shared client and on a leased connection alike; 0: as long as it likes. A
   * blocking command has that long on top of its own time-out. A leased connection that let a command go overdue is
   * destroyed.
   */
  commandTimeoutMs: durationMs(0).default(10_000),
  /** Clients from `duplicate()` that may be open at once, besides `maxSize` and the shared client. */
  maxDuplicates: count(0).default(50),
  /**
   * Options of `ioredis` that have no name above; they are passed on as they are. `autoResendUnfulfilledCommands` is
   * false unless it is set here: commands that were unanswered when the connection was lost fail, and are not sent
   * again.
   */
  client: untouched<Readonly<RedisOptions>>().default({}),
};

const shape = { type: z.literal('redis'), ...basePoolShape, ...redisPoolShape };

/** The schema of a Redis pool, with its `type`. */
export const redisPoolSchema = optionsObject(shape, {
  ...namesElsewhere,
  uri: 'url',
  connectionString: 'url',
  host: 'client.host',
  port: 'client.port',
  path: 'client.path',
  database: 'db',
  ssl: 'tls',
  keyPrefix: 'client.keyPrefix',
  sentinels: 'sentinel.nodes',
  nodes: 'cluster.nodes',
  name: 'sentinel.name',
  connectTimeout: 'connectTimeoutMs',
  commandTimeout: 'commandTimeoutMs',
  autoResendUnfulfilledCommands: 'client.autoResendUnfulfilledCommands',
  maxRetriesPerRequest: 'client.maxRetriesPerRequest',
})
  .superRefine((pool, context) => {
    checkPool(pool, context);
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    const named = ['url', 'sentinel', 'cluster'].filter((name) => Object.hasOwn(pool, name));
    const places = named.filter((name) =>
      Object.entries(pool).some(([key, value]) => key === name && value !== undefined),
    );
    if (places.length > 1) {
      refuse([], `must have only one of url, sentinel and cluster, got ${places.join(' and ')}`);
    } else if (places.length === 0 && !hasOwnServer(pool.client)) {
      refuse(
        ['url'],
        'is required: a redis:// URL here or in the environment variable REDIS_URL, or sentinel, cluster or client.host' +
          givenAsUndefined(pool, 'url'),
      );
    }
    if (pool.cluster !== undefined && typeof pool.db === 'number' && pool.db > 0) {
      refuse(['db'], `must be 0 with a cluster, got ${pool.db}`);
    }
    for (const { at, rule } of contradictions(pool)) refuse([...at], rule);
  }, whenObject)
  .transform((pool) => seal(resolvePool(pool), { url: hidden, password: hidden, tls: hidden, client: namesOnly }));

/** What can be set on a Redis pool. */
export interface RedisPoolOptions extends z.input<
  z.ZodObject<typeof redisPoolShape & typeof basePoolShape, z.core.$strict>
> {
  /** The kind of pool; needed in a registration's `pools` alone. */
  readonly type?: 'redis';
}

/** What a Redis pool is configured with. */
export interface ResolvedRedisPoolOptions extends ResolvedBasePoolOptions, z.output<typeof redisPoolSchema> {}

export const redisPoolKind: PoolKindOptions<typeof redisPoolSchema> = {
  type: 'redis',
  schema: redisPoolSchema,
  address: {
    option: 'url',
    variable: 'REDIS_URL',
    isElsewhere: ({ sentinel, cluster, client }) =>
      sentinel !== undefined || cluster !== undefined || hasOwnServer(client),
    // The shared client asks for its password before it connects.
    standIn: (reason) => ({
      url: 'redis://no-address.invalid',
      password: () => Promise.reject(reason),
      failFastAfterMs: 0,
    }),
  },
};

/**
 * Validates the options of a Redis pool and fills in the defaults.
 *
 * @throws {PoolConfigError} with every problem, none of them with a secret in it.
 */
export function parseRedisPoolOptions(
  id: string,
  options: RedisPoolOptions,
  env: Environment = process.env,
): ResolvedRedisPoolOptions {
  return parsePool(redisPoolKind, id, options, env);
}

function hasOwnServer(client: unknown): boolean {
  return isRecord(client) && [client.host, client.path, client.sentinels].some((place) => place != null);
}

/**
 * Not a URL, nor a host with its port: what is wrong about it may be a part of a password, and would be looked up as a
 * name.
 */
function isHost(text: string): boolean {
  return /^[a-z0-9._-]+$/i.test(text) || isIPv6(text);
}

/** Where the options name a server twice, or TLS on and off. */
function contradictions(pool: {
  readonly url?: unknown;
  readonly tls?: unknown;
  readonly sentinel?: unknown;
  readonly cluster?: unknown;
  readonly client?: unknown;
}): readonly { readonly at: readonly string[]; readonly rule: string }[] {
  const { url, cluster } = pool;
  const client = isRecord(pool.client) ? pool.client : {};
  const found: { readonly at: readonly string[]; readonly rule: string }[] = [];
  const { host } = client;
  if (typeof host === 'string' && !isHost(host)) found.push({ at: ['client'], rule: `host ${HOST_RULE}` });
  for (const name of ['host', 'port', 'path'].filter((name) => client[name] != null)) {
    const other = url !== undefined ? 'url' : pool.sentinel !== undefined ? 'sentinel' : undefined;
    if (other !== undefined) found.push({ at: ['client'], rule: `must not set ${name} beside ${other}` });
  }
  const wantsTls = typeof url === 'string' && /^rediss:/i.test(url);
  const places = [client.tls];
  if (isRecord(cluster) && isRecord(cluster.client) && isRecord(cluster.client.redisOptions))
    places.push(cluster.client.redisOptions.tls);
  const tls = typeof pool.tls === 'boolean' || isRecord(pool.tls) ? pool.tls : undefined;
  for (const place of places) {
    const rule = tlsConflict(tls, place, wantsTls);
    if (rule !== undefined) found.push({ at: ['tls'], rule });
  }
  return found.filter(({ rule }, index) => found.findIndex((other) => other.rule === rule) === index);
}
