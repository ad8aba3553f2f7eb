/**
 * Tenants in every mode of isolation: two of them, interleaved on two connections, so that sessions change hands all
 * the time.
 */
import { ConnectionPoolManager } from 'nestjs-pool-manager';
import Cursor from 'pg-cursor';
import { called, failureOf, pg, rowsOf } from '../calls.mjs';
import { quiet } from '../quiet.mjs';

const TENANTS = ['acme', 'bolt'];
const ROUNDS = 60;

const OWN = 'select owner, n from things order by n';
const UP_TO = 'select owner, n from things where n <= $1 order by n';
const INSERT = 'insert into things select owner, n + $1 from things where n = $2';
const DIVIDE = 'select n / $1::int as quotient from things';
const CARRIED =
  'select current_query() as sql, application_name as application from pg_stat_activity where pid = pg_backend_pid()';

/** @param settings `roles` names the database role of each tenant. */
export async function run(calls, { databaseUrl, roles }) {
  const isolations = {
    rls: { mode: 'rls', setting: 'app.tenant_id' },
    role: { mode: 'role', role: (tenant) => roles[tenant] },
    schema: { mode: 'schema', schema: (tenant) => tenant },
  };
  for (const [mode, isolation] of Object.entries(isolations)) {
    const manager = new ConnectionPoolManager(
      {
        pools: {
          orders: {
            type: 'database',
            connectionString: databaseUrl,
            maxSize: 2,
            minSize: 0,
            acquireTimeoutMs: 4_000,
            healthCheck: { intervalMs: 0 },
            isolation,
          },
        },
      },
      quiet,
    );
    await manager.start();
    const pool = manager.getPool('orders');
    await calls.make(`${mode}: interleaved`, [], () =>
      Promise.all(Array.from({ length: ROUNDS }, (_, round) => turn(calls, pool, mode, round))),
    );
    await calls.make(`${mode}: one after the other`, [], async () => {
      for (let round = 0; round < 12; round++) await turn(calls, pool, `${mode}, in turn`, round);
    });
    await calls.make(`${mode}: without a tenant`, [], () => failureOf(pool.query(OWN)));
    await calls.carry(`${mode}: carried by query`, [pg(CARRIED)], async () => {
      const { rows } = await pool.forTenant('acme').query(CARRIED);
      return rows[0];
    });
    await calls.make(`${mode}: stop`, [], async () => {
      await manager.stop();
    });
  }
}

/** One way of using the pool as a tenant; the rows must be the tenant's own. */
async function turn(calls, pool, mode, round) {
  const tenant = TENANTS[round % TENANTS.length];
  const view = pool.forTenant(tenant);
  const form = FORMS[Math.floor(round / TENANTS.length) % FORMS.length];
  await calls.make(`${mode}: ${round} as ${tenant}, ${form.name}`, form.spans, async () => {
    const rows = await form.run(view);
    const foreign = rows.filter(({ owner }) => owner !== undefined && owner !== tenant);
    if (foreign.length > 0) throw new Error(`${tenant} got rows of another tenant: ${JSON.stringify(foreign)}`);
    if (rows.length === 0) throw new Error(`${tenant} got no rows`);
    return rows;
  });
}

const FORMS = [
  { name: 'query', spans: [pg(OWN)], run: async (view) => rowsOf(await view.query(OWN)).rows },
  { name: 'values', spans: [pg(UP_TO)], run: async (view) => rowsOf(await view.query(UP_TO, [2])).rows },
  {
    name: 'named',
    spans: [pg(UP_TO)],
    run: async (view) => rowsOf(await view.query({ name: 'up_to', text: UP_TO, values: [3] })).rows,
  },
  {
    name: 'callback',
    spans: [pg(UP_TO)],
    run: async (view) => rowsOf(await called((done) => view.query(UP_TO, [1], done))).rows,
  },
  {
    name: 'a statement that fails',
    spans: [pg(DIVIDE, { failed: true })],
    run: async (view) => [await failureOf(view.query(DIVIDE, [0]))],
  },
  {
    name: 'lease',
    spans: [pg(OWN), pg(UP_TO)],
    run: async (view) => {
      const client = await view.connect();
      try {
        return [...rowsOf(await client.query(OWN)).rows, ...rowsOf(await client.query(UP_TO, [1])).rows];
      } finally {
        client.release();
      }
    },
  },
  {
    name: 'transaction',
    spans: [pg(OWN), pg(INSERT), pg(OWN)],
    run: async (view) => {
      let rows;
      await view
        .transaction(async (tx) => {
          rows = rowsOf(await tx.query(OWN)).rows;
          await tx.query(INSERT, [100, 1]);
          rows.push(...rowsOf(await tx.query(OWN)).rows);
          throw new Error('rolled back');
        })
        .catch((error) => {
          if (error.message !== 'rolled back') throw error;
        });
      return rows;
    },
  },
  {
    name: 'cursor',
    spans: [pg(OWN)],
    run: async (view) => {
      const cursor = view.query(new Cursor(OWN));
      const rows = await cursor.read(100);
      await cursor.close();
      return rows;
    },
  },
];
