/**
 * Whatever is configured, and however wrongly: no way of printing it shows a secret.
 */
import { inspect } from 'node:util';

import { describe, expect, it } from '@jest/globals';

import { parseExternalPoolOptions } from '../../lib/external/external-pool.options.js';
import { type HttpPoolOptions, parseHttpPoolOptions } from '../../lib/http/http-pool.options.js';
import { parseManagerOptions, type PoolManagerOptions } from '../../lib/manager/pool-manager.options.js';
import { parsePostgresPoolOptions, type PostgresPoolOptions } from '../../lib/postgres/postgres-pool.options.js';
import { parseRedisPoolOptions, type RedisPoolOptions } from '../../lib/redis/redis-pool.options.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { errorOf } from '../support/problems.js';

const SECRET = 'hunter2';

/** Every way in which an object ends up as text. */
function printings(value: object): string[] {
  return [
    inspect(value),
    inspect(value, { depth: Infinity, showHidden: true }),
    inspect(value, { depth: Infinity, showHidden: true, customInspect: false }),
    inspect({ nested: { ...value } }, { depth: Infinity }),
    JSON.stringify(value),
    JSON.stringify({ nested: [{ ...value }] }),
    JSON.stringify(Object.entries(value)),
  ];
}

function expectNoSecret(value: object): void {
  for (const text of printings(value)) {
    expect(text).not.toContain(SECRET);
    expect(text).not.toContain(Buffer.from(SECRET).toString('base64'));
  }
}

const postgres: PostgresPoolOptions = {
  connectionString: `postgres://orders:${SECRET}@db/orders?options=-c%20x%3D${SECRET}`,
  password: SECRET,
  ssl: { key: SECRET, passphrase: SECRET, ca: [Buffer.from(SECRET)] },
  client: { password: SECRET, options: `-c app.key=${SECRET}`, ssl: { key: SECRET } },
};
const redis: RedisPoolOptions = {
  url: `rediss://:${SECRET}@cache/0`,
  password: () => SECRET,
  tls: { key: SECRET },
  client: { password: SECRET, sentinelPassword: SECRET, sentinels: [{ host: SECRET }] },
};
const sentinel: RedisPoolOptions = {
  sentinel: { name: 'main', nodes: [{ host: 'a.example' }], username: 'watcher', password: SECRET },
};
const cluster: RedisPoolOptions = {
  cluster: { nodes: [{ host: 'a.example' }], client: { redisOptions: { password: SECRET } } },
};
const http: HttpPoolOptions = {
  baseURL: `https://user:${SECRET}@hooks.example/${SECRET}?key=${SECRET}`,
  headers: { authorization: `Bearer ${SECRET}`, 'x-api-key': SECRET },
  client: { auth: { username: 'u', password: SECRET }, params: { token: SECRET }, headers: { cookie: SECRET } },
};

describe('resolved options', () => {
  const resolved: [string, object][] = [
    ['of PostgreSQL', parsePostgresPoolOptions('a', postgres, {})],
    [
      'of PostgreSQL, from the environment',
      parsePostgresPoolOptions('a', {}, { DATABASE_URL: `postgres://u:${SECRET}@db` }),
    ],
    ['of Redis', parseRedisPoolOptions('a', redis, {})],
    ['of Redis behind sentinels', parseRedisPoolOptions('a', sentinel, {})],
    ['of a Redis cluster', parseRedisPoolOptions('a', cluster, {})],
    ['of HTTP', parseHttpPoolOptions('a', http, {})],
    [
      'of a driver of one’s own',
      parseExternalPoolOptions('a', { driver: Object.assign(new FakeDriver(), { password: SECRET }) }, {}),
    ],
    [
      'of a registration',
      parseManagerOptions(
        {
          pools: {
            a: { type: 'database', ...postgres },
            b: { type: 'redis', ...redis },
            c: { type: 'redis', ...sentinel },
            d: { type: 'redis', ...cluster },
            e: { type: 'http', ...http },
          },
        },
        { env: {} },
      ),
    ],
  ];

  it.each(resolved)('%s print without their secrets', (_, options) => {
    expectNoSecret(options);
  });

  it('still give them to the driver that asks by name', () => {
    const config = parsePostgresPoolOptions('a', postgres, {});
    expect(config.connectionString).toBe(postgres.connectionString);
    expect(config.password).toBe(SECRET);
    expect(config.client.options).toContain(SECRET);
    expect(parseHttpPoolOptions('a', http, {}).headers.authorization).toBe(`Bearer ${SECRET}`);
    expect(parseRedisPoolOptions('a', sentinel, {}).sentinel?.password).toBe(SECRET);
  });

  it('say which of them are set', () => {
    expect(JSON.parse(JSON.stringify(parseHttpPoolOptions('a', http, {})))).toMatchObject({
      baseURL: '[hidden]',
      headers: { authorization: '[hidden]', 'x-api-key': '[hidden]' },
      client: { auth: '[hidden]', params: '[hidden]', headers: '[hidden]' },
    });
    expect(inspect(parsePostgresPoolOptions('a', { connectionString: 'postgres://db' }, {}))).not.toContain('password');
  });
});

