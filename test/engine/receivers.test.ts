import { describe, expect, it, jest } from '@jest/globals';

import type { Lease } from '../../lib/engine/lease.js';
import { AcquireTimeoutError, PoolClosedError } from '../../lib/errors.js';
import { settle } from '../support/fakes/fake-clock.js';
import type { FakeConnection } from '../support/fakes/fake-driver.js';
import { fakePool } from '../support/fakes/fake-pool.js';
import { withSilentWarnings } from './support/silent-warnings.js';

let warn: jest.SpiedFunction<typeof process.emitWarning>;
withSilentWarnings((spy) => (warn = spy));

function thrower(what: 'granted' | 'refused' | 'both') {
  const told: string[] = [];
  return {
    told,
    granted: (lease: Lease<FakeConnection>) => {
      told.push('granted');
      if (what !== 'refused') throw new Error('cannot take it');
      lease.release();
    },
    refused: (error: Error) => {
      told.push(error.message);
      if (what !== 'granted') throw new Error('cannot hear it');
    },
  };
}

describe('a receiver that throws', () => {
  it.each(['at once', 'after a wait'])(
    'when it is granted a slot %s is refused with that, and costs its connection only',
    async (when) => {
      const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
      const held = await pool.acquire('acme');
      if (when === 'at once') held.release();
      const receiver = thrower('granted');
      pool.request(receiver, 'globex');
      const behind = pool.acquire('initech');
      // Whoever gives a slot back has done nothing wrong.
      if (when !== 'at once') held.release();
      (await behind).release();
      expect(receiver.told).toEqual(['granted', 'cannot take it']);
      expect([pool.numbers.active, pool.numbers.total, driver.opens]).toEqual([0, 1, 2]);
      expect(driver.opened[0]?.state).toBe('killed');
    },
  );

  it.each([
    ['timed out', (fake: ReturnType<typeof fakePool>) => fake.clock.advance(1_100)],
    ['refused at close', (fake: ReturnType<typeof fakePool>) => void fake.pool.close({ deadlineMs: 5_000 })],
    ['refused as the pool is suspended', (fake: ReturnType<typeof fakePool>) => fake.pool.suspend('reject')],
    ['aborted', (fake: ReturnType<typeof fakePool>, controller: AbortController) => controller.abort()],
  ])('when it is %s keeps no other receiver from its answer', async (_how, end) => {
    const fake = fakePool({ limits: { maxSize: 1 } });
    const held = await fake.pool.acquire('acme');
    const controller = new AbortController();
    const { signal } = controller;
    const receivers = [thrower('refused'), thrower('refused'), thrower('refused')];
    for (const receiver of receivers) fake.pool.request(receiver, 'acme', { signal });
    const behind = fake.pool.acquire('acme', { signal }).catch((error: unknown) => error);
    await Promise.resolve(end(fake, controller));
    expect(await behind).toBeInstanceOf(Error);
    for (const { told } of receivers) expect(told).toHaveLength(1);
    expect(warn).toHaveBeenCalledTimes(3);
    held.release();
    const closing = fake.pool.close({ deadlineMs: 0 });
    await fake.clock.advance(300);
    await expect(closing).resolves.toMatchObject({ poolId: 'orders' });
  });

  it('when it is refused at once makes no call of the pool throw', async () => {
    const { pool } = fakePool();
    await pool.close({ deadlineMs: 0 });
    const receiver = thrower('both');
    pool.request(receiver, 'acme');
    expect(receiver.told).toEqual([new PoolClosedError('orders').message]);
    expect(warn).toHaveBeenCalledTimes(1);
  });
});

describe('receivers that give their slots back at once', () => {
  it('are served in their order, however many they are', async () => {
    const { pool } = fakePool({ limits: { maxSize: 1, maxQueue: 100_000 }, tenants: { maxWaiting: 100_000 } });
    const held = await pool.acquire('acme');
    const served: number[] = [];
    for (let index = 0; index < 50_000; index++) {
      pool.request(
        {
          granted: (lease) => {
            served.push(index);
            lease.release();
          },
          refused: (error) => {
            throw error;
          },
        },
        'acme',
      );
    }
    held.release();
    // In one step: nobody waits beside an idle connection.
    expect([served.length, pool.numbers.waiting, pool.numbers.idle]).toEqual([50_000, 0, 1]);
    expect(served.every((index, position) => index === position)).toBe(true);
    expect(warn).not.toHaveBeenCalled();
  });
});

