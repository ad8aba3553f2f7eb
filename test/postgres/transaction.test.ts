import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { TestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;

beforeAll(async () => {
  database = await createDatabase();
  await database.query('create table accounts (id int primary key, balance int not null check (balance >= 0))');
  await database.query('grant all on accounts to public');
  pools = new TestPools(database);
});
afterEach(() => pools.close());
afterAll(() => database.drop());

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
    expect(
      await database.query(
        `select 1 from pg_stat_activity where datname = current_database() and query like '%pg_sleep%' and state = 'active' and application_name <> 'observer'`,
      ),
    ).toEqual([]);
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
});
