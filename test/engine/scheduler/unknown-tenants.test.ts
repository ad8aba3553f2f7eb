import { describe, expect, it } from '@jest/globals';

import type { Lease } from '../../../lib/engine/lease.js';
import { KNOWN_AFTER_MS, KnownTenants, MAX_REMEMBERED } from '../../../lib/engine/scheduler/known-tenants.js';
import { QueueFullError } from '../../../lib/errors.js';
import type { FakeClock } from '../../support/fakes/fake-clock.js';
import type { FakeConnection } from '../../support/fakes/fake-driver.js';
import { fakePool, type FakePoolOptions } from '../../support/fakes/fake-pool.js';

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

async function waitFor<T>(outcome: Promise<T>, clock: FakeClock): Promise<T> {
  await clock.advance(0);
  return outcome;
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

  it('have all slots while no known tenant wants them', async () => {
    const { pool, out } = await floodedPool(4, 10);
    expect([out.length, pool.numbers.active]).toEqual([4, 4]);
  });

  it('do not keep a known tenant waiting longer than until the next slot comes free', async () => {
    const { pool, out, clock } = await floodedPool(4, 1_000, { tenants: { known: isCustomer, maxWaiting: 5 } });
    const waiting = pool.acquire('customer 1');
    out[0]?.release();
    await clock.advance(0);
    await expect(waiting).resolves.toMatchObject({ tenantId: 'customer 1' });
  });

  it('have nothing of what is reserved for each tenant', async () => {
    const { pool, out, clock } = await floodedPool(2, 50, { tenants: { reserved: 1 } });
    const waiting = pool.acquire('customer 1');
    out[0]?.release();
    await clock.advance(0);
    (await waiting).release();
    for (const tenant of pool.numbers.tenants()) {
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
    expect([refused, pool.numbers.waiting]).toEqual([[], 10]);
    out[0]?.release();
    await clock.advance(0);
    await late;
    expect(served).toHaveLength(4);
  });

  it('make room for a known tenant in a full queue, and not the other way round', async () => {
    const { pool } = await floodedPool(1, 4, { limits: { maxQueue: 4 } });
    const customer = pool.acquire('customer 1');
    expect(pool.numbers.waiting).toBe(4);
    let refused: unknown;
    pool.acquire('customer 1').catch((error: unknown) => (refused = error));
    expect([pool.numbers.waiting, refused]).toEqual([4, undefined]);
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
      reserves.push([id, [...pool.numbers.tenants()].find((tenant) => tenant.id === id)?.limits.reserved ?? -1]);
      lease.release();
    }
    expect(reserves).toEqual([
      ['customer', 1],
      ['override', 1],
      ['resolved', 1],
      ['invented', 0],
    ]);
  });

  it('are tenants that the pool has not served for a while, where the application does not say', async () => {
    const { pool, clock } = fakePool({ tenants: { reserved: 1 } });
    const reserveOf = (): number | undefined =>
      [...pool.numbers.tenants()].find(({ id }) => id === 'acme')?.limits.reserved;
    (await pool.acquire('acme')).release();
    expect(reserveOf()).toBe(0);
    await clock.advance(KNOWN_AFTER_MS);
    (await pool.acquire('acme')).release();
    expect(reserveOf()).toBe(1);
  });

  it('keep to their maximum when they become known as a slot goes to their next waiter', async () => {
    const { pool, clock } = fakePool({ tenants: { max: 1 } });
    const first = await waitFor(pool.acquire('acme'), clock);
    first.release();
    const second = await waitFor(pool.acquire('acme'), clock);
    const waiting = [pool.acquire('acme', { timeoutMs: 60_000 }), pool.acquire('acme', { timeoutMs: 60_000 })];
    await clock.advance(KNOWN_AFTER_MS);
    second.release();
    await clock.advance(0);
    expect({ active: pool.numbers.active, waiting: pool.numbers.waiting, grantable: pool.numbers.grantable }).toEqual({
      active: 1,
      waiting: 1,
      grantable: 0,
    });
    await pool.close({ deadlineMs: 0 });
    await Promise.allSettled(waiting);
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
    expect([...pool.numbers.tenants()].every(({ limits }) => limits.max === Infinity)).toBe(true);
  });
});

