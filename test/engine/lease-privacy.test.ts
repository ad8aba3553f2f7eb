// Walked and printed, a lease leads to nothing: not to its connection, and not to what other callers wait for.
import { describe, expect, it } from '@jest/globals';

import { type Lease, PoolLease } from '../../lib/engine/lease.js';
import { LeaseScope } from '../../lib/engine/lease-scope.js';
import { LeaseReleasedError } from '../../lib/errors.js';
import { settle } from '../support/fakes/fake-clock.js';
import { FakeConnection, FakeDriver, OnDemandDriver } from '../support/fakes/fake-driver.js';
import { fakePool } from '../support/fakes/fake-pool.js';
import { leaksOf } from '../support/reachable.js';

const ends: [string, (lease: Lease<unknown>) => void][] = [
  ['while it is out', () => undefined],
  ['once it has been given back', (lease) => lease.release()],
  ['once it has been taken away', (lease) => lease.cut()],
];

describe.each([FakeDriver, OnDemandDriver])('a lease of a %p', (Driver) => {
  it.each(ends)('leads to no connection and to no other caller %s', async (_when, end) => {
    const { pool } = fakePool({ driver: new Driver(), limits: { maxSize: 2, leakDetectionMs: 1_000 } });
    const outer = await pool.acquire('acme');
    const lease = await pool.acquire('acme');
    outer.serve(undefined);
    lease.serve(outer);
    new LeaseScope().add(lease);
    const rival = pool.acquire('rival').catch(() => undefined);
    end(lease);
    await settle();

    const isUnwanted = (value: object): boolean => value instanceof FakeConnection || value === pool;
    expect(leaksOf(lease, { isUnwanted, secrets: ['rival'] })).toEqual([]);
    expect(leaksOf({ ...lease }, { isUnwanted, secrets: ['rival'] })).toEqual([]);
    expect(leaksOf(structuredClone(lease), { isUnwanted, secrets: ['rival'] })).toEqual([]);

    await pool.close({ deadlineMs: 0 });
    await rival;
  });
});

describe('a lease', () => {
  it('keeps its own tenant when its slot serves another, and never sees what that one was lent', async () => {
    const { pool } = fakePool({ limits: { maxSize: 1 } });
    const stale = await pool.acquire('acme');
    stale.release();
    const fresh = await pool.acquire('rival');
    expect(stale.tenantId).toBe('acme');
    expect(stale.toJSON()).toMatchObject({ tenantId: 'acme', released: true });
    expect(() => stale.connection).toThrow(LeaseReleasedError);
    expect(fresh.tenantId).toBe('rival');
    expect(fresh.connection).toBeInstanceOf(FakeConnection);
    stale.release();
    stale.cut();
    expect(fresh.released).toBe(false);
    fresh.release();
  });

  it('tells the kind that made the pool which connection it has, until it is over', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 1 } });
    const { connectionOf } = PoolLease;
    const given = await pool.acquire('acme');
    expect(connectionOf(given)).toBe(driver.opened[0]);
    given.release();
    const taken = await pool.acquire('rival');
    expect([connectionOf(given), connectionOf(taken)]).toEqual([undefined, driver.opened[0]]);
    taken.cut();
    expect([connectionOf(taken), connectionOf({ ...given })]).toEqual([undefined, undefined]);
  });

  it('that a driver looks into while it lends shows nothing of the borrower before', async () => {
    const seen: unknown[] = [];
    class CuriousDriver extends FakeDriver {
      lend(connection: FakeConnection, lease: object): FakeConnection {
        if ('connection' in lease) seen.push(lease.connection);
        return connection;
      }
    }
    const { pool } = fakePool({ driver: new CuriousDriver(), limits: { maxSize: 1 } });
    (await pool.acquire('acme')).release();
    (await pool.acquire('rival')).release();
    expect(seen).toEqual([undefined, undefined]);
  });
});
