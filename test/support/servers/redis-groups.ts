// Several Redis servers that belong together: a cluster, and a primary with a replica and a sentinel. As small as they
// can be.
import { Redis } from 'ioredis';

import { eventually } from '../eventually.js';
import { type RedisServer, startRedis, startSentinel } from './redis.js';

export interface RedisGroupOptions {
  /** Of every server but the sentinel. Default: none. */
  readonly password?: string;
}

export interface RedisCluster extends AsyncDisposable {
  /** Three primaries, without replicas. */
  readonly nodes: readonly RedisServer[];
  stop(): Promise<void>;
}

export interface RedisSentinel extends AsyncDisposable {
  /** The name under which the sentinel knows the primary. */
  readonly name: string;
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  readonly sentinels: readonly RedisServer[];
  stop(): Promise<void>;
}

const SLOTS = 16_384;

/**
 * Starts a cluster of three primaries that share the slots, and waits until each of them says that the cluster is
 * whole.
 */
export async function startRedisCluster(options: RedisGroupOptions = {}): Promise<RedisCluster> {
  const config = { 'cluster-enabled': 'yes', 'cluster-config-file': 'nodes.conf', 'cluster-node-timeout': '2000' };
  const nodes = await startAll([1, 2, 3].map(() => () => startRedis({ ...options, config })));
  const stop = () => stopAll(nodes);
  try {
    await withClients(nodes, async (clients) => {
      const share = Math.ceil(SLOTS / clients.length);
      for (const [index, client] of clients.entries()) {
        const last = Math.min((index + 1) * share, SLOTS) - 1;
        const slots = Array.from({ length: last - index * share + 1 }, (_, slot) => index * share + slot);
        await client.cluster('ADDSLOTS', ...slots);
        // Two nodes with the same epoch would have to agree on another one first.
        await client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
      }
      const [first] = clients;
      for (const node of nodes.slice(1)) await first?.cluster('MEET', node.host, node.port);
      await eventually(
        async () => {
          const states = await Promise.all(clients.map((client) => client.cluster('INFO')));
          return states.every((state) => state.includes('cluster_state:ok') && state.includes('cluster_known_nodes:3'));
        },
        { withinMs: 30_000 },
      );
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes, stop, [Symbol.asyncDispose]: stop };
}

/** How often a sentinel looks, in milliseconds. */
const SENTINEL_PERIODS = [
  'INFO-PERIOD',
  200,
  'PING-PERIOD',
  100,
  'PUBLISH-PERIOD',
  200,
  'MIN-LINK-RECONNECT-PERIOD',
  500,
];

/** Starts a primary, a replica that is in step with it, and a sentinel that knows both. */
export async function startRedisSentinel(options: RedisGroupOptions = {}): Promise<RedisSentinel> {
  const name = 'pool';
  const servers: RedisServer[] = [];
  const stop = () => stopAll(servers);
  try {
    const primary = await startRedis({ ...options, config: { 'repl-diskless-sync-delay': '0' } });
    servers.push(primary);
    const replica = await startRedis({ ...options, config: { replicaof: `${primary.host} ${primary.port}` } });
    servers.push(replica);
    const sentinel = await startSentinel(name, primary);
    servers.push(sentinel);
    await withClients([replica, sentinel], async ([atReplica, atSentinel]) => {
      // It looks every ten seconds by default. Before Redis 7 there is no other way than to wait for that.
      await atSentinel?.call('SENTINEL', 'DEBUG', ...SENTINEL_PERIODS).catch(() => undefined);
      await eventually(async () => (await atReplica?.info('replication'))?.includes('master_link_status:up') ?? false, {
        withinMs: 30_000,
      });
      await eventually(
        async () => {
          const replicas = await atSentinel?.call('SENTINEL', 'REPLICAS', name);
          return Array.isArray(replicas) && replicas.length === 1;
        },
        { withinMs: 30_000 },
      );
    });
    return { name, primary, replica, sentinels: [sentinel], stop, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Starts all at once; when one fails, those that did start are stopped. */
async function startAll(starts: readonly (() => Promise<RedisServer>)[]): Promise<RedisServer[]> {
  const results = await Promise.allSettled(starts.map((start) => start()));
  const started = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failed = results.find((result) => result.status === 'rejected');
  if (!failed) return started;
  await stopAll(started);
  throw failed.reason;
}

async function stopAll(servers: readonly RedisServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()));
}

async function withClients(
  servers: readonly RedisServer[],
  use: (clients: readonly Redis[]) => Promise<void>,
): Promise<void> {
  const clients = servers.map((server) => new Redis(server.url, { retryStrategy: () => null }));
  try {
    await use(clients);
  } finally {
    for (const client of clients) client.disconnect();
  }
}