describe('what others throw or return', () => {
  it.each(['acquired', 'released', 'opened', 'destroyed', 'proved'] as const)(
    'leaves the pool whole when it is an observer that rejects in %s',
    async (method) => {
      const { pool } = fakePool({ observer: { [method]: () => Promise.reject(new Error(`late ${method}`)) } });
      const lease = await pool.acquire('acme');
      expect(() => lease.release(true)).not.toThrow();
      await settle();
      expect(warn).toHaveBeenCalledWith(expect.stringContaining(`late ${method}`), { type: 'PoolObserverWarning' });
      expect(pool.numbers.active).toBe(0);
    },
  );

  it('lets release() succeed when an observer throws in released', async () => {
    const { pool } = fakePool({
      observer: {
        released: () => {
          throw new Error('broken released');
        },
      },
    });
    const lease = await pool.acquire('acme');
    expect(() => lease.release()).not.toThrow();
    expect([pool.numbers.idle, warn.mock.calls.length]).toEqual([1, 1]);
  });

  it.each([
    ['an object without a prototype', Object.create(null) as object],
    ['nothing', undefined],
    [
      'an object that cannot be printed',
      {
        toString: () => {
          throw new Error('unprintable');
        },
      },
    ],
    ['a symbol', Symbol('odd')],
  ])('ends as a rejection when a driver throws %s', async (_what, thrown) => {
    const { pool, driver, clock } = fakePool();
    const { open } = driver;
    driver.open = jest.fn<typeof driver.open>().mockRejectedValue(thrown);
    const waiting = expect(pool.acquire('acme', { timeoutMs: 300 })).rejects.toBeInstanceOf(AcquireTimeoutError);
    await clock.advance(400);
    await waiting;
    driver.open = open;
    await clock.advance(2_000);
    (await pool.acquire('acme')).release();
  });

  it('is taken for a clean connection when recycle returns what is no promise', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    Object.assign(driver, { recycle: () => true });
    (await pool.acquire('acme')).release();
    (await pool.acquire('acme')).release();
    await settle();
    expect([pool.numbers.idle, driver.opens]).toEqual([1, 1]);
  });

  it('is told to the log when kill rejects', async () => {
    const failures: unknown[] = [];
    const { pool, driver } = fakePool({
      observer: { driverFailed: (method, error) => failures.push([method, String(error)]) },
    });
    Object.assign(driver, { kill: () => Promise.reject(new Error('cannot kill')) });
    (await pool.acquire('acme')).release(true);
    await settle();
    expect(failures).toEqual([['kill', 'Error: cannot kill']]);
    expect(pool.numbers.total).toBe(0);
  });

  it('is a broken connection when a driver says so without an error', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const lease = await pool.acquire('acme');
    Reflect.apply(lease.connection.listener ?? (() => undefined), undefined, []);
    lease.release();
    (await pool.acquire('acme')).release();
    expect(driver.opens).toBe(2);
  });
});

/** Waits for a slot or a place in another's lease, and keeps what it gets. */
function sharer(how: { readonly canShare?: () => boolean; readonly shared?: () => void } = {}) {
  const receiver = {
    lease: undefined as Lease<FakeConnection> | undefined,
    told: [] as string[],
    granted: (lease: Lease<FakeConnection>) => {
      receiver.told.push('granted');
      receiver.lease = lease;
      while (lease.shareWithNext());
    },
    canShare: () => how.canShare?.() ?? true,
    shared: (lease: Lease<FakeConnection>) => {
      how.shared?.();
      receiver.told.push('shared');
      receiver.lease = lease;
    },
    refused: (error: Error) => void receiver.told.push(error.message),
  };
  return receiver;
}