describe('refused options', () => {
  /** Each secret where it belongs beside a mistake, or where it doesn't belong at all. */
  const mistakes: [string, unknown][] = [
    ['a broken connection string', { a: { type: 'database', connectionString: `mysql://u:${SECRET}@db` } }],
    [
      'a password that is half of a URL',
      { a: { type: 'database', connectionString: `postgres://u:${SECRET}/#x@db:y` } },
    ],
    ['a connection string for a pool', { a: `postgres://u:${SECRET}@db` }],
    ['a connection string for a type', { a: { type: `postgres://u:${SECRET}/x@db` } }],
    ['a connection string for a name', { [`postgres://u:${SECRET}@db`]: { type: 'http' } }],
    ['a connection string for a size', { a: { type: 'http', maxSize: `postgres://u:${SECRET}@db` } }],
    [
      'a connection string for a setting',
      { a: { ...postgres, type: 'database', isolation: { mode: 'rls', setting: `postgres://u:${SECRET}@db` } } },
    ],
    ['a connection string for an unknown key', { a: { type: 'http', [`postgres://u:${SECRET}@db`]: 1 } }],
    [
      'a good pool beside a mistake',
      {
        a: { ...postgres, type: 'database', maxSize: 0 },
        b: { ...redis, type: 'redis', db: -1 },
        c: { ...http, type: 'http', maxSiz: 1 },
      },
    ],
    ['a password in a list', { a: { ...postgres, type: 'database', password: [SECRET] } }],
    ['a password as TLS', { a: { ...postgres, type: 'database', ssl: SECRET } }],
    ['a password as driver options', { a: { ...redis, type: 'redis', client: SECRET } }],
    ['a header in a list', { a: { type: 'http', headers: [`authorization: ${SECRET}`] } }],
    ['a header with a line break', { a: { type: 'http', headers: { authorization: `${SECRET}\n` } } }],
    ['nodes as URLs', { a: { type: 'redis', cluster: { nodes: [`redis://:${SECRET}@a`] } } }],
    ['a redis URL with another scheme', { a: { type: 'redis', url: `http://:${SECRET}@a` } }],
    ['a tenant by a URL', { a: { type: 'http', tenants: { overrides: { [`x://u:${SECRET}@h`]: { max: 0 } } } } }],
    ['a password for a word', { a: { type: 'http', tenants: { whenFull: `${SECRET}/@://` } } }],
  ];

  it.each(mistakes)('are reported without the secret: %s', (_, pools) => {
    const env = { DATABASE_URL: `postgres://u:${SECRET}@db`, REDIS_URL: `redis://:${SECRET}@cache` };
    const error = errorOf(() => parseManagerOptions({ pools } as PoolManagerOptions, { env }));
    expectNoSecret(error);
    expect(error.message).not.toContain(SECRET);
    expect(error.stack).not.toContain(SECRET);
  });

  it('keep a secret number to themselves', () => {
    const pools: unknown = { a: { ...postgres, type: 'database', password: 271828, ssl: 271828, client: 271828 } };
    const error = errorOf(() => parseManagerOptions({ pools } as PoolManagerOptions, { env: {} }));
    expect(error.problems).toHaveLength(3);
    expect(error.message).not.toContain('271828');
  });
});
