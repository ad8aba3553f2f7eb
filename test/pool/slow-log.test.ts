// The lines of the log about acquires that waited, and leases that lasted, for long.
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { ConnectionPoolManager, type ExternalPool, type PoolLogger } from '../../lib/index.js';
import { POOL_CHANNELS } from '../../lib/index.js';
import { record } from '../support/channels.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';

interface Line {
  readonly message: string;
  readonly fields: unknown;
}

let clock: FakeClock;
let manager: ConnectionPoolManager;
let warnings: Line[];

beforeEach(() => {
  clock = new FakeClock();
  warnings = [];
  const ignore = (): void => {};
  const logger: PoolLogger = {
    log: ignore,
    error: ignore,
    debug: ignore,
    warn: (message, fields) => void warnings.push({ message, fields }),
  };
  manager = new ConnectionPoolManager(undefined, { logger, clock });
});
afterEach(() => manager.stop({ deadlineMs: 0 }));

function create(options: { slowAcquireMs?: number; slowUseMs?: number }): Promise<ExternalPool<FakeConnection>> {
  return manager.createPool('things', new FakeDriver(), { maxSize: 1, ...options });
}

describe('a pool with slowAcquireMs', () => {
  it('logs an acquire that waited for as long: how long, what for, for whom, and where it was asked for', async () => {
    const pool = await create({ slowAcquireMs: 100 });
    const held = await pool.acquire();
    async function listOrders(): Promise<void> {
      await pool.forTenant('acme').use(() => undefined);
    }
    const orders = listOrders();
    await clock.advance(150);
    held.release();
    await orders;
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.message).toMatch(
      /^Pool "things": an acquire of tenant "acme" waited 150 ms, because every slot was in use\. Asked for at .*slow-log\.test/,
    );
    expect(warnings[0]?.fields).toEqual({
      poolId: 'things',
      tenantId: 'acme',
      waitedMs: 150,
      waitedFor: 'pool',
      frame: expect.stringContaining('slow-log.test'),
      leftOut: 0,
    });
  });

  it('logs no acquire that waited for less, or that got nothing', async () => {
    const pool = await create({ slowAcquireMs: 100 });
    const held = await pool.acquire();
    const soon = pool.use(() => undefined);
    await clock.advance(99);
    held.release();
    await soon;
    const again = await pool.acquire();
    const late = pool.acquire({ timeoutMs: 200 }).catch((error: unknown) => error);
    await clock.advance(300);
    await late;
    again.release();
    expect(warnings).toEqual([]);
  });

  it('logs a line a second, and how many were left out since the last one', async () => {
    const pool = await create({ slowAcquireMs: 10 });
    const waitOnce = async (): Promise<void> => {
      const held = await pool.acquire();
      const waits = pool.acquire();
      await clock.advance(20);
      held.release();
      (await waits).release();
    };
    for (let i = 0; i < 4; i++) await waitOnce();
    expect(warnings).toHaveLength(1);
    await clock.advance(1_000);
    await waitOnce();
    expect(warnings).toHaveLength(2);
    expect(warnings[1]?.message).toContain('3 more since the last line of this sort');
    expect(warnings[1]?.fields).toMatchObject({ leftOut: 3 });
  });
});

describe('a pool with slowUseMs', () => {
  it.each(['acquire', 'tryAcquire', 'use'] as const)('logs a lease by %s that lasted for as long', async (way) => {
    const pool = await create({ slowUseMs: 100 });
    await pool.use(() => undefined);
    if (way === 'use') await pool.use(() => clock.advance(150));
    else {
      const lease = way === 'acquire' ? await pool.acquire() : pool.tryAcquire();
      await clock.advance(150);
      lease?.release();
    }
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.message).toMatch(
      /^Pool "things": a lease without a tenant lasted 150 ms\. Asked for at .*slow-log\.test/,
    );
    expect(warnings[0]?.fields).toMatchObject({ poolId: 'things', heldMs: 150 });
  });

  it('says nothing of a lease that lasted for less', async () => {
    const pool = await create({ slowUseMs: 100 });
    await pool.use(() => clock.advance(99));
    expect(warnings).toEqual([]);
  });
});

it('a pool without either looks at no acquire and no release', async () => {
  const pool = await create({});
  expect(pool.config).toMatchObject({ slowAcquireMs: 0, slowUseMs: 0 });
  using releases = record(POOL_CHANNELS.release);
  await pool.use(() => clock.advance(4_000));
  expect(releases).toHaveLength(1);
  expect(warnings).toEqual([]);
});