describe('a receiver that shares a lease', () => {
  it('is served within that of its own tenant, and takes no turn of another', async () => {
    const { pool } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire('acme');
    const [first, second, other, third] = [sharer(), sharer(), sharer(), sharer()];
    pool.request(first, 'globex');
    pool.request(second, 'globex');
    pool.request(other, 'acme');
    pool.request(third, 'globex');
    held.release();
    expect([first, second, third, other].map(({ told }) => told)).toEqual([['granted'], ['shared'], ['shared'], []]);
    expect(second.lease).toBe(first.lease);
    expect(pool.numbers).toMatchObject({ active: 1, waiting: 1 });
    first.lease?.release();
    expect(other.told).toEqual(['granted']);
    other.lease?.release();
    expect(pool.numbers).toMatchObject({ active: 0, waiting: 0, idle: 1 });
    // With the first of all, which waited for its connection.
    expect(pool.counters.wait.count).toBe(5);
  });

  it('keeps its place behind one of its tenant that shares none', async () => {
    const { pool } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire('acme');
    const [first, second] = [sharer(), sharer()];
    pool.request(first, 'acme');
    const between = pool.acquire('acme');
    pool.request(second, 'acme');
    held.release();
    expect([first.told, second.told]).toEqual([['granted'], []]);
    first.lease?.release();
    (await between).release();
    expect(second.told).toEqual(['granted']);
  });

  it('and cannot say whether it can goes on waiting', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire('acme');
    const fails = () => {
      throw new Error('cannot say');
    };
    const [first, second] = [sharer(), sharer({ canShare: fails })];
    pool.request(first, 'acme');
    pool.request(second, 'acme');
    held.release();
    expect(second.told).toEqual([]);
    first.lease?.release();
    expect(second.told).toEqual(['granted']);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(driver.opens).toBe(1);
  });

  it.each<[string, (fake: ReturnType<typeof fakePool>, controller: AbortController) => void]>([
    ['gives up its wait', (_fake, controller) => controller.abort()],
    ['closes the pool', ({ pool }) => void pool.close({ deadlineMs: 0 })],
  ])('and %s while it is asked gets no lease', async (_how, meddle) => {
    const fake = fakePool({ limits: { maxSize: 1 } });
    const held = await fake.pool.acquire('acme');
    const controller = new AbortController();
    const second = sharer({ canShare: () => (meddle(fake, controller), true) });
    fake.pool.request(sharer(), 'acme');
    fake.pool.request(second, 'acme', { signal: controller.signal });
    held.release();
    expect(second.told).toHaveLength(1);
    expect(second.told).not.toContain('shared');
    expect(fake.pool.numbers.waiting).toBe(0);
  });

  it('and throws costs the connection, once, and is refused with that', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire('acme');
    const fails = () => {
      throw new Error('cannot take it');
    };
    const [first, second, third] = [sharer(), sharer({ shared: fails }), sharer()];
    for (const receiver of [first, second, third]) pool.request(receiver, 'acme');
    held.release();
    await settle();
    expect([first, second, third].map(({ told }) => told)).toEqual([['granted'], ['cannot take it'], ['granted']]);
    expect(first.lease?.released).toBe(true);
    first.lease?.release();
    third.lease?.release();
    expect([driver.opens, pool.counters.doubleReleases]).toEqual([2, 0]);
  });

  it('of a lease that is older than its wait has waited for no time', async () => {
    const asked = sharer();
    const fake = fakePool({
      limits: { maxSize: 1 },
      observer: {
        acquired: (_connection, lease) => {
          if (lease.tenantId !== 'globex' || fake.pool.numbers.waiting > 0) return;
          fake.clock.block(5);
          fake.pool.request(asked, 'globex');
        },
      },
    });
    const held = await fake.pool.acquire('acme');
    const first = sharer();
    fake.pool.request(first, 'globex');
    held.release();
    expect(asked.told).toEqual(['shared']);
    expect(fake.pool.counters.wait.percentileMs(100)).toBe(0);
    expect(fake.pool.counters.wait.meanMs).toBe(0);
  });
});
