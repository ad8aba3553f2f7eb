// A real Redis on 127.0.0.1, without persistence, with a directory of its own that goes when it goes.
import { join } from 'node:path';

import { freePort, LOOPBACK } from './free-port.js';
import { redisBinary } from './redis-binary.js';
import { type TestServer, untouchable } from './server.js';
import { SupervisedServer } from './supervised-server.js';
import { temporaryFolder } from './unprivileged-user.js';

/** How the server differs from the one that everybody gets. */
export interface RedisOptions {
  /** Default: none. */
  readonly password?: string | undefined;
  /** As in redis.conf: `2mb`. Default: no limit. */
  readonly maxMemory?: string;
  /** What happens at `maxMemory`. Default: noeviction, so that writes fail with OOM. */
  readonly maxMemoryPolicy?: string;
  /** How many databases. Default 16. */
  readonly databases?: number;
  /** Further directives, as in redis.conf. */
  readonly config?: Readonly<Record<string, string>>;
}

export interface RedisServer extends TestServer {
  readonly url: string;
  readonly password: string | undefined;
  /** Takes it down; what it held is lost. Its port is kept for `start`. */
  halt(): Promise<void>;
  /** `halt`, then `start`. */
  restart(): Promise<void>;
}

/** The bus of a cluster's node listens that far above its port. */
const CLUSTER_BUS_OFFSET = 10_000;

/** Starts a Redis of our own, whatever REDIS_URL says. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const binary = await redisBinary();
  const directives: Record<string, string> = {
    bind: LOOPBACK,
    'protected-mode': 'no',
    save: '""',
    appendonly: 'no',
    dir: '{directory}',
    daemonize: 'no',
    databases: String(options.databases ?? 16),
    'maxmemory-policy': options.maxMemoryPolicy ?? 'noeviction',
    ...(options.maxMemory && { maxmemory: options.maxMemory }),
    ...(options.password && { requirepass: quoted(options.password), masterauth: quoted(options.password) }),
    // DEBUG SLEEP stalls a server in tests; since Redis 7 it has to be allowed.
    ...(binary.major >= 7 && { 'enable-debug-command': 'local' }),
    ...options.config,
  };
  const config = Object.entries(directives).map(([name, value]) => `${name} ${value}\n`);
  return runRedis({
    binary,
    config: config.join(''),
    args: [],
    ready: '[Rr]eady to accept connections',
    password: options.password,
    busOffset: options.config?.['cluster-enabled'] === 'yes' ? CLUSTER_BUS_OFFSET : undefined,
  });
}

/** Starts a Sentinel that watches `primary` under `name`, with a quorum of one and quick decisions. */
export async function startSentinel(
  name: string,
  primary: { readonly port: number; readonly password?: string | undefined },
): Promise<RedisServer> {
  const config = [
    `bind ${LOOPBACK}`,
    'protected-mode no',
    'dir {directory}',
    `sentinel monitor ${name} ${LOOPBACK} ${primary.port} 1`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 2000`,
    ...(primary.password ? [`sentinel auth-pass ${name} ${quoted(primary.password)}`] : []),
    '',
  ];
  return runRedis({
    binary: await redisBinary(),
    config: config.join('\n'),
    args: ['--sentinel'],
    ready: 'Sentinel ID is',
    password: undefined,
    busOffset: undefined,
  });
}

/** A value of redis.conf, whatever is in it. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

/** The server of REDIS_URL where that is set, else {@link startRedis}. */
export async function provideRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const existing = process.env.REDIS_URL;
  if (!existing) return startRedis(options);
  const url = new URL(existing);
  return {
    ...untouchable('REDIS_URL'),
    host: url.hostname,
    port: Number(url.port || 6379),
    url: existing,
    password: url.password === '' ? undefined : decodeURIComponent(url.password),
  };
}

interface Run {
  readonly binary: { readonly file: string; readonly env: NodeJS.ProcessEnv };
  readonly config: string;
  readonly args: readonly string[];
  readonly ready: string;
  readonly password: string | undefined;
  readonly busOffset: number | undefined;
}

async function runRedis(run: Run): Promise<RedisServer> {
  const server = await SupervisedServer.prepare({
    prefix: join(await temporaryFolder(undefined), 'nestjs-pool-manager-redis-'),
    files: [{ name: 'redis.conf', text: run.config }],
  });
  const launch = (port: number) =>
    server.launch({
      file: run.binary.file,
      args: ['{directory}/redis.conf', '--port', String(port), ...run.args],
      env: run.binary.env,
      ready: run.ready,
      // There is nothing to save.
      quit: 'SIGKILL',
    });
  try {
    let port = await freePort(run.busOffset);
    for (let tries = 1; ; tries++) {
      try {
        await launch(port);
        break;
      } catch (error) {
        // Another process was quicker to take the port.
        if (tries === 5 || !/in use/i.test(String(error))) throw error;
        port = await freePort(run.busOffset);
      }
    }
    const halt = () => server.halt('SIGKILL');
    const start = () => launch(port);
    return {
      own: true,
      host: LOOPBACK,
      port,
      password: run.password,
      url: `redis://${run.password ? `:${encodeURIComponent(run.password)}@` : ''}${LOOPBACK}:${port}`,
      get pid() {
        return server.pid;
      },
      halt,
      start,
      restart: async () => {
        await halt();
        await start();
      },
      pause: () => server.pause(),
      resume: () => server.resume(),
      log: () => server.log(),
      stop: () => server.stop(),
      [Symbol.asyncDispose]: () => server.stop(),
    };
  } catch (error) {
    await server.stop();
    throw error;
  }
}
