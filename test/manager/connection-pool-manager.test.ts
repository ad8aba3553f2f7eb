import { inspect } from 'node:util';

import { afterEach, describe, expect, it } from '@jest/globals';

import {
  AcquireTimeoutError,
  LeaseReleasedError,
  ManagerStoppedError,
  PoolClosedError,
  PoolConfigError,
  PoolExistsError,
  PoolNotFoundError,
  TenantInvalidError,
} from '../../lib/errors.js';
import { ExternalPool } from '../../lib/external/external-pool.js';
import { HttpPool } from '../../lib/http/http-pool.js';
import { ConnectionPoolManager, type PoolManagerSurroundings } from '../../lib/manager/connection-pool-manager.js';
import type { PoolManagerOptions } from '../../lib/manager/pool-manager.options.js';
import { FakeClock, settle } from '../support/fakes/fake-clock.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';

const managers: ConnectionPoolManager[] = [];
afterEach(async () => {
  await Promise.all(managers.splice(0).map((manager) => manager.stop({ deadlineMs: 0 })));
});

function manage(options?: PoolManagerOptions, dependencies: PoolManagerSurroundings = {}) {
  const logger = new LogBook();
  const manager = new ConnectionPoolManager(options, { logger, ...dependencies });
  managers.push(manager);
  return { manager, logger };
}

/** A manager with two declared pools over fake drivers. */
function manageTwo(settings: Partial<PoolManagerOptions> = {}, dependencies: PoolManagerSurroundings = {}) {
  const orders = new FakeDriver();
  const files = new FakeDriver();
  const parts = manage(
    {
      pools: {
        orders: { type: 'external', driver: orders, maxSize: 2, startupTimeoutMs: 1_000 },
        files: { type: 'external', driver: files, maxSize: 2, startupTimeoutMs: 1_000 },
      },
      ...settings,
    },
    dependencies,
  );
  return { ...parts, orders, files };
}

describe('a manager without Nest', () => {
  it('opens what was declared, lends it, takes it back and closes it', async () => {
    const { manager, orders, files } = manageTwo();
    expect(orders.opens + files.opens).toBe(0);
    await manager.start();
    expect([orders.opens, files.opens]).toEqual([1, 1]);

    const lease = await manager.acquireConnection('orders', { tenantId: 'acme', timeoutMs: 500 });
    expect(lease).toMatchObject({ poolId: 'orders', tenantId: 'acme', released: false });
    expect(manager.getStats().orders).toMatchObject({ active: 1, idle: 0 });
    manager.releaseConnection(lease);
    expect(() => lease.connection).toThrow(LeaseReleasedError);
    expect(manager.getStats().orders).toMatchObject({ active: 0, idle: 1 });

    const report = await manager.stop();
    expect(report).toMatchObject({
      clean: true,
      pools: [
        { poolId: 'orders', cut: 0 },
        { poolId: 'files', cut: 0 },
      ],
    });
    expect([...orders.live, ...files.live]).toEqual([]);
    expect([orders.disposals, files.disposals]).toEqual([1, 1]);
  });

  it('gives a lease back at the end of its block with `await using`', async () => {
    const { manager } = manageTwo();
    await manager.start();
    {
      await using lease = await manager.acquireConnection('orders');
      expect(lease.released).toBe(false);
      expect(manager.getStats().orders?.active).toBe(1);
    }
    expect(manager.getStats().orders?.active).toBe(0);
  });

  it('destroys a connection that comes back with a connection-class error', async () => {
    const { manager, orders } = manageTwo();
    await manager.start();
    const lease = await manager.acquireConnection('orders');
    manager.releaseConnection(lease, true);
    await settle();
    expect(orders.opened[0]?.state).not.toBe('open');
  });

  it('ends a wait when its signal is aborted', async () => {
    const { manager } = manageTwo();
    await manager.start();
    const held = [await manager.acquireConnection('orders'), await manager.acquireConnection('orders')];
    const abort = new AbortController();
    const waiting = manager.acquireConnection('orders', { signal: abort.signal });
    abort.abort(new Error('client gone'));
    await expect(waiting).rejects.toMatchObject({ code: 'POOL_ACQUIRE_ABORTED', poolId: 'orders' });
    held.forEach((lease) => manager.releaseConnection(lease));
  });

  it('starts once, however often it is asked to', async () => {
    const { manager, orders } = manageTwo();
    await Promise.all([manager.start(), manager.start()]);
    await manager.start();
    expect(orders.opens).toBe(1);
  });

  it('lists its pools', async () => {
    const { manager } = manageTwo();
    expect(manager.listPools()).toEqual([]);
    await manager.start();
    expect(manager.listPools()).toEqual([
      { id: 'orders', type: 'external', status: 'healthy', critical: true },
      { id: 'files', type: 'external', status: 'healthy', critical: true },
    ]);
  });

  it('keeps the tenants of two managers apart', async () => {
    const { manager } = manageTwo();
    const { manager: other } = manageTwo();
    manager.tenants.run('acme', () => {
      expect(manager.tenants.current()).toBe('acme');
      expect(other.tenants.current()).toBeUndefined();
    });
  });

  it('shares a tenant context on request', async () => {
    const { manager } = manageTwo();
    const { manager: other } = manageTwo({}, { tenants: manager.tenants });
    manager.tenants.run('acme', () => expect(other.tenants.current()).toBe('acme'));
  });
});

