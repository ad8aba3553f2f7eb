import { AsyncLocalStorage } from 'node:async_hooks';

import { describe, expect, it } from '@jest/globals';

import type { Lease } from '../../lib/engine/lease.js';
import { NestedAcquireError } from '../../lib/errors.js';
import { fakePool, type FakePoolOptions } from '../support/fakes/fake-pool.js';

/** A pool with the `use` that handles build on the engine. */
function poolWithUse(options: FakePoolOptions) {
  const storage = new AsyncLocalStorage<Lease<unknown>>();
  const fake = fakePool({ ...options, currentHolder: () => storage.getStore() });
  const use = async (tenantId: string | undefined, fn: () => Promise<void>): Promise<void> => {
    const lease = await fake.pool.acquire(tenantId);
    lease.serve(storage.getStore());
    try {
      await storage.run(lease, fn);
    } finally {
      lease.release();
    }
  };
  return { ...fake, use };
}

describe('an acquire inside the use of another connection of the same pool', () => {
  it('fails at once when no holder could ever give way', async () => {
    const { pool, use } = poolWithUse({ limits: { maxSize: 1 } });
    await expect(use(undefined, () => use(undefined, () => Promise.resolve()))).rejects.toBeInstanceOf(
      NestedAcquireError,
    );
    expect(pool.numbers.active).toBe(0);
    expect(pool.numbers.waiting).toBe(0);
    expect(pool.blockedLeases).toBe(0);
  });

  it('fails the newest of several that wait for each other, and the others go on', async () => {
    const { pool, use } = poolWithUse({ limits: { maxSize: 2 } });
    let inside = 0;
    let bothInside: () => void = () => undefined;
    const ready = new Promise<void>((resolve) => {
      bothInside = resolve;
    });
    const nested = () =>
      use(undefined, async () => {
        if (++inside === 2) bothInside();
        await ready;
        await use(undefined, () => Promise.resolve());
      });
    const outcomes = await Promise.allSettled([nested(), nested()]);
    expect(outcomes.map((outcome) => outcome.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(pool.blockedLeases).toBe(0);
    expect(pool.numbers.idle).toBe(2);
  });

  it("is found within one tenant's share too", async () => {
    const { use } = poolWithUse({ limits: { maxSize: 5 }, tenants: { max: 1 } });
    await expect(use('acme', () => use('acme', () => Promise.resolve()))).rejects.toBeInstanceOf(NestedAcquireError);
  });

  it('waits like any other where a holder can still give way', async () => {
    const { pool, use } = poolWithUse({ limits: { maxSize: 2 } });
    const other = await pool.acquire(undefined);
    const done = use(undefined, async () => {
      const nested = use(undefined, () => Promise.resolve());
      other.release();
      await nested;
    });
    await done;
    expect(pool.numbers.idle).toBe(2);
  });
});
