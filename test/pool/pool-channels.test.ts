// What every kind of pool publishes on Node's diagnostics channels, and that subscribers may call the pool.
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';

import {
  AcquireAbortedError,
  AcquireTimeoutError,
  ConnectionPoolManager,
  POOL_CHANNELS,
  PoolClosedError,
  type PoolHandle,
} from '../../lib/index.js';
import { eventsOf, record, recordTrace } from '../support/channels.js';
import { FakeDriver, FatalError } from '../support/fakes/fake-driver.js';
import { type Kind, type KindOptions, kinds, type RunningKind } from '../support/kinds.js';
import { LogBook } from '../support/log-book.js';

describe.each(kinds)('a pool of the kind $name', ({ start }: Kind) => {
  let kind: RunningKind<unknown>;
  let manager: ConnectionPoolManager;

  beforeAll(async () => {
    kind = await start();
  });
  afterAll(async () => kind[Symbol.asyncDispose]());
  beforeEach(() => {
    manager = new ConnectionPoolManager({ pools: {}, applicationName: 'shop' }, { logger: new LogBook() });
  });
  afterEach(() => manager.stop({ deadlineMs: 0 }));

  const create = (options: KindOptions = {}): Promise<PoolHandle> =>
    kind.create(manager, 'things', { maxSize: 1, ...options });

  it('publishes an acquire that is granted at once as one that did not wait', async () => {
    const pool = await create();
    await pool.use((connection) => kind.work(connection));
    using acquires = recordTrace(POOL_CHANNELS.acquire);
    await using lease = await pool.forTenant('acme').acquire();
    expect(lease.tenantId).toBe('acme');
    expect(eventsOf(acquires)).toEqual(['start', 'end']);
    expect(acquires[1]?.message).toMatchObject({
      poolId: 'things',
      poolType: pool.type,
      application: 'shop',
      tenantId: 'acme',
      waitedMs: 0,
      waitReason: undefined,
      error: undefined,
    });
  });

  it('publishes what an acquire waits for, and how long it has waited', async () => {
    const pool = await create();
    const first = await pool.acquire();
    using acquires = recordTrace(POOL_CHANNELS.acquire);
    const second = pool.forTenant('acme').acquire();
    expect(eventsOf(acquires)).toEqual(['start', 'end']);
    expect(acquires[1]?.message).toMatchObject({ waitReason: 'pool', waitedMs: undefined });
    first.release();
    (await second).release();
    expect(eventsOf(acquires)).toEqual(['start', 'end', 'asyncStart', 'asyncEnd']);
    expect(acquires[3]?.message).toMatchObject({ waitReason: 'pool', error: undefined });
    expect(acquires[3]?.message.waitedMs).toBeGreaterThanOrEqual(0);
  });

  it('tells a tenant at its own maximum from a pool that is full', async () => {
    const pool = await create({ maxSize: 2, tenants: { max: 1 } });
    const acme = pool.forTenant('acme');
    const first = await acme.acquire();
    using acquires = recordTrace(POOL_CHANNELS.acquire);
    const second = acme.acquire();
    expect(acquires.at(-1)?.message).toMatchObject({ tenantId: 'acme', waitReason: 'tenant' });
    first.release();
    (await second).release();
  });

  it('publishes an acquire that is aborted, with its error, and the rejection', async () => {
    const pool = await create();
    await using _held = await pool.acquire();
    using acquires = recordTrace(POOL_CHANNELS.acquire);
    using rejections = record(POOL_CHANNELS.rejection);
    const controller = new AbortController();
    const aborted = pool.acquire({ signal: controller.signal, tenantId: 'acme' });
    controller.abort();
    await expect(aborted).rejects.toThrow(AcquireAbortedError);
    expect(eventsOf(acquires)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
    expect(acquires.at(-1)?.message.error).toBeInstanceOf(AcquireAbortedError);
    expect(rejections.map(({ message }) => message)).toEqual([
      expect.objectContaining({ poolId: 'things', tenantId: 'acme', reason: 'aborted' }),
    ]);
  });

  it('publishes the end of each lease with how long it lasted', async () => {
    const pool = await create();
    using releases = record(POOL_CHANNELS.release);
    await pool.forTenant('acme').use((connection) => kind.work(connection));
    expect(releases.at(-1)?.message).toMatchObject({ poolId: 'things', tenantId: 'acme', error: undefined });
    expect(releases.at(-1)?.message.heldMs).toBeGreaterThan(0);
  });

  it('publishes the end of a connection with its reason', async () => {
    const pool = await create();
    const lease = await pool.acquire();
    await kind.work(lease.connection);
    using destroyed = record(POOL_CHANNELS.destroy);
    lease.release(true);
    expect(destroyed.map(({ message }) => message.reason)).toEqual(['borrower']);
  });

  it('publishes a change of its size and of its generation', async () => {
    const pool = await create();
    using resized = record(POOL_CHANNELS.resize);
    using evicted = record(POOL_CHANNELS.evict);
    pool.resize({ maxSize: 3 });
    pool.evict();
    expect(resized.map(({ message }) => message)).toEqual([
      expect.objectContaining({ from: { minSize: 0, maxSize: 1 }, to: { minSize: 0, maxSize: 3 } }),
    ]);
    expect(evicted.map(({ message }) => message)).toEqual([
      expect.objectContaining({ poolId: 'things', generation: 1 }),
    ]);
  });

  it('publishes the changes of its status', async () => {
    using statuses = record(POOL_CHANNELS.status);
    const pool = await create();
    await pool.use((connection) => kind.work(connection));
    await pool.healthCheck();
    await pool.close();
    const seen = statuses.map(({ message }) => message.to);
    expect(seen).toEqual(expect.arrayContaining(['healthy', 'draining', 'closed']));
  });

  it('lets a subscriber release the lease that another acquire waits for', async () => {
    const pool = await create();
    const first = await pool.acquire();
    using _ = recordTrace(POOL_CHANNELS.acquire, (event) => {
      if (event === 'end' && !first.released) first.release();
    });
    const second = await pool.acquire();
    expect(second.released).toBe(false);
    second.release();
    await pool.use((connection) => kind.work(connection));
    expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
  });

  it.each(['start', 'end', 'asyncStart', 'asyncEnd'])(
    'lets a subscriber close the pool at the %s of an acquire, and loses no slot',
    async (when) => {
      const pool = await create();
      const first = await pool.acquire();
      let closed: Promise<unknown> | undefined;
      using _ = recordTrace(POOL_CHANNELS.acquire, (event) => {
        if (event === when) closed ??= pool.close({ deadlineMs: 0 });
      });
      const second = pool.acquire();
      first.release();
      const outcome = await second.then(
        (lease) => lease.released,
        (error: unknown) => error,
      );
      // Refused, or cut together with everything else that was lent.
      expect(outcome === true || outcome instanceof PoolClosedError).toBe(true);
      await closed;
      expect(pool.stats()).toMatchObject({ active: 0, waiting: 0, total: 0 });
    },
  );
});

describe('a pool', () => {
  let manager: ConnectionPoolManager;
  let driver: FakeDriver;

  beforeEach(() => {
    driver = new FakeDriver();
    manager = new ConnectionPoolManager(undefined, { logger: new LogBook() });
  });
  afterEach(() => manager.stop({ deadlineMs: 0 }));

  it('publishes each connect, and what it failed with', async () => {
    using connects = recordTrace(POOL_CHANNELS.connect);
    driver.openBehaviour = new FatalError('no server listens');
    const pool = await manager.createPool('things', driver, { minSize: 0, startup: 'background' });
    await expect(pool.acquire({ timeoutMs: 20 })).rejects.toThrow(AcquireTimeoutError);
    expect(eventsOf(connects).slice(0, 5)).toEqual(['start', 'end', 'error', 'asyncStart', 'asyncEnd']);
    expect(connects[4]?.message.error).toMatchObject({ message: 'no server listens' });
    driver.openBehaviour = 'ok';
    await pool.use(() => undefined);
    expect(connects.at(-1)?.message).toMatchObject({ poolId: 'things', poolType: 'external', error: undefined });
    expect(connects.at(-1)?.message.durationMs).toBeGreaterThanOrEqual(0);
  });

  it('publishes an acquire that reaches its deadline as a time-out that waits for a backend', async () => {
    using acquires = recordTrace(POOL_CHANNELS.acquire);
    using rejections = record(POOL_CHANNELS.rejection);
    driver.openBehaviour = 'hang';
    const pool = await manager.createPool('things', driver, { minSize: 0, startup: 'background' });
    await expect(pool.acquire({ timeoutMs: 20 })).rejects.toThrow(AcquireTimeoutError);
    expect(acquires[1]?.message).toMatchObject({ waitReason: 'connecting' });
    expect(rejections.map(({ message }) => message.reason)).toEqual(['timeout']);
  });

  it('publishes every reason for a rejection', async () => {
    using rejections = record(POOL_CHANNELS.rejection);
    const pool = await manager.createPool('things', driver, {
      maxSize: 1,
      maxQueue: 1,
      tenants: { overrides: { hasty: { max: 1, whenFull: 'reject' } } },
    });
    const held = await pool.forTenant('hasty').acquire();
    await expect(pool.forTenant('hasty').acquire()).rejects.toThrow();
    const waits = pool.acquire();
    await expect(pool.acquire()).rejects.toThrow();
    pool.suspend('reject');
    await expect(waits).rejects.toThrow();
    pool.resume();
    held.release();
    await pool.use(async () => {
      await expect(pool.acquire()).rejects.toThrow();
    });
    await pool.close();
    await expect(pool.acquire()).rejects.toThrow();
    const reasons = rejections.map(({ message }) => message.reason);
    expect(reasons).toEqual(['tenantLimit', 'queueFull', 'suspended', 'nested', 'closed']);
  });

  it('publishes a lease that is out for too long, with where it was acquired', async () => {
    const pool = await manager.createPool('things', driver, { leakDetectionMs: 1 });
    let told: () => void = () => {};
    const leaked = new Promise<void>((resolve) => (told = resolve));
    using leaks = record(POOL_CHANNELS.leak, told);
    await using _lease = await pool.forTenant('acme').acquire();
    await leaked;
    expect(leaks[0]?.message).toMatchObject({ poolId: 'things', tenantId: 'acme' });
    expect(leaks[0]?.message.stack).toContain('pool-channels.test');
  });

  it('is told apart by its application from another of the same name', async () => {
    const other = new ConnectionPoolManager({ pools: {}, applicationName: 'back office' }, { logger: new LogBook() });
    try {
      const pool = await other.createPool('things', new FakeDriver(), {});
      using acquires = recordTrace(POOL_CHANNELS.acquire);
      await pool.use(() => undefined);
      expect(acquires[0]?.message).toMatchObject({ poolId: 'things', application: 'back office' });
    } finally {
      await other.stop();
    }
  });

  it('asks within the stores that a subscriber binds, and serves outside them', async () => {
    const span = new AsyncLocalStorage<string>();
    const { start } = tracingChannel(POOL_CHANNELS.acquire);
    start.bindStore(span, () => 'acquire');
    try {
      const pool = await manager.createPool('things', driver, {});
      await pool.use(() => undefined);
      let around: string | undefined = 'nothing was called';
      await pool.use(() => (around = span.getStore()));
      expect(around).toBeUndefined();
    } finally {
      start.unbindStore(span);
    }
  });

  it('tells of an acquire that has waited in the context of its caller, not of the release that made room', async () => {
    const requests = new AsyncLocalStorage<string>();
    const pool = await manager.createPool('things', driver, { maxSize: 1 });
    const first = await requests.run('the first request', () => pool.acquire());
    const heard: unknown[] = [];
    using _ = recordTrace(POOL_CHANNELS.acquire, (event) => heard.push(`${event} in ${requests.getStore()}`));
    const second = requests.run('the second request', () => pool.acquire());
    requests.run('the first request', () => first.release());
    (await second).release();
    expect(heard).toEqual(['start', 'end', 'asyncStart', 'asyncEnd'].map((event) => `${event} in the second request`));
  });

  it.each(['acquire', 'connect'] as const)('ends a message of %s in the stores bound to its start', async (name) => {
    const span = new AsyncLocalStorage<string>();
    const channels = tracingChannel(POOL_CHANNELS[name]);
    const seen: unknown[] = [];
    const look = (): void => void seen.push(span.getStore());
    channels.start.bindStore(span, () => 'the span');
    const events = ['end', 'asyncStart', 'asyncEnd'].map((event) => `tracing:${POOL_CHANNELS[name]}:${event}`);
    for (const event of events) subscribe(event, look);
    try {
      const pool = await manager.createPool('things', driver, { minSize: 0, maxSize: 1 });
      const held = await pool.acquire();
      const waits = pool.acquire();
      held.release();
      (await waits).release();
      expect(seen.length).toBeGreaterThanOrEqual(3);
      expect(new Set(seen)).toEqual(new Set(['the span']));
    } finally {
      channels.start.unbindStore(span);
      for (const event of events) unsubscribe(event, look);
    }
  });

  it('publishes an acquire by tryAcquire once it is granted, and nothing when it is not', async () => {
    const pool = await manager.createPool('things', driver, { maxSize: 1 });
    await pool.use(() => undefined);
    using acquires = recordTrace(POOL_CHANNELS.acquire);
    const lease = pool.tryAcquire();
    expect(pool.tryAcquire()).toBeUndefined();
    lease?.release();
    expect(eventsOf(acquires)).toEqual(['start', 'end']);
  });
});
