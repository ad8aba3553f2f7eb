/**
 * Claim: a query through our pool is at least as fast as through pg-pool and costs no more processor time; where
 * queries of a tenant wait, they travel together, and are faster by far.
 *
 * A real PostgreSQL, ten connections, the smallest query there is unless it is said otherwise, so that nothing hides
 * what the pool costs. Ours runs as in production: as a tenant with limits, with deadlines, statistics and health
 * checks; without isolation, which pg-pool hasn't got either, but for the case that has its name. Each pool has
 * processes of its own. "1 ms away" goes through a proxy that delays each way by a millisecond.
 */
import pg from 'pg';

import { startFaultProxy, startPostgres } from '../test/support/servers/index.js';
import { bench } from './harness/bench.js';
import { OwnProcess } from './harness/own-process.js';
import { Rounds } from './harness/rounds.js';
import { OURS } from './harness/rows.js';
import type { PostgresFigure, PostgresLoad, Statement } from './subjects/postgres-loads.js';

const SIZE = 10;
const ROUNDS = 21;
const ROUND_MS = 500;
const PG_POOL = 'pg-pool';
const POSTGRES_JS = 'postgres.js';
const ALONE = `${OURS}, maxBatch: 1`;
const BY_POLICY = `${OURS}, row security`;
/** The subjects by the names under which their processes know them. */
const SUBJECTS = {
  [OURS]: 'ours',
  [ALONE]: 'ours alone',
  [BY_POLICY]: 'ours by row security',
  [PG_POOL]: 'pg-pool',
  [POSTGRES_JS]: 'postgres.js',
};
type Subject = keyof typeof SUBJECTS;
const FIGURES = ['throughput', 'p99', 'mean', 'CPU'] as const;
/** Of each pool. Processes of the same program differ by some per cent; they are measured in turns. */
const PROCESSES = 2;
const SCRIPT = new URL('./subjects/postgres-process.js', import.meta.url);

type Process = OwnProcess<PostgresLoad, PostgresFigure>;
type Figures = (figure: PostgresFigure) => Rounds;

function inTurn<T>(all: readonly T[], round: number): T {
  const one = all[round % all.length];
  if (one === undefined) throw new Error('there are no processes');
  return one;
}

/** Measures `subjects` on the server at `url`, in processes that end with it. */
async function measure(
  subjects: readonly Subject[],
  url: string,
  loads: readonly { readonly callers: number; readonly statement: Statement }[],
  tell: (callers: number, figures: Figures, statement: Statement) => void,
): Promise<void> {
  const pools = subjects.map((name) => ({
    name,
    processes: Array.from(
      { length: PROCESSES },
      (): Process => new OwnProcess(SCRIPT, [SUBJECTS[name], String(SIZE), url]),
    ),
  }));
  try {
    for (const { callers, statement } of loads) {
      const figures = await Rounds.runManifold<PostgresFigure>(
        pools.map(({ name, processes }) => ({
          name,
          measure: (round) => inTurn(processes, round).ask({ callers, durationMs: ROUND_MS, statement }),
        })),
        FIGURES,
        ROUNDS,
      );
      tell(callers, figures, statement);
    }
  } finally {
    for (const { processes } of pools) for (const one of processes) await one.end();
  }
}

await bench('postgres', async (report) => {
  await using server = await startPostgres();
  const admin = new pg.Client(server.superuserUrl);
  await admin.connect();
  await admin.query(`
    create table orders (id int primary key, tenant text not null, item text not null);
    insert into orders select n, 'tenant-1', 'item ' || n from generate_series(1, 1000) n;
    alter table orders enable row level security;
    create policy own_rows on orders using (tenant = coalesce(nullif(current_setting('app.tenant_id', true), ''), 'tenant-1'));
    grant select on orders to public; analyze orders`);
  await admin.end();

  const rows = (title: string, figures: Figures): void => {
    report.addRounds(figures('throughput'), title, 'queries/s', 'higher');
    report.addRounds(figures('p99'), title, 'p99 ms', 'lower');
    report.addRounds(figures('CPU'), title, 'CPU µs/query', 'lower');
  };
  const claims = (title: string, figures: Figures, peer: Subject, throughput: number): void => {
    report.claimRatio(figures('throughput'), title, 'higher', [peer], throughput, OURS, 'throughput');
    report.claimRatio(figures('p99'), title, 'lower', [peer], 1, OURS, 'p99');
    report.addRatio(figures('CPU'), title, 'lower', OURS, peer);
  };
  const LEAST: Readonly<Record<number, number>> = { 1: 1, 10: 1, 100: 1.6 };

  await measure(
    [OURS, PG_POOL, POSTGRES_JS],
    server.url,
    [1, 10, 100].map((callers) => ({ callers, statement: 'one' })),
    (callers, figures) => {
      const title = callers === 1 ? '1 caller' : `${callers} callers`;
      rows(title, figures);
      claims(title, figures, PG_POOL, LEAST[callers] ?? 1);
      report.addRatio(figures('throughput'), title, 'higher', OURS, POSTGRES_JS);
    },
  );
  await measure([OURS, PG_POOL], server.url, [{ callers: 100, statement: 'named' }], (_callers, figures) => {
    const title = '100 callers, a prepared statement';
    rows(title, figures);
    claims(title, figures, PG_POOL, 1.6);
  });
  await measure([OURS, ALONE], server.url, [{ callers: 100, statement: 'tenants' }], (_callers, figures) => {
    const title = '100 callers, 1,000 tenants by turns';
    rows(title, figures);
    report.claimRatio(figures('throughput'), title, 'higher', [ALONE], 0.98, OURS, 'throughput');
  });
  await measure([OURS, BY_POLICY], server.url, [{ callers: 100, statement: 'row' }], (_callers, figures) => {
    const title = '100 callers, row security';
    rows(title, figures);
    report.claimRatio(figures('throughput'), title, 'higher', [OURS], 0.95, BY_POLICY, 'throughput');
  });
  await measure([OURS, ALONE], server.url, [{ callers: 100, statement: 'mixed' }], (_callers, figures) => {
    const title = '100 callers, statements of 1 ms, one in twenty of 200 ms';
    rows(title, figures);
    report.addRounds(figures('mean'), title, 'mean ms', 'lower');
    const p99 = figures('p99');
    const allowed = p99.median(ALONE) + figures('mean').median(ALONE);
    report.claim(`${title}: p99 of the short ones`, p99.median(OURS), 'lower', allowed, 'ms');
  });

  await using proxy = await startFaultProxy({ target: server });
  proxy.latency(1);
  const far = new URL(server.url);
  far.hostname = proxy.host;
  far.port = String(proxy.port);
  await measure(
    [OURS, PG_POOL, POSTGRES_JS],
    far.href,
    [10, 100].map((callers) => ({ callers, statement: 'one' })),
    (callers, figures) => {
      const title = `${callers} callers, 1 ms away`;
      rows(title, figures);
      claims(title, figures, PG_POOL, callers === 100 ? 5 : 1);
      if (callers === 100) report.claimRatio(figures('throughput'), title, 'higher', [POSTGRES_JS], 1);
    },
  );
});
