/**
 * Connection strings: what passes means to pg what it says; anything malformed or ambiguous is refused at once, and
 * nothing of a password gets anywhere.
 */
import { inspect } from 'node:util';

import { afterAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';

import { withoutTls } from '../../lib/postgres/connection-string.js';
import { parsePostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { TestPools } from './pools.js';

const pools = new TestPools({ url: 'postgres://unused@localhost/unused' });
afterAll(() => pools.close());

const refusalOf = (connectionString: string): unknown => {
  try {
    parsePostgresPoolOptions('orders', { connectionString }, {});
    return undefined;
  } catch (error) {
    return error;
  }
};

describe('a connection string', () => {
  it.each([
    ['a # in the password', 'postgres://orders:hunter2#rest@db.example/orders'],
    ['a # in a password of digits, which is a port then', 'postgres://orders:1234#hunter2@db.example/orders'],
    ['a / in the password', 'postgres://orders:hunt/er2@db.example/orders'],
    ['a / in a password of digits', 'postgres://orders:1234/hunter2@db.example/orders'],
    ['a / and an @ in the password', 'postgres://orders:p@hunter2/x@db.example/orders'],
    ['a ? in the password', 'postgres://orders:1234?hunter2@db.example/orders'],
    ['a ? and an @ in the password', 'postgres://orders:p@hunter2?x@db.example/orders'],
    ['@/ in the password', 'postgres://orders:hunter2@/x@db.example/orders'],
    ['a % alone', 'postgres://orders:hunter2%@db.example/orders'],
    ['a % before something else', 'postgres://orders:hunter2%zz@db.example/orders'],
    ['a % at the very end', 'postgres://orders:hunter2@db.example/orders%'],
    ['bytes that are no UTF-8', 'postgres://orders:hunter2%ff@db.example/orders'],
    ['a NUL', 'postgres://orders:hunter2%00@db.example/orders'],
    ['a space', 'postgres://orders:hunter2 x@db.example/orders'],
    ['a line end, as files have it', 'postgres://orders:hunter2@db.example/orders\n'],
    ['a tab, which URLs drop', 'postgres://orders:hun\tter2@db.example/orders'],
    ['a fragment', 'postgres://orders:hunter2@db.example/orders#main'],
    ['several hosts', 'postgres://orders:hunter2@one.example,two.example/orders'],
    ['several hosts with ports', 'postgres://orders:hunter2@one.example:5432,two.example:5433/orders'],
    ['several hosts as a parameter', 'postgres://orders:hunter2@/orders?host=one.example,two.example'],
    ['a port that is none', 'postgres://orders:hunter2@db.example:port/orders'],
    ['a port beyond the last', 'postgres://orders:hunter2@db.example:65536/orders'],
    ['a port as a parameter that is none', 'postgres://orders:hunter2@/orders?port=abc'],
    ['an IPv6 address without brackets', 'postgres://orders:hunter2@fe80::1:5432/orders'],
    ['two slashes in the path', 'postgres://orders:hunter2@db.example//orders'],
    ['one slash behind the scheme', 'postgres:/orders:hunter2@db.example/orders'],
    ['no slash behind the scheme', 'postgres:orders'],
    ['no scheme', 'orders:hunter2@db.example/orders'],
    ['the scheme of another database', 'mysql://orders:hunter2@db.example/orders'],
    ['a parameter twice', 'postgres://orders:hunter2@db.example/orders?sslmode=require&sslmode=disable'],
    ['a misspelt parameter', 'postgres://orders:hunter2@db.example/orders?ssl_mode=verify-full'],
    ['a parameter of nobody’s', 'postgres://orders:hunter2@db.example/orders?hunter3=hunter2'],
    ['the database as a parameter', 'postgres://orders:hunter2@db.example/?dbname=orders'],
    ['an sslmode that there isn’t', 'postgres://orders:hunter2@db.example/orders?sslmode=off'],
    ['ssl=false, which pg takes for a yes', 'postgres://orders:hunter2@db.example/orders?ssl=false'],
    ['a time-out with a unit', 'postgres://orders:hunter2@db.example/orders?statement_timeout=30s'],
    ['a socket with two databases', '/var/run/postgresql orders hunter2'],
    ['a socket with a space at the end', '/var/run/postgresql '],
    ['a socket URL without a directory', 'socket:?db=orders'],
  ])('with %s is refused, in words without a part of it', (_what, connectionString) => {
    const refusal = refusalOf(connectionString);
    expect(refusal).toMatchObject({ code: 'POOL_CONFIG', problems: [{ key: 'pools.orders.connectionString' }] });
    const told = `${inspect(refusal, { depth: 5, showHidden: true })} ${JSON.stringify(refusal)}`;
    for (const part of ['hunt', 'hunter', '1234', 'er2', 'one.example', 'db.example']) expect(told).not.toContain(part);
  });

  it('with a misspelt parameter names the right one', () => {
    expect(String(refusalOf('postgres://db.example/orders?ssl_mode=require'))).toContain('Did you mean "sslmode"?');
  });

  it.each([
    ['postgres://db.example'],
    ['postgres://db.example:6432/orders'],
    ['POSTGRESQL://orders@db.example/orders'],
    ['postgres://orders:p%40ss%2Fw%23rd%3F%25@db.example/orders'],
    ['postgres://orders:p@ss:word@db.example/orders'],
    ['postgres://orders:@db.example/orders'],
    ['postgres://:hunter2@db.example/orders'],
    ['postgres://'],
    ['postgres:///orders'],
    ['postgres://orders@/orders?host=/var/run/postgresql'],
    ['postgres://orders:pw@localhost/orders?host=/cloudsql/project:region:instance'],
    ['postgres://%2Fvar%2Frun%2Fpostgresql/orders'],
    ['postgres://orders:pw@[::1]:5433/orders'],
    ['postgres://db.example/%C3%A4%20b'],
    ['postgres://db.example/orders?application_name=my%20app&options=-c%20geqo%3Doff'],
    ['postgres://db.example/orders?channel_binding=require&connect_timeout=10&pgbouncer=true&schema=public'],
    ['/var/run/postgresql'],
    ['/var/run/postgresql orders'],
    ['socket:/var/run/postgresql?db=orders&encoding=utf8'],
  ])('such as %s means what pg makes of it', async (connectionString) => {
    const pool = await pools.create({ connectionString });
    const { host, port, user, database } = new pg.Client(connectionString);
    expect(pool.options).toMatchObject({ host, port, user, database });
    expect(inspect([pool, pool.options, pool.config], { depth: 6, showHidden: true })).not.toMatch(/hunter2|p@ss|pw/);
    expect(JSON.stringify([pool, pool.options, pool.config])).not.toMatch(/hunter2|p@ss|pw/);
  });

  it('with a file that can’t be read is refused when the pool is created', async () => {
    await expect(
      pools.create({ connectionString: 'postgres://orders:hunter2@db.example/orders?sslrootcert=/nowhere/ca.pem' }),
    ).rejects.toMatchObject({
      code: 'POOL_CONFIG',
      message: expect.stringMatching(
        /connectionString: is refused by pg: the file \/nowhere\/ca\.pem can't be read \(ENOENT\)$/,
      ),
    });
  });

  it('gives way to the options of the pool', async () => {
    expect(withoutTls('postgres://u@/db?host=/tmp&sslmode=require&sslrootcert=/x')).toBe('postgres://u@/db?host=/tmp');
    expect(withoutTls('postgres://u@h/db?sslmode=require')).toBe('postgres://u@h/db');
    expect(withoutTls('postgres://u@h/db')).toBe('postgres://u@h/db');
  });

  it('never shows in the error of a connect that fails', async () => {
    const pool = await pools.create({
      connectionString: 'postgres://orders:hunter2@127.0.0.1:1/orders?application_name=app',
      failFastAfterMs: 0,
    });
    const error: unknown = await pool.query('select 1').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'POOL_BACKEND_UNAVAILABLE', cause: { code: 'ECONNREFUSED' } });
    expect(inspect([error, pools.log.lines, pool.stats()], { depth: 8, showHidden: true })).not.toContain('hunter2');
  });
});
