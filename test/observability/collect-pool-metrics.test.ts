// The pools' numbers in registries of prom-client.
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { Counter, Registry } from 'prom-client';

import {
  collectPoolMetrics,
  ConnectionPoolManager,
  type MetricsRegistry,
  type PoolMetricsOptions,
  TenantInvalidError,
} from '../../lib/index.js';
import { poolMetrics, tenantMetrics } from '../../lib/observability/pool-metrics.js';
import type { PoolReading } from '../../lib/observability/pool-reading.js';
import { PoolStats } from '../../lib/pool/pool-stats.js';
import { PostgresPoolStats } from '../../lib/postgres/postgres-pool-stats.js';
import { RedisPoolStats } from '../../lib/redis/redis-pool-stats.js';
import { FakeClock } from '../support/fakes/fake-clock.js';
import { FakeDriver, FatalError } from '../support/fakes/fake-driver.js';
import { fakePool } from '../support/fakes/fake-pool.js';
import { LogBook } from '../support/log-book.js';
import { rejectionOf } from '../support/problems.js';

const managers: ConnectionPoolManager[] = [];
afterEach(async () => {
  await Promise.all(managers.splice(0).map((manager) => manager.stop({ deadlineMs: 0 })));
});

/** A manager with one pool, `mail`, whose connections are open and whose clock stands still. */
async function mailManager({ maxSize = 2, acquireTimeoutMs = 10_000 } = {}) {
  const driver = new FakeDriver();
  const clock = new FakeClock();
  const manager = new ConnectionPoolManager(
    { pools: { mail: { type: 'external', driver, minSize: maxSize, maxSize, acquireTimeoutMs } } },
    { clock, logger: new LogBook() },
  );
  managers.push(manager);
  await manager.start();
  return { manager, driver, clock, mail: manager.getPool('mail') };
}

/** Each line of the registry, by its name and labels. */
async function scrape(registry: MetricsRegistry): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const entries = lines.map((line): [string, number] => {
    const end = line.lastIndexOf(' ');
    return [line.slice(0, end), Number(line.slice(end + 1))];
  });
  expect(new Set(entries.map(([series]) => series)).size).toBe(entries.length);
  return Object.fromEntries(entries);
}

const of = (name: string, labels = ''): string => `pool_manager_${name}{pool="mail",type="external"${labels}}`;
const bucketOf = (name: string, le: string): string =>
  `pool_manager_${name}_bucket{le="${le}",pool="mail",type="external"}`;

