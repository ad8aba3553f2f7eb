/**
 * Claim: what a tenant gets of a pool doesn't depend on how much the others ask for.
 *
 * A real PostgreSQL; sessions sleep while they are lent, so slot-seconds are real and the processor isn't what is
 * shared. Callers come back for more as soon as they have been served; only the victim, and the tenant with a reserve,
 * come at fixed times whether or not they have been served, so that nothing waits unseen.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { providePostgres } from '../test/support/servers/index.js';
import { bench } from './harness/bench.js';
import type { Report } from './harness/report.js';
import { Rounds } from './harness/rounds.js';
import { OURS } from './harness/rows.js';
import { jainIndex, quantile } from './harness/statistics.js';
import { type FairnessSubject, type Hold, withFairnessSubjects } from './subjects/fairness-subjects.js';

const SIZE = 10;
/** Ended holds after which a crowd counts as settled: twenty a slot. */
const SETTLED_HOLDS = 200;
const NOISY_MS = 20;
/** All tenants that were invented, as one. */
const INVENTED = 'invented';

/** Tenants whose callers come back for more until they are told to leave, and what they got. */
class Crowd {
  readonly #subject: FairnessSubject;
  readonly #callers: Promise<void>[] = [];
  #stopped = false;
  #invented = 0;
  /** Slot-milliseconds of each tenant since `startCounting`. */
  readonly slotMs = new Map<string, number>();
  /** Holds that ended since then. */
  holds = 0;
  /** Who waits for how many of them. */
  #awaited: { readonly holds: number; readonly reached: () => void } | undefined;

  constructor(subject: FairnessSubject) {
    this.#subject = subject;
  }

  join(tenant: string, callers: number, sleepMs: number): this {
    this.slotMs.set(tenant, 0);
    for (let caller = 0; caller < callers; caller++) this.#callers.push(this.#callAgainAndAgain(tenant, sleepMs));
    return this;
  }

  startCounting(): void {
    this.holds = 0;
    for (const tenant of this.slotMs.keys()) this.slotMs.set(tenant, 0);
  }

  /** Resolves when as many holds have ended as fill every slot many times over: the queue is then what it will stay. */
  settled(): Promise<void> {
    return new Promise((reached) => {
      this.#awaited = { holds: SETTLED_HOLDS, reached };
    });
  }

  /** Slot-milliseconds of all tenants. */
  get totalSlotMs(): number {
    let total = 0;
    for (const slotMs of this.slotMs.values()) total += slotMs;
    return total;
  }

  /** Callers that are another tenant each time: a caller that can invent ids. */
  joinInvented(callers: number, sleepMs: number): this {
    for (let caller = 0; caller < callers; caller++) this.#callers.push(this.#callAgainAndAgain(undefined, sleepMs));
    return this;
  }

  async leave(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#callers);
  }

  /** @param tenant `undefined`: another one each time. */
  async #callAgainAndAgain(tenant: string | undefined, sleepMs: number): Promise<void> {
    while (!this.#stopped) {
      const { heldMs } = await this.#subject.hold(tenant ?? `invented ${this.#invented++}`, sleepMs);
      const name = tenant ?? INVENTED;
      this.slotMs.set(name, (this.slotMs.get(name) ?? 0) + heldMs);
      this.holds++;
      if (this.#awaited !== undefined && this.holds >= this.#awaited.holds) {
        this.#awaited.reached();
        this.#awaited = undefined;
      }
    }
  }
}

/** Holds that begin every `everyMs`, for `forMs`, whether those before them have ended or not. */
async function atFixedTimes(
  subject: FairnessSubject,
  tenant: string,
  { sleepMs, everyMs, forMs }: { readonly sleepMs: number; readonly everyMs: number; readonly forMs: number },
): Promise<readonly Hold[]> {
  const holds: Promise<Hold>[] = [];
  const startedAt = performance.now();
  for (let due = 0; due < forMs; due += everyMs) {
    await sleep(Math.max(0, startedAt + due - performance.now()));
    holds.push(subject.hold(tenant, sleepMs));
  }
  return Promise.all(holds);
}

