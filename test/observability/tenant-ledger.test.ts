// Counters by tenant, of the busiest tenants only: what a monitoring system makes of them, over many readings.
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import type { Lease } from '../../lib/engine/lease.js';
import type { AcquireLimits } from '../../lib/engine/lending-engine.js';
import { TenantLedger, type TenantReading } from '../../lib/observability/tenant-ledger.js';
import { type FakePool, fakePool } from '../support/fakes/fake-pool.js';

const COUNTERS = ['slotMs', 'waitedMs', 'timeouts', 'rejections'] as const;
type Counter = (typeof COUNTERS)[number];

/** Adds up increases as Prometheus does: a first sample is none, a lower one is a restart from 0. */
class Increases {
  readonly #last = new Map<string, number>();
  readonly total: Record<Counter, number> = { slotMs: 0, waitedMs: 0, timeouts: 0, rejections: 0 };

  scrape(readings: readonly TenantReading[]): void {
    for (const reading of readings) {
      for (const counter of COUNTERS) {
        const series = `${counter} ${reading.name}`;
        const last = this.#last.get(series);
        const value = reading[counter];
        if (last !== undefined) this.total[counter] += value >= last ? value - last : value;
        this.#last.set(series, value);
      }
    }
  }
}

function totals({ pool: { counters } }: FakePool): Record<Counter, number> {
  const sum = (numbers: Readonly<Record<string, number>>): number => Object.values(numbers).reduce((a, b) => a + b, 0);
  return {
    slotMs: counters.use.sumMs,
    waitedMs: counters.wait.sumMs,
    timeouts: sum(counters.timeouts),
    rejections: sum(counters.rejections),
  };
}

/** One lease of the tenant, for that long. */
async function work({ pool, clock }: FakePool, tenantId: string | undefined, forMs: number): Promise<void> {
  const lease = await pool.acquire(tenantId);
  await clock.advance(forMs);
  lease.release();
}

function byName(readings: readonly TenantReading[]): Record<string, TenantReading> {
  return Object.fromEntries(readings.map((reading) => [reading.name, reading]));
}