describe('The metrics of pools', () => {
  it('tell slots, waiters and what was counted, as they are when the registry is asked', async () => {
    const { manager, mail, clock } = await mailManager({ acquireTimeoutMs: 1_000 });
    const registry = new Registry();
    await collectPoolMetrics(registry, manager);
    const leases = [await mail.acquire(), await mail.acquire()];
    const waiting = mail.acquire();
    const late = expect(mail.acquire({ timeoutMs: 100 })).rejects.toMatchObject({ kind: 'pool' });
    await clock.advance(500);
    await late;
    expect(await scrape(registry)).toMatchObject({
      [of('slots', ',state="used"')]: 2,
      [of('slots', ',state="idle"')]: 0,
      [of('slots_max')]: 2,
      [of('slots_min')]: 2,
      [of('waiting')]: 1,
      [of('oldest_wait_seconds')]: 0.5,
      [of('acquisitions_total')]: 2,
      [of('waits_total')]: 0,
      [of('releases_total')]: 0,
      [of('timeouts_total', ',kind="pool"')]: 1,
      [of('timeouts_total', ',kind="backend"')]: 0,
      [of('connects_total')]: 2,
      [of('up')]: 1,
      [of('status', ',status="healthy"')]: 1,
      [of('status', ',status="unhealthy"')]: 0,
    });
    leases[0]?.release();
    leases[0]?.release();
    leases[1]?.release(new FatalError('gone'));
    (await waiting).release();
    expect(await scrape(registry)).toMatchObject({
      [of('slots', ',state="used"')]: 0,
      [of('waiting')]: 0,
      [of('oldest_wait_seconds')]: 0,
      [of('acquisitions_total')]: 3,
      [of('waits_total')]: 1,
      [of('releases_total')]: 3,
      [of('double_releases_total')]: 1,
      [of('destroyed_total', ',reason="fatal"')]: 1,
    });
  });

  it('tell how long acquires waited and leases lasted, bucket by bucket; no wait is in the lowest bucket', async () => {
    const { manager, mail, clock } = await mailManager({ maxSize: 1 });
    const registry = new Registry();
    await collectPoolMetrics(registry, manager);
    const first = await mail.acquire();
    const second = mail.acquire();
    await clock.advance(250);
    first.release();
    const lease = await second;
    await clock.advance(2_000);
    lease.release();
    const numbers = await scrape(registry);
    expect(numbers).toMatchObject({
      [bucketOf('wait_seconds', '0.0005')]: 1,
      [bucketOf('wait_seconds', '0.1')]: 1,
      [bucketOf('wait_seconds', '0.25')]: 2,
      [bucketOf('wait_seconds', '+Inf')]: 2,
      [of('wait_seconds_sum')]: 0.25,
      [of('wait_seconds_count')]: 2,
      [bucketOf('use_seconds', '0.1')]: 0,
      [bucketOf('use_seconds', '0.25')]: 1,
      [bucketOf('use_seconds', '1')]: 1,
      [bucketOf('use_seconds', '2.5')]: 2,
      [of('use_seconds_sum')]: 2.25,
      [of('use_seconds_count')]: 2,
      [bucketOf('connect_seconds', '+Inf')]: 1,
    });
  });

  it('have the buckets that were asked for', async () => {
    const { manager } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, manager, { buckets: [0.02, 7] });
    const bounds = Object.keys(await scrape(registry)).filter((series) => series.includes('use_seconds_bucket'));
    expect(bounds).toEqual(['0.02', '7', '+Inf'].map((le) => bucketOf('use_seconds', le)));
  });

  it('follow pools that are created and closed while the application runs', async () => {
    const { manager } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, manager);
    await manager.createPool('late', new FakeDriver());
    expect(await registry.metrics()).toContain('pool_manager_up{pool="late",type="external"} 1');
    await manager.closePool('late');
    expect(await registry.metrics()).not.toContain('late');
  });

  it('are all of the same moment, however often they are asked for at once', async () => {
    const { manager } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, manager);
    const listPools = jest.spyOn(manager, 'listPools');
    const [one, other] = await Promise.all([registry.metrics(), registry.metrics()]);
    expect(listPools).toHaveBeenCalledTimes(1);
    expect(one).toBe(other);
  });

  it('are text, JSON and OpenMetrics', async () => {
    const { manager, mail } = await mailManager();
    (await mail.acquire()).release();
    const registry = new Registry<'application/openmetrics-text; version=1.0.0; charset=utf-8'>();
    await collectPoolMetrics(registry, manager);
    expect(await registry.getMetricsAsJSON()).toContainEqual(
      expect.objectContaining({
        name: 'pool_manager_wait_seconds',
        type: 'histogram',
        values: expect.arrayContaining([
          { metricName: 'pool_manager_wait_seconds_count', labels: { pool: 'mail', type: 'external' }, value: 1 },
        ]),
      }),
    );
    registry.setContentType('application/openmetrics-text; version=1.0.0; charset=utf-8');
    const text = await registry.metrics();
    expect(text).toContain('# TYPE pool_manager_acquisitions counter');
    expect(text).toContain(`${of('acquisitions_total')} 1`);
    expect(text).toContain(`${bucketOf('wait_seconds', '+Inf')} 1`);
    expect(text).toMatch(/# EOF\n$/);
  });

  it('are told by name and help for each number that a pool has', async () => {
    const { manager } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, manager, { tenants: { top: 3 } });
    const text = await registry.metrics();
    for (const { name, type, help } of [...poolMetrics, ...tenantMetrics]) {
      expect(text).toContain(`# HELP ${name} ${help}\n# TYPE ${name} ${type}`);
    }
  });
});

