import { describe, expect, it } from '@jest/globals';

import {
  AcquireAbortedError,
  AcquireTimeoutError,
  LeaseReleasedError,
  PoolSuspendedError,
  QueueFullError,
  TenantLimitError,
} from '../../lib/errors.js';
import { settle } from '../support/fakes/fake-clock.js';
import { fakePool } from '../support/fakes/fake-pool.js';

describe('acquiring a slot', () => {
  it('opens no more connections than maxSize, however many callers come at once', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 3, connectConcurrency: 10 } });
    const acquires = Array.from({ length: 20 }, () => pool.acquire(undefined));
    const first = await Promise.all(acquires.slice(0, 3));

    expect(driver.opens).toBe(3);
    expect(pool.numbers.total).toBe(3);
    expect(pool.numbers.waiting).toBe(17);
    for (const lease of first) lease.release();
    for (const acquire of acquires.slice(3)) (await acquire).release();
    expect(driver.opens).toBe(3);
    expect(pool.numbers.idle).toBe(3);
  });

  it('lends an idle connection in the same step, without a promise in between', async () => {
    const { pool } = fakePool();
    (await pool.acquire(undefined)).release();

    const lease = pool.tryAcquire(undefined);
    expect(lease?.connection.serial).toBe(1);
    expect(pool.tryAcquire(undefined)).toBeUndefined();
    lease?.release();
  });

  it('prefers the connection that the tenant itself used last, then the newest', async () => {
    const { pool } = fakePool({ limits: { maxSize: 3, connectConcurrency: 3 } });
    const a = await pool.acquire('a');
    const b = await pool.acquire('b');
    const c = await pool.acquire('c');
    const connectionOfA = a.connection;
    const connectionOfC = c.connection;
    a.release();
    b.release();
    c.release();

    const again = await pool.acquire('a');
    expect(again.connection).toBe(connectionOfA);
    const newcomer = await pool.acquire('d');
    expect(newcomer.connection).toBe(connectionOfC);
  });

  it('serves a waiter with the first connection that is free, not with the one opened for it', async () => {
    const { pool, driver } = fakePool({ limits: { maxSize: 2 } });
    const first = await pool.acquire(undefined);
    driver.openBehaviour = 'hang';
    const waiting = pool.acquire(undefined);
    await settle();
    expect(pool.numbers.connecting).toBe(1);

    first.release();
    expect((await waiting).connection.serial).toBe(1);
  });

  it('fails a waiter at its deadline, says that the pool was busy, and names who held it', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire('acme');
    const waiting = pool.acquire('globex', { timeoutMs: 300 });
    const outcome = expect(waiting).rejects.toMatchObject({ kind: 'pool', poolId: 'orders', tenantId: 'globex' });
    await clock.advance(400);
    await outcome;
    await expect(waiting).rejects.toThrow(/1 of 1 in use.*oldest holders: acme for 3\d\d ms/);
    expect(pool.numbers.waiting).toBe(0);
    held.release();
    expect(pool.numbers.idle).toBe(1);
  });

  it('does not expire a waiter before its time', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire(undefined);
    const waiting = pool.acquire(undefined, { timeoutMs: 300 });
    await clock.advance(299);
    held.release();
    await expect(waiting).resolves.toMatchObject({ released: false });
  });

  it('says that the tenant was busy when it waited at its own maximum', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 5 }, tenants: { max: 1 } });
    await pool.acquire('acme');
    const waiting = pool.acquire('acme', { timeoutMs: 100 });
    const outcome = expect(waiting).rejects.toMatchObject({ kind: 'tenant' });
    await clock.advance(200);
    await outcome;
    await expect(waiting).rejects.toThrow(/Tenant "acme" waited .* \(1 of 1 in use by the tenant/);
  });

  it('never gives a tenant more than its maximum, though slots are idle, and serves others meanwhile', async () => {
    const { pool } = fakePool({ limits: { maxSize: 4, connectConcurrency: 4 }, tenants: { max: 2 } });
    const acme = [await pool.acquire('acme'), await pool.acquire('acme')];
    const third = pool.acquire('acme');
    expect(pool.tryAcquire('acme')).toBeUndefined();
    const globex = await pool.acquire('globex');
    expect(pool.numbers.waiting).toBe(1);

    acme[0]?.release();
    const lease = await third;
    expect(lease.tenantId).toBe('acme');
    globex.release();
  });

  it('refuses at once where the tenant is to be rejected instead of queued', async () => {
    const { pool } = fakePool({ tenants: { max: 1, whenFull: 'reject' } });
    await pool.acquire('acme');
    await expect(pool.acquire('acme')).rejects.toBeInstanceOf(TenantLimitError);
    await expect(pool.acquire('acme')).rejects.toThrow(/1 of 1 in use/);
  });

  it('bounds the queue of each tenant', async () => {
    const { pool } = fakePool({ limits: { maxSize: 1 }, tenants: { maxWaiting: 2 } });
    const held = await pool.acquire('acme');
    const waiting = [pool.acquire('acme'), pool.acquire('acme')];
    await expect(pool.acquire('acme')).rejects.toBeInstanceOf(TenantLimitError);
    held.release();
    for (const acquire of waiting) (await acquire).release();
  });

  it('lets the tenant with the longest queue pay when the whole queue is full', async () => {
    const { pool } = fakePool({ limits: { maxSize: 1, maxQueue: 3 } });
    const held = await pool.acquire('acme');
    const flood = [pool.acquire('acme'), pool.acquire('acme'), pool.acquire('acme')];
    const newest = expect(flood[2]).rejects.toBeInstanceOf(QueueFullError);
    const other = pool.acquire('globex');
    await newest;
    await expect(pool.acquire('acme')).rejects.toBeInstanceOf(QueueFullError);
    held.release();
    for (const acquire of [flood[0], flood[1], other]) (await acquire)?.release();
  });

  it('leaves the queue when its signal aborts, and takes nothing', async () => {
    const { pool } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire(undefined);
    const controller = new AbortController();
    const waiting = pool.acquire(undefined, { signal: controller.signal });
    const outcome = expect(waiting).rejects.toBeInstanceOf(AcquireAbortedError);
    controller.abort(new Error('client went away'));
    await outcome;
    expect(pool.numbers.waiting).toBe(0);
    held.release();
    expect(pool.numbers.idle).toBe(1);
  });

  it('rejects what is no AbortSignal, and leaves the queue as it was', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 1, maxQueue: 2 } });
    const held = await pool.acquire('acme');
    const settled: string[] = [];
    for (const who of ['first', 'second']) {
      pool.acquire('acme').then(
        (lease) => {
          settled.push(`${who} served`);
          lease.release();
        },
        () => settled.push(`${who} refused`),
      );
    }
    // A frequent slip: the controller instead of its signal.
    const options: object = { signal: new AbortController() };
    await expect(pool.acquire('globex', options)).rejects.toThrow(TypeError);
    expect(pool.numbers.waiting).toBe(2);
    held.release();
    await clock.advance(2_000);
    expect(settled).toEqual(['first served', 'second served']);
  });

  it('takes no time at all for an answer where its time-out is no duration', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 1, acquireTimeoutMs: Number.NaN } });
    await pool.acquire(undefined);
    const waiting = expect(pool.acquire(undefined)).rejects.toBeInstanceOf(AcquireTimeoutError);
    const another = expect(pool.acquire(undefined, { timeoutMs: Number.NaN })).rejects.toBeInstanceOf(
      AcquireTimeoutError,
    );
    await clock.advance(50);
    await waiting;
    await another;
  });

  it('does not queue at all when the signal has aborted before', async () => {
    const { pool, driver } = fakePool();
    await expect(pool.acquire(undefined, { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(AcquireAbortedError);
    expect(driver.opens).toBe(0);
  });

  it('turns a blocked event loop into no time-outs where slots came free meanwhile', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire(undefined);
    const waiting = pool.acquire(undefined, { timeoutMs: 500 });
    clock.block(2_000);
    // What arrived during the block is delivered by the poll phase, before anything is called late.
    await clock.unblock(() => held.release());
    (await waiting).release();
    expect(pool.counters.timeouts.pool).toBe(0);
  });

  it('keeps the process alive while an acquire waits, and lets it exit otherwise', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 1 } });
    const held = await pool.acquire(undefined);
    expect(clock.keepsProcessAlive).toBe(false);
    const waiting = pool.acquire(undefined);
    expect(clock.keepsProcessAlive).toBe(true);
    held.release();
    (await waiting).release();
    expect(clock.keepsProcessAlive).toBe(false);
  });
});

