import { AsyncLocalStorage } from 'node:async_hooks';

import { describe, expect, it, jest } from '@jest/globals';

import type { Lease } from '../../lib/engine/lease.js';
import { eventually } from '../support/eventually.js';
import { FakeConnection, FatalError } from '../support/fakes/fake-driver.js';
import { fakeLimits, fakePool } from '../support/fakes/fake-pool.js';

describe('a driver that throws where it must not', () => {
  it('costs the connection, not the slot, when it cannot lend an idle one', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    (await pool.acquire('acme')).release();
    Object.assign(driver, {
      lend: () => {
        throw new Error('cannot lend');
      },
    });
    await expect(pool.acquire('acme')).rejects.toThrow('cannot lend');
    Object.assign(driver, { lend: undefined });
    expect(pool.numbers.active).toBe(0);
    expect(driver.live).toHaveLength(0);
    (await pool.acquire('acme')).release();
    expect(pool.numbers.total).toBe(1);
  });

  it('costs the connection, not the slot, when it cannot say whether an error is fatal', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 }, tenants: { max: 1 } });
    const lease = await pool.acquire('acme');
    driver.isFatal = () => {
      throw new Error('what is this');
    };
    expect(() => lease.release(new Error('odd'))).not.toThrow();
    expect(driver.live).toHaveLength(0);
    (await pool.acquire('acme')).release();
    expect(pool.numbers.total).toBe(1);
  });

  it('replaces a connection that turns out to be broken when it is looked at after its lease', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const lease = await pool.acquire('acme');
    const first = lease.connection;
    driver.recycle = (connection) => connection.breakNow();
    const next = pool.acquire('globex');
    lease.release();
    expect((await next).connection).not.toBe(first);
    expect(driver.live).toHaveLength(1);
  });

  it('replaces at once a connection that breaks as its cleaning begins', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const lease = await pool.acquire('acme');
    const next = pool.acquire('globex');
    driver.recycle = (connection) => {
      connection.breakNow();
      return new Promise(() => undefined);
    };
    lease.release();
    (await next).release(true);
    expect(pool.numbers.recycling).toBe(0);
  });

  it('costs a connection once when it breaks as its failed cleaning is told of', async () => {
    const told: string[] = [];
    const { pool, driver, clock } = fakePool({
      limits: { maxSize: 1 },
      observer: {
        driverFailed: () => driver.opened[0]?.breakNow(),
        destroyed: (_connection, reason) => told.push(reason),
      },
    });
    driver.recycleBehaviour = new Error('cannot clean');
    (await pool.acquire('acme')).release();
    await clock.advance(10);
    expect(told).toEqual(['cleaning']);
    expect(pool.numbers.total).toBe(0);
  });

  it('has failed to connect when it cannot watch the new connection', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1 } });
    const watch = driver.onBroken.bind(driver);
    driver.onBroken = () => {
      throw new Error('cannot watch');
    };
    const waiting = pool.acquire('acme');
    await clock.advance(0);
    expect(driver.live).toHaveLength(0);
    expect(pool.numbers.lastConnectError?.message).toBe('cannot watch');
    driver.onBroken = watch;
    await clock.advance(100);
    (await waiting).release();
  });

  it('is called outside the context of the caller that needed the connection', async () => {
    const storage = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const look = () => seen.push(storage.getStore());
    const { pool, driver } = fakePool({ observer: { opened: look, destroyed: look, connectFailed: look } });
    const watch = driver.onBroken.bind(driver);
    driver.onBroken = (connection, listener) => {
      look();
      watch(connection, listener);
    };
    await storage.run('acme', async () => {
      (await pool.acquire('acme')).release(new FatalError('gone'));
    });
    expect(seen).toEqual([undefined, undefined, undefined]);
  });
});

