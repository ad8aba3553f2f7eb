import { describe, expect, it } from '@jest/globals';
import { Redis } from 'ioredis';

import { PoolConfigError } from '../../lib/errors.js';
import { parseRedisPoolOptions } from '../../lib/redis/redis-pool.options.js';
import { parseRedisUrl } from '../../lib/redis/redis-url.js';

describe('the URL of a Redis server', () => {
  it.each([
    ['redis://localhost', { host: 'localhost', port: 6379 }],
    ['redis://', { host: 'localhost', port: 6379 }],
    ['redis://h:7000/3', { host: 'h', port: 7000, db: 3 }],
    ['redis://h/3/', { host: 'h', port: 6379, db: 3 }],
    ['redis://h/', { host: 'h', port: 6379 }],
    ['redis://u:p%40ss@h', { host: 'h', port: 6379, username: 'u', password: 'p@ss' }],
    ['redis://u:p@ss@h', { host: 'h', port: 6379, username: 'u', password: 'p@ss' }],
    ['redis://:secret@[::1]:6380/0?family=6', { host: '::1', port: 6380, password: 'secret', db: 0, family: 6 }],
    ['rediss://h', { host: 'h', port: 6379, tls: {} }],
    ['REDISS://h', { host: 'h', port: 6379, tls: {} }],
    ['redis://h?db=2', { host: 'h', port: 6379, db: 2 }],
    ['redis://h/2?db=2', { host: 'h', port: 6379, db: 2 }],
    ['redis://h?keyPrefix=app:', { host: 'h', port: 6379, keyPrefix: 'app:' }],
    ['redis://h?connectionName=me&password=x', { host: 'h', port: 6379, connectionName: 'me', password: 'x' }],
    ['/run/redis.sock', { path: '/run/redis.sock' }],
    ['/run/redis.sock?db=2', { path: '/run/redis.sock', db: 2 }],
  ])('%s means what it means to ioredis', (url, expected) => {
    expect(parseRedisUrl(url)).toEqual(expected);
    const stock = new Redis(url, { lazyConnect: true });
    const { tls: _, ...options } = expected as typeof expected & { tls?: object };
    expect(stock.options).toMatchObject(options);
    stock.disconnect();
  });

  // Wherever a piece of the password ends up, no message repeats it.
  it.each([
    'redis://u:hunter2#x@h',
    'redis://u:12#hunter2@h',
    'redis://u:12/hunter2@h',
    'redis://u:12?hunter2@h',
    'redis://u:hunter2%@h',
    'redis://hunter2%:x@h',
    'redis://u:hunter2 @h:1',
    'redis://u:hunter2@h h',
    'redis://u:hunter2\n@h',
    'redis://u:hunter2@',
    'redis://u:hunter2@:6379',
    'redis://u:hunter2@a,b',
    'redis://u:hunter2@a:1,b:2',
    'redis://u:hunter2@h:0',
    'redis://u:hunter2@h:99999',
    'redis://u:hunter2@h:port',
    'redis://u:hunter2@%68ost',
    'redis://u:hunter2@[::1',
    'redis://u:hunter2@h/orders',
    'redis://u:hunter2@h/3x',
    'redis://u:hunter2@h/-1',
    'redis://u:hunter2@h/1.5',
    'redis://u:hunter2@h/3/4',
    'redis://u:hunter2@h//3',
    'redis://u:hunter2@h/%33',
    'redis://u:hunter2@h/0#frag',
    'redis://h?hunter2',
    'redis://h?hunter2=1',
    'redis://h?connectTimeout=hunter2',
    'redis://h?lazyConnect=false',
    'redis://h?tls=true',
    'redis://h?db=hunter2',
    'redis://h?family=six',
    'redis://h/1?db=2',
    'redis://h?db=1&db=2',
    'redis://u:hunter2@h?password=other',
    'redis-sentinel://u:hunter2@h',
    'unix:///run/hunter2.sock',
    'http://:hunter2@h',
    '//:hunter2@h',
    'h:6379',
    '6379',
    '',
    '/run/redis.sock?hunter2=1',
    '/run/redis.sock#hunter2',
  ])('%j is refused, and nothing of it is repeated', (url) => {
    const refused = capture(() => parseRedisPoolOptions('cache', { url }, {}));
    expect(refused).toBeInstanceOf(PoolConfigError);
    expect(String(refused)).toContain('pools.cache.url: ');
    expect(JSON.stringify(refused) + String(refused)).not.toContain('hunter2');
    const fromEnvironment =
      url === '' ? refused : capture(() => parseRedisPoolOptions('cache', {}, { REDIS_URL: url }));
    expect(fromEnvironment).toBeInstanceOf(PoolConfigError);
    expect(String(fromEnvironment)).not.toContain('hunter2');
  });
});

function capture(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return error;
  }
}
