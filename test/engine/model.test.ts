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
import type { PoolObserver } from '../../lib/engine/pool-observer.js';
import { KNOWN_AFTER_MS } from '../../lib/engine/scheduler/known-tenants.js';
import type { PoolTenant } from '../../lib/engine/slot.js';
import { PoolError } from '../../lib/errors.js';
import { settle } from '../support/fakes/fake-clock.js';
import { type Behaviour, type FakeConnection, FatalError } from '../support/fakes/fake-driver.js';
import { fakeLimits, type FakePool, fakePool, noTenantLimits } from '../support/fakes/fake-pool.js';
import {
  type Mischief,
  NastyDriver,
  nastyObserver,
  NastyReceiver,
  type ReceiverLog,
} from '../support/fakes/nasty-driver.js';
import { withSilentWarnings } from './support/silent-warnings.js';

const RUNS = Number(process.env.POOL_MODEL_RUNS ?? 10_000);
const MISCHIEF_A_STEP = 3;
const TENANTS = ['acme', 'globex', 'initech', undefined] as const;

/** An acquire whose answer has not come. */
interface Request {
  readonly controller: AbortController;
  settled: number;
  /** Of a receiver that waits: whom it waits for. */
  waitsFor?: { readonly tenantId: string | undefined } | undefined;
}

/** What the test knows that the pool must not contradict. */
class World implements Mischief {
  readonly fake: FakePool;
  readonly driver: NastyDriver;
  readonly #random: () => number;
  readonly #nasty: boolean;
  readonly #problems: string[] = [];
  /** The highest maximum of tenants since the last look: a step may lower it twice. */
  #highestMax = 0;
  /** How often driver, observer and receivers may still do what they must not, until the next step allows it. */
  mischiefLeft = 0;
  #reading = false;
  readonly leases: Lease<FakeConnection>[] = [];
  readonly waiting = new Set<Request>();
  closing: Promise<unknown> | undefined;
  /** Slots in use at the last look: above its maximum a tenant may have come only by a lower maximum. */
  readonly #inUse = new Map<string | undefined, number>();
  /** A connection that two leases have at once would be another tenant's session. */
  readonly lentTo = new Map<FakeConnection, Lease<FakeConnection>>();
  maxSize = fakeLimits.maxSize;
  /** Above maxSize only while what a resize made superfluous is still out. */
  surplusAllowed = 0;

