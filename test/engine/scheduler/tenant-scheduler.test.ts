import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';

import type { TenantPolicy } from '../../../lib/engine/limits.js';
import type { Tenant } from '../../../lib/engine/scheduler/tenant.js';
import { type Hold, TenantScheduler, type Waiting } from '../../../lib/engine/scheduler/tenant-scheduler.js';
import { noTenantLimits } from '../../support/fakes/fake-pool.js';

/** A waiter that is nothing but its place in the queue. */
class Ticket implements Waiting<Ticket, unknown> {
  nextInQueue: Ticket | undefined = undefined;
  previousInQueue: Ticket | undefined = undefined;
  constructor(readonly tenant: Tenant<Ticket, unknown>) {}
}

/** A slot in use, as the scheduler sees it. */
class Lent implements Hold {
  sinceMs = 0;
  chargedMs = 0;
  constructor(readonly tenant: Tenant<Ticket, unknown>) {}
}

/** A tenant gets a slot without waiting. */
function lent(scheduler: TenantScheduler<Ticket, unknown>, tenant: Tenant<Ticket, unknown>, nowMs: number): Lent {
  const hold = new Lent(tenant);
  scheduler.granted(tenant, hold, nowMs);
  return hold;
}

/** A waiter gets a slot. */
function grantedTo(scheduler: TenantScheduler<Ticket, unknown>, ticket: Ticket, nowMs: number): Lent {
  const hold = new Lent(ticket.tenant);
  scheduler.grant(ticket, hold, nowMs);
  return hold;
}

/** A pool in virtual time: slots that are always contended, tenants that always come back for more. */
class Simulation {
  readonly scheduler: TenantScheduler<Ticket, unknown>;
  readonly service = new Map<string, number>();
  nowMs = 0;
  readonly #running: { readonly hold: Lent; readonly endsAtMs: number; readonly id: string }[] = [];

  constructor(
    readonly slots: number,
    policy: Partial<TenantPolicy>,
    readonly holdOf: (id: string) => number,
  ) {
    this.scheduler = new TenantScheduler({ ...noTenantLimits, maxWaiting: Infinity, ...policy });
  }

  arrive(id: string): void {
    this.scheduler.enqueue(new Ticket(this.scheduler.tenant(id, this.nowMs)), this.nowMs);
  }

  /** Runs until `untilMs`; who finishes comes back at once. */
  run(untilMs: number): void {
    for (;;) {
      for (
        let ticket = this.scheduler.next;
        ticket !== undefined && this.#running.length < this.slots;
        ticket = this.scheduler.next
      ) {
        this.scheduler.dequeue(ticket, this.nowMs);
        const { tenant } = ticket;
        const id = tenant.id ?? '';
        const hold = lent(this.scheduler, tenant, this.nowMs);
        this.#running.push({ hold, id, endsAtMs: this.nowMs + this.holdOf(id) });
      }
      this.#running.sort((a, b) => a.endsAtMs - b.endsAtMs);
      const first = this.#running.shift();
      if (first === undefined || first.endsAtMs > untilMs) return;
      this.nowMs = first.endsAtMs;
      const heldMs = this.nowMs - first.hold.sinceMs;
      this.service.set(first.id, (this.service.get(first.id) ?? 0) + heldMs);
      this.scheduler.released(first.hold.tenant, first.hold, this.nowMs);
      this.arrive(first.id);
    }
  }

  share(id: string): number {
    let all = 0;
    for (const ms of this.service.values()) all += ms;
    return (this.service.get(id) ?? 0) / all;
  }
}

function jain(values: readonly number[]): number {
  const sum = values.reduce((a, b) => a + b, 0);
  return sum ** 2 / (values.length * values.reduce((a, b) => a + b * b, 0));
}

