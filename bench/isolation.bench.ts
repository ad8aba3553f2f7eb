/**
 * Claim: a query as a tenant costs hardly more than a bare one, and a fraction of BEGIN / set_config / query / COMMIT
 * one after the other, which is how it is done on pg-pool.
 *
 * A real PostgreSQL with a row security policy; ten connections. Round trips are counted by a proxy, and the case
 * "1 ms away" goes through it with a delay.
 */
import { ConnectionPoolManager, type PostgresPool, type PostgresPoolOptions } from 'nestjs-pool-manager';
import pg from 'pg';

import { startFaultProxy, startPostgres } from '../test/support/servers/index.js';
import { bench } from './harness/bench.js';
import { quietLogger } from './harness/quiet-logger.js';
import { Rounds, type Subject } from './harness/rounds.js';
import { OURS } from './harness/rows.js';

const SIZE = 10;
const CALLERS = 10;
const ROUNDS = 31;
const ROUND_MS = 300;
const TENANTS = 1_000;
const ONE_WAY_MS = 0.5;

const BARE = `${OURS} without a tenant`;
const TRUSTED = `${OURS} with trustOneShot`;
const SEQUENTIAL = 'pg-pool';
const LEASE = `${OURS} connect as one tenant`;
const BARE_LEASE = `${OURS} connect without a tenant`;

const QUERY = 'select id, item from orders where id = $1';

/** Queries per second. */
async function rate(query: (turn: number) => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  const endsAt = startedAt + ROUND_MS;
  let done = 0;
  await Promise.all(
    Array.from({ length: CALLERS }, async (_, caller) => {
      // Each caller begins elsewhere, so that all tenants take part.
      for (let turn = caller * 97; performance.now() < endsAt; turn++) {
        await query(turn);
        done++;
      }
    }),
  );
  return (done * 1_000) / (performance.now() - startedAt);
}

/** As it is done without our pool: four round trips on one client. */
async function sequentially(pool: pg.Pool, tenant: string, id: number): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    await client.query("select set_config('app.tenant_id', $1, true)", [tenant]);
    await client.query(QUERY, [id]);
    await client.query('commit');
  } finally {
    client.release();
  }
}

async function onClient(pool: PostgresPool, id: number): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query(QUERY, [id]);
  } finally {
    client.release();
  }
}