describe('Numbers that some kinds of pool have', () => {
  const engine = fakePool().pool;
  const context = {
    type: 'database',
    status: 'healthy',
    lastHealthCheck: undefined,
    consecutiveFailures: 0,
    lastError: undefined,
    unscopedUses: 0,
  } as const;

  it.each([
    ['Redis', new RedisPoolStats(engine, context, { duplicates: 2, ignoredEnds: 3 }), [2], [3]],
    ['PostgreSQL', new PostgresPoolStats(engine, context, 4), [], [4]],
    ['another', new PoolStats(engine, context), [], []],
  ])('are exported for those alone: %s', (_kind, stats, duplicates, ignoredEnds) => {
    const none = { counts: [], count: 0, sumMs: 0 };
    const reading: PoolReading = { stats, waits: 0, wait: none, use: none, connect: none, tenants: [] };
    const valuesOf = (name: string): number[] =>
      poolMetrics.flatMap((metric) =>
        metric.name === name && metric.type !== 'histogram' ? metric.samples(reading).map(({ value }) => value) : [],
      );
    expect(valuesOf('pool_manager_redis_duplicates')).toEqual(duplicates);
    expect(valuesOf('pool_manager_ignored_ends_total')).toEqual(ignoredEnds);
  });
});

describe('A registry', () => {
  it('knows nothing of the pools of another', async () => {
    const { manager: one } = await mailManager();
    const { manager: other, mail } = await mailManager();
    const registries = [new Registry(), new Registry()] as const;
    await collectPoolMetrics(registries[0], one);
    await collectPoolMetrics(registries[1], other);
    await mail.acquire();
    expect(await scrape(registries[0])).toMatchObject({ [of('acquisitions_total')]: 0 });
    expect(await scrape(registries[1])).toMatchObject({ [of('acquisitions_total')]: 1 });
  });

  it('may show the same manager as another registry does', async () => {
    const { manager, mail } = await mailManager();
    const registries = [new Registry(), new Registry()] as const;
    for (const registry of registries) await collectPoolMetrics(registry, manager, { tenants: { top: 1 } });
    (await mail.forTenant('acme').acquire()).release();
    for (const registry of registries) expect(await scrape(registry)).toMatchObject({ [of('acquisitions_total')]: 1 });
  });

  it('tells the managers that it shows apart by their names', async () => {
    const { manager: one } = await mailManager();
    const { manager: other, mail } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, one);
    await collectPoolMetrics(registry, other, { manager: 'reports', tenants: { top: 1 } });
    await mail.acquire();
    expect(await scrape(registry)).toMatchObject({
      [of('acquisitions_total')]: 0,
      [of('acquisitions_total', ',manager="reports"')]: 1,
      [`pool_manager_wait_seconds_count{pool="mail",type="external",manager="reports"}`]: 1,
    });
  });

  it.each([
    [{}, {}],
    [{ manager: 'reports' }, { manager: 'reports' }],
  ])('refuses a second manager of the same name: %j', async (first: PoolMetricsOptions, second: PoolMetricsOptions) => {
    const { manager: one } = await mailManager();
    const { manager: other } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, one, first);
    const error = await rejectionOf(collectPoolMetrics(registry, other, second));
    expect(error.message).toContain('collectPoolMetrics.manager');
    expect(error.message).toContain("{ manager: 'reports' }");
    expect(await scrape(registry)).toMatchObject(first.manager === undefined ? { [of('up')]: 1 } : {});
  });

  it('has no metrics of pools any more when the last manager is taken out', async () => {
    const { manager: one } = await mailManager();
    const { manager: other } = await mailManager();
    const registry = new Registry();
    const stops = [
      await collectPoolMetrics(registry, one, { tenants: { top: 1 } }),
      await collectPoolMetrics(registry, other, { manager: 'reports' }),
    ];
    stops[0]?.();
    expect(Object.keys(await scrape(registry)).every((series) => series.includes('manager="reports"'))).toBe(true);
    stops[1]?.();
    stops[1]?.();
    expect(registry.getMetricsAsArray()).toEqual([]);
    expect(one.getPool('mail').engine.counters.forgotten).toBeUndefined();
    await collectPoolMetrics(registry, one);
    expect(await scrape(registry)).toMatchObject({ [of('up')]: 1 });
  });

  it('can be cleared and filled again', async () => {
    const { manager } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, manager, { tenants: { top: 1 } });
    await registry.metrics();
    registry.clear();
    await collectPoolMetrics(registry, manager);
    expect(await scrape(registry)).toMatchObject({ [of('up')]: 1 });
    expect(manager.getPool('mail').engine.counters.forgotten).toBeUndefined();
  });

  it('that has a metric of the application under one of the names is left as it was', async () => {
    const { manager } = await mailManager();
    const registry = new Registry();
    new Counter({ name: 'pool_manager_resets_total', help: 'Of the application.', registers: [registry] });
    await expect(collectPoolMetrics(registry, manager)).rejects.toThrow('pool_manager_resets_total');
    expect(registry.getMetricsAsArray()).toHaveLength(1);
  });
});

