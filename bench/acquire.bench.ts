/**
 * Claim: acquire + release costs less than in any other pool, with tenant limits, deadlines and statistics on.
 *
 * Resources without I/O, ten of them. Each pool has a process of its own, and another in which everything happens
 * inside an AsyncLocalStorage context: a tenant's, for ours.
 */
import { bench } from './harness/bench.js';
import { OwnProcess } from './harness/own-process.js';
import type { Report } from './harness/report.js';
import { Rounds } from './harness/rounds.js';
import { OURS } from './harness/rows.js';
import type { AcquireFigure, AcquireLoad } from './subjects/acquire-process.js';
import { abortableSubjects, ACQUIRE_SUBJECTS, CEILING } from './subjects/acquire-subjects.js';

const SIZE = 10;
const ROUNDS = 41;
/** Long enough that what the process before has left to do in the background doesn't count. */
const DURATION_MS = 75;
const BURST = 100_000;
const BURST_ROUNDS = 9;

/** Their queues are arrays that are shifted: quadratic, so one burst is enough to see it. */
const SLOW_BURSTS = new Set(['tarn', 'sequelize-pool', 'pg-pool']);
const PEERS = ACQUIRE_SUBJECTS.filter((name) => name !== OURS && name !== CEILING);
const QUICK = ACQUIRE_SUBJECTS.filter((name) => !SLOW_BURSTS.has(name));

type Pool = OwnProcess<AcquireLoad, AcquireFigure>;

/** All pools, in processes of their own. */
class Pools {
  readonly #pools = new Map<string, Pool>();

  constructor(where: 'in-context' | 'outside') {
    for (const name of ACQUIRE_SUBJECTS) {
      const script = new URL('./subjects/acquire-process.js', import.meta.url);
      this.#pools.set(name, new OwnProcess(script, [name, String(SIZE), where]));
    }
  }

  of(name: string): Pool {
    const pool = this.#pools.get(name);
    if (pool === undefined) throw new Error(`There is no subject "${name}"`);
    return pool;
  }

  /** Measures pools in turns. */
  rounds(load: AcquireLoad, count: number, names = ACQUIRE_SUBJECTS): Promise<(figure: AcquireFigure) => Rounds> {
    const subjects = names.map((name) => ({ name, measure: () => this.of(name).ask(load) }));
    return Rounds.runManifold<AcquireFigure>(subjects, ['speed', 'cpu', 'bytes'], count);
  }

  async end(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.end()));
  }
}

/** Speed and processor time, and how ours compares with the best peer. */
function reportSpeed(report: Report, figures: (figure: AcquireFigure) => Rounds, load: string, claim: number): void {
  report.addRounds(figures('speed'), load, 'operations/s', 'higher');
  report.addRounds(figures('cpu'), load, 'CPU ns/operation', 'lower');
  report.claimRatio(figures('speed'), load, 'higher', PEERS, claim);
}

async function compare(report: Report, pools: Pools, where: string): Promise<void> {
  const ten = await pools.rounds({ kind: 'callers', callers: 10, durationMs: DURATION_MS }, ROUNDS);
  reportSpeed(report, ten, `10 callers${where}`, 2.5);

  const synchronous = await pools.rounds({ kind: 'tryAcquire', durationMs: DURATION_MS }, ROUNDS);
  reportSpeed(report, synchronous, `tryAcquire${where}`, 4);

  const hundred = await pools.rounds({ kind: 'callers', callers: 100, durationMs: DURATION_MS }, ROUNDS);
  reportSpeed(report, hundred, `100 callers${where}`, 2);

  const load = `burst of 100k waiters${where}`;
  const bursts = (await pools.rounds({ kind: 'burst', waiters: BURST }, BURST_ROUNDS, QUICK))('speed').map(
    (perSecond) => (BURST * 1_000) / perSecond,
  );
  report.addRounds(bursts, load, 'ms', 'lower');
  report.claimRatio(
    bursts,
    load,
    'lower',
    PEERS.filter((name) => !SLOW_BURSTS.has(name)),
    0.6,
  );
}

async function once(report: Report, pools: Pools): Promise<void> {
  for (const name of SLOW_BURSTS) {
    const { speed } = await pools.of(name).ask({ kind: 'burst', waiters: BURST });
    const value = (BURST * 1_000) / speed;
    report.add({ case: 'burst of 100k waiters', subject: name, value, unit: 'ms', better: 'lower' });
  }
  for (const name of QUICK) {
    const { bytes: value } = await pools.of(name).ask({ kind: 'memory', waiters: BURST });
    report.add({ case: 'memory of 100k waiters', subject: name, value, unit: 'bytes/waiter', better: 'lower' });
  }
}

/** Aborts ever more waiters at once: what one of them costs must stay the same. */
async function abort(report: Report): Promise<void> {
  for (const count of [25_000, 50_000, 100_000]) {
    for (const subject of await abortableSubjects(SIZE)) {
      const tookMs = await subject.abort(count);
      const value = (tookMs * 1_000) / count;
      report.add({
        case: `aborting ${count / 1_000}k waiters`,
        subject: subject.name,
        value,
        unit: 'µs/waiter',
        better: 'lower',
      });
      await subject.end();
    }
  }
}

await bench('acquire', async (report) => {
  for (const where of ['outside', 'in-context'] as const) {
    const pools = new Pools(where);
    try {
      await compare(report, pools, where === 'outside' ? '' : ', in a tenant context');
      if (where === 'outside') await once(report, pools);
    } finally {
      await pools.end();
    }
  }
  await abort(report);
});
