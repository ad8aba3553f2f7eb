/** Every way to run a statement on a pool without tenants. */
import { once } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { text as textOf } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { ConnectionPoolManager } from 'nestjs-pool-manager';
import pgPackage from 'pg';
import copyStreams from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { called, failureOf, pg, rowsOf } from '../calls.mjs';
import { quiet } from '../quiet.mjs';

// No literals in any of them: some APMs leave those out of a span's text.
const YES = 'select current_date = current_date as yes';
const SCRIPT = 'select current_date = current_date as yes; select current_date <> current_date as no';
const ADD = 'select $1::int + $2::int as sum';
const DIVIDE = 'select $1::int / $2::int as quotient';
const SERIES = 'select n from generate_series($1::int, $2::int) as n';
const INSERT = 'insert into notes select $1::int, $2::text';
const NOTES = 'select note from notes where id = $1';
const SLEEP = 'select pg_sleep($1)';
const PREPARE = 'set intervalstyle to iso_8601';
const CARRIED =
  'select current_query() as sql, application_name as application from pg_stat_activity where pid = pg_backend_pid()';

export async function run(calls, { databaseUrl }) {
  const manager = new ConnectionPoolManager(
    {
      pools: {
        orders: {
          type: 'database',
          connectionString: databaseUrl,
          maxSize: 2,
          minSize: 0,
          acquireTimeoutMs: 3_000,
          // Pings before most leases.
          validateAfterIdleMs: 1,
          healthCheck: { intervalMs: 0 },
          // A statement of the application's that no call asks for.
          onConnect: (client) => client.query(PREPARE),
        },
      },
    },
    quiet,
  );
  calls.mayBeAlone(pg(PREPARE));
  await manager.start();
  const pool = manager.getPool('orders');
  await calls.make('create the table', [pg('create table notes (id int, note text)')], async () =>
    rowsOf(await pool.query('create table notes (id int, note text)')),
  );

  await calls.make('what onConnect did', [pg('show intervalstyle')], async () =>
    rowsOf(await pool.query('show intervalstyle')),
  );
  await oneShots(calls, pool);
  await leases(calls, pool);
  await transactions(calls, pool);
  await streams(calls, pool);
  await ends(calls, pool);
  await calls.make('the health check', [], async () => (await pool.healthCheck()).status);
  await carriers(calls, pool);
  await calls.make('stop', [], async () => {
    await manager.stop();
  });
}

async function oneShots(calls, pool) {
  await calls.make('query(text)', [pg(YES)], async () => rowsOf(await pool.query(YES)));
  await calls.make('query(text, values)', [pg(ADD)], async () => rowsOf(await pool.query(ADD, [2, 3])));
  await calls.make('query(config)', [pg(ADD)], async () => rowsOf(await pool.query({ text: ADD, values: [4, 5] })));
  await calls.make('query(config, values)', [pg(ADD)], async () => rowsOf(await pool.query({ text: ADD }, [6, 7])));
  await calls.make('query(config of arrays)', [pg(ADD)], async () =>
    rowsOf(await pool.query({ text: ADD, values: [8, 9], rowMode: 'array' })),
  );
  for (const turn of ['prepared', 'reused', 'reused again']) {
    await calls.make(`query(named config), ${turn}`, [pg(ADD)], async () =>
      rowsOf(await pool.query({ name: 'add', text: ADD, values: [1, 1] })),
    );
  }
  await calls.make('query(text, callback)', [pg(YES)], async () =>
    rowsOf(await called((done) => pool.query(YES, done))),
  );
  await calls.make('query(text, values, callback)', [pg(ADD)], async () =>
    rowsOf(await called((done) => pool.query(ADD, [10, 11], done))),
  );
  await calls.make('query(config, callback)', [pg(ADD)], async () =>
    rowsOf(await called((done) => pool.query({ text: ADD, values: [12, 13] }, done))),
  );
  await calls.make('query inside the callback of a query', [pg(YES), pg(ADD)], async () =>
    rowsOf(await called((done) => pool.query(YES, (error) => (error ? done(error) : pool.query(ADD, [14, 15], done))))),
  );
  await calls.make('query(script)', [pg(SCRIPT)], async () => rowsOf(await pool.query(SCRIPT)));
  await calls.make('query(pg.Query)', [pg(ADD)], async () => {
    const query = pool.query(new pgPackage.Query({ text: ADD, values: [16, 17] }));
    const rows = [];
    query.on('row', (row) => rows.push(row));
    await once(query, 'end');
    return rows;
  });
  await calls.make('a statement that fails', [pg(DIVIDE, { failed: true })], () =>
    failureOf(pool.query(DIVIDE, [1, 0])),
  );
  await calls.make('a statement that fails, with a callback', [pg(DIVIDE, { failed: true })], () =>
    failureOf(called((done) => pool.query(DIVIDE, [1, 0], done))),
  );
  await calls.make('a named statement that fails', [pg(DIVIDE, { failed: true })], () =>
    failureOf(pool.query({ name: 'divide', text: DIVIDE, values: [1, 0] })),
  );
  await calls.make('a syntax error', [pg('selec', { failed: true })], () => failureOf(pool.query('selec')));
  await calls.make('more queries than connections', [], () =>
    Promise.all(
      Array.from({ length: 12 }, (_, turn) =>
        calls.make(`more queries than connections, ${turn}`, [pg(ADD)], async () =>
          rowsOf(await pool.query(ADD, [turn, 100])),
        ),
      ),
    ),
  );
}