describe('suspending a pool', () => {
  it('holds acquires back until resume', async () => {
    const { pool } = fakePool();
    (await pool.acquire(undefined)).release();
    pool.suspend();
    expect(pool.tryAcquire(undefined)).toBeUndefined();
    const waiting = pool.acquire(undefined);
    await settle();
    expect(pool.numbers.waiting).toBe(1);
    pool.resume();
    (await waiting).release();
  });

  it('says at the deadline that it was suspended', async () => {
    const { pool, clock } = fakePool();
    pool.suspend();
    const waiting = pool.acquire(undefined, { timeoutMs: 50 });
    const outcome = expect(waiting).rejects.toBeInstanceOf(PoolSuspendedError);
    await clock.advance(100);
    await outcome;
    expect(pool.counters.rejections.suspended).toBe(1);
    expect([...pool.numbers.tenants()][0]?.rejections).toBe(1);
  });

  it('refuses at once when told so', async () => {
    const { pool } = fakePool();
    pool.suspend('reject');
    await expect(pool.acquire(undefined)).rejects.toBeInstanceOf(PoolSuspendedError);
  });
});

describe('a lease', () => {
  it('refuses its connection after release', async () => {
    const { pool } = fakePool();
    const lease = await pool.acquire('acme');
    lease.release();
    expect(() => lease.connection).toThrow(LeaseReleasedError);
    expect(lease.released).toBe(true);
  });

  it('does not free the next borrower when it is released twice', async () => {
    const reported: boolean[] = [];
    const { pool } = fakePool({ limits: { maxSize: 1 }, observer: { releasedTwice: () => reported.push(true) } });
    const stale = await pool.acquire(undefined);
    stale.release();
    const next = await pool.acquire(undefined);
    stale.release();
    expect(next.released).toBe(false);
    expect(pool.numbers.active).toBe(1);
    expect(pool.counters.doubleReleases).toBe(1);
    expect(reported).toEqual([true]);
  });

  it('is given back at the end of an `await using` block', async () => {
    const { pool } = fakePool();
    {
      await using lease = await pool.acquire(undefined);
      expect(lease.released).toBe(false);
      expect(pool.numbers.active).toBe(1);
    }
    expect(pool.numbers.active).toBe(0);
    expect(pool.numbers.idle).toBe(1);
  });

  it('refuses with a typed error that is serialisable and names the way out', async () => {
    const { pool, clock } = fakePool({ limits: { maxSize: 1 } });
    await pool.acquire('acme');
    const waiting = pool.acquire('globex', { timeoutMs: 20 });
    const caught = waiting.catch((error: unknown) => error);
    await clock.advance(50);
    const error = await caught;
    expect(error).toBeInstanceOf(AcquireTimeoutError);
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({
      code: 'POOL_ACQUIRE_TIMEOUT',
      poolId: 'orders',
      tenantId: 'globex',
    });
  });
});
