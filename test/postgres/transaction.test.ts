import { finished } from 'node:stream/promises';

import { afterEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import Cursor from 'pg-cursor';

import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { PgTransaction } from '../../lib/postgres/transaction/pg-transaction.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { serverMessage, startMessageProxy } from '../support/servers/message-proxy.js';
import { sleepingStatements, type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
withTestPools(
  (made) => ({ database, pools } = made),
  () => [
    'create table accounts (id int primary key, balance int not null check (balance >= 0))',
    'grant all on accounts to public',
  ],
);

const refill = () => database.query('truncate accounts; insert into accounts values (1, 100), (2, 100)');
const balances = async () =>
  (await database.query('select balance from accounts order by id')).map((row) => Number(row.balance));

describe('transaction', () => {
  it('commits what returns and rolls back what throws', async () => {
    await refill();
    const pool = await pools.create({ maxSize: 1 });
    const answer = await pool.transaction(async (tx) => {
      await tx.query('update accounts set balance = balance - 30 where id = 1');
      await tx.query('update accounts set balance = balance + $1 where id = 2', [30]);
      return 'moved';
    });
    expect(answer).toBe('moved');
    await expect(
      pool.transaction(async (tx) => {
        await tx.query('update accounts set balance = 0');
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    expect(await balances()).toEqual([70, 130]);
    expect(pool.stats().connects).toBe(1);
  });

  it('begins as asked', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const shown = await pool.transaction(
      async (tx) =>
        (
          await tx.query(
            `select current_setting('transaction_isolation') i, current_setting('transaction_read_only') r, current_setting('transaction_deferrable') d`,
          )
        ).rows,
      { isolation: 'serializable', readOnly: true, deferrable: true },
    );
    expect(shown).toEqual([{ i: 'serializable', r: 'on', d: 'on' }]);
  });

  it('refuses to pass for committed when a failure was swallowed', async () => {
    await refill();
    const pool = await pools.create({ maxSize: 1 });
    await expect(
      pool.transaction(async (tx) => {
        await tx.query('update accounts set balance = 1 where id = 1');
        await tx.query('update accounts set balance = -1 where id = 2').catch(() => {});
      }),
    ).rejects.toMatchObject({ code: 'POOL_TRANSACTION_ABORTED', cause: { code: '23514' } });
    expect(await balances()).toEqual([100, 100]);
  });

  it('nests by savepoints', async () => {
    await refill();
    const pool = await pools.create({ maxSize: 1 });
    await pool.transaction(async (tx) => {
      await tx.query('update accounts set balance = 1 where id = 1');
      await expect(
        tx.transaction(async (inner) => {
          await inner.query('update accounts set balance = 2 where id = 2');
          await inner.transaction((innermost) => innermost.query('update accounts set balance = -1 where id = 1'));
        }),
      ).rejects.toMatchObject({ code: '23514' });
      await tx.transaction((inner) => inner.query('update accounts set balance = 3 where id = 2'));
    });
    expect(await balances()).toEqual([1, 3]);
  });

  it('tries again after serialization failures and deadlocks', async () => {
    await refill();
    const pool = await pools.create({ maxSize: 4 });
    let attempts = 0;
    const increment = () =>
      pool.transaction(
        async (tx) => {
          attempts++;
          const { rows } = await tx.query('select balance from accounts where id = 1');
          await tx.query('update accounts set balance = $1 where id = 1', [Number(rows[0]?.balance) + 1]);
        },
        { isolation: 'serializable', retries: 50 },
      );
    await Promise.all(Array.from({ length: 8 }, increment));
    expect((await balances())[0]).toBe(108);
    expect(attempts).toBeGreaterThanOrEqual(8);
    await expect(
      pool.transaction(
        async () => {
          attempts = 0;
          throw Object.assign(new Error('not a matter of timing'), { code: '23505', severity: 'ERROR' });
        },
        { retries: 5 },
      ),
    ).rejects.toThrow('not a matter of timing');
  });

  it('ends at its deadline and at its signal, on the server too', async () => {
    await refill();
    const pool = await pools.create({ maxSize: 1 });
    await expect(
      pool.transaction(
        async (tx) => {
          await tx.query('update accounts set balance = 5 where id = 1');
          await tx.query('select pg_sleep(60)');
        },
        { timeoutMs: 80 },
      ),
    ).rejects.toMatchObject({ code: 'POOL_OPERATION_TIMEOUT' });
    const controller = new AbortController();
    const running = pool.transaction(
      async (tx) => {
        await tx.query('update accounts set balance = 6 where id = 1');
        setImmediate(() => controller.abort());
        await new Promise(() => {});
      },
      { signal: controller.signal },
    );
    await expect(running).rejects.toMatchObject({ code: 'POOL_QUERY_ABORTED' });
    await eventually(() => pool.idleCount === 1);
    expect(await balances()).toEqual([100, 100]);
    expect(await sleepingStatements(database)).toEqual([]);
  });

  it('keeps the shorter of its own limit and the pool’s, and takes no limit that can never be reached', async () => {
    const timeoutOf = async (tx: PgTransaction): Promise<number> =>
      Number(
        (await tx.query<{ ms: string }>(`select setting as ms from pg_settings where name = 'statement_timeout'`))
          .rows[0]?.ms,
      );
    const pool = await pools.create({ maxSize: 1, statementTimeoutMs: 4_000 });
    expect(await pool.transaction(timeoutOf, { timeoutMs: 60_000 })).toBe(4_000);
    expect(await pool.transaction(timeoutOf, { timeoutMs: 2_000 })).toBeLessThanOrEqual(2_000);
    for (const timeoutMs of [Infinity, 2 ** 40]) expect(await pool.transaction(timeoutOf, { timeoutMs })).toBe(4_000);
    for (const timeoutMs of [NaN, -1, 0])
      await expect(pool.transaction(timeoutOf, { timeoutMs })).rejects.toBeInstanceOf(Error);
    expect(pool.stats().active).toBe(0);
  });

  it('lets nothing run in it once it is over', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const escaped = await pool.transaction(async (tx) => tx);
    await expect(escaped.query('select 1')).rejects.toMatchObject({ code: 'POOL_TRANSACTION_ENDED' });
  });

  it('uses connections of its own for calls on the pool, and says so when there is none', async () => {
    const pool = await pools.create({ maxSize: 1 });
    await expect(pool.transaction(() => pool.query('select 1'))).rejects.toMatchObject({ code: 'POOL_NESTED_ACQUIRE' });
  });

  describe('that has ended', () => {
    const PREPARED = 'left to its author';
    /** What ends it before its function returns. */
    const ENDINGS: readonly [name: string, end: (tx: PgTransaction) => Promise<unknown>, committed: boolean][] = [
      ['COMMIT', (tx) => tx.query('commit'), true],
      ['END', (tx) => tx.query('end'), true],
      ['ROLLBACK', (tx) => tx.query('rollback'), false],
      ['ABORT', (tx) => tx.query('abort'), false],
      ['COMMIT AND CHAIN', (tx) => tx.query('commit and chain'), false],
      ['ROLLBACK AND CHAIN', (tx) => tx.query('rollback and chain'), false],
      ['a COMMIT on its client', (tx) => tx.client.query('commit'), true],
      [
        'a ROLLBACK on its client after an error',
        (tx) => tx.query('select 1/0').catch(() => tx.client.query('rollback')),
        false,
      ],
      [
        'a COMMIT by a query of pg',
        (tx) => new Promise((resolve) => tx.client.query(new pg.Query('commit').on('end', resolve))),
        true,
      ],
      ['PREPARE TRANSACTION', (tx) => tx.query(`prepare transaction '${PREPARED}'`), false],
      ['ROLLBACK in a nested one', (tx) => tx.transaction((inner) => inner.query('rollback')).catch(() => {}), false],
    ];
    /** How a statement may still come. */
    const LATE: readonly [name: string, run: (tx: PgTransaction, client: LeasedClient) => Promise<unknown>][] = [
      ['query', (tx) => tx.query('update accounts set balance = 0')],
      ['query on its client', (_tx, client) => client.query('update accounts set balance = 0')],
      ['a nested transaction', (tx) => tx.transaction((inner) => inner.query('update accounts set balance = 0'))],
      ['a cursor', (_tx, client) => client.query(new Cursor('update accounts set balance = 0 returning 1')).read(1)],
      [
        'a callback',
        (tx) =>
          new Promise((resolve, reject) => {
            tx.query('update accounts set balance = 0', (error) => (error ? reject(error) : resolve(undefined)));
          }),
      ],
      ['a COPY', (_tx, client) => finished(client.query(copyFrom('copy accounts from stdin')).end('3\t0\n'))],
      ['a COPY on the transaction', (tx) => finished(tx.query(copyFrom('copy accounts from stdin')).end('3\t0\n'))],
      [
        'a query of pg',
        (_tx, client) =>
          new Promise((resolve, reject) => {
            client.query(new pg.Query('update accounts set balance = 0').on('error', reject).on('end', resolve));
          }),
      ],
    ];

    describe.each(ENDINGS)('by %s', (_name, end, committed) => {
      afterEach(async () => {
        const left = await database.query('select 1 from pg_prepared_xacts where gid = $1', [PREPARED]);
        if (left.length > 0) await database.query(`rollback prepared '${PREPARED}'`);
      });

      it.each(LATE)('runs nothing more: %s', async (_late, run) => {
        await refill();
        const pool = await pools.create({ maxSize: 1 });
        const outcome = pool.transaction(async (tx) => {
          const { client } = tx;
          await end(tx);
          await expect(run(tx, client)).rejects.toMatchObject({ code: 'POOL_TRANSACTION_ENDED' });
        });
        if (committed) await expect(outcome).resolves.toBeUndefined();
        else await expect(outcome).rejects.toMatchObject({ code: 'POOL_TRANSACTION_ENDED' });
        expect(await balances()).toEqual([100, 100]);
        expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
      });
    });

    it.each(LATE)('by the return of its function runs nothing more: %s', async (_name, run) => {
      await refill();
      const pool = await pools.create({ maxSize: 1 });
      const late: Promise<unknown>[] = [];
      await pool.transaction((tx) => {
        const { client } = tx;
        // In the turn in which COMMIT is on its way.
        late.push(new Promise((resolve) => setImmediate(resolve)).then(() => run(tx, client)));
      });
      const error: unknown = await Promise.all(late).catch((refused: unknown) => refused);
      expect(error).toMatchObject({ code: expect.stringMatching(/POOL_TRANSACTION_ENDED|POOL_LEASE_RELEASED/) });
      expect(await balances()).toEqual([100, 100]);
    });

    it.each(LATE)('by the return of a nested function runs nothing more in that one: %s', async (_name, run) => {
      await refill();
      const pool = await pools.create({ maxSize: 1 });
      await pool.transaction(async (tx) => {
        const kept = await tx.transaction((inner) => inner);
        // Its client is that of the whole.
        const late = (): Promise<unknown> => run(kept, kept.client);
        await expect(Promise.resolve().then(late)).rejects.toMatchObject({ code: 'POOL_TRANSACTION_ENDED' });
        expect((await tx.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
      });
      expect(await balances()).toEqual([100, 100]);
    });

    it('keeps savepoints of a library usable', async () => {
      await refill();
      const pool = await pools.create({ maxSize: 1 });
      await pool.transaction(async (tx) => {
        for (const back of ['rollback to a', 'ROLLBACK TO SAVEPOINT a', 'rollback work to savepoint a']) {
          await tx.query('savepoint a');
          await tx.query('update accounts set balance = 1');
          await tx.query(back);
        }
        await tx.query('update accounts set balance = 7 where id = 1');
      });
      expect(await balances()).toEqual([7, 100]);
    });
  });

  describe('whose function returns a query that runs when it is awaited', () => {
    /** Its outcome is the tenants that it was begun and went on as, and what its statement has found. */
    const lazily = (tx: PgTransaction): PromiseLike<unknown> => ({
      then: (resolve, reject) => {
        const begun = pools.tenants.current();
        const run = async (): Promise<unknown> => {
          const { rows } = await tx.query(`select current_setting('app.tenant_id', true) as tenant`);
          return { begun, wentOn: pools.tenants.current(), rows };
        };
        return run().then(resolve, reject);
      },
    });
    const asAcme = { begun: 'acme', wentOn: 'acme', rows: [{ tenant: 'acme' }] };

    it.each<[string, (pool: PostgresPool) => PromiseLike<unknown>]>([
      ['transaction', (pool) => pool.transaction(lazily)],
      ['a nested transaction', (pool) => pool.transaction((tx) => tx.transaction(lazily))],
      [
        'a nested one in a nested one',
        (pool) => pool.transaction((tx) => tx.transaction((in1) => in1.transaction(lazily))),
      ],
      ['an async function', (pool) => pool.transaction(async (tx) => lazily(tx))],
    ])('runs it as the tenant of the call, in the transaction: %s', async (_way, run) => {
      const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
      const { tenants } = pools;
      expect(await tenants.run('acme', async () => run(pool))).toEqual(asAcme);
      expect(await tenants.run('globex', () => tenants.run('acme', () => run(pool)))).toEqual(asAcme);
      expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
    });
  });

  it('lets nested ones that were begun side by side take turns', async () => {
    await refill();
    const pool = await pools.create({ maxSize: 1 });
    const events: string[] = [];
    const settled = await pool.transaction((tx) =>
      Promise.allSettled([
        tx.transaction(async (part) => {
          events.push('first begins');
          await part.query('update accounts set balance = 1 where id = 1');
          await part.query('select 1');
          events.push('first fails');
          throw new Error('refused');
        }),
        tx.transaction(async (part) => {
          events.push('second begins');
          await part.query('update accounts set balance = 2 where id = 2');
          return 'kept';
        }),
        // A part of a part, by the handle of the whole: waiting for its turn would be waiting for itself.
        tx.transaction((part) =>
          part.transaction(() => tx.transaction((inner) => inner.query('select 1')).then(() => 'deep')),
        ),
      ]),
    );
    expect(settled.map((part) => (part.status === 'fulfilled' ? part.value : 'failed'))).toEqual([
      'failed',
      'kept',
      'deep',
    ]);
    expect(events).toEqual(['first begins', 'first fails', 'second begins']);
    expect(await balances()).toEqual([100, 2]);
  });

  it('tells of a lost connection, and repeats what cannot have been committed', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const end = (tx: PgTransaction) => database.query('select pg_terminate_backend($1)', [tx.client.processID]);
    for (const ways of [
      async (tx: PgTransaction) => {
        await end(tx);
        await eventually(() => tx.client.session.lostBecause !== undefined);
        await tx.query('select 1');
      },
      async (tx: PgTransaction) => {
        await end(tx);
        await eventually(() => tx.client.session.lostBecause !== undefined);
      },
    ]) {
      await expect(pool.transaction(ways)).rejects.toMatchObject({
        code: 'POOL_CONNECTION_LOST',
        sent: false,
        cause: { code: '57P01' },
      });
    }
  });

  describe('whose connection the server ends', () => {
    const CONFLICT = serverMessage('E', 'SFATAL\0VFATAL\0C40001\0Mconflict with recovery\0\0');
    const SHUTDOWN = serverMessage('E', 'SFATAL\0VFATAL\0C57P01\0Mthe server goes\0\0');

    /** Runs increments through a server that answers the command of this tag, once, with `answer`, and goes. */
    async function runThrough(tag: string, answer: Buffer) {
      await refill();
      await using proxy = await startMessageProxy(database.url);
      const url = new URL(database.url);
      url.port = String(proxy.port);
      const pool = await pools.create({ connectionString: url.href, maxSize: 1 });
      await pool.query('select 1');
      let isOver = false;
      proxy.edit = (type, message) => {
        if (isOver || type !== 'C' || !message.includes(tag)) return [message];
        isOver = true;
        setImmediate(() => proxy.cut());
        return [answer];
      };
      let attempts = 0;
      const increment = async (tx: PgTransaction): Promise<void> => {
        attempts++;
        await tx.query('update accounts set balance = balance + 1 where id = 1');
      };
      const error: unknown = await pool.transaction(increment, { retries: 3 }).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      await pools.close();
      return { error, attempts };
    }

    it('for a matter of timing, is repeated by retries: nothing of it can have been committed', async () => {
      expect(await runThrough('UPDATE', CONFLICT)).toEqual({ error: undefined, attempts: 2 });
      expect(await balances()).toEqual([101, 100]);
    });

    it.each([
      ['under COMMIT, for a matter of timing', 'COMMIT', CONFLICT, '40001'],
      ['under COMMIT', 'COMMIT', SHUTDOWN, '57P01'],
      ['for another reason', 'UPDATE', SHUTDOWN, '57P01'],
    ])('is not repeated: %s', async (_when, tag, answer, code) => {
      const { error, attempts } = await runThrough(tag, answer);
      expect(error).toMatchObject({ code: 'POOL_CONNECTION_LOST', sent: true, cause: { code } });
      expect(attempts).toBe(1);
    });
  });
});
