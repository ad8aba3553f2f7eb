/**
 * Addresses of Redis servers as URLs.
 *
 * Promise: what is accepted means what it means to ioredis; what ioredis would misread, or read in one of several ways,
 * is refused. A message never repeats a part of the URL: what stands in the wrong place is often a piece of a password.
 */
import type { RedisOptions } from 'ioredis';

/** What a URL can say. */
export type RedisAddress = Pick<
  RedisOptions,
  | 'host'
  | 'port'
  | 'path'
  | 'username'
  | 'password'
  | 'db'
  | 'tls'
  | 'family'
  | 'keyPrefix'
  | 'connectionName'
  | 'clientInfoTag'
>;

export type RedisUrlReading =
  { readonly address: RedisAddress; readonly problem?: undefined } | { readonly problem: string };

const WRONG_FORM = 'must be a redis:// or rediss:// URL; special characters in user and password are percent-encoded';
const ENCODE = 'must not contain a bare # or / or ? or @ or % in user or password: percent-encode it';
const TEXTS = ['keyPrefix', 'connectionName', 'clientInfoTag', 'username', 'password'] as const;
const NUMBERS = ['db', 'family'] as const;
const KNOWN_PARAMETERS: ReadonlySet<string> = new Set<string>([...TEXTS, ...NUMBERS]);

const HOST_NAME = /^[a-z0-9._-]*$/i;
const IPV6 = /^\[[0-9a-f:.]+\]$/i;
const WHOLE_NUMBER = /^\d{1,9}$/;

/**
 * Reads `redis://user:password@host:port/db`, `rediss://…` for TLS, or the path of a socket; with `?db=1&family=6` and
 * the like.
 */
export function readRedisUrl(text: string): RedisUrlReading {
  // ioredis takes this for a host without a scheme; to other readers it is a path.
  if (text.startsWith('//')) return { problem: WRONG_FORM };
  if (text.startsWith('/')) return readSocket(text);
  if (!/^rediss?:\/\//i.test(text) || !URL.canParse(text)) return { problem: WRONG_FORM };
  return readUrl(new URL(text), text);
}

/** The same for a URL that has been found good. */
export function parseRedisUrl(text: string): RedisAddress {
  const reading = readRedisUrl(text);
  if (reading.problem !== undefined) throw new TypeError(`A Redis URL ${reading.problem}`);
  return reading.address;
}

function readSocket(text: string): RedisUrlReading {
  const end = text.indexOf('?');
  const path = end === -1 ? text : text.slice(0, end);
  if (/[#\s]/.test(path)) return { problem: 'must be the path of a socket without spaces and #' };
  const parameters = readParameters(new URLSearchParams(end === -1 ? '' : text.slice(end + 1)));
  if (parameters.problem !== undefined) return parameters;
  return { address: { path, ...parameters.address } };
}

function readUrl(url: URL, text: string): RedisUrlReading {
  const afterAuthority = `${url.pathname}${url.search}${url.hash}`;
  if (url.hash !== '' || text.includes('#') || afterAuthority.includes('@')) return { problem: ENCODE };
  // The parser drops line breaks and tabs in the middle without a word.
  if (/\s/.test(text.trim())) return { problem: 'must not contain spaces or line breaks' };
  const { hostname } = url;
  if (hostname.includes(',')) return { problem: 'must name one host: several are for sentinel.nodes or cluster.nodes' };
  if (!HOST_NAME.test(hostname) && !IPV6.test(hostname)) return { problem: `names no host: it ${ENCODE}` };
  if (url.port === '0') return { problem: 'must name a port from 1 to 65535' };
  const username = decoded(url.username);
  const password = decoded(url.password);
  if (username === undefined || password === undefined) return { problem: ENCODE };
  const db = readDatabase(url.pathname);
  if (db === null) return { problem: 'must end in the number of the database, or in nothing: redis://host:6379/0' };
  const parameters = readParameters(url.searchParams);
  if (parameters.problem !== undefined) return parameters;
  const fromPath: RedisAddress = {
    ...(username !== '' && { username }),
    ...(password !== '' && { password }),
    ...(db !== undefined && { db }),
  };
  for (const name of ['username', 'password', 'db'] as const) {
    const [first, second] = [fromPath[name], parameters.address[name]];
    if (first !== undefined && second !== undefined && first !== second) {
      return { problem: `must give ${name} once: it is in the address and among the parameters` };
    }
  }
  return {
    address: {
      host: hostname.replace(/^\[|\]$/g, '') || 'localhost',
      port: url.port === '' ? 6379 : Number(url.port),
      ...parameters.address,
      ...fromPath,
      ...(url.protocol === 'rediss:' && { tls: {} }),
    },
  };
}

/** `undefined`: there is none; `null`: it is no number. */
function readDatabase(pathname: string): number | null | undefined {
  // ioredis takes the number before a slash at the end.
  const text = pathname.replace(/^\//, '').replace(/\/$/, '');
  if (text === '') return pathname.length > 1 ? null : undefined;
  return WHOLE_NUMBER.test(text) ? Number(text) : null;
}

function readParameters(parameters: URLSearchParams): RedisUrlReading {
  const address: RedisAddress = {};
  const seen = new Set<string>();
  for (const [name, value] of parameters) {
    // ioredis gives every parameter to its options as a text: "false" would be true there, and "500" no number.
    if (!KNOWN_PARAMETERS.has(name)) {
      const known = [...KNOWN_PARAMETERS].join(', ');
      return {
        problem: `has a parameter that means nothing here (known: ${known}): set ioredis' options under client`,
      };
    }
    if (seen.has(name)) return { problem: `must give the parameter ${name} once` };
    seen.add(name);
    const number = NUMBERS.find((known) => known === name);
    const ofText = TEXTS.find((known) => known === name);
    if (number !== undefined) {
      if (!WHOLE_NUMBER.test(value)) return { problem: `must give a whole number for the parameter ${name}` };
      address[number] = Number(value);
    } else if (ofText !== undefined) {
      address[ofText] = value;
    }
  }
  return { address };
}

/** `undefined` when a `%` stands for nothing. */
function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
