/**
 * Claim: tenants cost next to nothing. Those that have gone leave nothing behind, and those that wait don't slow down
 * the one that is served.
 *
 * The engine alone, on a driver that does nothing. Holds pass on a clock that is moved by hand, so that a million of
 * them fit into a second; each reading of it costs what a reading of the real one costs.
 */
import { performance } from 'node:perf_hooks';

import type { PoolDriver } from '../lib/engine/driver.js';
import type { Lease } from '../lib/engine/lease.js';
import { ResourcePool } from '../lib/engine/resource-pool.js';
import type { Clock } from '../lib/engine/time/clock.js';
import { Deadlines } from '../lib/engine/time/deadlines.js';
import { bench } from './harness/bench.js';
import type { Report } from './harness/report.js';
import { median } from './harness/rounds.js';
import { OURS } from './harness/rows.js';

const SIZE = 10;
const COME_AND_GO = 1_000_000;
const MEBIBYTE = 2 ** 20;
const WAITING = [10, 100, 1_000, 10_000, 100_000];
const ROUNDS = 15;
/** Grants in one measurement, for any number that waits. */
const GRANTS = 10_000;

interface Resource {
  readonly serial: number;
}

let serial = 0;
const driver: PoolDriver<Resource> = {
  open: () => Promise.resolve({ serial: serial++ }),
  close: () => Promise.resolve(),
  kill: () => undefined,
  ping: () => Promise.resolve(),
  onBroken: () => undefined,
  isFatal: () => false,
};

/** Runs ahead of the real clock as holds are said to pass; its timers never fire. */
class HandMovedClock implements Clock {
  #aheadMs = 0;

  now(): number {
    return performance.now() + this.#aheadMs;
  }

  pass(ms: number): void {
    this.#aheadMs += ms;
  }

  setTimer(): ReturnType<Clock['setTimer']> {
    return { ref: () => undefined, unref: () => undefined, cancel: () => undefined };
  }

  afterPoll(callback: () => void): void {
    setImmediate(callback);
  }
}

/** A full pool whose slots are passed on in the order in which they were lent. */
class BusyPool {
  readonly clock = new HandMovedClock();
  readonly pool: ResourcePool<Resource>;
  readonly #held: Lease<Resource>[] = [];
  #next = 0;

  constructor() {
    this.pool = new ResourcePool<Resource>({
      id: 'busy',
      driver,
      deadlines: new Deadlines(this.clock),
      limits: {
        minSize: SIZE,
        maxSize: SIZE,
        maxQueue: Infinity,
        acquireTimeoutMs: 1e9,
        connectTimeoutMs: 10_000,
        connectConcurrency: SIZE,
        failFastAfterMs: 5_000,
        idleTimeoutMs: 0,
        maxLifetimeMs: 0,
        maxUses: 0,
        keepaliveMs: 0,
        validateAfterIdleMs: 1e9,
        leakDetectionMs: 0,
        recycleTimeoutMs: 5_000,
        closeTimeoutMs: 5_000,
      },
      tenants: { max: Infinity, weight: 1, reserved: 0, maxWaiting: Infinity, whenFull: 'queue', overrides: {} },
    });
  }

  /** Asks for a slot; the lease that is granted goes to the end of the round. */
  request(tenant: string): void {
    this.pool.request(this.#receiver, tenant);
  }

  /** Gives back the lease that has been out longest, and so grants a slot to the next waiter. */
  passOn(): string | undefined {
    const lease = this.#held[this.#next];
    if (lease === undefined) throw new Error('nothing is lent');
    this.#next++;
    if (this.#next === 4_096) {
      this.#held.splice(0, this.#next);
      this.#next = 0;
    }
    lease.release();
    return lease.tenantId;
  }

  readonly #receiver = {
    granted: (lease: Lease<Resource>): void => void this.#held.push(lease),
    refused: (error: Error): void => {
      throw error;
    },
  };
}

async function fullPool(): Promise<BusyPool> {
  const busy = new BusyPool();
  await busy.pool.whenReady();
  return busy;
}

/** Lengths of holds that repeat in no order that matters. */
function holdMs(turn: number): number {
  return 1 + ((turn * 7_919) % 97) / 4;
}

async function comeAndGo(report: Report, waiting: number, load: string): Promise<void> {
  const busy = await fullPool();
  const serve = (count: number, prefix: string): void => {
    for (let turn = 0; turn < count; turn++) {
      busy.request(`${prefix} ${turn}`);
      if (turn < SIZE + waiting) continue;
      busy.clock.pass(holdMs(turn) / SIZE);
      busy.passOn();
    }
    while (busy.pool.numbers.active > 0) {
      busy.clock.pass(1);
      busy.passOn();
    }
  };
  // Everything compiled and every array grown before the memory is looked at.
  serve(50_000, 'early');
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  serve(COME_AND_GO, 'tenant');
  const known = busy.pool.numbers.knownTenants;
  globalThis.gc?.();
  const left = (process.memoryUsage().heapUsed - before) / MEBIBYTE;
  report.claim(load, left, 'lower', 5, 'MiB left behind');
  report.add({ case: load, subject: OURS, value: known, unit: 'tenants remembered', better: 'lower' });
  await busy.pool.close({ deadlineMs: 0 });
}

