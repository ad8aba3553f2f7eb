import { describe, expect, it } from '@jest/globals';

import { systemClock } from '../../lib/engine/time/clock.js';
import { createRedisPool } from '../../lib/redis/create-redis-pool.js';
import { parseRedisPoolOptions, type RedisPoolOptions } from '../../lib/redis/redis-pool.options.js';
import { TenantContext } from '../../lib/tenancy/tenant-context.js';
import { problemsOf } from '../support/problems.js';

const URL = 'redis://:hunter2@cache.example:6379/0';
const nodes = [{ host: 'a.example', port: 7000 }];

const parse = (options: RedisPoolOptions, env = {}) => parseRedisPoolOptions('cache', options, env);
const refusals = (options: unknown, env = {}) => problemsOf(() => parse(options as RedisPoolOptions, env));

describe('the options of a Redis pool', () => {
  it('have the documented defaults', () => {
    const config = parse({ url: URL });
    expect(config).toMatchObject({ type: 'redis', minSize: 1, maxSize: 10, acquireTimeoutMs: 10_000, startup: 'wait' });
    expect(config.url).toBe(URL);
    expect(config.client).toEqual({});
  });

  it('find the server in REDIS_URL when they name none', () => {
    const env = { REDIS_URL: URL };
    expect(parse({}, env).url).toBe(URL);
    expect(parse({ url: 'rediss://other' }, env).url).toBe('rediss://other');
    expect(parse({ cluster: { nodes } }, env).url).toBeUndefined();
    expect(parse({ sentinel: { name: 'main', nodes } }, env).url).toBeUndefined();
    expect(parse({ client: { host: 'cache.example' } }, env).url).toBeUndefined();
    expect(parse({ client: { path: '/run/redis.sock' } }, env).url).toBeUndefined();
  });

  it.each([
    [
      {},
      'url: is required: a redis:// URL here or in the environment variable REDIS_URL, or sentinel, cluster or client.host',
    ],
    [
      { url: 'http://:hunter2@cache' },
      'url: must be a redis:// or rediss:// URL; special characters in user and password are percent-encoded',
    ],
    [
      { url: 'redis://:hunter2#@cache' },
      'url: must be a redis:// or rediss:// URL; special characters in user and password are percent-encoded',
    ],
    [{ cluster: { nodes: [] } }, 'cluster.nodes: must name at least one node'],
    [{ cluster: { nodes: ['redis://:hunter2@a'] } }, 'cluster.nodes[0]: must be an object, got a text'],
    [{ cluster: { nodes: [{ host: 'a', port: 99_999 }] } }, 'cluster.nodes[0].port: must be at most 65535, got 99999'],
    [
      { cluster: { nodes: [{ host: 'redis://:hunter2@a' }] } },
      'cluster.nodes[0].host: must be the name or address of a host, without scheme, user, password and port',
    ],
    [
      { client: { host: ':hunter2@a' } },
      'client: host must be the name or address of a host, without scheme, user, password and port',
    ],
    [{ url: URL, client: { host: 'other' } }, 'client: must not set host beside url'],
    [{ url: URL, client: { path: '/run/redis.sock' } }, 'client: must not set path beside url'],
    [{ url: 'rediss://a', tls: false }, 'tls: must not be false with a rediss:// URL'],
    [{ url: URL, tls: false, client: { tls: {} } }, 'tls: must not be false beside client.tls'],
    [
      { url: URL, tls: { servername: 'a' }, client: { tls: { servername: 'b' } } },
      'tls: must not set servername to something else than client.tls does',
    ],
    [{ cluster: { nodes }, db: 2 }, 'db: must be 0 with a cluster, got 2'],
    [{ sentinel: { nodes } }, 'sentinel.name: is required: a text'],
    [
      { sentinel: { name: 'main', nodes, password: 7 } },
      'sentinel.password: must be a text, or a function that returns one (or a promise of one), got a number',
    ],
    [{ url: URL, db: -1 }, 'db: must be at least 0, got -1'],
    [{ url: URL, username: 7 }, 'username: must be a text, got a number'],
    [{ url: URL, sentinels: nodes }, 'sentinels: is not an option. Did you mean sentinel.nodes?'],
    [{ url: URL, keyPrefix: 'x' }, 'keyPrefix: is not an option. Did you mean client.keyPrefix?'],
    [{ url: URL, minSize: 11 }, 'maxSize: must be at least minSize (11), got 10'],
  ])('refuse %j', (options, problem) => {
    expect(refusals(options)).toEqual([`pools.cache.${problem}`]);
  });

  it.each([
    [{ url: 'redis://a' }, undefined],
    [{ url: 'redis://a', tls: false }, undefined],
    [{ url: 'rediss://a' }, {}],
    [{ url: 'redis://a', tls: true }, {}],
    [{ url: 'rediss://a', client: { tls: { ca: 'x' } } }, { ca: 'x' }],
    [{ url: 'redis://a', client: { tls: { ca: 'x' } } }, { ca: 'x' }],
    [
      { url: 'rediss://a', tls: { servername: 'b' }, client: { tls: { ca: 'x' } } },
      { servername: 'b', ca: 'x' },
    ],
    [{ url: 'rediss://a', tls: { ca: 'x' }, client: { tls: { ca: 'x' } } }, { ca: 'x' }],
    [
      { cluster: { nodes, client: { redisOptions: { tls: { ca: 'x' } } } }, tls: { servername: 'b' } },
      { servername: 'b', ca: 'x' },
    ],
  ])('merge the TLS options of %j', async (options, expected) => {
    const pool = await createRedisPool('cache', parse(options), {
      tenants: new TenantContext(),
      clock: systemClock,
      random: Math.random,
      logger: { log() {}, warn() {}, error() {}, debug() {} },
      owner: 'test',
    });
    const shown: object = pool.client.options;
    const ofNodes: unknown = Reflect.get(shown, 'redisOptions') ?? shown;
    expect(ofNodes).toHaveProperty('tls', expected);
    await pool.close({ deadlineMs: 0 });
  });

  it('name one place only', () => {
    expect(refusals({ url: URL, cluster: { nodes } })).toEqual([
      'pools.cache: must have only one of url, sentinel and cluster, got url and cluster',
    ]);
  });

  it('take what is set to undefined as not set', () => {
    expect(parse({ url: URL, cluster: undefined, sentinel: undefined, db: undefined }).url).toBe(URL);
  });
});