  constructor(random: () => number, nasty: boolean) {
    this.#random = random;
    this.#nasty = nasty;
    const driver = new NastyDriver(nasty ? { lendsOnDemand: random() < 0.5, recycles: random() < 0.7 } : {});
    this.driver = driver;
    if (nasty) driver.mischief = this;
    const observer: PoolObserver<FakeConnection, FakeConnection> = nasty ? nastyObserver(this) : {};
    this.fake = fakePool({
      driver,
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
        ...observer,
        acquired: (connection, lease) => {
          const other = this.lentTo.get(connection);
          if (other !== undefined && !other.released) this.#problems.push('a connection was lent twice');
          this.lentTo.set(connection, lease);
          observer.acquired?.(connection, lease);
        },
      },
    });
  }

  at(where: string): void {
    if (this.mischiefLeft === 0) return;
    const what = this.#random();
    if (what < 0.4) return;
    this.mischiefLeft--;
    this.#checkAlways();
    if (what < 0.6) throw new Error(`nasty ${where}`);
    try {
      this.#meddle((what - 0.6) / 0.4);
    } catch (error) {
      // What a nasty driver gets for calling the pool is its own business.
      if (error instanceof assert.AssertionError) this.#problems.push(error.message);
    }
    this.#checkAlways();
  }

  /** @param what in [0, 1). */
  #meddle(what: number): void {
    const { pool, driver } = this.fake;
    const index = Math.floor(this.#random() * 10);
    const tenantId = TENANTS[index % TENANTS.length];
    const deeds: (() => void)[] = [
      () => this.acquire(tenantId, undefined, true),
      () => this.request(tenantId, index % 4),
      () => this.tryAcquire(tenantId),
      () => this.release(index),
      () => this.release(index, new FatalError('gone')),
      () => this.read(index),
      () => pick(this.waiting, index)?.controller.abort(),
      () => pick(driver.live, index)?.breakNow(),
      () => this.resize(1 + (index % 4)),
      () => pool.evict(),
      () => pool.suspend(index % 2 === 0 ? 'queue' : 'reject'),
      () => pool.resume(),
      () => void pool.probe({ timeoutMs: 100, recentMs: 0 }).catch(() => undefined),
      () => this.limitTenants(1 + (index % 3)),
      () => this.limitTenants(1 + (index % 3), (id) => id.length > index),
      () => {
        if (index === 0) this.close(0);
        else if (index === 1) this.close(50);
      },
    ];
    deeds[Math.floor(what * deeds.length)]?.();
  }

  /** @param sharesWith with how many of its tenant it would share its lease. */
  request(tenantId: string | undefined, sharesWith: number): void {
    const entry: Request = { controller: new AbortController(), settled: 0, waitsFor: { tenantId } };
    this.waiting.add(entry);
    const settled = (): void => {
      entry.settled++;
      this.waiting.delete(entry);
      if (entry.settled > 1) this.#problems.push('a request was answered twice');
    };
    const called: ReceiverLog['called'] = (lease, how) => {
      // One that throws is called once more, and refused.
      const again = entry.waitsFor === undefined;
      if (again && (!this.#nasty || how !== 'refused')) this.#problems.push(`a receiver was ${how} after its answer`);
      entry.waitsFor = undefined;
      if (lease !== undefined) this.#checkServed(entry, tenantId, lease, how);
    };
    const { signal } = entry.controller;
    this.fake.pool.request(new NastyReceiver(this, this.leases, { called, settled }, sharesWith), tenantId, { signal });
  }

  #checkServed(entry: Request, tenantId: string | undefined, lease: Lease<FakeConnection>, how: string): void {
    if (lease.tenantId !== tenantId) this.#problems.push(`a receiver was ${how} another tenant's lease`);
    // A nasty driver may end the lease, or the wait for it, as it lends the connection.
    if (how === 'shared' || !this.#nasty) {
      if (lease.released) this.#problems.push(`a receiver was ${how} a lease that is over`);
      if (entry.controller.signal.aborted) this.#problems.push(`a receiver was ${how} a lease that it had given up`);
    }
    // What a nasty one has asked for meanwhile may be served while another is still to be told that it is refused.
    if (this.#nasty) return;
    for (const other of this.waiting) {
      if (other === entry) break;
      if (other.waitsFor?.tenantId === tenantId && other.waitsFor !== undefined)
        this.#problems.push(`a receiver was ${how} a lease ahead of an older one of its tenant`);
    }
  }

  tryAcquire(tenantId: string | undefined): void {
    const lease = this.fake.pool.tryAcquire(tenantId);
    if (lease !== undefined) this.leases.push(lease);
  }

  acquire(tenantId: string | undefined, timeoutMs: number | undefined, abortable: boolean): void {
    const entry: Request = { controller: new AbortController(), settled: 0 };
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
        if (!(error instanceof PoolError) && !this.#nasty) throw error;
      },
    );
  }

  release(index: number, error?: unknown): void {
    const [lease] = this.leases.splice(index % Math.max(1, this.leases.length), 1);
    lease?.release(error);
  }

  /** Where the driver lends on demand, it does so now; and must not give one borrower what was made for another. */
  read(index: number): void {
    const lease = pick(this.leases, index);
    // A nasty driver may be making it at this moment.
    if (lease === undefined || lease.released || this.#reading) return;
    this.#reading = true;
    try {
      if (this.driver.lentTo.get(lease.connection) !== lease)
        this.#problems.push("a lease has what another's was lent");
    } catch (error) {
      if (!this.#nasty) throw error;
    } finally {
      this.#reading = false;
    }
  }

  resize(maxSize: number): void {
    this.surplusAllowed = Math.max(0, this.fake.pool.numbers.total - maxSize);
    this.maxSize = maxSize;
    this.fake.pool.changeLimits({ maxSize, minSize: 1 });
  }

  /** @param known asked for each tenant; without it those are known that have been served for long. */
  limitTenants(max: number, known?: (id: string) => boolean): void {
    this.#highestMax = Math.max(this.#highestMax, this.fake.pool.tenantPolicy.max, max);
    const asked = known && ((id: string): boolean => (this.at('known'), known(id)));
    try {
      this.fake.pool.changeTenantPolicy({ ...noTenantLimits, max, maxWaiting: 4, known: asked });
    } catch (error) {
      // The application's own error rejects the change of limits; then nothing has changed.
      if (!this.#nasty) throw error;
    }
  }

  close(deadlineMs: number): void {
    this.closing = this.fake.pool.close({ deadlineMs });
    this.closing.catch(() => this.#problems.push('close() rejected'));
  }

  /** What holds at every moment, inside the calls of drivers and receivers too. */
  #checkAlways(): void {
    const { pool } = this.fake;
    if (pool.numbers.total > this.maxSize + this.surplusAllowed)
      this.#problems.push('more slots are taken than maxSize, inside');
    for (const { limits, inUse, id } of pool.numbers.tenants()) {
      if (inUse > Math.max(limits.max, this.#inUse.get(id) ?? 0, this.#highestMax))
        this.#problems.push('a tenant has more slots than its maximum, inside');
    }
  }

  check({ settled }: { readonly settled: boolean }): void {
    const { driver } = this;
    const { pool } = this.fake;
    assert.deepEqual(this.#problems, []);
    this.surplusAllowed = Math.max(0, Math.min(this.surplusAllowed, pool.numbers.total - this.maxSize));
    assert.ok(pool.numbers.total <= this.maxSize + this.surplusAllowed, 'more slots are taken than maxSize');
    assert.equal(
      pool.numbers.idle +
        pool.numbers.active +
        pool.numbers.recycling +
        pool.numbers.validating +
        pool.numbers.connecting +
        pool.numbers.closing,
      pool.numbers.total,
    );

    let inUse = 0;
    let waiting = 0;
    let grantable = 0;
    const groups = new Map<PoolTenant<FakeConnection, FakeConnection>['group'], { inUse: number; waiting: number }>();
    for (const tenant of pool.numbers.tenants()) {
      inUse += tenant.inUse;
      waiting += tenant.waiting;
      grantable += Math.max(0, Math.min(tenant.waiting, tenant.limits.max - tenant.inUse));
      const sum = groups.get(tenant.group) ?? { inUse: 0, waiting: 0 };
      groups.set(tenant.group, { inUse: sum.inUse + tenant.inUse, waiting: sum.waiting + tenant.waiting });
      assert.ok(tenant.inUse >= 0, 'a tenant has less than nothing in use');
      const allowed = Math.max(tenant.limits.max, this.#inUse.get(tenant.id) ?? 0, this.#highestMax);
      assert.ok(tenant.inUse <= allowed, 'a tenant has more slots than its maximum');
      this.#inUse.set(tenant.id, tenant.inUse);
    }
    this.#highestMax = 0;
    assert.equal(inUse, pool.numbers.active + pool.numbers.recycling);
    assert.equal(waiting, pool.numbers.waiting);
    assert.equal(grantable, pool.numbers.grantable, 'waiters that may have a slot are counted wrongly');
    for (const [group, sum] of groups)
      assert.deepEqual({ inUse: group.inUse, waiting: group.waiting }, sum, 'a group is counted wrongly');

    if (this.closing !== undefined) assert.equal(pool.numbers.waiting, 0, 'somebody waits for a pool that closes');

    // Work conservation: no idle connection beside a waiter that may have it.
    if (!pool.suspended && pool.lifecycle === 'open' && pool.numbers.grantable > 0)
      assert.ok(
        Math.min(pool.numbers.idle, pool.numbers.grantable - pool.numbers.validating) <= 0,
        'an idle connection stands beside a waiter that may have it',
      );

    // What the driver opened is in the pool, or gone: nothing is lost. (Unless settled, an open or a close may have
    // ended of which the pool hears next.)
    const there = pool.numbers.idle + pool.numbers.active + pool.numbers.recycling + pool.numbers.validating;
    assert.ok(
      driver.live.length + driver.ending >= there + (settled ? pool.numbers.closing : 0),
      'a connection was lost',
    );
    // A connect that a nasty driver had given up ends a moment later.
    if (settled || !this.#nasty)
      assert.ok(
        driver.live.length <= there + pool.numbers.closing + (settled ? 0 : pool.numbers.connecting),
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
    // Several at once: those behind the first wait together, and may share what it is granted.
    fc.record({ tenantId: fc.constantFrom(...TENANTS), count: fc.integer({ min: 1, max: 4 }), sharesWith: fc.nat(3) }),
    ({ tenantId, count, sharesWith }) => `${count} × request(${tenantId ?? 'nobody'}), shares with ${sharesWith}`,
    (world, { tenantId, count, sharesWith }) => {
      for (let left = count; left > 0; left--) world.request(tenantId, sharesWith);
    },
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
    (how) => `kills: ${String(how)}`,
    (world, how) => void (world.driver.killBehaviour = how),
  ),
  step(
    2,
    which,
    (index) => `reads what lease ${index} has lent`,
    (world, index) => world.read(index),
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
    (world, max) => world.limitTenants(max),
  ),
  step(
    1,
    fc.integer({ min: 4, max: 8 }),
    (length) => `known tenants have ${length} letters`,
    (world, length) => world.limitTenants(2, (id) => id.length === length),
  ),
  step(
    1,
    once,
    () => 'pass 11 s',
    (world) => world.fake.clock.advance(KNOWN_AFTER_MS + 1_000),
  ),
  step(
    1,
    once,
    () => 'recycle',
    (world) => world.fake.pool.evict(),
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
  // Of what observers and receivers throw; thousands do.
  withSilentWarnings();

  it(
    `keeps its promises after every step of ${RUNS} programs`,
    () => expectPromisesKept({ nasty: false }),
    RUNS * 60 + 60_000,
  );

  it(
    `keeps them while driver, observer and receivers throw and call the pool, in as many programs`,
    () => expectPromisesKept({ nasty: true }),
    RUNS * 60 + 60_000,
  );
});

async function expectPromisesKept({ nasty }: { readonly nasty: boolean }): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(steps, { minLength: 5, maxLength: 40 }),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      async (program, randoms) => {
        const world = new World(() => Number(randoms.next().value), nasty);
        for (const step of program) {
          world.mischiefLeft = nasty ? MISCHIEF_A_STEP : 0;
          await step.run(world);
          world.check({ settled: false });
          await settle();
          world.check({ settled: true });
        }
        world.mischiefLeft = 0;
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
}

/** However a program ended: close() resolves, every waiter has settled, and nothing is left. */
async function finish(world: World): Promise<void> {
  const { pool, driver, clock } = world.fake;
  let closed = false;
  void pool.close({ deadlineMs: 200 }).then(() => (closed = true));
  await clock.advance(1_000);
  assert.ok(closed, 'close() has not resolved');
  assert.equal(world.waiting.size, 0);
  assert.equal(driver.live.length, 0);
  assert.equal(pool.numbers.total, 0);
  assert.equal(pool.lifecycle, 'closed');
  assert.equal(pool.deadlines.pending, 0);
  assert.equal(clock.keepsProcessAlive, false);
}