describe('fairness between tenants', () => {
  it('gives tenants with short and with long holds the same time, not the same number of turns', () => {
    const ids = Array.from({ length: 50 }, (_, index) => `${index < 25 ? 'short' : 'long'}-${index}`);
    const simulation = new Simulation(10, {}, (id) => (id.startsWith('short') ? 5 : 50));
    for (let caller = 0; caller < 4; caller++) for (const id of ids) simulation.arrive(id);
    simulation.run(120_000);
    expect(jain(ids.map((id) => simulation.service.get(id) ?? 0))).toBeGreaterThan(0.99);
  });

  it('does so with a single caller per tenant too: debt outlives the lease that made it', () => {
    const ids = Array.from({ length: 50 }, (_, index) => `${index < 25 ? 'short' : 'long'}-${index}`);
    const simulation = new Simulation(10, {}, (id) => (id.startsWith('short') ? 5 : 50));
    for (const id of ids) simulation.arrive(id);
    simulation.run(120_000);
    expect(jain(ids.map((id) => simulation.service.get(id) ?? 0))).toBeGreaterThan(0.98);
  });

  it('divides slots by weight', () => {
    const simulation = new Simulation(2, { overrides: { big: { weight: 10 } } }, () => 10);
    for (let caller = 0; caller < 20; caller++) for (const id of ['big', 'a', 'b']) simulation.arrive(id);
    simulation.run(60_000);
    expect(simulation.share('big')).toBeCloseTo(0.833, 1.5);
    expect(simulation.share('a')).toBeCloseTo(0.083, 1.5);
    expect(simulation.share('b')).toBeCloseTo(0.083, 1.5);
  });

  it('lets a tenant that was idle bank no credit', () => {
    const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits });
    let nowMs = 0;
    for (let round = 0; round < 100; round++) {
      const busy = scheduler.tenant('busy', nowMs);
      scheduler.enqueue(new Ticket(busy), nowMs);
      const ticket = scheduler.next;
      if (ticket === undefined) throw new Error('nobody to serve');
      scheduler.dequeue(ticket, nowMs);
      const hold = lent(scheduler, busy, nowMs);
      nowMs += 100;
      scheduler.released(busy, hold, nowMs);
    }
    const sleeper = scheduler.tenant('sleeper', nowMs);
    scheduler.enqueue(new Ticket(sleeper), nowMs);
    expect(sleeper.virtualMs).toBeGreaterThanOrEqual(scheduler.virtualMs);
  });

  it('serves tenants below their reserve before all others', () => {
    const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits, overrides: { vip: { reserved: 2 } } });
    const flood = scheduler.tenant('flood', 0);
    for (let i = 0; i < 50; i++) scheduler.enqueue(new Ticket(flood), 0);
    const vip = scheduler.tenant('vip', 0);
    for (let i = 0; i < 3; i++) scheduler.enqueue(new Ticket(vip), 0);
    const order: (string | undefined)[] = [];
    for (let i = 0; i < 3; i++) {
      const ticket = scheduler.next;
      if (ticket === undefined) break;
      scheduler.dequeue(ticket, 0);
      lent(scheduler, ticket.tenant, 0);
      order.push(ticket.tenant.id);
    }
    expect(order.slice(0, 2)).toEqual(['vip', 'vip']);
  });

  it('parks a tenant at its maximum and serves the others', () => {
    const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits, max: 1 });
    const a = scheduler.tenant('a', 0);
    lent(scheduler, a, 0);
    scheduler.enqueue(new Ticket(a), 0);
    expect(scheduler.next).toBeUndefined();
    expect(scheduler.grantable).toBe(0);
    scheduler.enqueue(new Ticket(scheduler.tenant('b', 0)), 0);
    expect(scheduler.next?.tenant.id).toBe('b');
    scheduler.changePolicy({ ...noTenantLimits, max: 2 });
    expect(scheduler.grantable).toBe(2);
  });

  it('keeps each tenant first in, first out, also when waiters leave in between', () => {
    const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits });
    const tenant = scheduler.tenant('a', 0);
    const tickets = Array.from({ length: 5 }, () => new Ticket(tenant));
    for (const ticket of tickets) scheduler.enqueue(ticket, 0);
    for (const index of [2, 0, 4]) {
      const ticket = tickets[index];
      if (ticket !== undefined) scheduler.dequeue(ticket, 0);
    }
    expect(scheduler.next).toBe(tickets[1]);
    if (tickets[1] !== undefined) scheduler.dequeue(tickets[1], 0);
    expect(scheduler.next).toBe(tickets[3]);
  });

  it('serves newcomers in the order of their coming and forgets them, though newcomers always wait', () => {
    const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits });
    const running: Lent[] = [];
    const cameAt = new Map<string | undefined, number>();
    let nowMs = 0;
    let longestWait = 0;
    for (let turn = 0; turn < 5_000; turn++) {
      cameAt.set(`tenant ${turn}`, turn);
      scheduler.enqueue(new Ticket(scheduler.tenant(`tenant ${turn}`, nowMs)), nowMs);
      if (turn < 100) continue;
      nowMs += 1;
      const done = running.length === 10 ? running.shift() : undefined;
      if (done !== undefined) scheduler.released(done.tenant, done, nowMs);
      const ticket = scheduler.next;
      if (ticket === undefined) throw new Error('nobody to serve');
      scheduler.dequeue(ticket, nowMs);
      running.push(lent(scheduler, ticket.tenant, nowMs));
      longestWait = Math.max(longestWait, turn - (cameAt.get(ticket.tenant.id) ?? 0));
    }
    expect(scheduler.known).toBeLessThan(1_000);
    const stillWaiting = [...scheduler.tenants()]
      .filter(({ waiting }) => waiting > 0)
      .map(({ id }) => cameAt.get(id) ?? 0);
    expect(stillWaiting).toHaveLength(100);
    expect(Math.min(...stillWaiting)).toBeGreaterThan(4_500);
    expect(longestWait).toBeLessThan(500);
  });

  it('forgets tenants that came and went, and remembers those in debt only as long as they are', () => {
    const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits });
    for (let i = 0; i < 10_000; i++) {
      const nowMs = i * 2;
      const tenant = scheduler.tenant(`tenant-${i}`, nowMs);
      // As if it had been held for 50 ms: so that the tenant is in debt.
      const hold = lent(scheduler, tenant, nowMs);
      hold.sinceMs -= 49;
      scheduler.released(tenant, hold, nowMs + 1);
    }
    expect(scheduler.known).toBeLessThan(200);
  });
});