describe('pools created at run time', () => {
  it('are opened at once by a manager that runs, and with the others by one that does not yet', async () => {
    const { manager } = manage();
    const early = new FakeDriver();
    await manager.createPool('early', early);
    expect(early.opens).toBe(0);
    await manager.start();
    expect(early.opens).toBe(1);
    const late = new FakeDriver();
    const pool = await manager.createPool('late', late, { minSize: 2, maxSize: 2 });
    expect(late.opens).toBe(2);
    expect(pool).toBe(manager.getPool('late'));
    await expect(pool.use((connection) => connection.serial)).resolves.toBe(2);
  });

  it('exist once: of two creations that race exactly one wins', async () => {
    const { manager } = manage();
    await manager.start();
    const outcomes = await Promise.allSettled([
      manager.createPool('files', new FakeDriver()),
      manager.createPool('files', new FakeDriver()),
      manager.createHttpPool('files', { baseURL: 'http://127.0.0.1:1' }),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
    expect(outcomes[1]).toMatchObject({ reason: expect.any(PoolExistsError) });
    await expect(manager.createPool('files', new FakeDriver())).rejects.toMatchObject({
      code: 'POOL_EXISTS',
      poolId: 'files',
      message: expect.stringContaining('closePool("files")'),
    });
  });

  it('may not take the name of a declared pool, even before that is built', async () => {
    const { manager } = manageTwo();
    await expect(manager.createPool('orders', new FakeDriver())).rejects.toThrow(PoolExistsError);
  });

  it('give their name back when they are closed', async () => {
    const { manager } = manage();
    await manager.start();
    const driver = new FakeDriver();
    const pool = await manager.createPool('files', driver);
    await expect(manager.closePool('files')).resolves.toMatchObject({ poolId: 'files', cut: 0 });
    expect(pool.status).toBe('closed');
    expect(driver.live).toEqual([]);
    expect(() => manager.getPool('files')).toThrow(PoolNotFoundError);
    await expect(pool.acquire()).rejects.toThrow(PoolClosedError);
    await expect(manager.createPool('files', new FakeDriver())).resolves.toBeInstanceOf(ExternalPool);
  });

  it('give their name back when their own handle is closed', async () => {
    const { manager } = manage();
    const pool = await manager.createPool('files', new FakeDriver());
    await pool.close();
    await expect(manager.createPool('files', new FakeDriver())).resolves.not.toBe(pool);
  });

  it('leave nothing open and their name free when they can not be opened', async () => {
    const clock = new FakeClock();
    const { manager } = manage(undefined, { clock });
    await manager.start();
    const driver = new FakeDriver();
    driver.openBehaviour = new Error('connect ECONNREFUSED postgres://app:hunter2@10.0.0.7/orders');
    const creating = manager.createPool('files', driver, { startupTimeoutMs: 2_000 });
    const failure = expect(creating).rejects.toMatchObject({
      constructor: AcquireTimeoutError,
      kind: 'backend',
      poolId: 'files',
      cause: driver.openBehaviour,
      message: expect.not.stringContaining('hunter2'),
    });
    await clock.advance(2_000);
    await failure;
    await clock.advance(60_000);
    const opens = driver.opens;
    await clock.advance(60_000);
    expect(driver.opens).toBe(opens);
    expect(clock.pendingTimers).toBe(0);
    driver.openBehaviour = 'ok';
    await expect(manager.createPool('files', driver)).resolves.toBeInstanceOf(ExternalPool);
  });

  it('do not wait for a backend that may come later', async () => {
    const clock = new FakeClock();
    const { manager } = manage(undefined, { clock });
    await manager.start();
    const driver = new FakeDriver();
    driver.openBehaviour = new Error('ECONNREFUSED');
    const pool = await manager.createPool('files', driver, { startup: 'background' });
    expect(pool.status).not.toBe('healthy');
    driver.openBehaviour = 'ok';
    await clock.advance(5_000);
    expect(pool.status).toBe('healthy');
  });
});

describe('a pool of a manager that was never started', () => {
  it('has a true status once it is used; the manager itself stays unready until its start', async () => {
    const { manager } = manage();
    const driver = new FakeDriver();
    const pool = await manager.createPool('files', driver);
    expect(manager.listPools()).toMatchObject([{ id: 'files', status: 'starting' }]);
    expect(driver.opens).toBe(0);
    (await pool.acquire()).release();
    expect(manager.listPools()).toMatchObject([{ id: 'files', status: 'healthy' }]);
    expect(await manager.healthCheck()).toMatchObject({
      ready: false,
      status: 'starting',
      pools: { files: { status: 'healthy', outcome: 'alive' } },
    });
    await manager.start();
    expect(await manager.healthCheck()).toMatchObject({ ready: true, status: 'healthy' });
  });
});

describe("an application's logger that throws", () => {
  it('harms no pool, no start and no end', async () => {
    const broken = (): never => {
      throw new Error('disk full');
    };
    const logger = { log: broken, warn: broken, error: broken, debug: broken };
    const { manager, orders } = manageTwo({}, { logger });
    await manager.start();
    const pool = manager.getPool('orders');
    pool.on('status', broken);
    const lease = await pool.acquire();
    lease.release();
    lease.release();
    orders.recycleBehaviour = new Error('not clean');
    (await pool.acquire()).release();
    orders.openBehaviour = new Error('ECONNREFUSED');
    await settle();
    orders.opened.at(-1)?.breakNow();
    await expect(pool.acquire({ timeoutMs: 1 })).rejects.toBeInstanceOf(AcquireTimeoutError);
    orders.openBehaviour = 'ok';
    (await pool.acquire()).release();
    await settle();
    expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
    await expect(manager.stop()).resolves.toMatchObject({ clean: true });
    expect(orders.live).toEqual([]);
  });
});

describe('what is printed of a manager', () => {
  it('holds no secret', async () => {
    const { manager } = manage({
      pools: {
        orders: {
          type: 'database',
          connectionString: 'postgres://app:hunter2@127.0.0.1:1/orders',
          startup: 'background',
        },
        cache: { type: 'redis', url: 'redis://:hunter2@127.0.0.1:1', startup: 'background' },
      },
    });
    await manager.start();
    const printed = [
      inspect(manager, { depth: 10, showHidden: true }),
      JSON.stringify(manager),
      JSON.stringify(manager.options),
      JSON.stringify(manager.getStats()),
      JSON.stringify(await manager.healthCheck({ waitMs: 50 })),
      inspect(manager.getPool('orders'), { depth: 10, showHidden: true }),
    ];
    for (const text of printed) expect(text).not.toContain('hunter2');
  });
});

describe('finding a pool', () => {
  it('names the pools that there are, and the one that may have been meant', async () => {
    const { manager } = manageTwo();
    await manager.start();
    expect(() => manager.getPool('ordres')).toThrow(PoolNotFoundError);
    expect(() => manager.getPool('ordres')).toThrow('Did you mean "orders"? Known pools: "orders", "files"');
    await expect(manager.acquireConnection('nothing')).rejects.toThrow(PoolNotFoundError);
    await expect(manager.closePool('nothing')).rejects.toThrow(PoolNotFoundError);
  });

  it('says when a declared pool is only not there yet', () => {
    const { manager } = manageTwo();
    expect(() => manager.getPool('orders')).toThrow("Await the manager's start()");
  });

  it('checks the kind that the caller expects', async () => {
    const { manager } = manageTwo();
    await manager.start();
    expect(manager.getPool('files', ExternalPool)).toBeInstanceOf(ExternalPool);
    expect(() => manager.getPool('files', HttpPool)).toThrow(PoolConfigError);
    expect(() => manager.getPool('files', HttpPool)).toThrow(
      'must be a HttpPool to be used as one, and is of the type "external"',
    );
  });
});

describe('a start that fails', () => {
  it('closes again whatever was open, says why, and stays stopped', async () => {
    const clock = new FakeClock();
    const { manager, orders, files } = manageTwo({}, { clock });
    files.openBehaviour = new Error('password authentication failed for user "app"');
    const failure = expect(manager.start()).rejects.toMatchObject({
      poolId: 'files',
      kind: 'backend',
      cause: files.openBehaviour,
    });
    await clock.advance(1_000);
    await failure;
    expect(orders.opens).toBe(1);
    expect(orders.live).toEqual([]);
    expect([orders.disposals, files.disposals]).toEqual([1, 1]);
    await clock.advance(60_000);
    expect(clock.pendingTimers).toBe(0);
    await expect(manager.createPool('more', new FakeDriver())).rejects.toThrow(ManagerStoppedError);
  });

  it('is not waited for with `startup: background`', async () => {
    const clock = new FakeClock();
    const orders = new FakeDriver();
    orders.openBehaviour = new Error('ECONNREFUSED');
    const { manager } = manage(
      { pools: { orders: { type: 'external', driver: orders, startup: 'background' } } },
      { clock },
    );
    await manager.start();
    const impatient = manager.healthCheck({ waitMs: 100 });
    await clock.advance(100);
    await expect(impatient).resolves.toMatchObject({ ready: false, status: 'starting' });
    orders.openBehaviour = 'ok';
    await clock.advance(5_000);
    await expect(manager.healthCheck()).resolves.toMatchObject({ ready: true, status: 'healthy' });
  });

  it('ends when the manager is stopped meanwhile', async () => {
    const { manager, orders } = manageTwo();
    orders.openBehaviour = 'hang';
    const failure = expect(manager.start()).rejects.toThrow(PoolClosedError);
    await settle();
    await manager.stop();
    await failure;
    expect(orders.aborted).toBe(1);
  });

  it('does not happen to a manager that was stopped before', async () => {
    const { manager, orders } = manageTwo();
    await manager.stop();
    await expect(manager.start()).rejects.toThrow(ManagerStoppedError);
    expect(orders.opens).toBe(0);
  });
});

describe('an event loop that was blocked', () => {
  it('fails no start whose connections were opened in time', async () => {
    const clock = new FakeClock();
    const { manager, orders, files } = manageTwo({}, { clock });
    orders.openBehaviour = 'hang';
    files.openBehaviour = 'hang';
    const started = manager.start();
    await settle();
    clock.block(5_000);
    await clock.unblock(() => {
      orders.letGo();
      files.letGo();
    });
    await started;
    expect(manager.listPools().map(({ status }) => status)).toEqual(['healthy', 'healthy']);
  });

  it('spoils no end whose work was done in time', async () => {
    const clock = new FakeClock();
    const { manager } = manageTwo({ shutdown: { drainTimeoutMs: 1_000 } }, { clock });
    await manager.start();
    const lease = await manager.acquireConnection('orders');
    let served = (): void => undefined;
    const stopping = manager.stop({ drain: () => new Promise<void>((resolve) => (served = resolve)) });
    await settle();
    clock.block(60_000);
    await clock.unblock(() => {
      lease.release();
      served();
    });
    await expect(stopping).resolves.toMatchObject({ clean: true });
  });

  it('loses no health check that was answered in time', async () => {
    const clock = new FakeClock();
    const { manager, orders } = manageTwo({}, { clock });
    await manager.start();
    orders.pingBehaviour = 'hang';
    const health = manager.getPool('orders').healthCheck({ waitMs: 100 });
    await settle();
    clock.block(4_000);
    await clock.unblock(() => orders.letGo());
    await expect(health).resolves.toMatchObject({ outcome: 'alive', status: 'healthy' });
  });
});

describe('the health of a manager', () => {
  it('is ready when it has started and every critical pool is available', async () => {
    const { manager } = manageTwo();
    await expect(manager.healthCheck()).resolves.toEqual({ ready: false, status: 'starting', pools: {} });
    await manager.start();
    await expect(manager.healthCheck()).resolves.toMatchObject({
      ready: true,
      status: 'healthy',
      pools: { orders: { status: 'healthy', outcome: 'alive' }, files: { status: 'healthy' } },
    });
    const stopping = manager.stop();
    await expect(manager.healthCheck()).resolves.toMatchObject({ ready: false, status: 'draining' });
    await stopping;
  });

  it('is degraded, and ready, while a pool that is not critical is down; unhealthy with a critical one', async () => {
    const orders = new FakeDriver();
    const files = new FakeDriver();
    const healthCheck = { failureThreshold: 1 };
    const { manager } = manage({
      pools: {
        orders: { type: 'external', driver: orders, healthCheck },
        files: { type: 'external', driver: files, healthCheck, critical: false },
      },
    });
    await manager.start();
    await settle();
    files.pingBehaviour = new Error('gone');
    files.openBehaviour = new Error('gone');
    await expect(manager.healthCheck()).resolves.toMatchObject({
      ready: true,
      status: 'degraded',
      pools: { files: { status: 'unhealthy' } },
    });
    orders.pingBehaviour = new Error('gone');
    orders.openBehaviour = new Error('gone');
    await expect(manager.healthCheck()).resolves.toMatchObject({ ready: false, status: 'unhealthy' });
  });
});

describe('a pool that worked a moment ago', () => {
  it('is not healthy for that while it fails', async () => {
    const orders = new FakeDriver();
    const { manager } = manage({
      pools: { orders: { type: 'external', driver: orders, healthCheck: { failureThreshold: 1, timeoutMs: 50 } } },
    });
    await manager.start();
    const pool = manager.getPool('orders');
    await pool.use(() => undefined);
    orders.pingBehaviour = new Error('gone');
    orders.openBehaviour = new Error('gone');
    await expect(pool.healthCheck()).resolves.toMatchObject({ status: 'unhealthy' });
    await expect(pool.healthCheck()).resolves.toMatchObject({ status: 'unhealthy' });
  });
});

describe('the end of a manager', () => {
  it('is the same however often it is asked for, and refuses everything after it', async () => {
    const { manager } = manageTwo();
    await manager.start();
    const pool = manager.getPool('orders');
    const [first, second] = await Promise.all([manager.stop(), manager.stop()]);
    expect(second).toBe(first);
    expect(await manager.stop()).toBe(first);
    await expect(manager.acquireConnection('orders')).rejects.toThrow(PoolClosedError);
    await expect(pool.acquire()).rejects.toThrow(PoolClosedError);
    await expect(manager.createPool('more', new FakeDriver())).rejects.toThrow(ManagerStoppedError);
  });

  it('waits for leases until the deadline, then cuts them and says who held them', async () => {
    const clock = new FakeClock();
    const { manager, orders, logger } = manageTwo({ shutdown: { drainTimeoutMs: 5_000 } }, { clock });
    await manager.start();
    const back = await manager.acquireConnection('orders', { tenantId: 'acme' });
    const kept = await manager.acquireConnection('orders', { tenantId: 'globex' });
    const waiting = expect(manager.acquireConnection('orders')).rejects.toThrow(PoolClosedError);
    const stopping = manager.stop();
    await waiting;
    await clock.advance(1_000);
    manager.releaseConnection(back);
    await clock.advance(4_100);
    const report = await stopping;
    expect(report).toMatchObject({
      clean: false,
      pools: [
        { poolId: 'orders', finished: 1, cut: 1, refused: 1 },
        { poolId: 'files', cut: 0 },
      ],
    });
    expect(report.pools[0]?.holders).toMatchObject([{ tenantId: 'globex' }]);
    expect(report.durationMs).toBeLessThan(5_200);
    expect(kept.released).toBe(true);
    expect(orders.opened.map(({ state }) => state)).toContain('killed');
    expect(logger.lines.at(-1)).toMatch(
      /^warn: Pools closed in \d+ ms\. orders: 1 lease came back, 1 lease cut \(held by globex for \d+ ms\), 1 waiter refused; files: nothing was in use$/,
    );
  });

  it('keeps lending to work in flight until that has drained', async () => {
    const clock = new FakeClock();
    const { manager } = manageTwo({ shutdown: { readinessGraceMs: 2_000, drainTimeoutMs: 5_000 } }, { clock });
    await manager.start();
    const events: string[] = [];
    let served: () => void = () => undefined;
    const stopping = manager.stop({
      drain: () => {
        events.push('draining');
        return new Promise<void>((resolve) => (served = resolve));
      },
    });
    await clock.advance(1_999);
    expect(events).toEqual([]);
    await clock.advance(1);
    expect(events).toEqual(['draining']);
    const lease = await manager.acquireConnection('orders');
    manager.releaseConnection(lease);
    served();
    await expect(stopping).resolves.toMatchObject({ clean: true });
    await clock.advance(60_000);
    expect(clock.pendingTimers).toBe(0);
  });

  it('cuts leases at the deadline although the drain never ends, and only then says so to it', async () => {
    const clock = new FakeClock();
    const { manager } = manageTwo({ shutdown: { drainTimeoutMs: 5_000 } }, { clock });
    await manager.start();
    const lease = await manager.acquireConnection('orders');
    let cut: AbortSignal | undefined;
    const stopping = manager.stop({
      drain: (signal) => {
        cut = signal;
        signal.addEventListener('abort', () => expect(lease.released).toBe(true));
        return new Promise(() => undefined);
      },
    });
    await clock.advance(4_999);
    expect(lease.released).toBe(false);
    expect(cut?.aborted).toBe(false);
    await clock.advance(101);
    await expect(stopping).resolves.toMatchObject({ clean: false, pools: [{ cut: 1 }, {}] });
    expect(cut?.aborted).toBe(true);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('server is not running');
      },
    ],
    ['rejects', () => Promise.reject(new Error('server is not running'))],
  ])('goes on when the drain %s', async (_how, drain) => {
    const { manager, logger } = manageTwo();
    await manager.start();
    await expect(manager.stop({ drain })).resolves.toMatchObject({ pools: [{}, {}] });
    expect(logger.lines).toContain('error: Draining failed: Error: server is not running');
  });

  it('keeps a process alive that waits for it, and no other', async () => {
    const clock = new FakeClock();
    const { manager } = manageTwo({ shutdown: { readinessGraceMs: 1_000 } }, { clock });
    await manager.start();
    await clock.advance(100);
    expect(clock.keepsProcessAlive).toBe(false);
    const stopping = manager.stop();
    expect(clock.keepsProcessAlive).toBe(true);
    await clock.advance(1_000);
    await stopping;
  });
});

