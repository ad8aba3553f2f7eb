/**
 * Random programs against the engine; after every step the promises of the design are checked.
 *
 * A failure prints a seed and a path: run it again with POOL_MODEL_SEED and POOL_MODEL_PATH. POOL_MODEL_RUNS sets how
 * many programs are run (default 10,000).
 */
import assert from 'node:assert/strict';
import { describe, it } from '@jest/globals';
import fc from 'fast-check';
import type { Lease } from '../../lib/engine/lease.js';
import { PoolError } from '../../lib/errors.js';
import { settle } from '../support/fakes/fake-clock.js';
import { FatalError, type Behaviour, type FakeConnection } from '../support/fakes/fake-driver.js';
import { fakeLimits, fakePool, noTenantLimits, type FakePool } from '../support/fakes/fake-pool.js';

const RUNS = Number(process.env.POOL_MODEL_RUNS ?? 10_000);
const TENANTS = ['acme', 'globex', 'initech', undefined] as const;

/** What the test knows that the pool must not contradict. */
class World {
  readonly fake: FakePool;
  readonly leases: Lease<FakeConnection>[] = [];
  readonly waiting = new Set<{ readonly controller: AbortController; settled: number }>();
  closing: Promise<unknown> | undefined;
  /** Slots in use at the last look: above its maximum a tenant may have come only by a lower maximum. */
  readonly #inUse = new Map<string | undefined, number>();
  /** A connection that two leases have at once would be another tenant's session. */
  readonly lentTo = new Map<FakeConnection, Lease<FakeConnection>>();
  maxSize = fakeLimits.maxSize;
  /** Above maxSize only while what a resize made superfluous is still out. */
  surplusAllowed = 0;

  constructor(random: () => number) {
    this.fake = fakePool({
      limits: {
        maxSize: this.maxSize,
        minSize: 1,
        maxQueue: 6,
        connectConcurrency: 2,
        acquireTimeoutMs: 300,
        connectTimeoutMs: 150,
        failFastAfterMs: 400,
        idleTimeoutMs: 500,
        maxLifetimeMs: 2_000,
        keepaliveMs: 300,
        validateAfterIdleMs: 100,
        recycleTimeoutMs: 80,
        closeTimeoutMs: 60,
        maxUses: 5,
      },
      tenants: { max: 2, maxWaiting: 4, overrides: { acme: { weight: 3, reserved: 1 } } },
      random,
      observer: {
        acquired: (connection, lease) => {
          const other = this.lentTo.get(connection);
          if (other !== undefined && !other.released) throw new Error('a connection was lent twice');
          this.lentTo.set(connection, lease);
        },
      },
    });
  }

  acquire(tenantId: string | undefined, timeoutMs: number | undefined, abortable: boolean): void {
    const entry = { controller: new AbortController(), settled: 0 };
    this.waiting.add(entry);
    // Without a signal and a time-out of its own a waiter is nothing but its place in the queue.
    const options = abortable ? { timeoutMs, signal: entry.controller.signal } : { timeoutMs };
    this.fake.pool.acquire(tenantId, options).then(
      (lease) => {
        entry.settled++;
        this.waiting.delete(entry);
        this.leases.push(lease);
      },
      (error: unknown) => {
        entry.settled++;
        this.waiting.delete(entry);
        if (!(error instanceof PoolError)) throw error;
      },
    );
  }

  release(index: number, error?: unknown): void {
    const [lease] = this.leases.splice(index % Math.max(1, this.leases.length), 1);
    lease?.release(error);
  }

  resize(maxSize: number): void {
    this.surplusAllowed = Math.max(0, this.fake.pool.total - maxSize);
    this.maxSize = maxSize;
    this.fake.pool.changeLimits({ maxSize, minSize: 1 });
  }

  close(deadlineMs: number): void {
    this.closing = this.fake.pool.close({ deadlineMs });
  }