async function leases(calls, pool) {
  await calls.make('a lease', [], async () => {
    const client = await pool.connect();
    try {
      await calls.make('a lease: text', [pg(YES)], async () => rowsOf(await client.query(YES)));
      await calls.make('a lease: values', [pg(ADD)], async () => rowsOf(await client.query(ADD, [20, 21])));
      await calls.make('a lease: config', [pg(ADD)], async () =>
        rowsOf(await client.query({ text: ADD, values: [22, 23] })),
      );
      await calls.make('a lease: named', [pg(ADD)], async () =>
        rowsOf(await client.query({ name: 'add', text: ADD, values: [24, 25] })),
      );
      await calls.make('a lease: callback', [pg(ADD)], async () =>
        rowsOf(await called((done) => client.query(ADD, [26, 27], done))),
      );
      await calls.make('a lease: pg.Query', [pg(ADD)], async () => {
        const query = client.query(new pgPackage.Query({ text: ADD, values: [28, 29] }));
        const rows = [];
        query.on('row', (row) => rows.push(row));
        await once(query, 'end');
        return rows;
      });
      await calls.make('a lease: three at once', [pg(ADD), pg(DIVIDE, { failed: true }), pg(YES)], async () => {
        const outcomes = await Promise.allSettled([
          client.query(ADD, [30, 31]),
          client.query(DIVIDE, [1, 0]),
          client.query(YES),
        ]);
        return outcomes.map(({ value, reason }) =>
          value ? rowsOf(value) : { code: reason.code, message: reason.message },
        );
      });
    } finally {
      client.release();
    }
  });
  await calls.make('connect(callback)', [pg(YES)], async () =>
    rowsOf(
      await called((done) =>
        pool.connect((error, client, release) => {
          if (error) return done(error);
          client.query(YES, (failure, result) => {
            release();
            done(failure, result);
          });
        }),
      ),
    ),
  );
  for (const turn of ['first', 'second', 'third', 'fourth']) {
    await calls.make(`the ${turn} lease, each after a reset`, [pg(ADD), pg(YES)], async () => {
      const client = await pool.connect();
      try {
        return [rowsOf(await client.query(ADD, [32, 33])), rowsOf(await client.query(YES))];
      } finally {
        client.release();
      }
    });
  }
  await calls.make('use', [pg(ADD)], () => pool.use(async (client) => rowsOf(await client.query(ADD, [34, 35]))));
}

async function transactions(calls, pool) {
  await calls.make('a transaction that commits', [], () =>
    pool.transaction(async (tx) => [
      await calls.make('a transaction that commits: write', [pg(INSERT)], async () =>
        rowsOf(await tx.query(INSERT, [1, 'kept'])),
      ),
      await calls.make('a transaction that commits: read', [pg(NOTES)], async () => rowsOf(await tx.query(NOTES, [1]))),
      await calls.make('a transaction that commits: its client', [pg(NOTES)], async () =>
        rowsOf(await tx.client.query(NOTES, [1])),
      ),
      await calls.make('a transaction that commits: callback', [pg(NOTES)], async () =>
        rowsOf(await called((done) => tx.query(NOTES, [1], done))),
      ),
    ]),
  );
  await calls.make('a transaction that rolls back', [pg(INSERT)], () =>
    failureOf(
      pool.transaction(async (tx) => {
        await tx.query(INSERT, [2, 'lost']);
        throw new Error('on purpose');
      }),
    ),
  );
  await calls.make('a transaction whose statement fails', [pg(INSERT), pg(DIVIDE, { failed: true })], () =>
    failureOf(
      pool.transaction(async (tx) => {
        await tx.query(INSERT, [3, 'lost']);
        await tx.query(DIVIDE, [1, 0]);
      }),
    ),
  );
  await calls.make('a nested transaction', [pg(INSERT), pg(INSERT), pg(DIVIDE, { failed: true })], () =>
    pool.transaction(async (tx) => {
      await tx.query(INSERT, [4, 'outer']);
      const inner = await failureOf(
        tx.transaction(async (nested) => {
          await nested.query(INSERT, [5, 'inner']);
          await nested.query(DIVIDE, [1, 0]);
        }),
      );
      return inner.message;
    }),
  );
  await calls.make('what the transactions left', [pg('select id, note from notes order by id')], async () =>
    rowsOf(await pool.query('select id, note from notes order by id')),
  );
}

