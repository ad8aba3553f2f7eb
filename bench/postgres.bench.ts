/**
 * Claim: a query through our pool is at least as fast as through pg-pool, and costs no more processor time.
 *
 * A real PostgreSQL, ten connections, the smallest query there is, so that nothing hides what the pool costs. Ours runs
 * as in production: as a tenant with limits, with deadlines, statistics and health checks; without isolation, which
 * pg-pool hasn't got either. Each pool has processes of its own.
 */
import { providePostgres } from '../test/support/servers/index.js';
import { bench } from './harness/bench.js';
import { OwnProcess } from './harness/own-process.js';
import { Rounds } from './harness/rounds.js';
import { OURS } from './harness/rows.js';
import type { PostgresFigure, PostgresLoad } from './subjects/postgres-process.js';

const SIZE = 10;
const ROUNDS = 41;
const ROUND_MS = 500;
const PEER = 'pg-pool';
/** Of each pool. Processes of the same program differ by some per cent; they are measured in turns. */
const PROCESSES = 3;

function inTurn<T>(all: readonly T[], round: number): T {
  const one = all[round % all.length];
  if (one === undefined) throw new Error('there are no processes');
  return one;
}

await bench('postgres', async (report) => {
  await using server = await providePostgres();
  const script = new URL('./subjects/postgres-process.js', import.meta.url);
  const pools = [OURS, PEER].map((name) => ({
    name,
    processes: Array.from(
      { length: PROCESSES },
      () => new OwnProcess<PostgresLoad, PostgresFigure>(script, [name, String(SIZE), server.url]),
    ),
  }));
  try {
    for (const callers of [1, 10, 100]) {
      const title = callers === 1 ? '1 caller' : `${callers} callers`;
      const figure = await Rounds.runManifold<PostgresFigure>(
        pools.map(({ name, processes }) => ({
          name,
          measure: (round) => inTurn(processes, round).ask({ callers, durationMs: ROUND_MS }),
        })),
        ['throughput', 'p99', 'CPU'],
        ROUNDS,
      );
      report.addRounds(figure('throughput'), title, 'queries/s', 'higher');
      report.addRounds(figure('p99'), title, 'p99 ms', 'lower');
      report.addRounds(figure('CPU'), title, 'CPU µs/query', 'lower');
      report.claimRatio(figure('throughput'), title, 'higher', [PEER], 1, OURS, 'throughput');
      report.claimRatio(figure('p99'), title, 'lower', [PEER], 1, OURS, 'p99');
      report.addRatio(figure('CPU'), title, 'lower', OURS, PEER);
    }
  } finally {
    for (const { processes } of pools) for (const one of processes) await one.end();
  }
});
