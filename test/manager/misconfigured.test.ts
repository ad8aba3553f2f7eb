// What no waiting mends: the start that waits for the pool says so at once, whatever `startupTimeoutMs` is.
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';

import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';

import type { PoolConfigError } from '../../lib/index.js';
import { ConnectionPoolManager, type PoolManagerOptions } from '../../lib/index.js';
import { isMisconfigured } from '../../lib/postgres/protocol/pg-errors.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';
import { rejectionOf } from '../support/problems.js';
import { CERTIFICATE, KEY } from '../support/self-signed.js';
import { type RedisServer, startRedis } from '../support/servers/index.js';
import { withDatabase } from '../support/with-database.js';

type Pool = PoolManagerOptions['pools'][string];

let database: TestDatabase;
withDatabase((made) => (database = made));
let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ password: 'right' });
});
afterAll(() => redis.stop());

const managers: ConnectionPoolManager[] = [];
afterEach(async () => {
  await Promise.all(managers.splice(0).map((manager) => manager.stop({ deadlineMs: 0 })));
});

/** For longer than a test may take, so that only what ends at once passes. */
const FOR_EVER = 600_000;

function managerOf(pool: Pool, logger = new LogBook()): ConnectionPoolManager {
  const manager = new ConnectionPoolManager({ pools: { it: { startupTimeoutMs: FOR_EVER, ...pool } } }, { logger });
  managers.push(manager);
  return manager;
}

const refusalOf = (pool: Pool, logger?: LogBook): Promise<PoolConfigError> =>
  rejectionOf(managerOf(pool, logger).start());

function databaseAt(change: (url: URL) => void): Pool {
  const url = new URL(database.url);
  change(url);
  return { type: 'database', connectionString: url.href };
}

describe('a PostgreSQL pool that is waited for ends the start at once', () => {
  it.each<[string, (url: URL) => void, unknown, RegExp]>([
    ['a wrong password', (url) => (url.password = 'wrong-secret'), '28P01', /password authentication failed/],
    ['no password', (url) => (url.password = ''), undefined, /client password must be a string/],
    ['a user that does not exist', (url) => (url.username = 'nobody_of_that_name'), '28P01', /authentication failed/],
    ['a database that does not exist', (url) => (url.pathname = '/nowhere'), '3D000', /does not exist/],
    [
      'TLS that the server has not',
      (url) => url.searchParams.set('sslmode', 'require'),
      undefined,
      /does not support SSL/,
    ],
    [
      'an unknown parameter',
      (url) => url.searchParams.set('options', '-c no.such=1 -c nothing=1'),
      '42704',
      /unrecognized/,
    ],
  ])('with %s, and says why without a secret', async (_, change, code, why) => {
    const logger = new LogBook();
    const failure = await refusalOf(databaseAt(change), logger);
    expect(failure.poolId).toBe('it');
    expect(failure.problems).toMatchObject([{ key: 'pools.it', rule: expect.stringMatching(why) }]);
    expect(failure.problems[0]?.rule).toContain('waiting mends nothing');
    expect(failure.cause).toMatchObject(code === undefined ? {} : { code });
    expect([String(failure), JSON.stringify(failure), ...logger.lines].join('\n')).not.toContain('wrong-secret');
  });

  it('with a user that must not connect to the database', async () => {
    const role = `${database.name}_outside`;
    await database.query(`create role "${role}" login password 'outside'`);
    await database.query(`revoke connect on database "${database.name}" from public`);
    try {
      const failure = await refusalOf(databaseAt((url) => ((url.username = role), (url.password = 'outside'))));
      expect(failure.cause).toMatchObject({ code: '42501' });
    } finally {
      await database.query(`grant connect on database "${database.name}" to public`);
      await database.query(`drop role "${role}"`);
    }
  });

  it.each([
    ['that the user is no member of', 'pg_monitor', '42501'],
    ['that does not exist', 'nobody_of_that_name', '22023'],
  ])('with a role to set %s', async (_, role, code) => {
    const failure = await refusalOf({
      type: 'database',
      connectionString: database.url,
      onConnect: (client) => client.query(`set role "${role}"`),
    });
    expect(failure.cause).toMatchObject({ code });
  });

  it('also when it is created at run time', async () => {
    const manager = new ConnectionPoolManager({ pools: {} }, { logger: new LogBook() });
    managers.push(manager);
    await manager.start();
    const url = new URL(database.url);
    url.pathname = '/nowhere';
    await expect(manager.createDatabasePool('reports', { connectionString: url.href })).rejects.toThrow(
      /pools\.reports: can't be connected, and waiting mends nothing/,
    );
  });

  it('and in the background goes on trying, until somebody has mended it', async () => {
    const role = `${database.name}_late`;
    const pool = databaseAt((url) => ((url.username = role), (url.password = 'late')));
    const logger = new LogBook();
    const manager = managerOf({ ...pool, startup: 'background' }, logger);
    await manager.start();
    await eventually(() => expect(logger.says(/could not connect/)).toBe(true));
    await database.query(`create role "${role}" login password 'late'`);
    await eventually(() => expect(manager.getPool('it').status).toBe('healthy'), { withinMs: 10_000 });
    await manager.stop({ deadlineMs: 0 });
    await database.query(`drop role "${role}"`);
  });

  it.each([
    ['starts up', '57P03', 'FATAL'],
    ['shuts down', '57P01', 'FATAL'],
    ['is full', '53300', 'FATAL'],
    ['takes no writes yet', '25006', 'ERROR'],
    ['lacks what a migration makes', '42704', 'ERROR'],
    ['lacks a table', '42P01', 'ERROR'],
  ])('but not with a server that %s', (_, code, severity) => {
    expect(isMisconfigured(Object.assign(new Error('not now'), { code, severity }))).toBe(false);
  });

  it.each(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'CERT_NOT_YET_VALID'])(
    'nor with %s, which may pass',
    (code) => {
      expect(isMisconfigured(Object.assign(new Error('not now'), { code }))).toBe(false);
    },
  );
});