describe('the counters of tenants', () => {
  it('name the busiest tenants, and add the others up; work without a tenant has a name of its own', async () => {
    const fake = fakePool();
    const ledger = new TenantLedger(fake.pool, 2);
    const round = async (): Promise<void> => {
      await work(fake, 'acme', 50);
      await work(fake, 'globex', 40);
      await work(fake, 'initech', 5);
      await work(fake, 'umbrella', 4);
      await work(fake, undefined, 7);
    };
    await round();
    const first = byName(ledger.read());
    expect(Object.keys(first)).toEqual(['none', 'other', 'acme', 'globex']);
    // Names that are new begin with nothing; what came before them is part of the others.
    expect(first).toMatchObject({
      acme: { slotMs: 0 },
      globex: { slotMs: 0 },
      other: { slotMs: 99 },
      none: { slotMs: 7 },
    });
    await round();
    expect(byName(ledger.read())).toMatchObject({
      acme: { slotMs: 50 },
      globex: { slotMs: 40 },
      other: { slotMs: 108 },
      none: { slotMs: 14 },
    });
  });

  it('tell slots in use and waiters of this moment, of named tenants and of the others', async () => {
    const fake = fakePool({ limits: { maxSize: 3 } });
    const ledger = new TenantLedger(fake.pool, 1);
    const leases = [await fake.pool.acquire('acme'), await fake.pool.acquire('acme')];
    await fake.clock.advance(10);
    leases.push(await fake.pool.acquire('globex'));
    const waiting = [fake.pool.acquire('acme'), fake.pool.acquire('globex'), fake.pool.acquire('initech')];
    expect(byName(ledger.read())).toMatchObject({
      none: { used: 0, waiting: 0 },
      acme: { used: 2, waiting: 1 },
      other: { used: 1, waiting: 2 },
    });
    for (const lease of leases) lease.release();
    for (const lease of await Promise.all(waiting)) lease.release();
  });

  it('count timeouts, rejections and waits for the tenant that met with them', async () => {
    const fake = fakePool({ limits: { maxSize: 1, acquireTimeoutMs: 100 }, tenants: { maxWaiting: 1 } });
    const ledger = new TenantLedger(fake.pool, 1);
    await work(fake, 'acme', 10);
    ledger.read();
    const lease = await fake.pool.acquire('acme');
    const late = fake.pool.acquire('acme');
    const refused = fake.pool.acquire('acme');
    await expect(refused).rejects.toMatchObject({ code: 'POOL_TENANT_LIMIT' });
    const timedOut = expect(late).rejects.toMatchObject({ code: 'POOL_ACQUIRE_TIMEOUT' });
    await fake.clock.advance(200);
    await timedOut;
    const served = fake.pool.acquire('acme');
    await fake.clock.advance(30);
    lease.release();
    (await served).release();
    expect(byName(ledger.read()).acme).toMatchObject({ timeouts: 1, rejections: 1, waitedMs: 30, slotMs: 230 });
  });

  it('count what is refused before it could wait for the tenant that asked, and for no other', async () => {
    const fake = fakePool();
    const ledger = new TenantLedger(fake.pool, 1);
    await work(fake, 'acme', 10);
    ledger.read();
    const signal = AbortSignal.abort();
    for (const id of ['acme', 'acme', 'acme', undefined, undefined, 'globex']) {
      await expect(fake.pool.acquire(id, { signal })).rejects.toMatchObject({ code: 'POOL_ACQUIRE_ABORTED' });
    }
    expect(byName(ledger.read())).toMatchObject({
      acme: { rejections: 3 },
      none: { rejections: 2 },
      other: { rejections: 1 },
    });
    expect([...fake.pool.numbers.tenants()].map(({ id }) => id)).toEqual([undefined, 'acme']);
  });

  it('name no others on a pool without tenants', async () => {
    const fake = fakePool();
    const ledger = new TenantLedger(fake.pool, 1);
    ledger.read();
    await expect(fake.pool.acquire(undefined, { signal: AbortSignal.abort() })).rejects.toThrow();
    fake.pool.suspend('reject');
    await expect(fake.pool.acquire(undefined)).rejects.toMatchObject({ code: 'POOL_SUSPENDED' });
    await fake.pool.close({ deadlineMs: 0 });
    await expect(fake.pool.acquire(undefined)).rejects.toMatchObject({ code: 'POOL_CLOSED' });
    expect(byName(ledger.read())).toMatchObject({ none: { rejections: 3 }, other: { rejections: 0 } });
  });

  it('count what is refused before it could wait for a named tenant that the pool has forgotten', async () => {
    const fake = fakePool();
    const ledger = new TenantLedger(fake.pool, 1);
    await work(fake, 'acme', 10);
    ledger.read();
    await fake.pool.close({ deadlineMs: 0 });
    expect([...fake.pool.numbers.tenants()].map(({ id }) => id)).toEqual([undefined]);
    await expect(fake.pool.acquire('acme')).rejects.toMatchObject({ code: 'POOL_CLOSED' });
    await expect(fake.pool.acquire('globex')).rejects.toMatchObject({ code: 'POOL_CLOSED' });
    expect(byName(ledger.read())).toMatchObject({ acme: { rejections: 1 }, other: { rejections: 1 } });
  });

  it('show a tenant whose first lease is still out', async () => {
    const fake = fakePool();
    const ledger = new TenantLedger(fake.pool, 1);
    await work(fake, 'acme', 100);
    ledger.read();
    const lease = await fake.pool.acquire('globex');
    await fake.clock.advance(10_000);
    expect(ledger.read().map(({ name }) => name)).toContain('globex');
    lease.release();
  });

  it('do not let a tenant that is hardly busier take the place of another', async () => {
    const fake = fakePool();
    const ledger = new TenantLedger(fake.pool, 1);
    await work(fake, 'acme', 100);
    ledger.read();
    await work(fake, 'globex', 110);
    expect(ledger.read().map(({ name }) => name)).toEqual(['none', 'other', 'acme']);
    await work(fake, 'globex', 100);
    expect(ledger.read().map(({ name }) => name)).toEqual(['none', 'other', 'globex']);
  });

  it('follow the tenants of now: an hour later it does not count who was busy', async () => {
    const fake = fakePool();
    const ledger = new TenantLedger(fake.pool, 1);
    await work(fake, 'acme', 60_000);
    ledger.read();
    await fake.clock.advance(3_600_000);
    await work(fake, 'globex', 100);
    expect(ledger.read().map(({ name }) => name)).toContain('globex');
  });

  it('leave `other` as it is when a tenant leaves the top, and go on where they were when it comes back', async () => {
    const fake = fakePool();
    const ledger = new TenantLedger(fake.pool, 1);
    await work(fake, 'acme', 1_000);
    ledger.read();
    await work(fake, 'acme', 1_000);
    const before = byName(ledger.read());
    expect(before).toMatchObject({ acme: { slotMs: 1_000 }, other: { slotMs: 1_000 } });
    await work(fake, 'globex', 5_000);
    expect(byName(ledger.read())).toEqual({
      none: expect.anything(),
      other: expect.objectContaining({ slotMs: 6_000 }),
      globex: expect.objectContaining({ slotMs: 0 }),
    });
    await work(fake, 'acme', 10_000);
    expect(byName(ledger.read())).toMatchObject({ acme: { slotMs: 1_000 }, other: { slotMs: 16_000 } });
    await work(fake, 'acme', 3);
    expect(byName(ledger.read())).toMatchObject({ acme: { slotMs: 1_003 }, other: { slotMs: 16_000 } });
  });

  it('do not lose what a tenant did that the pool forgot before the next reading', async () => {
    const fake = fakePool({ limits: { maxSize: 1 } });
    const ledger = new TenantLedger(fake.pool, 1);
    await work(fake, 'acme', 100);
    ledger.read();
    await work(fake, 'acme', 100);
    // Its warm slot goes to others, and with each newcomer the pool forgets tenants.
    for (let index = 0; index < 20; index++) await work(fake, `visitor-${index}`, 1);
    expect([...fake.pool.numbers.tenants()].map(({ id }) => id)).not.toContain('acme');
    expect(byName(ledger.read())).toMatchObject({ acme: { slotMs: 100 }, other: { slotMs: 120 } });
  });

  it('hold a bounded number of tenants, however many ids there are, and still find the busiest', async () => {
    const fake = fakePool({ limits: { maxSize: 1 } });
    const ledger = new TenantLedger(fake.pool, 2);
    for (let index = 0; index < 2_000; index++) {
      await work(fake, `invented-${index}`, 1);
      if (index % 100 === 0) await work(fake, 'acme', 3);
    }
    const readings = ledger.read();
    expect(readings).toHaveLength(4);
    expect(readings.map(({ name }) => name)).toContain('acme');
    expect(byName(readings).other?.slotMs).toBe(2_060);
  });

  it('keep tenants apart from the fixed names, also a tenant whose id is one of these', async () => {
    const fake = fakePool();
    const ledger = new TenantLedger(fake.pool, 10);
    const ids = ['other', 'other~', 'none', 'none~~', 'another', ''.padEnd(128, 'x')];
    for (const id of ids) await work(fake, id, 10);
    const names = ledger.read().map(({ name }) => name);
    expect(new Set(names).size).toBe(ids.length + 2);
    expect(names).toEqual(
      expect.arrayContaining(['none', 'other', 'other~', 'other~~', 'none~', 'none~~~', 'another']),
    );
  });

  it('are no longer counted once the ledger is closed', async () => {
    const { pool } = fakePool();
    const first = new TenantLedger(pool, 1);
    const second = new TenantLedger(pool, 1);
    first.close();
    expect(pool.counters.forgotten).toBeDefined();
    second.close();
    expect(pool.counters.forgotten).toBeUndefined();
  });

  it('add up to the increases of the pool over random programs', async () => {
    const tenant = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', undefined);
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('acquire' as const), tenant }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('aborted' as const), tenant }) },
      { weight: 5, arbitrary: fc.record({ kind: fc.constant('release' as const), index: fc.nat(5) }) },
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant('pass' as const),
          ms: fc.double({ min: 0.1, max: 60_000, noNaN: true }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('read' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('crowd' as const), size: fc.nat(300) }) },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 20, maxLength: 120 }),
        fc.integer({ min: 1, max: 3 }),
        async (steps, top) => {
          const fake = fakePool({
            limits: { maxSize: 3, acquireTimeoutMs: 1_000, maxQueue: 6 },
            tenants: { max: 2, maxWaiting: 2 },
          });
          const ledger = new TenantLedger(fake.pool, top);
          const prometheus = new Increases();
          const leases: Lease<unknown>[] = [];
          const acquire = (id: string | undefined, options: AcquireLimits = {}): void => {
            fake.pool.acquire(id, options).then(
              (lease) => void leases.push(lease),
              () => undefined,
            );
          };
          prometheus.scrape(ledger.read());
          const start = totals(fake);
          for (const next of steps) {
            if (next.kind === 'acquire') acquire(next.tenant);
            if (next.kind === 'aborted') acquire(next.tenant, { signal: AbortSignal.abort() });
            if (next.kind === 'release') leases.splice(next.index, 1)[0]?.release();
            if (next.kind === 'pass') await fake.clock.advance(next.ms);
            if (next.kind === 'crowd') for (let index = 0; index < next.size; index++) acquire(`crowd-${index}`);
            if (next.kind === 'read') {
              const readings = ledger.read();
              expect(readings.length).toBeLessThanOrEqual(top + 2);
              expect(new Set(readings.map(({ name }) => name)).size).toBe(readings.length);
              prometheus.scrape(readings);
            }
          }
          prometheus.scrape(ledger.read());
          const end = totals(fake);
          for (const counter of COUNTERS) {
            expect(prometheus.total[counter]).toBeCloseTo(end[counter] - start[counter], 3);
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});
