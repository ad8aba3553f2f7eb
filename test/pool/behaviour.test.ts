// What every kind of pool does alike, on a real backend: tenants, deadlines, aborts, leaks, lost connections,
// replacing, closing.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';

import {
  AcquireAbortedError,
  AcquireTimeoutError,
  ConnectionPoolManager,
  type LeakReport,
  LeaseReleasedError,
  PoolClosedError,
  type PoolHandle,
  PoolSuspendedError,
  QueueFullError,
  TenantLimitError,
} from '../../lib/index.js';
import { type Kind, type KindOptions, kinds, type RunningKind } from '../support/kinds.js';
import { LogBook } from '../support/log-book.js';

/** How a promise that must not fulfil failed. */
async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('It worked, and should have failed');
}

describe.each(kinds)('a pool of the kind $name', ({ start, slotIsConnection }: Kind) => {
  let kind: RunningKind<unknown>;
  let manager: ConnectionPoolManager;

  beforeAll(async () => {
    kind = await start();
  });
  afterAll(async () => kind[Symbol.asyncDispose]());
  beforeEach(() => {
    manager = new ConnectionPoolManager(undefined, { logger: new LogBook() });
  });
  afterEach(() => manager.stop({ deadlineMs: 0 }));

  const create = (options: KindOptions = {}): Promise<PoolHandle> =>
    kind.create(manager, 'things', { maxSize: 2, ...options });

  /** Every slot is back, and one of them works. */
  const expectSound = async (pool: PoolHandle): Promise<void> => {
    await pool.use((connection) => kind.work(connection));
    expect(pool.stats()).toMatchObject({ active: 0, waiting: 0 });
  };

  describe('and its tenants', () => {
    it('lends to the tenant of the running code, or of the view', async () => {
      const pool = await create();
      await manager.tenants.run('acme', async () => {
        await using lease = await pool.acquire();
        expect(lease.tenantId).toBe('acme');
        await kind.work(lease.connection);
      });
      await using lease = await pool.forTenant('globex').acquire();
      expect(lease.tenantId).toBe('globex');
    });

    it('keeps a tenant within its maximum, and others out of its way', async () => {
      const pool = await create({ tenants: { max: 1, whenFull: 'reject' } });
      const acme = pool.forTenant('acme');
      {
        await using held = await acme.acquire();
        await kind.work(held.connection);
        expect(await failureOf(acme.acquire())).toBeInstanceOf(TenantLimitError);
        await pool.forTenant('globex').use((connection) => kind.work(connection));
      }
      await acme.use((connection) => kind.work(connection));
    });
  });

  describe('that is full', () => {
    it('refuses at the deadline of an acquire, and says why', async () => {
      const pool = await create({ maxSize: 1 });
      {
        await using held = await pool.acquire();
        await kind.work(held.connection);
        const error = await failureOf(pool.acquire({ timeoutMs: 20 }));
        expect(error).toBeInstanceOf(AcquireTimeoutError);
        expect(error).toMatchObject({ poolId: 'things', kind: 'pool' });
      }
      await expectSound(pool);
    });

    it('lets an acquire be given up, with the reason as the cause', async () => {
      const pool = await create({ maxSize: 1 });
      const reason = new Error('the user has gone');
      const caller = new AbortController();
      {
        await using held = await pool.acquire();
        const refused = failureOf(pool.acquire({ signal: caller.signal }));
        caller.abort(reason);
        const error = await refused;
        expect(error).toBeInstanceOf(AcquireAbortedError);
        expect(error).toMatchObject({ cause: reason });
        await kind.work(held.connection);
      }
      await expectSound(pool);
    });

    it('refuses at once when its queue is full, too', async () => {
      const pool = await create({ maxSize: 1, maxQueue: 1 });
      const held = await pool.acquire();
      const waiting = pool.acquire();
      expect(await failureOf(pool.acquire())).toBeInstanceOf(QueueFullError);
      held.release();
      (await waiting).release();
      await expectSound(pool);
    });

    it('serves those who wait in the order of their coming', async () => {
      const pool = await create({ maxSize: 1 });
      const held = await pool.acquire();
      const order: number[] = [];
      const served = [1, 2, 3].map((place) => pool.use(() => void order.push(place)));
      held.release();
      await Promise.all(served);
      expect(order).toEqual([1, 2, 3]);
    });
  });

  describe('and its leases', () => {
    it('are over with their release, and may be released again', async () => {
      const pool = await create();
      const lease = await pool.acquire();
      lease.release();
      lease.release();
      expect(() => lease.connection).toThrow(LeaseReleasedError);
      expect(pool.stats()).toMatchObject({ releases: 1, doubleReleases: 1 });
      await expectSound(pool);
    });

    it('are reported when they stay out for too long', async () => {
      const pool = await create({ leakDetectionMs: 20 });
      const reported = new Promise<LeakReport>((resolve) => pool.once('leak', resolve));
      {
        await using lease = await pool.forTenant('acme').acquire();
        const report = await reported;
        expect(report).toMatchObject({ poolId: 'things', tenantId: 'acme' });
        expect(report.stack).toContain('behaviour.test');
        await kind.work(lease.connection);
      }
      expect(pool.stats().leaks).toBe(1);
      await expectSound(pool);
    });

    it('end with their function, whatever it throws', async () => {
      const pool = await create({ maxSize: 1 });
      const error = new Error('a bug of the application');
      expect(await failureOf(pool.use(() => Promise.reject(error)))).toBe(error);
      await expectSound(pool);
    });

    it('that lose their connection make room for others', async () => {
      const pool = await create({ maxSize: 1 });
      const lease = await pool.acquire();
      const before = await kind.work(lease.connection);
      await kind.lose(lease);
      lease.release();
      const after = await pool.use((connection) => kind.work(connection));
      if (slotIsConnection) expect(after).not.toBe(before);
      await expectSound(pool);
    });
  });

  describe('that is told to', () => {
    it('replace its connections lends none of the old ones again', async () => {
      const pool = await create({ maxSize: 1 });
      const before = await pool.use((connection) => kind.work(connection));
      pool.evict();
      const after = await pool.use((connection) => kind.work(connection));
      if (slotIsConnection) expect(after).not.toBe(before);
      expect(pool.stats().connects).toBe(2);
    });

    it('replace its connections lets leases end first', async () => {
      const pool = await create({ maxSize: 1 });
      const lease = await pool.acquire();
      pool.evict();
      await kind.work(lease.connection);
      lease.release();
      await expectSound(pool);
      expect(pool.stats().destroyed.generation).toBe(1);
    });

    it('shrink closes what is too much when it comes back', async () => {
      const pool = await create({ maxSize: 2 });
      const leases = [await pool.acquire(), await pool.acquire()];
      pool.resize({ maxSize: 1 });
      for (const lease of leases) lease.release();
      await expectSound(pool);
      expect(pool.stats()).toMatchObject({ max: 1, idle: 1 });
    });

    it('pause lends nothing until it is told to go on', async () => {
      const pool = await create();
      pool.suspend();
      const waiting = pool.use((connection) => kind.work(connection));
      expect(pool.stats()).toMatchObject({ active: 0, suspended: true });
      pool.resume();
      await waiting;
      pool.suspend('reject');
      expect(await failureOf(pool.acquire())).toBeInstanceOf(PoolSuspendedError);
      pool.resume();
      await expectSound(pool);
    });
  });

  describe('that is closed', () => {
    it('waits for its leases, and refuses every other acquire', async () => {
      const pool = await create({ maxSize: 1 });
      const lease = await pool.acquire();
      const refused = failureOf(pool.acquire());
      const closed = pool.close({ deadlineMs: 10_000 });
      expect(await refused).toBeInstanceOf(PoolClosedError);
      expect(await failureOf(pool.acquire())).toBeInstanceOf(PoolClosedError);
      await kind.work(lease.connection);
      lease.release();
      expect(await closed).toMatchObject({ poolId: 'things', finished: 1, cut: 0, refused: 1 });
    });

    it('takes what is still lent at its deadline, and names who had it', async () => {
      const pool = await create({ maxSize: 1 });
      const lease = await pool.forTenant('acme').acquire();
      const report = await pool.close({ deadlineMs: 0 });
      expect(report).toMatchObject({ finished: 0, cut: 1, holders: [{ tenantId: 'acme' }] });
      expect(lease.released).toBe(true);
      expect(() => lease.connection).toThrow(LeaseReleasedError);
      expect(pool.stats().total).toBe(0);
    });
  });

  it('says that it is well', async () => {
    const pool = await create();
    await pool.use((connection) => kind.work(connection));
    expect(await pool.healthCheck()).toMatchObject({ status: 'healthy', available: true });
  });
});
