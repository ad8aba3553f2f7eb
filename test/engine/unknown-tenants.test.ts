import { describe, expect, it } from '@jest/globals';
import { KNOWN_AFTER_MS, KnownTenants, MAX_REMEMBERED } from '../../lib/engine/known-tenants.js';
import type { Lease } from '../../lib/engine/lease.js';
import { QueueFullError } from '../../lib/errors.js';
import type { FakeConnection } from '../support/fakes/fake-driver.js';
import { fakePool, type FakePoolOptions } from '../support/fakes/fake-pool.js';

const isCustomer = (id: string): boolean => id.startsWith('customer');

/** A pool all of whose slots are lent to ids that come once each, with as many more of them waiting as `waiting`. */
async function floodedPool(size: number, waiting: number, options: FakePoolOptions = {}) {
  const fake = fakePool({
    ...options,
    limits: { maxSize: size, connectConcurrency: size, ...options.limits },
    tenants: { known: isCustomer, ...options.tenants },
  });
  let ids = 0;
  const out: Lease<FakeConnection>[] = [];
  const invent = (): void => {
    fake.pool.acquire(`invented ${ids++}`).then(
      (lease) => out.push(lease),
      () => undefined,
    );
  };
  for (let count = 0; count < size + waiting; count++) invent();
  await fake.clock.advance(0);
  return { ...fake, out, invent };
}

describe('ids that were invented', () => {
  it.each([
    ['half of the slots', undefined, 5],
    ['as many slots as the options say', 2, 2],
    ['no slot', 0, 0],
  ])('have %s together while known tenants wait', async (_what, maxUnknown, most) => {
    const { pool, out, invent, clock } = await floodedPool(10, 100, { tenants: { maxUnknown } });
    const served: Lease<FakeConnection>[] = [];
    const customers = ['customer 1', 'customer 2', 'customer 3'];
    for (let index = 0; index < 60; index++)
      void pool.acquire(customers[index % 3]).then((lease) => served.push(lease));
    expect(out).toHaveLength(10);
    // Everybody holds for as long; invented ones come for every one that goes.
    for (let round = 0; round < 8; round++) {
      const ending = [...out.splice(0), ...served.splice(0)];
      for (const lease of ending) {
        lease.release();
        invent();
      }
      await clock.advance(10);
      // Others are never less than that while they ask for it.
      if (round < 4) expect(out.length).toBeLessThanOrEqual(most);
    }
  });

  it('have all slots while nobody else wants them', async () => {
    const { pool, out } = await floodedPool(4, 10);
    expect([out.length, pool.active]).toEqual([4, 4]);
  });

  it('do not keep a known tenant waiting longer than until the next slot comes free', async () => {
    const { pool, out, clock } = await floodedPool(4, 1_000, { tenants: { known: isCustomer, maxWaiting: 5 } });
    const waiting = pool.acquire('customer 1');
    out[0]?.release();
    await clock.advance(0);
    (await waiting).release();
  });

  it('have nothing of what is reserved for each tenant', async () => {
    const { pool, out, clock } = await floodedPool(2, 50, { tenants: { reserved: 1 } });
    const waiting = pool.acquire('customer 1');
    out[0]?.release();
    await clock.advance(0);
    (await waiting).release();
    for (const tenant of pool.tenants()) {
      if (tenant.id?.startsWith('invented') === true) expect(tenant.limits.reserved).toBe(0);
    }
  });

  it('push no known tenant out of a full queue', async () => {
    const { pool, out, invent, clock } = await floodedPool(1, 0, { limits: { maxQueue: 10 } });
    const refused: unknown[] = [];
    const served: string[] = [];
    for (let index = 0; index < 4; index++) {
      pool.acquire('customer 1').then(
        (lease) => {
          served.push('customer');
          lease.release();
        },
        (error: unknown) => refused.push(error),
      );
    }
    for (let index = 0; index < 500; index++) invent();
    const late = pool.acquire('customer 2').then((lease) => lease.release());
    await clock.advance(0);
    expect([refused, pool.waiting]).toEqual([[], 10]);
    out[0]?.release();
    await clock.advance(0);
    await late;
    expect(served).toHaveLength(4);
  });

  it('make room for a known tenant in a full queue, and not the other way round', async () => {
    const { pool } = await floodedPool(1, 4, { limits: { maxQueue: 4 } });
    const customer = pool.acquire('customer 1');
    expect(pool.waiting).toBe(4);
    let refused: unknown;
    pool.acquire('customer 1').catch((error: unknown) => (refused = error));
    expect([pool.waiting, refused]).toEqual([4, undefined]);
    await pool.close({ deadlineMs: 0 });
    await expect(customer).rejects.not.toBeInstanceOf(QueueFullError);
  });

  it('are those with neither limits of their own nor a word from the application', async () => {
    const { pool } = fakePool({
      tenants: {
        reserved: 1,
        known: isCustomer,
        overrides: { override: { weight: 2 } },
        resolve: (id) => (id === 'resolved' ? { weight: 3 } : undefined),
      },
    });
    const reserves: [string | undefined, number][] = [];
    for (const id of ['customer', 'override', 'resolved', 'invented']) {
      const lease = await pool.acquire(id);
      reserves.push([id, [...pool.tenants()].find((tenant) => tenant.id === id)?.limits.reserved ?? -1]);
      lease.release();
    }
    expect(reserves).toEqual([
      ['customer', 1],
      ['override', 1],
      ['resolved', 1],
      ['invented', 0],
    ]);
  });

  it('are whoever the pool has not served for a while, where the application does not say', async () => {
    const { pool, clock } = fakePool({ tenants: { reserved: 1 } });
    const reserveOf = (): number | undefined => [...pool.tenants()].find(({ id }) => id === 'acme')?.limits.reserved;
    (await pool.acquire('acme')).release();
    expect(reserveOf()).toBe(0);
    await clock.advance(KNOWN_AFTER_MS);
    (await pool.acquire('acme')).release();
    expect(reserveOf()).toBe(1);
  });

  it('change nothing when the word of the application is an error', async () => {
    const { pool } = fakePool({ tenants: { known: isCustomer } });
    (await pool.acquire('customer 1')).release();
    const policy = pool.tenantPolicy;
    const broken = {
      ...policy,
      max: 1,
      resolve: () => {
        throw new Error('no database');
      },
    };
    expect(() => pool.changeTenantPolicy(broken)).toThrow('no database');
    expect(pool.tenantPolicy).toBe(policy);
    expect([...pool.tenants()].every(({ limits }) => limits.max === Infinity)).toBe(true);
  });
});

