/**
 * Addresses of Redis servers as URLs.
 */
import type { RedisOptions } from 'ioredis';

/** What a URL says: `redis://user:password@host:port/db`, `rediss://…` for TLS, or the path of a socket. `?family=6` is known too. */
export function parseRedisUrl(
  text: string,
): Pick<RedisOptions, 'host' | 'port' | 'path' | 'username' | 'password' | 'db' | 'tls' | 'family'> {
  if (text.startsWith('/')) return { path: text };
  const url = new URL(text);
  const db = url.pathname.slice(1) || url.searchParams.get('db');
  const family = url.searchParams.get('family');
  return {
    host: url.hostname.replace(/^\[|\]$/g, '') || 'localhost',
    port: url.port === '' ? 6379 : Number(url.port),
    ...(url.username !== '' && { username: decodeURIComponent(url.username) }),
    ...(url.password !== '' && { password: decodeURIComponent(url.password) }),
    ...(db !== null && db !== '' && { db: Number(db) }),
    ...(family !== null && { family: Number(family) }),
    ...(url.protocol === 'rediss:' && { tls: {} }),
  };
}