async function victim(report: Report, url: string): Promise<void> {
  const load = 'a victim beside 1,000 noisy callers';
  const calls = { sleepMs: 2, everyMs: 10, forMs: 2_500 };
  const latencies = (holds: readonly Hold[]) => holds.map(({ waitedMs, heldMs }) => waitedMs + heldMs);
  await withFairnessSubjects(url, SIZE, {}, async (subjects) => {
    for (const subject of subjects) {
      await atFixedTimes(subject, 'victim', { ...calls, forMs: 300 });
      const alone: number[] = [];
      const beside: number[] = [];
      for (let round = 0; round < 2; round++) {
        alone.push(...latencies(await atFixedTimes(subject, 'victim', calls)));
        const crowd = new Crowd(subject).join('noisy', 1_000, NOISY_MS);
        await crowd.settled();
        beside.push(...latencies(await atFixedTimes(subject, 'victim', calls)));
        await crowd.leave();
      }
      const aloneP99 = quantile(alone, 0.99);
      const besideP99 = quantile(beside, 0.99);
      const { name } = subject;
      report.add({ case: 'the victim alone', subject: name, value: aloneP99, unit: 'p99 ms', better: 'lower' });
      if (name === OURS) report.claim(load, besideP99, 'lower', aloneP99 + NOISY_MS + 5, 'p99 ms');
      else report.add({ case: load, subject: name, value: besideP99, unit: 'p99 ms', better: 'lower' });
    }
  });
}

/** Half of the tenants hold for 5 ms, half for 50 ms; all are always waiting. */
async function shortAndLong(report: Report, url: string, callers: number, jainClaim: number): Promise<void> {
  const load = `25 tenants holding 5 ms and 25 holding 50 ms, ${callers === 1 ? 'a single caller' : `${callers} callers`} each`;
  await withFairnessSubjects(url, SIZE, {}, async (subjects) => {
    // Over all counted rounds: in one alone each tenant has only a few holds of 50 ms, and that grain isn't the
    // scheduler's.
    const slotMs = new Map<string, Map<string, number>>(subjects.map(({ name }) => [name, new Map<string, number>()]));
    const figure = await Rounds.runManifold(
      subjects.map((subject) => ({
        name: subject.name,
        measure: async () => {
          const crowd = new Crowd(subject);
          for (let tenant = 0; tenant < 25; tenant++) {
            crowd.join(`short ${tenant}`, callers, 5).join(`long ${tenant}`, callers, 50);
          }
          await crowd.settled();
          crowd.startCounting();
          const startedAt = performance.now();
          await sleep(2_000);
          const seconds = (performance.now() - startedAt) / 1_000;
          const lent = { slots: crowd.totalSlotMs / 1_000 / seconds, goodput: crowd.holds / seconds };
          const total = slotMs.get(subject.name);
          for (const [tenant, ms] of crowd.slotMs) total?.set(tenant, (total.get(tenant) ?? 0) + ms);
          await crowd.leave();
          return lent;
        },
      })),
      ['slots', 'goodput'],
      6,
    );
    for (const { name } of subjects) {
      const jain = jainIndex([...(slotMs.get(name)?.values() ?? [])]);
      if (name === OURS) report.claim(load, jain, 'higher', jainClaim, "Jain's index");
      else report.add({ case: load, subject: name, value: jain, unit: "Jain's index", better: 'higher' });
    }
    report.addRounds(figure('goodput'), load, 'holds/s', 'higher');
    report.addRounds(figure('slots'), load, 'slot-seconds/s', 'higher');
    // Who serves short holds more often ends more of them; that no slot stood idle shows in the slot-seconds.
    report.claimRatio(figure('goodput'), load, 'higher', ['pg-pool'], 0.97, OURS, 'goodput');
    report.claimRatio(figure('slots'), load, 'higher', ['pg-pool'], 0.97, OURS, 'slot-seconds');
  });
}