describe('a slot that goes from a lease to the next waiter of the same tenant', () => {
  it('is charged as if it had come back first', () => {
    const turns = fc.array(fc.record({ passMs: fc.integer({ min: 0, max: 50 }), other: fc.boolean() }), {
      minLength: 1,
      maxLength: 60,
    });
    fc.assert(
      fc.property(turns, fc.integer({ min: 1, max: 3 }), (program, max) => {
        const served = (inherits: boolean): unknown[] => {
          const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits, max, maxWaiting: Infinity });
          let nowMs = 0;
          const told: unknown[] = [];
          const tenant = scheduler.tenant('acme', nowMs);
          const held = Array.from({ length: max }, () => lent(scheduler, tenant, nowMs));
          for (let waiting = 0; waiting <= program.length; waiting++) scheduler.enqueue(new Ticket(tenant), nowMs);
          for (const { passMs, other } of program) {
            nowMs += passMs;
            // Somebody else who could have the slot comes first or not, but it is no longer the tenant's own affair.
            const passer = other ? new Ticket(scheduler.tenant('globex', nowMs)) : undefined;
            if (passer !== undefined) scheduler.enqueue(passer, nowMs);
            const [done] = held.splice(0, 1);
            if (done === undefined) throw new Error('nothing is held');
            const next = inherits ? scheduler.nextOfSameTenant(tenant) : undefined;
            expect(next !== undefined && other).toBe(false);
            if (next !== undefined) scheduler.transfer(next, done, nowMs);
            else {
              scheduler.released(tenant, done, nowMs);
              const first = tenant.firstWaiting;
              if (first === undefined) throw new Error('nobody waits');
              scheduler.grant(first, done, nowMs);
            }
            if (passer !== undefined) scheduler.dequeue(passer, nowMs);
            held.push(done);
            const { chargedMs } = done;
            const { virtualMs, inUse, waiting, meanHoldMs } = tenant;
            told.push({ virtualMs, inUse, waiting, meanHoldMs, chargedMs, poolVirtualMs: scheduler.virtualMs });
          }
          return told;
        };
        expect(served(true)).toEqual(served(false));
      }),
    );
  });

  it('is not its own when it has more than its maximum, lowered meanwhile', () => {
    const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits, max: 2 });
    const tenant = scheduler.tenant('acme', 0);
    for (let slot = 0; slot < 2; slot++) lent(scheduler, tenant, 0);
    scheduler.enqueue(new Ticket(tenant), 0);
    expect(scheduler.nextOfSameTenant(tenant)).toBe(tenant.firstWaiting);
    scheduler.changePolicy({ ...noTenantLimits, max: 1 });
    expect(scheduler.nextOfSameTenant(tenant)).toBeUndefined();
  });
});

