// A driver that makes what it lends only for borrowers that look at it.
import { describe, expect, it } from '@jest/globals';

import type { LeaseInfo } from '../../lib/engine/driver.js';
import type { Lease } from '../../lib/engine/lease.js';
import { LeaseReleasedError } from '../../lib/errors.js';
import { FakeConnection, OnDemandDriver } from '../support/fakes/fake-driver.js';
import { fakePool } from '../support/fakes/fake-pool.js';

describe('a driver that lends on demand', () => {
  it('makes what it lends when it is first read, once a lease, and never for a lease that is not read', async () => {
    const driver = new OnDemandDriver();
    const { pool } = fakePool({ driver, limits: { maxSize: 1 } });
    (await pool.acquire('acme')).release();
    const waited = await pool.acquire('acme');
    expect(driver.lends).toBe(0);
    const first = waited.connection;
    expect(first).toBeInstanceOf(FakeConnection);
    expect(first).not.toBe(driver.opened[0]);
    expect(waited.connection).toBe(first);
    expect(driver.lends).toBe(1);
    waited.release();
    const next = await pool.acquire('acme');
    expect(next.connection).not.toBe(first);
    expect(driver.lends).toBe(2);
  });

  it('is not asked after release', async () => {
    const driver = new OnDemandDriver();
    const { pool } = fakePool({ driver, limits: { maxSize: 1 } });
    const lease = await pool.acquire('acme');
    lease.release();
    expect(() => lease.connection).toThrow(LeaseReleasedError);
    await pool.acquire('rival');
    expect(() => lease.connection).toThrow(LeaseReleasedError);
    expect(driver.lends).toBe(0);
  });

  it('fails the reader, not the lease, when it throws, and is called again by the next read', async () => {
    const driver = new OnDemandDriver();
    const { pool } = fakePool({ driver, limits: { maxSize: 1 } });
    driver.lending = () => {
      throw new Error('cannot lend');
    };
    const lease = await pool.acquire('acme');
    expect(() => lease.connection).toThrow('cannot lend');
    expect(() => lease.connection).toThrow('cannot lend');
    driver.lending = undefined;
    expect(lease.connection).toBeInstanceOf(FakeConnection);
    lease.release();
    expect([driver.lends, driver.opens, pool.numbers.idle]).toEqual([3, 1, 1]);
  });

  it('that looks into the lease as it lends sees nothing there', async () => {
    const driver = new OnDemandDriver();
    const seen: unknown[] = [];
    driver.lending = (lease) => {
      if ('connection' in lease) seen.push(lease.connection);
    };
    const { pool } = fakePool({ driver });
    expect((await pool.acquire('acme')).connection).toBeInstanceOf(FakeConnection);
    expect(seen).toEqual([undefined]);
  });

  it.each(['returns', 'throws'])('lends nothing in a lease that ends meanwhile, when it %s', async (how) => {
    const driver = new OnDemandDriver();
    const { pool } = fakePool({ driver, limits: { maxSize: 1 } });
    const lease = await pool.acquire('acme');
    const waiting = pool.acquire('rival');
    driver.lending = () => {
      driver.lending = undefined;
      lease.release();
      if (how === 'throws') throw new Error('cannot lend');
    };
    expect(() => lease.connection).toThrow(how === 'throws' ? 'cannot lend' : LeaseReleasedError);
    const next = await waiting;
    expect(driver.lends).toBe(1);
    const theirs = next.connection;
    expect(next.connection).toBe(theirs);
    expect(driver.lends).toBe(2);
  });

  it('is called by an observer that reads the lease as it begins', async () => {
    const driver = new OnDemandDriver();
    let seen: FakeConnection | undefined;
    const acquired = (_raw: FakeConnection, lease: Lease<FakeConnection>): void => {
      expect(driver.lends).toBe(0);
      seen = lease.connection;
    };
    const { pool } = fakePool({ driver, observer: { acquired } });
    const lease = await pool.acquire('acme');
    expect(lease.connection).toBe(seen);
    expect(driver.lends).toBe(1);
  });

  it('costs the connection of an acquire whose observer passes on what it throws', async () => {
    const driver = new OnDemandDriver();
    driver.lending = () => {
      throw new Error('cannot lend');
    };
    const acquired = (_raw: FakeConnection, lease: Lease<FakeConnection>): unknown => lease.connection;
    const { pool } = fakePool({ driver, observer: { acquired } });
    await expect(pool.acquire('acme')).rejects.toThrow('cannot lend');
    expect([pool.numbers.active, driver.live.length]).toEqual([0, 0]);
  });

  it('is told in lend whom the lease is for', async () => {
    const driver = new OnDemandDriver();
    const told: LeaseInfo[] = [];
    driver.lending = (lease) => void told.push(lease);
    const { pool } = fakePool({ driver });
    const lease = await pool.acquire('acme');
    expect(lease.connection).toBeInstanceOf(FakeConnection);
    expect(told).toEqual([lease]);
  });
});
