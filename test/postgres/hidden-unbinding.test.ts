/**
 * A binding that is undone where it is hard to see: behind comments and quotes of a script, by a statement that was
 * prepared before, by a cursor that is closed half read, by a procedure that fails after it has committed.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import Cursor from 'pg-cursor';

import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { TestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;
let role: string;

beforeAll(async () => {
  database = await createDatabase();
  role = `${database.name} acme`;
  await database.query(`
    create role "${role}"; grant "${role}" to "${database.user}"; create schema acme; create schema other;
    create procedure fail_afterwards() language plpgsql as $$
      begin reset role; set search_path = other; commit; raise exception 'too late'; end $$;
    grant usage on schema acme, other to public`);
  pools = new TestPools(database);
});
afterEach(() => pools.close());
afterAll(async () => {
  await database.query(`drop owned by "${role}"; drop role "${role}"`);
  await database.drop();
});

const byRole = (): Promise<PostgresPool> => pools.create({ maxSize: 1, isolation: { mode: 'role', role: () => role } });
const bySchema = (): Promise<PostgresPool> =>
  pools.create({ maxSize: 1, isolation: { mode: 'schema', schema: (tenant) => tenant } });
const bySetting = (): Promise<PostgresPool> => pools.create({ maxSize: 1, isolation: { mode: 'rls' } });

describe('a script that gives up the binding ahead of another statement', () => {
  const SCRIPTS: readonly [name: string, create: () => Promise<PostgresPool>, script: string][] = [
    ['behind a nested comment', byRole, `select 1; /* a /* b */ ' */ reset role; select 2; -- '`],
    ['behind a comment that a carriage return ends', byRole, 'select 1; -- a\rreset role; select 2'],
    ['between identifiers with dollar signs', byRole, 'select 1 as a$$; reset role; select 1 as b$$'],
    ['behind a dollar quote with a tag of other letters', byRole, `select $é$ ' $é$; reset role; select '2'`],
    ['behind an identifier that ends with e', byRole, String.raw`select 1 as é, 'a\'; reset role; select 'b'`],
    ['behind an identifier of other letters', byRole, String.raw`select éE'a\'; reset role; select '\'`],
    ['behind a literal that goes on in the next line', byRole, `select e'a'\n'\\' ; --'; reset role; select 1`],
    ['behind a backslash that escapes', byRole, String.raw`select '\' ; --'; reset role; select 1; --'`],
    ['by a quoted name', byRole, 'reset "role"; select 2'],
    ['by a quoted name in capitals', byRole, 'set session "ROLE" to none; select 2'],
    ['by a name in Unicode escapes', byRole, String.raw`set u&"\0072ole" to none; select 2`],
    ['by the user of the session', byRole, 'set session session authorization default; select 2'],
    ['by a function', byRole, `select set_config('role', 'none', false); select 2`],
    ['by a function in quotes', byRole, `select "set_config"('role', 'none', false); select 2`],
    ['by a block', byRole, 'do $$ begin reset role; end $$; select 2'],
    ['by a setting in two quoted parts', bySetting, `set "app"."tenant_id" = 'other'; select 2`],
    ['by a setting with space in its name', bySetting, `set app . tenant_id = 'other'; select 2`],
    ['by a quoted search path', bySchema, 'set "search_path" = other; select 2'],
    [
      'by a view of settings',
      bySchema,
      `update pg_settings set setting = 'other' where name = 'search_path'; select 2`,
    ],
  ];

  it.each(SCRIPTS)('is refused: %s', async (_name, create, script) => {
    const acme = (await create()).forTenant('acme');
    const client = await acme.connect();
    await expect(client.query(script)).rejects.toMatchObject({ code: 'POOL_SCRIPT_REFUSED' });
    client.release();
    await expect(acme.query(script)).rejects.toMatchObject({ code: 'POOL_SCRIPT_REFUSED' });
  });

  it.each([
    ['comments', byRole, `select 1; /* reset role; /* */ reset role; */ -- reset role;\nselect 2`],
    ['literals', byRole, `select 'reset role; '' reset role;', e'\\'; reset role;'; select 2`],
    ['dollar quotes', byRole, 'select $a$; reset role; $$ $a$; select 2'],
    ['names of columns', byRole, 'select 1 as "; reset role;"; select 2'],
    ['other settings', byRole, `set statement_timeout = 5000; select set_config('app.x', 'y', false); select 2`],
    ['blocks that set nothing', byRole, `do $$ begin perform 1; end $$; select 2`],
    ['the last statement', byRole, `select 2; reset role`],
  ])('is not seen in %s', async (_name, create, script) => {
    const acme = (await create()).forTenant('acme');
    expect(await acme.query(script)).toMatchObject({});
  });
});