describe('a Redis pool that is waited for ends the start at once', () => {
  const at = (change: (url: URL) => void): { type: 'redis'; url: string } => {
    const url = new URL(redis.url);
    change(url);
    return { type: 'redis', url: url.href };
  };

  it.each([0, 1])('with a wrong password, and with none, for a minSize of %d', async (minSize) => {
    const wrong = await refusalOf({ ...at((url) => (url.password = 'wrong-secret')), minSize });
    expect(wrong.problems[0]?.rule).toMatch(/WRONGPASS/);
    expect(String(wrong)).not.toContain('wrong-secret');
    const none = await refusalOf({ ...at((url) => (url.password = '')), minSize });
    expect(none.problems[0]?.rule).toMatch(/NOAUTH/);
  });

  it.each([0, 1])('with a database that it has not, for a minSize of %d', async (minSize) => {
    const failure = await refusalOf({ ...at(() => undefined), db: 99, minSize });
    expect(failure.problems[0]?.rule).toMatch(/DB index/i);
  });
});

describe('an HTTP pool that is waited for ends the start at once', () => {
  it('with an upstream whose certificate no known authority has signed', async () => {
    const server = createServer({ cert: CERTIFICATE, key: KEY }, (_request, response) => response.end('ok'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const healthCheck = { path: '/health' };
      const failure = await refusalOf({ type: 'http', baseURL: `https://127.0.0.1:${port}`, healthCheck });
      expect(failure.cause).toMatchObject({ code: 'DEPTH_ZERO_SELF_SIGNED_CERT' });
    } finally {
      server.close();
    }
  });
});

describe("a pool over an application's own driver that is waited for", () => {
  const refused = Object.assign(new Error('530 Login incorrect'), { reply: 530 });

  it('ends the start at once with what the driver says that waiting does not mend', async () => {
    const driver = Object.assign(new FakeDriver(), {
      isMisconfigured: (error: unknown) => error instanceof Error && 'reply' in error && error.reply === 530,
    });
    driver.openBehaviour = refused;
    const failure = await refusalOf({ type: 'external', driver });
    expect(failure.cause).toBe(refused);
    expect(driver.live).toEqual([]);
  });

  it('waits with a driver that has no word on it, or fails to say', async () => {
    for (const isMisconfigured of [
      undefined,
      () => {
        throw new Error('not known');
      },
    ]) {
      const driver = Object.assign(new FakeDriver(), isMisconfigured === undefined ? {} : { isMisconfigured });
      driver.openBehaviour = refused;
      const logger = new LogBook();
      const started = managerOf({ type: 'external', driver }, logger).start();
      await eventually(() => expect(logger.says(/could not connect/)).toBe(true));
      driver.openBehaviour = 'ok';
      await started;
    }
  });
});