describe('bad input', () => {
  it.each<[string, unknown, RegExp]>([
    ['no pools at all', {}, /pools/],
    ['a pool without a type', { pools: { orders: {} } }, /pools\.orders\.type/],
    ['maxSize 0', { pools: { api: { type: 'http', baseURL: 'http://x', maxSize: 0 } } }, /pools\.api\.maxSize/],
    [
      'minSize above maxSize',
      { pools: { api: { type: 'http', baseURL: 'http://x', minSize: 5, maxSize: 2 } } },
      /pools\.api\.maxSize.*minSize \(5\), got 2/,
    ],
    ['a negative duration', { pools: {}, shutdown: { drainTimeoutMs: -1 } }, /shutdown\.drainTimeoutMs/],
    ['a misspelt key', { pools: {}, shutdwon: {} }, /shutdwon.*shutdown/],
  ])('is refused with the key and the rule: %s', (_what, options, message) => {
    const attempt = () => new ConnectionPoolManager(options as PoolManagerOptions);
    expect(attempt).toThrow(PoolConfigError);
    expect(attempt).toThrow(message);
  });

  it.each(['', 'a b', '../etc', 'x'.repeat(65)])('is refused as the name of a pool: "%s"', async (id) => {
    const { manager } = manage();
    await expect(manager.createPool(id, new FakeDriver())).rejects.toThrow(PoolConfigError);
    expect(manager.listPools()).toEqual([]);
  });

  it('is refused in options at run time, and takes no name', async () => {
    const { manager } = manage();
    await expect(manager.createPool('files', new FakeDriver(), { maxSize: 0 })).rejects.toThrow(
      /pools\.files\.maxSize/,
    );
    await expect(manager.createDatabasePool('files', { connectionString: 'nonsense:hunter2' })).rejects.toThrow(
      PoolConfigError,
    );
    await expect(manager.createDatabasePool('files', { connectionString: 'nonsense:hunter2' })).rejects.not.toThrow(
      /hunter2/,
    );
    await expect(manager.createPool('files', new FakeDriver())).resolves.toBeInstanceOf(ExternalPool);
  });

  it('is refused as a tenant', async () => {
    const { manager } = manageTwo();
    await manager.start();
    await expect(manager.acquireConnection('orders', { tenantId: 'a\nb' })).rejects.toThrow(TenantInvalidError);
    await manager.tenants.run('acme', () =>
      expect(manager.acquireConnection('orders', { tenantId: 'globex' })).rejects.toThrow('forTenant("globex")'),
    );
  });
});