  check({ settled }: { readonly settled: boolean }): void {
    const { pool, driver } = this.fake;
    this.surplusAllowed = Math.max(0, Math.min(this.surplusAllowed, pool.total - this.maxSize));
    assert.ok(pool.total <= this.maxSize + this.surplusAllowed, 'more slots are taken than maxSize');
    assert.equal(
      pool.idle + pool.active + pool.recycling + pool.validating + pool.connecting + pool.closing,
      pool.total,
    );

    let inUse = 0;
    let waiting = 0;
    for (const tenant of pool.tenants()) {
      inUse += tenant.inUse;
      waiting += tenant.waiting;
      assert.ok(tenant.inUse >= 0, 'a tenant has less than nothing in use');
      const allowed = Math.max(tenant.limits.max, this.#inUse.get(tenant.id) ?? 0);
      assert.ok(tenant.inUse <= allowed, 'a tenant has more slots than its maximum');
      this.#inUse.set(tenant.id, tenant.inUse);
    }
    assert.equal(inUse, pool.active + pool.recycling);
    assert.equal(waiting, pool.waiting);

    if (this.closing !== undefined) assert.equal(pool.waiting, 0, 'somebody waits for a pool that closes');

    // Work conservation: no idle connection beside a waiter that may have it.
    if (!pool.suspended && pool.lifecycle === 'open' && pool.grantable > 0)
      assert.ok(
        Math.min(pool.idle, pool.grantable - pool.validating) <= 0,
        'an idle connection stands beside a waiter that may have it',
      );

    // What the driver opened is in the pool, or gone: nothing is lost. (Unless settled, an open or a close may have ended
    // of which the pool hears next.)
    const there = pool.idle + pool.active + pool.recycling + pool.validating;
    assert.ok(driver.live.length >= there + (settled ? pool.closing : 0), 'a connection was lost');
    assert.ok(
      driver.live.length <= there + pool.closing + (settled ? 0 : pool.connecting),
      'a connection was not ended',
    );
  }
}

class Step {
  constructor(
    readonly name: string,
    readonly run: (world: World) => void | Promise<void>,
  ) {}

