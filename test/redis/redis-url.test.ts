import { describe, expect, it } from '@jest/globals';
import { parseRedisUrl } from '../../lib/redis/redis-url.js';

describe('the URL of a Redis server', () => {
  it.each([
    ['redis://localhost', { host: 'localhost', port: 6379 }],
    ['redis://h:7000/3', { host: 'h', port: 7000, db: 3 }],
    ['redis://u:p%40ss@h', { host: 'h', port: 6379, username: 'u', password: 'p@ss' }],
    ['redis://:secret@[::1]:6380/0?family=6', { host: '::1', port: 6380, password: 'secret', db: 0, family: 6 }],
    ['rediss://h', { host: 'h', port: 6379, tls: {} }],
    ['redis://h?db=2', { host: 'h', port: 6379, db: 2 }],
    ['/run/redis.sock', { path: '/run/redis.sock' }],
  ])('%s', (url, expected) => {
    expect(parseRedisUrl(url)).toEqual(expected);
  });
});
