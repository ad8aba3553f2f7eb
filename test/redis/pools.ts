// Redis pools for tests, without a manager, and an observer beside them.
import { Redis } from 'ioredis';

import { systemClock } from '../../lib/engine/time/clock.js';
import type { PoolLogger } from '../../lib/pool/pool-handle.js';
import { createRedisPool } from '../../lib/redis/create-redis-pool.js';
import type { RedisPool } from '../../lib/redis/redis-pool.js';
import { parseRedisPoolOptions, type RedisPoolOptions } from '../../lib/redis/redis-pool.options.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { startRedis } from '../support/servers/index.js';

/** A server that no other test file sees, so that its counts can be looked at; and a database that isn't the first. */
export async function ownRedis(): Promise<{ readonly url: string; readonly db: number; release(): Promise<void> }> {
  const server = await startRedis();
  return { url: `${server.url}/3`, db: 3, release: () => server.stop() };
}

export interface TestPool extends AsyncDisposable {
  readonly pool: RedisPool;
  readonly tenants: TenantContext;
  /** What the pool has logged. */
  readonly log: readonly string[];
  /** What of it was meant for a person's eye. */
  readonly warnings: readonly string[];
}

/** A pool that is closed at the end of its block. It isn't started: the first use does that. */
export async function redisPool(options: RedisPoolOptions, id = 'cache'): Promise<TestPool> {
  const tenants = new TenantContext();
  const log: string[] = [];
  const write = (message: string): void => void log.push(message);
  const warnings: string[] = [];
  const warn = (message: string): void => void (write(message), warnings.push(message));
  const logger: PoolLogger = { log: write, warn, error: warn, debug: write };
  const pool = await createRedisPool(id, parseRedisPoolOptions(id, options, {}), {
    tenants,
    clock: systemClock,
    random: Math.random,
    logger,
    owner: 'test',
  });
  return {
    pool,
    tenants,
    log,
    warnings,
    [Symbol.asyncDispose]: () => pool.close({ deadlineMs: 0 }).then(() => undefined),
  };
}

/** A plain client that looks at the server from outside, and interferes. */
export function observer(url: string): Redis & AsyncDisposable {
  const client = new Redis(url, { connectionName: 'observer' });
  client.on('error', () => undefined);
  return Object.assign(client, {
    [Symbol.asyncDispose]: async () => {
      client.disconnect();
    },
  });
}

/** The ids of the server's clients whose name is that of the pool. */
export async function clientsOf(outside: Redis, name = 'test:cache'): Promise<readonly string[]> {
  const list = String(await outside.client('LIST'));
  return list
    .split('\n')
    .filter((line) => line.includes(` name=${name} `))
    .map((line) => /^id=(\d+) /.exec(line)?.[1] ?? '');
}