async function weights(report: Report, url: string): Promise<void> {
  const shares = { heavy: 10 / 12, 'light 1': 1 / 12, 'light 2': 1 / 12 };
  await withFairnessSubjects(url, 2, { overrides: { heavy: { weight: 10 } } }, async (subjects) => {
    for (const subject of subjects) {
      const crowd = new Crowd(subject);
      for (const tenant of Object.keys(shares)) crowd.join(tenant, 8, 10);
      await crowd.settled();
      crowd.startCounting();
      await sleep(5_000);
      const total = crowd.totalSlotMs;
      for (const [tenant, ideal] of Object.entries(shares)) {
        const load = `weights 10/1/1 on 2 connections, ${tenant}`;
        const share = (crowd.slotMs.get(tenant) ?? 0) / total;
        report.add({
          case: load,
          subject: subject.name,
          value: share,
          unit: 'share of slot-seconds',
          better: ideal > 0.5 ? 'higher' : 'lower',
        });
        if (subject.name === OURS) report.claim(load, Math.abs(share - ideal), 'lower', 0.03, 'from its share');
      }
      await crowd.leave();
    }
  });
}

async function reserve(report: Report, url: string): Promise<void> {
  const floods = [
    { title: '1 tenant with 1,000 callers', tenants: 1, callers: 1_000 },
    { title: '50 tenants with 20 callers', tenants: 50, callers: 20 },
    { title: '1,000 tenants with a caller', tenants: 1_000, callers: 1 },
  ];
  await withFairnessSubjects(url, SIZE, { overrides: { precious: { reserved: 3 } } }, async (subjects) => {
    for (const subject of subjects) {
      for (const flood of floods) {
        const load = `reserved 3 of 10, a flood of ${flood.title} each`;
        const crowd = new Crowd(subject);
        for (let tenant = 0; tenant < flood.tenants; tenant++) crowd.join(`flood ${tenant}`, flood.callers, NOISY_MS);
        await crowd.settled();
        crowd.startCounting();
        const holds = await atFixedTimes(subject, 'precious', { sleepMs: 5, everyMs: 11, forMs: 2_500 });
        // What one noisy hold really takes: the sleep, and the way to the server and back.
        const noisyMs = crowd.totalSlotMs / crowd.holds;
        await crowd.leave();
        const waitedMs = quantile(
          holds.map((hold) => hold.waitedMs),
          0.99,
        );
        if (subject.name === OURS) report.claim(load, waitedMs, 'lower', noisyMs, 'p99 ms waited');
        else report.add({ case: load, subject: subject.name, value: waitedMs, unit: 'p99 ms waited', better: 'lower' });
      }
    }
  });
}

/** Known tenants beside a flood of ids that come once each: each of them has used nothing and owes nothing. */
async function invented(report: Report, url: string): Promise<void> {
  const known = ['customer 1', 'customer 2', 'customer 3', 'customer 4'];
  const load = '4 known tenants with 5 callers each beside 1,000 callers that invent an id a call';
  await withFairnessSubjects(url, SIZE, { known: (id: string) => known.includes(id) }, async (subjects) => {
    for (const subject of subjects) {
      const crowd = new Crowd(subject).joinInvented(1_000, NOISY_MS);
      await crowd.settled();
      for (const tenant of known) crowd.join(tenant, 5, NOISY_MS);
      await crowd.settled();
      crowd.startCounting();
      await sleep(4_000);
      const share = 1 - (crowd.slotMs.get(INVENTED) ?? 0) / crowd.totalSlotMs;
      await crowd.leave();
      // Half of the slots are theirs as long as they want them; the grain of a hold or two is not the scheduler's.
      if (subject.name === OURS) report.claim(load, share, 'higher', 0.47, 'share of slot-seconds of known tenants');
      else
        report.add({
          case: load,
          subject: subject.name,
          value: share,
          unit: 'share of slot-seconds of known tenants',
          better: 'higher',
        });
    }
  });
}

await bench('fairness', async (report) => {
  await using server = await providePostgres();
  await victim(report, server.url);
  await shortAndLong(report, server.url, 8, 0.97);
  await shortAndLong(report, server.url, 1, 0.95);
  await weights(report, server.url);
  await reserve(report, server.url);
  await invented(report, server.url);
});
