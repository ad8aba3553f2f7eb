/**
 * Claim: acquire + release costs less than in any other pool, with tenant limits, deadlines and statistics on.
 *
 * Resources without I/O, ten of them. Every case runs once outside and once inside an AsyncLocalStorage context.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

import { bench } from './harness/bench.js';
import { Rounds, type Subject } from './harness/rounds.js';
import { OURS } from './harness/rows.js';
import { abortableSubjects, acquireSubjects, CEILING, type AcquireSubject } from './subjects/acquire-subjects.js';

const SIZE = 10;
const ROUNDS = 15;
const OPERATIONS = 60_000;
const BURST = 100_000;

const context = new AsyncLocalStorage<{ readonly user: string }>();

/** Operations per second of `callers` that acquire and release in a loop. */
async function throughput(subject: AcquireSubject, callers: number): Promise<number> {
  const each = Math.floor(OPERATIONS / callers);
  const startedAt = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let i = 0; i < each; i++) subject.release(await subject.acquire());
    }),
  );
  return (each * callers * 1_000) / (performance.now() - startedAt);
}

function synchronousThroughput(subject: AcquireSubject): number {
  const { tryAcquire } = subject;
  if (tryAcquire === undefined) throw new Error(`${subject.name} has no synchronous acquire`);
  const startedAt = performance.now();
  for (let i = 0; i < OPERATIONS; i++) subject.release(tryAcquire());
  return (OPERATIONS * 1_000) / (performance.now() - startedAt);
}

/** Uses every slot once: what has been idle while others were measured would first be pinged. */
async function warmUp(subject: AcquireSubject): Promise<void> {
  const held = await Promise.all(Array.from({ length: SIZE }, () => subject.acquire()));
  for (const resource of held) subject.release(resource);
}

/** Milliseconds until `BURST` callers that came at once have all been served. */
async function burst(subject: AcquireSubject): Promise<number> {
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: BURST }, async () => subject.release(await subject.acquire())));
  return performance.now() - startedAt;
}

/** Bytes on the heap for each of `BURST` waiters. */
async function bytesPerWaiter(subject: AcquireSubject): Promise<number> {
  const held = await Promise.all(Array.from({ length: SIZE }, () => subject.acquire()));
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const waiting: Promise<unknown>[] = new Array<Promise<unknown>>(BURST);
  for (let i = 0; i < BURST; i++) waiting[i] = Promise.resolve(subject.acquire());
  globalThis.gc?.();
  const bytes = (process.memoryUsage().heapUsed - before) / BURST;
  const served = Promise.all(waiting.map(async (acquire) => subject.release(await acquire)));
  for (const resource of held) subject.release(resource);
  await served;
  return bytes;
}

await bench('acquire', async (report) => {
  const subjects = await acquireSubjects(SIZE);
  const peers = subjects.map((subject) => subject.name).filter((name) => name !== OURS && name !== CEILING);
  const slowBursts = new Set(['tarn', 'sequelize-pool', 'pg-pool']);

  for (const inContext of [false, true]) {
    const where = inContext ? ', in a tenant context' : '';
    const within = <T>(fn: () => T): T =>
      inContext ? context.run({ user: 'acme' }, () => subjects.asTenant(fn)) : fn();
    const measured = (
      measure: (subject: AcquireSubject) => Promise<number> | number,
      among = subjects.all,
    ): Subject[] =>
      among.map((subject) => ({
        name: subject.name,
        measure: () =>
          within(async () => {
            await warmUp(subject);
            return measure(subject);
          }),
      }));

    const ten = await Rounds.run(
      measured((subject) => throughput(subject, 10)),
      ROUNDS,
    );
    report.addRounds(ten, `10 callers${where}`, 'operations/s', 'higher');
    report.claimRatio(ten, `10 callers${where}`, 'higher', peers, 2.5);

    // A peer without a synchronous acquire takes part with what it has: one caller after the other.
    const alone = await Rounds.run(
      measured((subject) =>
        subject.tryAcquire === undefined ? throughput(subject, 1) : synchronousThroughput(subject),
      ),
      ROUNDS,
    );
    report.addRounds(alone, `tryAcquire${where}`, 'operations/s', 'higher');
    report.claimRatio(alone, `tryAcquire${where}`, 'higher', peers, 4);

    const hundred = await Rounds.run(
      measured((subject) => throughput(subject, 100)),
      ROUNDS,
    );
    report.addRounds(hundred, `100 callers${where}`, 'operations/s', 'higher');
    report.claimRatio(hundred, `100 callers${where}`, 'higher', peers, 2);

    const quick = subjects.all.filter((subject) => !slowBursts.has(subject.name));
    const bursts = await Rounds.run(measured(burst, quick), 7);
    report.addRounds(bursts, `burst of 100k waiters${where}`, 'ms', 'lower');
    report.claimRatio(
      bursts,
      `burst of 100k waiters${where}`,
      'lower',
      peers.filter((name) => !slowBursts.has(name)),
      0.6,
    );
    if (inContext) continue;
    for (const subject of subjects.all.filter((candidate) => slowBursts.has(candidate.name))) {
      // Their queues are arrays that are shifted: quadratic, so once is enough to see it.
      report.add({
        case: 'burst of 100k waiters',
        subject: subject.name,
        value: await burst(subject),
        unit: 'ms',
        better: 'lower',
      });
    }
    for (const subject of quick) {
      report.add({
        case: 'memory of 100k waiters',
        subject: subject.name,
        value: await bytesPerWaiter(subject),
        unit: 'bytes/waiter',
        better: 'lower',
      });
    }
  }

  for (const count of [25_000, 50_000, 100_000]) {
    for (const subject of await abortableSubjects(SIZE)) {
      const value = await subject.abort(count);
      report.add({
        case: `aborting ${count / 1_000}k waiters`,
        subject: subject.name,
        value: (value * 1_000) / count,
        unit: 'µs/waiter',
        better: 'lower',
      });
      await subject.end();
    }
  }
  await subjects.end();
});
