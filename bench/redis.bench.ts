/**
 * Claim: a command through our pool's client is at least as fast as through ioredis with a command time-out (each of
 * ours has one), and costs hardly more processor time; an exclusive lease is faster than node-redis' pool.
 *
 * A real Redis and its smallest command. Ours runs as in production: with deadlines, statistics and health checks.
 * Each client has processes of its own.
 */
import { startRedis } from '../test/support/servers/index.js';
import { bench } from './harness/bench.js';
import { OwnProcess } from './harness/own-process.js';
import { Rounds } from './harness/rounds.js';
import { OURS } from './harness/rows.js';
import type { RedisFigure, RedisLoad } from './subjects/redis-process.js';

const SIZE = 10;
const ROUNDS = 21;
const ROUND_MS = 300;
const SHARED = `${OURS} client`;
const PIPELINED = `${OURS} client, auto-pipelined`;
const LEASES = `${OURS} use()`;
const TIMED = 'ioredis with commandTimeout';
const PEER_PIPELINED = 'ioredis, auto-pipelined';
const PEER_POOL = 'node-redis pool';
/** The subjects by the names under which their processes know them. */
const SUBJECTS = {
  [SHARED]: 'shared',
  [PIPELINED]: 'shared, auto-pipelined',
  [LEASES]: 'leases',
  ioredis: 'ioredis',
  [TIMED]: 'ioredis, commandTimeout',
  [PEER_PIPELINED]: 'ioredis, auto-pipelined',
  'node-redis': 'node-redis',
  [PEER_POOL]: 'node-redis pool',
};

await bench('redis', async (report) => {
  await using server = await startRedis();
  const script = new URL('./subjects/redis-process.js', import.meta.url);
  const subjects = Object.entries(SUBJECTS).map(([name, subject]) => ({
    name,
    process: new OwnProcess<RedisLoad, RedisFigure>(script, [subject, String(SIZE), server.url]),
  }));
  try {
    for (const callers of [1, 10, 100]) {
      const title = callers === 1 ? '1 caller' : `${callers} callers`;
      const figure = await Rounds.runManifold<RedisFigure>(
        subjects.map(({ name, process }) => ({
          name,
          measure: () => process.ask({ callers, durationMs: ROUND_MS }),
        })),
        ['throughput', 'p99', 'CPU'],
        ROUNDS,
      );
      const throughput = figure('throughput');
      report.addRounds(throughput, title, 'commands/s', 'higher');
      report.addRounds(figure('p99'), title, 'p99 ms', 'lower');
      report.addRounds(figure('CPU'), title, 'CPU µs/command', 'lower');
      report.claimRatio(throughput, title, 'higher', [TIMED], 0.97, SHARED, 'throughput');
      report.claimRatio(figure('CPU'), title, 'lower', [TIMED], 1.05, SHARED, 'CPU');
      report.addRatio(throughput, title, 'higher', SHARED, 'ioredis');
      report.addRatio(throughput, title, 'higher', SHARED, 'node-redis');
      if (callers === 100) report.claimRatio(throughput, title, 'higher', [PEER_PIPELINED], 0.95, PIPELINED);
      if (callers > 1) report.claimRatio(throughput, title, 'higher', [PEER_POOL], 1.6, LEASES);
      else report.addRatio(throughput, title, 'higher', LEASES, PEER_POOL);
    }
  } finally {
    for (const { process } of subjects) await process.end();
  }
});