describe('a driver that calls the pool from where it must do something else', () => {
  it('gets no connection above maxSize from a kill that it has not ended', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const lease = await pool.acquire('acme');
    let next: Promise<Lease<FakeConnection>> | undefined;
    let ended: () => void = () => undefined;
    driver.kill = (connection) => {
      connection.state = 'killed';
      next = pool.acquire('globex');
      return new Promise((resolve) => (ended = resolve));
    };
    lease.release(true);
    expect(pool.numbers.total).toBe(1);
    ended();
    expect((await next)?.connection).toBe(driver.opened[1]);
  });

  it('has its kill waited for by a close() that it calls there', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const lease = await pool.acquire('acme');
    let closing: Promise<unknown> | undefined;
    let ended: () => void = () => undefined;
    driver.kill = () => {
      closing = pool.close({ deadlineMs: 100 });
      return new Promise((resolve) => (ended = resolve));
    };
    lease.release(true);
    expect(driver.disposals).toBe(0);
    ended();
    await closing;
    expect(driver.disposals).toBe(1);
  });

  it('finds a connection counted once in its kill whose listener it could not take', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const totals: number[] = [];
    driver.onBroken = () => {
      throw new Error('no listener');
    };
    driver.kill = () => void totals.push(pool.numbers.total);
    pool.start();
    await eventually(() => totals.length > 0);
    expect(totals).toEqual([1]);
  });

  it('finds no more slots taken than maxSize in the kill of a connection that came too late', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const totals: number[] = [];
    const opens: ((connection: FakeConnection) => void)[] = [];
    driver.open = () => new Promise((resolve) => opens.push(resolve));
    let ended: () => void = () => undefined;
    driver.kill = () => {
      totals.push(pool.numbers.total);
      return new Promise((resolve) => (ended = resolve));
    };
    const waiting = pool.acquire('acme');
    pool.evict();
    await eventually(() => opens.length === 2);
    opens[0]?.(new FakeConnection(1));
    await eventually(() => totals.length > 0);
    expect([...totals, pool.numbers.total]).toEqual([1, 1]);
    const second = new FakeConnection(2);
    opens[1]?.(second);
    expect((await waiting).connection).toBe(second);
    ended();
  });

  it('has a connection replaced that breaks as it is asked whether an error is fatal', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    Object.assign(driver, { recycle: undefined });
    const lease = await pool.acquire('acme');
    driver.isFatal = () => {
      driver.opened[0]?.breakNow();
      return false;
    };
    lease.release(new Error('odd'));
    expect((await pool.acquire('acme')).connection).toBe(driver.opened[1]);
  });

  it('has lent nothing to the next borrower when it ends the lease that it lends for', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const [first, second] = [new FakeConnection(1), new FakeConnection(2)];
    const lends = [first, second].values();
    Object.assign(driver, {
      lend: (_connection: FakeConnection, lease: Lease<FakeConnection>) => {
        const lent = lends.next().value;
        if (lent === first) lease.release();
        return lent;
      },
    });
    const ended = pool.acquire('acme');
    const next = pool.acquire('globex');
    expect((await ended).released).toBe(true);
    expect((await next).connection).toBe(second);
  });
});

describe('a driver that kills a connection', () => {
  it('is told when its borrower met a fatal error, asked for its end, or still had it at the deadline of close()', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 3, connectConcurrency: 3 } });
    const [first, second] = await Promise.all([pool.acquire('a'), pool.acquire('b'), pool.acquire('c')]);
    first.release(new FatalError('gone'));
    second.release(true);
    const closing = pool.close({ deadlineMs: 100 });
    await clock.advance(200);
    await closing;
    expect(driver.killReasons).toEqual(['fatal', 'borrower', 'cut']);
  });

  it('is told why it was to be closed when that has taken too long', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1 } });
    (await pool.acquire('acme')).release();
    driver.closeBehaviour = 'hang';
    pool.evict();
    await clock.advance(500);
    expect(driver.killReasons).toEqual(['generation']);
  });

  it('is told nothing of one that came after its connect had been given up', async () => {
    const { pool, driver, clock } = fakePool({ limits: { maxSize: 1 } });
    driver.open = () =>
      new Promise((resolve) => clock.setTimer(() => resolve(new FakeConnection(1)), fakeLimits.connectTimeoutMs * 2));
    const waiting = pool.acquire('acme').catch(() => undefined);
    await clock.advance(1_100);
    expect(driver.killReasons).toEqual([undefined]);
    await pool.close({ deadlineMs: 0 });
    await waiting;
  });
});

describe('an observer that throws', () => {
  it.each(['opened', 'connectFailed', 'destroyed', 'releasedTwice', 'driverFailed'] as const)(
    'loses no slot in %s, is warned of, and does not keep close() from ending',
    async (method) => {
      const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
      const { pool, driver, clock } = fakePool({
        limits: { maxSize: 1 },
        observer: {
          [method]: () => {
            throw new Error(`broken ${method}`);
          },
        },
      });
      driver.openBehaviour = new Error('refused');
      const waiting = pool.acquire('acme');
      await clock.advance(1);
      driver.openBehaviour = 'ok';
      await clock.advance(500);
      driver.isFatal = () => {
        throw new Error('what is this');
      };
      const lease = await waiting;
      lease.release(new Error('odd'));
      lease.release();
      const next = pool.acquire('globex');
      await clock.advance(500);
      (await next).release();
      expect(warn).toHaveBeenCalledWith(expect.stringContaining(`broken ${method}`), {
        type: 'PoolObserverWarning',
      });
      expect([pool.numbers.active, pool.numbers.total]).toEqual([0, 1]);
      const closing = pool.close({ deadlineMs: 100 });
      await clock.advance(1_000);
      await closing;
      expect(pool.numbers.total).toBe(0);
      warn.mockRestore();
    },
  );
});
