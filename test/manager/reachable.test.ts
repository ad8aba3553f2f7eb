// Nothing that a pool hands out leads to its connections, its queues, another caller's work or a secret: for every
// kind.
import { ClientRequest } from 'node:http';
import { Socket } from 'node:net';
import { inspect } from 'node:util';

import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';

import { ResourcePool } from '../../lib/engine/resource-pool.js';
import { TenantScheduler } from '../../lib/engine/scheduler/tenant-scheduler.js';
import { Slot } from '../../lib/engine/slot.js';
import { Waiter } from '../../lib/engine/waiter.js';
import { ConnectionPoolManager } from '../../lib/manager/connection-pool-manager.js';
import type { PoolDeclaration } from '../../lib/manager/pool-kinds.js';
import type { PoolHandle } from '../../lib/pool/pool-handle.js';
import { claimRedis, createDatabase, type TestDatabase, type TestRedis } from '../support/databases.js';
import { FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';
import { leaksOf, type Unwanted } from '../support/reachable.js';
import { type HttpFixture, startHttpServer } from '../support/servers/index.js';

const SECRET = 'pa55-of-the-pool';

let database: TestDatabase;
let redis: TestRedis;
let http: HttpFixture;
beforeAll(async () => {
  [database, redis, http] = await Promise.all([createDatabase(), claimRedis(), startHttpServer()]);
});
afterAll(async () => {
  await Promise.all([database.drop(), redis.release(), http.close()]);
});

/** A driver that lends a facade, as every kind of this package does. */
class LendingDriver extends FakeDriver {
  readonly password = SECRET;

  lend(connection: FakeConnection): { readonly serial: number } {
    return { serial: connection.serial };
  }
}

const INTERNAL = [ResourcePool, Slot, TenantScheduler, Waiter, Socket, ClientRequest, FakeConnection, LendingDriver];
const unwanted: Unwanted = {
  isUnwanted: (value) =>
    INTERNAL.some((internal) => value instanceof internal) ||
    ['PgSession', 'Client', 'Connection', 'Redis', 'ExclusiveConnection', 'HttpSlot'].includes(value.constructor?.name),
  secrets: [SECRET],
};

/** Nothing listens on the port `discard`. */
const down = 'http://127.0.0.1:9';
/** A pool that works, and the same kind where nothing answers, both with a secret. */
const kinds: [string, () => readonly [works: PoolDeclaration, fails: PoolDeclaration]][] = [
  [
    'external',
    () => {
      const failing = new LendingDriver();
      failing.openBehaviour = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
      return [
        { type: 'external', driver: new LendingDriver() },
        { type: 'external', driver: failing },
      ];
    },
  ],
  [
    'database',
    () => [
      { type: 'database', connectionString: database.url, password: () => new URL(database.url).password },
      { type: 'database', connectionString: `postgres://user:${SECRET}@127.0.0.1:9/x` },
    ],
  ],
  [
    'redis',
    () => [
      { type: 'redis', url: redis.url },
      { type: 'redis', url: `redis://user:${SECRET}@127.0.0.1:9` },
    ],
  ],
  [
    'http',
    () => [
      { type: 'http', baseURL: http.url, headers: { authorization: SECRET } },
      { type: 'http', baseURL: down, headers: { authorization: SECRET }, healthCheck: { path: '/health' } },
    ],
  ],
];

describe.each(kinds)('What a pool of the kind %s hands out', (_, declare) => {
  const managers: ConnectionPoolManager[] = [];
  afterEach(async () => {
    await Promise.all(managers.splice(0).map((manager) => manager.stop({ deadlineMs: 0 })));
  });

  async function run(
    options: PoolDeclaration,
  ): Promise<{ manager: ConnectionPoolManager; pool: PoolHandle; told: unknown[]; log: readonly string[] }> {
    const limits = { startup: 'background' as const, failFastAfterMs: 0, leakDetectionMs: 1, maxSize: 2 };
    const logger = new LogBook();
    const manager = new ConnectionPoolManager({ pools: { it: { ...options, ...limits } } }, { logger });
    managers.push(manager);
    await manager.start();
    const pool = manager.getPool('it');
    const told: unknown[] = [];
    for (const event of ['status', 'leak', 'connectError', 'close'] as const)
      pool.on(event, (value) => told.push(value));
    return { manager, pool, told, log: logger.lines };
  }

  const expectNoLeaks = (name: string, value: unknown): void => {
    expect([name, leaksOf(value, unwanted)]).toEqual([name, []]);
  };

  it('leads nowhere from options, statistics, reports and events, while it works', async () => {
    const [works] = declare();
    const { manager, pool, told, log } = await run(works);
    const lease = await pool.forTenant('acme').acquire();
    const other = await pool.forTenant('globex').acquire();
    const refused = await pool
      .forTenant('initech')
      .acquire({ timeoutMs: 1 })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(Error);
    expectNoLeaks('an error', refused);
    expectNoLeaks('the config', pool.config);
    expectNoLeaks('the options', manager.options);
    expectNoLeaks('the stats', pool.stats());
    expectNoLeaks("a tenant's stats", pool.stats().tenant('acme'));
    expectNoLeaks('the health', await pool.healthCheck({ waitMs: 1 }));
    expectNoLeaks('the health of all', await manager.healthCheck({ waitMs: 1 }));
    expectNoLeaks('the list', manager.listPools());
    expectNoLeaks('a printed lease', [JSON.stringify(lease), inspect(lease, { depth: Infinity, showHidden: true })]);
    expectNoLeaks('a printed handle', [JSON.stringify(pool), inspect(pool, { depth: Infinity, showHidden: true })]);
    expectNoLeaks('printed stats', [inspect(manager.getStats(), { depth: Infinity, showHidden: true })]);
    expectNoLeaks('a printed manager', [
      JSON.stringify(manager),
      inspect(manager, { depth: Infinity, showHidden: true, getters: true }),
    ]);
    lease.release();
    other.release();
    expectNoLeaks(
      'a released lease’s error',
      await Promise.resolve()
        .then(() => lease.connection)
        .catch((error: unknown) => error),
    );
    expectNoLeaks('the report of a close', await pool.close({ deadlineMs: 0 }));
    expectNoLeaks('the report of a stop', await manager.stop());
    expectNoLeaks('events', told);
    expectNoLeaks('the log', log);
  });

  it('leads nowhere while nothing answers', async () => {
    const [, fails] = declare();
    const { manager, pool, told, log } = await run(fails);
    const health = await pool.healthCheck({ waitMs: 500 });
    expectNoLeaks('the health', health);
    expectNoLeaks('the error of the health', health.error);
    expectNoLeaks('the stats', pool.stats());
    const refused = await pool.acquire({ timeoutMs: 200 }).then(
      (lease) => lease.release(),
      (error: unknown) => error,
    );
    expectNoLeaks('an error', refused);
    expectNoLeaks('events', told);
    expectNoLeaks('the report of a stop', await manager.stop({ deadlineMs: 0 }));
    expectNoLeaks('the log', log);
  });
});