interface Cost {
  /** From the release of a lease until the next waiter has it. */
  readonly grantUs: number;
  /** That, and getting into the queue. */
  readonly turnUs: number;
}

/** A full pool with `waiting` tenants, each of whom comes back as soon as it has been served. */
class Crowd {
  readonly #busy: BusyPool;
  readonly #waiting: number;
  readonly #gone: string[] = [];
  #turn = 0;

  static async of(waiting: number): Promise<Crowd> {
    const crowd = new Crowd(await fullPool(), waiting);
    for (let tenant = 0; tenant < waiting + SIZE; tenant++) crowd.#busy.request(`tenant ${tenant}`);
    // Two turns for everyone: after them virtual times are as spread as they will ever be.
    for (let served = 0; served < 2 * waiting; served += crowd.#batch) crowd.#serve();
    return crowd;
  }

  private constructor(busy: BusyPool, waiting: number) {
    this.#busy = busy;
    this.#waiting = waiting;
  }

  measure(): Cost {
    let grantMs = 0;
    const startedAt = performance.now();
    let served = 0;
    for (; served < GRANTS; served += this.#batch) grantMs += this.#serve();
    const turnMs = performance.now() - startedAt;
    return { grantUs: (grantMs * 1_000) / served, turnUs: (turnMs * 1_000) / served };
  }

  async end(): Promise<void> {
    while (this.#busy.pool.numbers.active > 0) this.#busy.passOn();
    await this.#busy.pool.close({ deadlineMs: 0 });
  }

  /** So many are served between two readings of the clock; the queue is never shorter by more than a half meanwhile. */
  get #batch(): number {
    return Math.min(1_000, this.#waiting / 2);
  }

  /** Serves a batch and lets it queue up again; tells how long the serving took. */
  #serve(): number {
    const batch = this.#batch;
    this.#busy.clock.pass(holdMs(this.#turn++));
    const startedAt = performance.now();
    for (let served = 0; served < batch; served++) this.#gone.push(this.#busy.passOn() ?? '');
    const tookMs = performance.now() - startedAt;
    for (const tenant of this.#gone) this.#busy.request(tenant);
    this.#gone.length = 0;
    return tookMs;
  }
}

async function dispatch(report: Report): Promise<void> {
  const measured: { readonly waiting: number; readonly crowd: Crowd; readonly costs: Cost[] }[] = [];
  for (const waiting of WAITING) measured.push({ waiting, crowd: await Crowd.of(waiting), costs: [] });
  for (let round = -1; round < ROUNDS; round++) {
    globalThis.gc?.();
    for (const { crowd, costs } of measured) {
      const cost = crowd.measure();
      if (round >= 0) costs.push(cost);
    }
  }
  for (const { crowd } of measured) await crowd.end();

  const table = measured.map(({ waiting, costs }) => ({
    waiting,
    grantUs: median(costs.map(({ grantUs }) => grantUs)),
    turnUs: median(costs.map(({ turnUs }) => turnUs)),
  }));
  const [fewest] = table;
  const most = table.at(-1);
  if (fewest === undefined || most === undefined) throw new Error('nothing was measured');
  console.log('  waiting tenants   µs per grant   µs per grant and queueing   of those with 10   logarithm');
  for (const { waiting, grantUs, turnUs } of table) {
    const load = `${waiting.toLocaleString('en-US')} waiting tenants`;
    const growth = turnUs / fewest.turnUs;
    const logarithm = Math.log(waiting) / Math.log(fewest.waiting);
    console.log(
      `  ${waiting.toLocaleString('en-US').padStart(15)}   ${grantUs.toFixed(2).padStart(12)}   ${turnUs.toFixed(2).padStart(25)}   ${growth.toFixed(2).padStart(16)}   ${logarithm.toFixed(2).padStart(9)}`,
    );
    report.add({ case: load, subject: OURS, value: turnUs, unit: 'µs/grant and queueing', better: 'lower' });
    if (waiting !== most.waiting)
      report.add({ case: load, subject: OURS, value: grantUs, unit: 'µs/grant', better: 'lower' });
    else report.claim(load, grantUs, 'lower', 3, 'µs/grant');
    if (waiting !== fewest.waiting) report.claim(`${load} beside 10`, growth, 'lower', logarithm, 'times the cost');
  }
}

await bench('scheduler', async (report) => {
  await comeAndGo(report, 0, '1,000,000 tenants that come and go, none waiting');
  await comeAndGo(report, 100, '1,000,000 tenants that come and go, 100 always waiting');
  await dispatch(report);
});
