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