describe('Tenants', () => {
  it('are not told apart unless that is asked for', async () => {
    const { manager, mail } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, manager);
    (await mail.forTenant('acme').acquire()).release();
    expect(await registry.metrics()).not.toMatch(/acme|tenant_/);
  });

  it('are the busiest, by name; the others are one, and work without a tenant is one', async () => {
    const { manager, mail, clock } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, manager, { tenants: { top: 1 } });
    await registry.metrics();
    const work = async (tenantId: string, forMs: number): Promise<void> => {
      const lease = await mail.forTenant(tenantId).acquire();
      await clock.advance(forMs);
      lease.release();
    };
    await work('acme', 2_000);
    await work('globex', 1_000);
    await registry.metrics();
    await work('acme', 500);
    const busy = await mail.forTenant('acme').acquire();
    const numbers = await scrape(registry);
    expect(numbers).toMatchObject({
      [of('tenant_slots_used', ',tenant="acme"')]: 1,
      [of('tenant_slots_used', ',tenant="other"')]: 0,
      [of('tenant_slot_seconds_total', ',tenant="acme"')]: 0.5,
      [of('tenant_slot_seconds_total', ',tenant="other"')]: 3,
      [of('tenant_slot_seconds_total', ',tenant="none"')]: 0,
      [of('tenant_timeouts_total', ',tenant="acme"')]: 0,
    });
    expect(Object.keys(numbers).join()).not.toContain('globex');
    busy.release();
  });

  it.each([
    ['quotes', 'a"} 1 pool_manager_up{pool="b'],
    ['backslashes', 'a\\', 'a\\"', 'a\\n'],
    ['commas and braces', 'a",type="b', 'x,type:y,', '{}'],
    ['a hash', '# HELP pool_manager_up forged'],
    ['128 characters', 'x'.repeat(128), '\u{1f9a6}'.repeat(128)],
    ['a fixed name', 'other', 'none', 'other~'],
  ])('cannot forge a label or a line with %s', async (_name, ...ids) => {
    const { manager, mail, clock } = await mailManager();
    const registry = new Registry();
    await collectPoolMetrics(registry, manager, { tenants: { top: 10 } });
    await registry.metrics();
    const lines = async (): Promise<number> => (await registry.metrics()).split('\n').length;
    const before = await lines();
    for (const id of ids) {
      const lease = await mail.forTenant(id).acquire();
      await clock.advance(10);
      lease.release();
    }
    // Each tenant is one line more of each metric, and reads back as one label.
    expect(await lines()).toBe(before + ids.length * tenantMetrics.length);
    const series = Object.keys(await scrape(registry)).filter((line) =>
      line.startsWith('pool_manager_tenant_slots_used'),
    );
    const label = /^pool_manager_tenant_slots_used\{pool="mail",type="external",tenant="((?:[^"\\\n]|\\["\\n])*)"\}$/;
    expect(series.filter((line) => !label.test(line))).toEqual([]);
  });

  it('have no line breaks in their ids: those are refused where a tenant is named', async () => {
    const { mail } = await mailManager();
    expect(() => mail.forTenant('acme\npool_manager_up 1')).toThrow(TenantInvalidError);
  });
});

describe('The options of metrics', () => {
  it.each([
    [{ tenants: { top: 0 } }, 'collectPoolMetrics.tenants'],
    [{ tenants: { top: 100_000 } }, 'collectPoolMetrics.tenants'],
    [{ buckets: [1, 0.5] }, 'must be ascending'],
    [{ buckets: [] }, 'collectPoolMetrics.buckets'],
    [{ buckets: [0, 1] }, 'collectPoolMetrics.buckets'],
    [{ manager: '' }, 'collectPoolMetrics.manager'],
  ])('are refused with what is wrong with them: %j', async (options: PoolMetricsOptions, said) => {
    const { manager } = await mailManager();
    const error = await rejectionOf(collectPoolMetrics(new Registry(), manager, options));
    expect(error.message).toContain(said);
  });
});
