// In whose async context the code of an application runs that a pool calls: its registrant's or its caller's, never
// that of the request which happened to open, free or end something.
import { AsyncLocalStorage } from 'node:async_hooks';

import { afterEach, describe, expect, it } from '@jest/globals';

import type { ExternalPool } from '../../lib/external/external-pool.js';
import { ExternalPool as ExternalPoolClass } from '../../lib/external/external-pool.js';
import type { ExternalPoolOptions } from '../../lib/external/external-pool.options.js';
import { ConnectionPoolManager } from '../../lib/manager/connection-pool-manager.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';

const who = new AsyncLocalStorage<string>();
const here = (): string => who.getStore() ?? 'nobody';
const ignore = (): void => undefined;

/** A driver that notes in whose context each of its steps runs. */
class ObservingDriver extends FakeDriver {
  readonly seen: [step: string, who: string][] = [];

  override open(signal: AbortSignal): Promise<FakeConnection> {
    this.seen.push(['open', here()]);
    return super.open(signal);
  }
  override close(connection: FakeConnection): Promise<void> {
    this.seen.push(['close', here()]);
    return super.close(connection);
  }
  override kill(connection: FakeConnection): void | Promise<void> {
    this.seen.push(['kill', here()]);
    return super.kill(connection);
  }
  override ping(connection: FakeConnection, signal: AbortSignal): Promise<void> {
    this.seen.push(['ping', here()]);
    return super.ping(connection, signal);
  }
}

const managers: ConnectionPoolManager[] = [];
afterEach(async () => {
  await Promise.all(managers.splice(0).map((manager) => manager.stop({ deadlineMs: 0 })));
});

async function setUp(options: Omit<ExternalPoolOptions, 'driver'> = {}) {
  const driver = new ObservingDriver();
  const clock = new FakeClock();
  const manager = new ConnectionPoolManager(
    { pools: { work: { type: 'external', driver, maxSize: 1, minSize: 0, startup: 'background', ...options } } },
    { logger: new LogBook(), clock },
  );
  managers.push(manager);
  // A request starts everything, so that whatever inherits a context inherits that one.
  await who.run('first request', () => manager.start());
  const pool: ExternalPool<FakeConnection> = manager.getPool('work', ExternalPoolClass<FakeConnection>);
  return { driver, clock, manager, pool };
}

type Parts = Awaited<ReturnType<typeof setUp>>;

/** Each event, and how a request brings it about. */
const events: [event: 'status' | 'leak' | 'connectError' | 'close', trigger: (parts: Parts) => Promise<void>][] = [
  [
    'status',
    async ({ pool, driver }) => {
      const lease = await pool.acquire();
      driver.openBehaviour = new Error('ECONNREFUSED');
      driver.opened[0]?.breakNow();
      lease.release(true);
    },
  ],
  [
    'leak',
    async ({ pool, clock }) => {
      await pool.acquire();
      await clock.advance(5_000);
    },
  ],
  [
    'connectError',
    async ({ pool, driver, clock }) => {
      const lease = await pool.acquire();
      driver.openBehaviour = new Error('ECONNREFUSED');
      pool.acquire().catch(ignore);
      lease.release(true);
      await clock.advance(100);
    },
  ],
  ['close', async ({ pool }) => void (await pool.close({ deadlineMs: 0 }))],
];

describe.each(events)('A listener of "%s"', (event, trigger) => {
  it.each<[string, (parts: Parts, listener: () => void) => void]>([
    ['on', ({ pool }, listener) => pool.on(event, listener)],
    ['once', ({ pool }, listener) => pool.once(event, listener)],
    ['on of a view', ({ pool }, listener) => pool.forTenant('globex').on(event, listener)],
  ])('runs in the context and as the tenant of its registrant: %s', async (_, listen) => {
    const parts = await setUp({ leakDetectionMs: 1_000 });
    const { tenants } = parts.manager;
    const seen = new Set<string>();
    who.run('registrant', () =>
      tenants.run('owner', () => listen(parts, () => seen.add(`${here()}, ${String(tenants.current())}`))),
    );
    await who.run('request', () => tenants.run('acme', () => trigger(parts)));
    await parts.clock.advance(10_000);
    expect([...seen]).toEqual(['registrant, owner']);
  });
});

describe('A driver', () => {
  it('opens, checks and ends connections outside every caller’s context', async () => {
    const { pool, driver, clock, manager } = await setUp({ validateAfterIdleMs: 1, keepaliveMs: 1_000 });
    const { tenants } = manager;
    await who.run('request', () =>
      tenants.run('acme', async () => {
        const lease = await pool.acquire();
        const next = pool.acquire();
        lease.release(true);
        (await next).release();
        await clock.advance(10);
        const checked = pool.acquire();
        await clock.advance(10);
        (await checked).release();
        await pool.healthCheck();
        pool.evict();
        await clock.advance(10_000);
        await pool.close({ deadlineMs: 0 });
      }),
    );
    expect(new Set(driver.seen.map(([step]) => step))).toEqual(new Set(['open', 'close', 'kill', 'ping']));
    expect(new Set(driver.seen.map(([, context]) => context))).toEqual(new Set(['nobody']));
  });
});

describe('tenants.resolve', () => {
  it('is asked in the context of the acquire that names the tenant, not of the one that frees a slot for it', async () => {
    const seen: string[] = [];
    const { pool, clock } = await setUp({
      tenants: {
        resolve: (id) => {
          seen.push(`${id} by ${here()}`);
          return undefined;
        },
      },
    });
    const first = await who.run('request of acme', () => pool.forTenant('acme').acquire());
    const waiting = who.run('request of globex', () => pool.forTenant('globex').acquire());
    await who.run('request of acme', async () => {
      first.release();
      await clock.advance(10);
    });
    (await waiting).release();
    expect(seen).toEqual(['acme by request of acme', 'globex by request of globex']);
  });
});

describe('A wait that another request ends', () => {
  it.each<[string, (pool: ExternalPool<FakeConnection>) => Promise<string>]>([
    ['acquire', async (pool) => (await pool.acquire()).release() ?? here()],
    ['use', (pool) => pool.use(() => here())],
    ['use with a time-out', (pool) => pool.use(async () => here(), { timeoutMs: 5_000 })],
    ['acquire that fails', (pool) => pool.acquire({ timeoutMs: 1 }).then(here, here)],
  ])('goes on in its own context: %s', async (_, wait) => {
    const { pool, clock } = await setUp();
    const held = await pool.acquire();
    const waiting = who.run('waiter', () => wait(pool));
    await who.run('holder', async () => {
      await clock.advance(100);
      held.release();
    });
    await clock.advance(100);
    expect(await waiting).toBe('waiter');
  });
});

describe('What a stop drains', () => {
  it('is called in the context of the caller of stop()', async () => {
    const { manager } = await setUp();
    let seen = '';
    await who.run('main', () =>
      manager.stop({
        drain: () => {
          seen = here();
          return Promise.resolve();
        },
      }),
    );
    expect(seen).toBe('main');
  });
});
