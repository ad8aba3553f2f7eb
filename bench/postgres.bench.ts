/**
 * Claim: a query through our pool is at least as fast as through pg-pool, and costs no more processor time.
 *
 * A real PostgreSQL, ten connections, the smallest query there is, so that nothing hides what the pool costs. Ours runs
 * as in production: as a tenant with limits, with deadlines, statistics and health checks; without isolation, which
 * pg-pool hasn't got either.
 */
import { ConnectionPoolManager } from 'nestjs-pool-manager';
import pg from 'pg';

import { providePostgres } from '../test/support/servers/index.js';
import { bench } from './harness/bench.js';
import { quietLogger } from './harness/quiet-logger.js';
import { Rounds, type ManifoldSubject } from './harness/rounds.js';
import { OURS } from './harness/rows.js';
import { quantile } from './harness/statistics.js';

const SIZE = 10;
const ROUNDS = 21;
const ROUND_MS = 350;
const PEER = 'pg-pool';
const QUERY = 'select $1::int';

type Figure = 'throughput' | 'p99' | 'CPU';

/** Lets `callers` query in a loop for a while. */
async function load(callers: number, query: () => Promise<unknown>): Promise<Readonly<Record<Figure, number>>> {
  const latenciesMs: number[] = [];
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const endsAt = startedAt + ROUND_MS;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      for (let sentAt = startedAt; sentAt < endsAt;) {
        await query();
        const now = performance.now();
        latenciesMs.push(now - sentAt);
        sentAt = now;
      }
    }),
  );
  const tookMs = performance.now() - startedAt;
  const cpu = process.cpuUsage(cpuBefore);
  const count = latenciesMs.length;
  return {
    throughput: (count * 1_000) / tookMs,
    p99: quantile(latenciesMs, 0.99),
    CPU: (cpu.user + cpu.system) / count,
  };
}

await bench('postgres', async (report) => {
  await using server = await providePostgres();
  const manager = new ConnectionPoolManager(undefined, { logger: quietLogger });
  const pool = await manager.createDatabasePool('orders', {
    connectionString: server.url,
    minSize: SIZE,
    maxSize: SIZE,
    healthCheck: { intervalMs: 1_000 },
    tenants: { max: SIZE },
  });
  await manager.start();
  const ours = pool.forTenant('acme');
  const peer = new pg.Pool({ connectionString: server.url, min: SIZE, max: SIZE, connectionTimeoutMillis: 10_000 });
  try {
    for (const callers of [1, 10, 100]) {
      const title = callers === 1 ? '1 caller' : `${callers} callers`;
      const subjects: readonly ManifoldSubject<Figure>[] = [
        { name: OURS, measure: () => load(callers, () => ours.query(QUERY, [1])) },
        { name: PEER, measure: () => load(callers, () => peer.query(QUERY, [1])) },
      ];
      const figure = await Rounds.runManifold(subjects, ['throughput', 'p99', 'CPU'], ROUNDS);
      report.addRounds(figure('throughput'), title, 'queries/s', 'higher');
      report.addRounds(figure('p99'), title, 'p99 ms', 'lower');
      report.addRounds(figure('CPU'), title, 'CPU µs/query', 'lower');
      report.claimRatio(figure('throughput'), title, 'higher', [PEER], 1, OURS, 'throughput');
      report.claimRatio(figure('p99'), title, 'lower', [PEER], 1, OURS, 'p99');
      report.claimRatio(figure('CPU'), title, 'lower', [PEER], 1, OURS, 'CPU');
    }
  } finally {
    await peer.end();
    await manager.stop();
  }
});