describe('a binding that is undone out of sight', () => {
  const who = async (client: Pick<LeasedClient, 'query'>): Promise<unknown> =>
    (await client.query('select current_user::text as who')).rows;
  const UNBIND = `select set_config('role', 'none', false)`;

  const WAYS: readonly [name: string, undo: (client: LeasedClient) => Promise<unknown>][] = [
    [
      'by a prepared statement',
      async (client) => {
        await client.query(`prepare undo as ${UNBIND}`);
        await client.query('execute undo');
      },
    ],
    [
      'by a named statement that is called by its name alone',
      async (client) => {
        await client.query({ name: 'undo', text: UNBIND });
        await client.query({ name: 'undo', text: '' });
      },
    ],
    [
      'by a cursor of SQL',
      async (client) => {
        await client.query('begin');
        await client.query(`declare undo cursor for ${UNBIND}`);
        await client.query('select 1');
        await client.query('fetch undo');
        await client.query('commit');
      },
    ],
    [
      'by a cursor that is closed half read',
      async (client) => {
        const cursor = client.query(new Cursor(`${UNBIND} from generate_series(1, 10)`));
        await cursor.read(1);
        await cursor.close();
      },
    ],
    [
      'by a procedure that fails after it has committed',
      (client) => expect(client.query('call public.fail_afterwards()')).rejects.toMatchObject({ code: 'P0001' }),
    ],
    [
      'by a block that fails after it has committed',
      (client) =>
        expect(
          client.query('do $$ begin reset role; commit; raise exception $a$too late$a$; end $$'),
        ).rejects.toMatchObject({ code: 'P0001' }),
    ],
    [
      'by a statement that an earlier query has prepared',
      async (client) => {
        await client.query('execute earlier');
      },
    ],
  ];

  it.each(WAYS)('is made again before the next statement: %s', async (_name, undo) => {
    const acme = (await byRole()).forTenant('acme');
    await acme.query(`prepare earlier as ${UNBIND}`);
    const client = await acme.connect();
    await client.query('select 1');
    await undo(client);
    expect(await who(client)).toEqual([{ who: role }]);
    client.release();
  });

  it('is made again behind an update of the settings', async () => {
    const client = await (await bySchema()).forTenant('acme').connect();
    await client.query(`update pg_settings set setting = 'other' where name = 'search_path'`);
    expect((await client.query('select current_schema()::text as who')).rows).toEqual([{ who: 'acme' }]);
    client.release();
  });

  it('does not let a transaction go on that was rolled back and begun anew', async () => {
    const acme = (await byRole()).forTenant('acme');
    const work = acme.transaction(async (tx) => {
      await tx.query('rollback and chain /* back to the start */');
      await tx.query('select 1');
    });
    await expect(work).rejects.toMatchObject({ code: 'POOL_TRANSACTION_ENDED' });
  });
});

describe('a lease behind a query that took its reset along', () => {
  it('hears what it listens for', async () => {
    const pool = await pools.create({ maxSize: 1, isolation: { mode: 'rls' } });
    await pool.forTenant('a').query('select 1');
    await pool.forTenant('b').query('select 1');
    const client = await pool.forTenant('b').connect();
    const heard = new Promise((resolve) => client.on('notification', resolve));
    await client.query('listen news');
    await client.query(`notify news, 'for b'`);
    expect(await heard).toMatchObject({ payload: 'for b' });
    client.release();
  });
});