describe('the tenants that a pool remembers', () => {
  it('are not pushed out by ids that were seen once', () => {
    const known = new KnownTenants();
    known.served('acme', 0);
    expect(known.has('acme')).toBe(false);
    expect(known.served('acme', KNOWN_AFTER_MS)).toBe(KNOWN_AFTER_MS);
    expect(known.has('acme')).toBe(true);
    for (let id = 0; id < 3 * MAX_REMEMBERED; id++) known.served(`invented ${id}`, KNOWN_AFTER_MS);
    expect(known.has('acme')).toBe(true);
  });

  it('are no more than it says: the one that was active last stays longest', () => {
    const known = new KnownTenants();
    known.refresh('acme');
    known.refresh('globex');
    known.refresh('acme');
    for (let id = 0; id < MAX_REMEMBERED - 1; id++) known.refresh(`t${id}`);
    expect([known.has('acme'), known.has('globex')]).toEqual([true, false]);
  });
});

describe.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'valueOf'])('a tenant called %s', (id) => {
  it('has limits, an override and numbers as any other', async () => {
    const plain = fakePool({ limits: { maxSize: 4, connectConcurrency: 4 }, tenants: { max: 2, maxWaiting: 7 } });
    const lease = await plain.pool.acquire(id);
    const numbers = [...plain.pool.tenants()].find((tenant) => tenant.id === id);
    expect(numbers).toMatchObject({ inUse: 1, acquisitions: 1, limits: { max: 2, maxWaiting: 7, weight: 1 } });
    lease.release();

    const overrides = Object.fromEntries([[id, { max: 1 }]]);
    const { pool } = fakePool({ limits: { maxSize: 4, connectConcurrency: 4 }, tenants: { max: 3, overrides } });
    const held = await pool.acquire(id);
    expect(pool.tryAcquire(id)).toBeUndefined();
    expect((await pool.acquire('acme')).tenantId).toBe('acme');
    held.release();
  });
});