describe('functions of the application that are asked about tenants', () => {
  it('cost the caller its acquire when they throw, and no other caller anything', async () => {
    const { pool, clock } = fakePool({
      limits: { maxSize: 1 },
      tenants: {
        known: (id) => {
          if (id.startsWith('bad')) throw new Error('no database');
          return true;
        },
      },
    });
    const lease = await waitFor(pool.acquire('acme'), clock);
    const waiting = pool.acquire('globex');
    for (let id = 0; id < 100; id++) await expect(pool.acquire(`bad ${id}`)).rejects.toThrow('no database');
    expect(() => pool.tryAcquire('bad')).toThrow('no database');
    expect([pool.numbers.knownTenants, pool.numbers.waiting]).toEqual([2, 1]);
    lease.release();
    (await waitFor(waiting, clock)).release();
  });

  it('may ask for slots, and change the limits, while they are asked', async () => {
    let depth = 0;
    const { pool, clock } = fakePool({
      limits: { maxSize: 1 },
      tenants: {
        known: (id) => {
          if (depth++ < 3) void pool.acquire(id).then((lease) => lease.release());
          pool.changeTenantPolicy({ ...pool.tenantPolicy, max: 1, known: () => true });
          return false;
        },
      },
    });
    const served = ['acme', 'globex'].map((id) => pool.acquire(id).then((lease) => lease.release()));
    await clock.advance(0);
    await Promise.all(served);
    // The connection was lent to this one last; the other tenant has been forgotten.
    expect([...pool.numbers.tenants()].map(({ id, limits: { max } }) => [id, max])).toEqual([
      [undefined, Infinity],
      ['acme', 1],
    ]);
    expect([pool.numbers.active, pool.numbers.waiting]).toEqual([0, 0]);
  });

  it.each(['close', 'suspend', 'abort'] as const)('leave no waiter behind when they %s', async (deed) => {
    const controller = new AbortController();
    const { pool, clock } = fakePool({
      limits: { maxSize: 1 },
      tenants: {
        known: (id) => {
          if (id !== 'globex') return true;
          if (deed === 'close') void pool.close({ deadlineMs: 0 });
          else if (deed === 'suspend') pool.suspend('reject');
          else controller.abort();
          return true;
        },
      },
    });
    const lease = await waitFor(pool.acquire('acme'), clock);
    const refused = pool.acquire('globex', { signal: controller.signal }).catch((error: Error) => error.name);
    const name = { close: 'PoolClosedError', suspend: 'PoolSuspendedError', abort: 'AcquireAbortedError' }[deed];
    expect([await refused, pool.numbers.waiting]).toEqual([name, 0]);
    lease.release();
  });

  it('are asked about tenants that they bring along themselves when the limits change', async () => {
    const { pool, clock } = fakePool({ tenants: { max: 5 } });
    const lease = await waitFor(pool.acquire('acme'), clock);
    pool.changeTenantPolicy({
      ...pool.tenantPolicy,
      max: 1,
      known: (id) => {
        if (id === 'acme') void pool.acquire('globex').catch(() => undefined);
        return true;
      },
    });
    const limits = [...pool.numbers.tenants()].map(({ id, limits: { max } }) => [id, max]);
    expect(limits).toEqual([
      [undefined, Infinity],
      ['acme', 1],
      ['globex', 1],
    ]);
    lease.release();
    await pool.close({ deadlineMs: 0 });
  });

  it('may change their mind while queues are full: the new word holds at once', async () => {
    const customers = new Set(['customer 1']);
    const { pool, invent, out, clock } = await floodedPool(2, 8, {
      limits: { maxQueue: 8 },
      tenants: { known: (id) => customers.has(id), maxUnknown: 0 },
    });
    customers.add('invented 5');
    pool.changeTenantPolicy({ ...pool.tenantPolicy });
    for (let round = 0; round < 3; round++) invent();
    const customer = pool.acquire('customer 1');
    out.splice(0).forEach((lease) => lease.release());
    await clock.advance(0);
    (await customer).release();
    await clock.advance(0);
    const [known] = [...pool.numbers.tenants()].filter(({ id }) => id === 'invented 5');
    expect(known?.acquisitions).toBe(1);
    await pool.close({ deadlineMs: 0 });
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
    const numbers = [...plain.pool.numbers.tenants()].find((tenant) => tenant.id === id);
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