describe('the longest queue', () => {
  it('is found after any tenants have come and gone since it was asked for last', () => {
    const turns = fc.array(fc.record({ tenant: fc.nat(4), comes: fc.boolean(), asked: fc.nat(3) }), { maxLength: 200 });
    fc.assert(
      fc.property(turns, (program) => {
        const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits, maxWaiting: Infinity });
        for (const { tenant: index, comes, asked } of program) {
          // One of them is work without a tenant.
          const tenant = scheduler.tenant(index === 0 ? undefined : `t${index}`, 0);
          if (comes) scheduler.enqueue(new Ticket(tenant), 0);
          else if (tenant.lastWaiting !== undefined) scheduler.dequeue(tenant.lastWaiting, 0);
          scheduler.forgetIfIdle(tenant);
          if (asked > 0) continue;
          const longest = Math.max(...[...scheduler.tenants()].map(({ waiting }) => waiting));
          expect(scheduler.longestQueue(Infinity)?.waiting ?? 0).toBe(longest);
        }
      }),
    );
  });

  it('keeps no tenant in memory that has gone', () => {
    const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits, maxWaiting: Infinity });
    const crowd = scheduler.tenant('crowd', 0);
    for (let i = 0; i < 10; i++) scheduler.enqueue(new Ticket(crowd), 0);
    const steady = scheduler.tenant(undefined, 0);
    const passing = scheduler.tenant('passing', 0);
    const tickets = [new Ticket(steady), new Ticket(passing)];
    for (const ticket of tickets) scheduler.enqueue(ticket, 0);
    scheduler.longestQueue(Infinity);
    for (const ticket of tickets) scheduler.dequeue(ticket, 0);
    expect([steady.previousOfLength, steady.nextOfLength]).toEqual([undefined, undefined]);
    expect([passing.previousOfLength, passing.nextOfLength]).toEqual([undefined, undefined]);
  });
});

describe('fairness under random loads', () => {
  /** Longest hold, in milliseconds. */
  const LONGEST_HOLD_MS = 50;
  const tenants = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 2, maxLength: 6 });
  const turns = fc.array(
    fc.record({
      holdMs: fc.integer({ min: 0, max: LONGEST_HOLD_MS }),
      /** Which of the running leases ends, and who else comes and goes at that moment. */
      which: fc.nat(99),
      passer: fc.option(fc.nat(3), { nil: undefined }),
      gone: fc.option(fc.nat(99), { nil: undefined }),
    }),
    { minLength: 50, maxLength: 300 },
  );

  it('keeps the virtual times of tenants that always wait within what their running leases can make of it', () => {
    fc.assert(
      fc.property(tenants, fc.integer({ min: 1, max: 10 }), turns, (weights, slots, program) => {
        const overrides = Object.fromEntries(weights.map((weight, index) => [`t${index}`, { weight }]));
        const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits, maxWaiting: Infinity, overrides });
        const backlogged = weights.map((_, index) => scheduler.tenant(`t${index}`, 0));
        for (const tenant of backlogged) for (let i = 0; i < 3; i++) scheduler.enqueue(new Ticket(tenant), 0);
        const running: Lent[] = [];
        const serve = (nowMs: number): void => {
          for (let next = scheduler.next; next !== undefined && running.length < slots; next = scheduler.next) {
            running.push(grantedTo(scheduler, next, nowMs));
            // Whoever is served asks again, so that it never stops waiting.
            if (backlogged.includes(next.tenant)) scheduler.enqueue(new Ticket(next.tenant), nowMs);
          }
        };
        let nowMs = 0;
        serve(nowMs);
        for (const { holdMs, which, passer, gone } of program) {
          nowMs += holdMs / slots;
          // Nobody holds for longer than the longest hold, whichever lease is picked.
          const overdue = running.findIndex(({ sinceMs }) => nowMs - sinceMs > LONGEST_HOLD_MS - holdMs);
          const [done] = running.splice(overdue >= 0 ? overdue : which % running.length, 1);
          if (done !== undefined) scheduler.released(done.tenant, done, nowMs);
          if (passer !== undefined) scheduler.enqueue(new Ticket(scheduler.tenant(`passer ${passer}`, nowMs)), nowMs);
          if (gone !== undefined) {
            const tenant = backlogged[gone % backlogged.length];
            const last = tenant?.lastWaiting;
            if (tenant !== undefined && tenant.waiting > 1 && last !== undefined) {
              scheduler.dequeue(last, nowMs);
              scheduler.enqueue(new Ticket(tenant), nowMs);
            }
          }
          serve(nowMs);
          const virtual = backlogged.map(({ virtualMs }) => virtualMs);
          // The least is served next; it can then be charged for as many leases at once as there are slots, and one
          // more.
          expect(Math.max(...virtual) - Math.min(...virtual)).toBeLessThanOrEqual((slots + 1) * LONGEST_HOLD_MS);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('forgets one-off tenants of a pool that is just full: one of them always waits, never two', () => {
    const scheduler = new TenantScheduler<Ticket, unknown>({ ...noTenantLimits });
    let running: Lent | undefined;
    for (let turn = 0; turn < 5_000; turn++) {
      const nowMs = turn * 10;
      scheduler.enqueue(new Ticket(scheduler.tenant(`tenant ${turn}`, nowMs)), nowMs);
      const { next } = scheduler;
      if (running !== undefined) scheduler.released(running.tenant, running, nowMs + 10);
      if (next !== undefined) running = grantedTo(scheduler, next, nowMs + 10);
    }
    expect(scheduler.known).toBeLessThan(100);
  });
});