  [fc.toStringMethod](): string {
    return this.name;
  }
}

const behaviour: fc.Arbitrary<Behaviour> = fc.constantFrom<Behaviour>('ok', 'ok', 'hang', new Error('refused'));

/** `weight` times as likely as a step of weight 1. */
function step<T>(
  weight: number,
  values: fc.Arbitrary<T>,
  name: (value: T) => string,
  run: (world: World, value: T) => void | Promise<void>,
) {
  return { weight, arbitrary: values.map((value) => new Step(name(value), (world) => run(world, value))) };
}

const once = fc.constant(undefined);
const which = fc.nat(9);
const pick = <T>(from: Iterable<T>, index: number): T | undefined => {
  const all = [...from];
  return all[index % Math.max(1, all.length)];
};

const steps: fc.Arbitrary<Step> = fc.oneof(
  step(
    8,
    fc.record({
      tenantId: fc.constantFrom(...TENANTS),
      timeoutMs: fc.option(fc.integer({ min: 1, max: 600 }), { nil: undefined }),
      abortable: fc.boolean(),
    }),
    ({ tenantId, timeoutMs, abortable }) =>
      `acquire(${tenantId ?? 'nobody'}, ${timeoutMs ?? 'default'}${abortable ? ', signal' : ''})`,
    (world, { tenantId, timeoutMs, abortable }) => world.acquire(tenantId, timeoutMs, abortable),
  ),
  step(
    6,
    which,
    (index) => `release ${index}`,
    (world, index) => world.release(index),
  ),
  step(
    1,
    which,
    (index) => `release ${index}, fatal`,
    (world, index) => world.release(index, new FatalError('gone')),
  ),
  step(
    2,
    which,
    (index) => `abort ${index}`,
    (world, index) => pick(world.waiting, index)?.controller.abort(),
  ),
  step(
    4,
    fc.integer({ min: 1, max: 400 }),
    (ms) => `pass ${ms} ms`,
    (world, ms) => world.fake.clock.advance(ms),
  ),
  step(
    1,
    fc.integer({ min: 1, max: 800 }),
    (ms) => `block for ${ms} ms`,
    (world, ms) => world.fake.clock.block(ms),
  ),
  step(
    1,
    behaviour,
    (how) => `connects: ${String(how)}`,
    (world, how) => void (world.fake.driver.openBehaviour = how),
  ),
  step(
    1,
    behaviour,
    (how) => `pings: ${String(how)}`,
    (world, how) => void (world.fake.driver.pingBehaviour = how),
  ),
  step(
    1,
    behaviour,
    (how) => `closes: ${String(how)}`,
    (world, how) => void (world.fake.driver.closeBehaviour = how),
  ),
  step(
    1,
    fc.option(behaviour, { nil: undefined }),
    (how) => `cleaning: ${String(how)}`,
    (world, how) => void (world.fake.driver.recycleBehaviour = how),
  ),
  step(
    2,
    once,
    () => 'let go of what hangs',
    (world) => world.fake.driver.letGo(),
  ),
  step(
    1,
    which,
    (index) => `connection ${index} breaks`,
    (world, index) => pick(world.fake.driver.live, index)?.breakNow(),
  ),
  step(
    1,
    fc.integer({ min: 1, max: 4 }),
    (size) => `resize to ${size}`,
    (world, size) => world.resize(size),
  ),
  step(
    1,
    fc.integer({ min: 1, max: 3 }),
    (max) => `tenants.max ${max}`,
    (world, max) => world.fake.pool.changeTenantPolicy({ ...noTenantLimits, max, maxWaiting: 4 }),
  ),
  step(
    1,
    once,
    () => 'recycle',
    (world) => world.fake.pool.recycle(),
  ),
  step(
    1,
    fc.constantFrom('queue' as const, 'reject' as const),
    (mode) => `suspend, ${mode}`,
    (world, mode) => world.fake.pool.suspend(mode),
  ),
  step(
    2,
    once,
    () => 'resume',
    (world) => world.fake.pool.resume(),
  ),
  step(
    1,
    once,
    () => 'probe',
    (world) => void world.fake.pool.probe({ timeoutMs: 100, recentMs: 50 }).catch(() => undefined),
  ),
  // About every other program meets it.
  step(
    1,
    fc.constantFrom(0, 50, 500),
    (deadlineMs) => `close within ${deadlineMs} ms`,
    (world, deadlineMs) => world.close(deadlineMs),
  ),
);

describe('the engine under random programs', () => {
  it(
    `keeps its promises after every step of ${RUNS} programs`,
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(steps, { minLength: 5, maxLength: 40 }),
          fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
          async (program, randoms) => {
            const world = new World(() => Number(randoms.next().value));
            for (const step of program) {
              await step.run(world);
              world.check({ settled: false });
              await settle();
              world.check({ settled: true });
            }
            await finish(world);
          },
        ),
        {
          numRuns: RUNS,
          ...(process.env.POOL_MODEL_SEED === undefined ? {} : { seed: Number(process.env.POOL_MODEL_SEED) }),
          ...(process.env.POOL_MODEL_PATH === undefined ? {} : { path: process.env.POOL_MODEL_PATH }),
          verbose: 1,
        },
      );
    },
    RUNS * 60 + 60_000,
  );
});

/** However a program ended: close() resolves, every waiter has settled, and nothing is left. */
async function finish(world: World): Promise<void> {
  const { pool, driver, clock } = world.fake;
  const closing = pool.close({ deadlineMs: 200 });
  await clock.advance(1_000);
  await closing;
  assert.equal(world.waiting.size, 0);
  assert.equal(driver.live.length, 0);
  assert.equal(pool.total, 0);
  assert.equal(pool.lifecycle, 'closed');
  assert.equal(pool.deadlines.pending, 0);
  assert.equal(clock.keepsProcessAlive, false);
}