await bench('isolation', async (report) => {
  await using server = await startPostgres();
  const admin = new pg.Client(server.superuserUrl);
  await admin.connect();
  await admin.query(`
    create table orders (id int primary key, tenant text not null, item text not null);
    insert into orders select n, 'tenant-' || n % ${TENANTS}, 'item ' || n from generate_series(1, 10000) n;
    alter table orders enable row level security;
    alter table orders force row level security;
    create policy own_rows on orders using (tenant = nullif(current_setting('app.tenant_id', true), ''));
    grant select on orders to public; analyze orders`);
  await admin.end();
  await using proxy = await startFaultProxy({ target: server });
  const throughProxy = new URL(server.url);
  throughProxy.hostname = proxy.host;
  throughProxy.port = String(proxy.port);

  const manager = new ConnectionPoolManager(undefined, { logger: quietLogger });
  const create = (id: string, options: PostgresPoolOptions): Promise<PostgresPool> =>
    manager.createDatabasePool(id, { connectionString: server.url, minSize: SIZE, maxSize: SIZE, ...options });
  const rls = { isolation: { mode: 'rls' } } as const;
  // Its sessions are the tenant's from the start: the same rows by the same policy, and nothing to bind.
  const bare = await create('bare', { client: { options: '-c app.tenant_id=tenant-1' } });
  const safe = await create('safe', rls);
  const trusted = await create('trusted', { ...rls, session: { trustOneShot: true } });
  const far = await create('far', { ...rls, connectionString: throughProxy.href });
  const counted = await create('counted', { ...rls, connectionString: throughProxy.href, minSize: 1, maxSize: 1 });
  const peer = new pg.Pool({ connectionString: server.url, max: SIZE });
  const farPeer = new pg.Pool({ connectionString: throughProxy.href, max: SIZE });
  const tenantOf = (turn: number): string => `tenant-${turn % TENANTS}`;
  const asOne = safe.forTenant('tenant-1');
  const all = Array.from({ length: TENANTS }, (_, turn) => safe.forTenant(tenantOf(turn)));
  const allTrusted = Array.from({ length: TENANTS }, (_, turn) => trusted.forTenant(tenantOf(turn)));
  const pick = (views: readonly PostgresPool[], turn: number): PostgresPool => views[turn % TENANTS] ?? asOne;
  const subject = (name: string, query: (turn: number) => Promise<unknown>): Subject => ({
    name,
    measure: () => rate(query),
  });

  try {
    const one = await Rounds.run(
      [
        subject(OURS, () => asOne.query(QUERY, [1])),
        subject(BARE, () => bare.query(QUERY, [1])),
        subject(SEQUENTIAL, () => sequentially(peer, 'tenant-1', 1)),
      ],
      ROUNDS,
    );
    report.addRounds(one, 'one tenant, 10 callers', 'queries/s', 'higher');
    report.claimRatio(one, 'one tenant, 10 callers', 'higher', [BARE], 0.85);
    report.claimRatio(one, 'one tenant, 10 callers', 'higher', [SEQUENTIAL], 2.5);
    report.addRatio(one, 'one tenant, 10 callers', 'higher', BARE, SEQUENTIAL);

    const many = await Rounds.run(
      [
        subject(OURS, (turn) => pick(all, turn).query(QUERY, [turn % 10_000])),
        subject(TRUSTED, (turn) => pick(allTrusted, turn).query(QUERY, [turn % 10_000])),
        subject(SEQUENTIAL, (turn) => sequentially(peer, tenantOf(turn), turn % 10_000)),
      ],
      ROUNDS,
    );
    report.addRounds(many, '1,000 tenants, 10 callers', 'queries/s', 'higher');
    report.claimRatio(many, '1,000 tenants, 10 callers', 'higher', [SEQUENTIAL], 1.6);
    report.claimRatio(many, '1,000 tenants, 10 callers', 'higher', [SEQUENTIAL], 2.5, TRUSTED);

    const leases = await Rounds.run(
      [subject(LEASE, () => onClient(asOne, 1)), subject(BARE_LEASE, () => onClient(bare, 1))],
      ROUNDS,
    );
    report.addRounds(leases, 'connect, query, release, the same tenant repeating', 'queries/s', 'higher');
    report.claimRatio(
      leases,
      'connect, query, release, the same tenant repeating',
      'higher',
      [BARE_LEASE],
      0.95,
      LEASE,
    );

    await counted.forTenant('tenant-1').query(QUERY, [1]);
    for (const [load, turns] of [
      ['one tenant', 1],
      ['another tenant each time', TENANTS],
    ] as const) {
      proxy.resetCounters();
      // Every query through the proxy is counted: the other pool on it is idle, and isn't probed meanwhile.
      const queries = 200;
      for (let turn = 0; turn < queries; turn++) await counted.forTenant(tenantOf(turn % turns)).query(QUERY, [turn]);
      report.claim(`round trips per query, ${load}`, proxy.counters.roundTrips / queries, 'lower', 1, 'round trips');
    }

    proxy.latency(ONE_WAY_MS);
    const away = await Rounds.run(
      [
        subject(OURS, () => far.forTenant('tenant-1').query(QUERY, [1])),
        subject(SEQUENTIAL, () => sequentially(farPeer, 'tenant-1', 1)),
      ],
      ROUNDS,
    );
    report.addRounds(away, '1 ms away', 'queries/s', 'higher');
    report.claimRatio(away, '1 ms away', 'higher', [SEQUENTIAL], 3.5);
  } finally {
    await manager.stop();
    await Promise.all([peer.end(), farPeer.end()]);
  }
});