async function streams(calls, pool) {
  await calls.make('a cursor on a lease', [pg(SERIES), pg(YES)], async () => {
    const client = await pool.connect();
    try {
      const cursor = client.query(new Cursor(SERIES, [1, 5]));
      const rows = [await cursor.read(2), await cursor.read(2), await cursor.read(2)];
      await cursor.close();
      return [rows, rowsOf(await client.query(YES))];
    } finally {
      client.release();
    }
  });
  await calls.make('a cursor on the pool', [pg(SERIES)], async () => {
    const cursor = pool.query(new Cursor(SERIES, [6, 8]));
    const rows = [await cursor.read(2), await cursor.read(100)];
    await cursor.close();
    return rows;
  });
  await calls.make('a cursor that fails', [pg(DIVIDE, { failed: true })], async () => {
    const cursor = pool.query(new Cursor(DIVIDE, [1, 0]));
    return failureOf(cursor.read(1));
  });
  await calls.make('a cursor that is closed half way', [pg(SERIES)], async () => {
    const cursor = pool.query(new Cursor(SERIES, [1, 1_000]));
    const rows = await cursor.read(1);
    await cursor.close();
    return rows;
  });
  await calls.make('a query stream on a lease', [pg(SERIES), pg(YES)], async () => {
    const client = await pool.connect();
    try {
      const rows = await client.query(new QueryStream(SERIES, [9, 12])).toArray();
      return [rows, rowsOf(await client.query(YES))];
    } finally {
      client.release();
    }
  });
  await calls.make('a query stream on the pool', [pg(SERIES)], () =>
    pool.query(new QueryStream(SERIES, [13, 16])).toArray(),
  );
  await calls.make('a query stream that fails', [pg(DIVIDE, { failed: true })], () =>
    failureOf(pool.query(new QueryStream(DIVIDE, [1, 0])).toArray()),
  );
  await calls.make(
    'COPY in both directions',
    [pg('copy notes from stdin'), pg('copy notes to stdout'), pg(YES)],
    async () => {
      const client = await pool.connect();
      try {
        await pipeline(Readable.from(['7\tcopied\n']), client.query(copyStreams.from('copy notes from stdin')));
        const copied = await textOf(client.query(copyStreams.to('copy notes to stdout')));
        return [copied, rowsOf(await client.query(YES))];
      } finally {
        client.release();
      }
    },
  );
}

/** Statements that end otherwise than by the server's answer. */
async function ends(calls, pool) {
  await calls.make('a statement that passes its deadline', [pg(SLEEP, { failed: true })], async () => {
    const { name, code } = await failureOf(pool.query({ text: SLEEP, values: [30], timeoutMs: 150 }));
    return { name, code };
  });
  await calls.make('a statement that its signal ends', [pg(SLEEP, { failed: true })], async () => {
    const abort = new AbortController();
    const failure = failureOf(pool.query({ text: SLEEP, values: [30], signal: abort.signal }));
    setTimeout(() => abort.abort(), 150);
    const { name, code } = await failure;
    return { name, code };
  });
  await calls.make(
    'a session that the server ends',
    [pg('select pg_backend_pid() as pid'), pg(SLEEP, { failed: true })],
    async () => {
      const client = await pool.connect();
      client.on('error', () => {});
      try {
        const { rows } = await client.query('select pg_backend_pid() as pid');
        const lost = failureOf(client.query(SLEEP, [30]));
        await calls.make('a session that the server ends: the end', [pg('select pg_terminate_backend($1)')], async () =>
          rowsOf(await pool.query('select pg_terminate_backend($1)', [rows[0].pid])),
        );
        const { name } = await lost;
        return name;
      } finally {
        client.release();
      }
    },
  );
  await calls.make('a lease that is destroyed under its statement', [pg(SLEEP, { failed: true })], async () => {
    const client = await pool.connect();
    client.on('error', () => {});
    const failure = failureOf(client.query(SLEEP, [30]));
    client.release(true);
    const { name } = await failure;
    return name;
  });
  await calls.make('a call that gets no connection', [pg(SLEEP), pg(SLEEP)], async () => {
    // By leases: it could travel behind a one-shot query.
    const busy = [1, 2].map(() => pool.use((client) => client.query(SLEEP, [0.5])));
    const { name } = await failureOf(pool.query({ text: YES, timeoutMs: 100 }));
    await Promise.all(busy);
    return name;
  });
}

/** What reaches the server of the span, for the APMs that send it along. */
async function carriers(calls, pool) {
  const carried = ({ rows: [row] }) => row;
  await calls.carry('carried by query', [pg(CARRIED)], async () => carried(await pool.query(CARRIED)));
  await calls.carry(
    'carried by query(values)',
    [pg(`${CARRIED} and $1::text = $2`)],
    async () => carried(await pool.query(`${CARRIED} and $1::text = $2`, ['one', 'one'])),
    ['one', 'one'],
  );
  await calls.make('carriers on a lease', [], async () => {
    const client = await pool.connect();
    try {
      await calls.carry('carried by a lease', [pg(CARRIED)], async () => carried(await client.query(CARRIED)));
      await calls.carry('carried by a lease, again', [pg(CARRIED)], async () => carried(await client.query(CARRIED)));
    } finally {
      client.release();
    }
  });
  await calls.make('carriers in a transaction', [], () =>
    pool.transaction(async (tx) => {
      await calls.carry('carried by a transaction', [pg(CARRIED)], async () => carried(await tx.query(CARRIED)));
    }),
  );
}
