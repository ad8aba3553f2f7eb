/**
 * What may stand in a connection string.
 *
 * Promise: a string that passes means to `pg` what it says, and nothing else. `pg` reads strings by the rules of URLs,
 * with amendments: a password with a `/`, `?` or `#` in it ends the address early, so that a part of the password
 * becomes a host or a database; a `%` out of place is decoded in one of two ways; a misspelt parameter is ignored. All
 * of that is refused here, in words that carry nothing of the string itself.
 */
import { closestName } from '../options/closest-name.js';

const FORM = 'must be a postgres:// URL; special characters in user and password are percent-encoded';
const ENCODE = 'special characters in user and password are percent-encoded';

/** Parameters that `pg` takes from the string. */
const PARAMETERS: readonly string[] = [
  'application_name',
  'binary',
  'client_encoding',
  'db',
  'encoding',
  'fallback_application_name',
  'host',
  'idle_in_transaction_session_timeout',
  'lock_timeout',
  'options',
  'password',
  'port',
  'query_timeout',
  'replication',
  'ssl',
  'sslcert',
  'sslkey',
  'sslmode',
  'sslnegotiation',
  'sslrootcert',
  'statement_timeout',
  'uselibpqcompat',
  'user',
];

/** Parameters of other clients, which hosted databases put into the strings they hand out. `pg` ignores them. */
const PARAMETERS_OF_OTHERS: ReadonlySet<string> = new Set([
  // libpq's
  'channel_binding',
  'connect_timeout',
  'gssencmode',
  'keepalives',
  'keepalives_count',
  'keepalives_idle',
  'keepalives_interval',
  'load_balance_hosts',
  'require_auth',
  'sslcompression',
  'sslsni',
  'ssl_min_protocol_version',
  'ssl_max_protocol_version',
  'target_session_attrs',
  'tcp_user_timeout',
  // Prisma's, and those of poolers
  'connection_limit',
  'pgbouncer',
  'pool_timeout',
  'schema',
  'socket_timeout',
  'sslaccept',
  'statement_cache_size',
]);

/** Parameters that say how to encrypt. */
const TLS_PARAMETERS: ReadonlySet<string> = new Set([
  'ssl',
  'sslmode',
  'sslcert',
  'sslkey',
  'sslrootcert',
  'uselibpqcompat',
]);

const SSL_MODES: ReadonlySet<string> = new Set([
  'disable',
  'prefer',
  'require',
  'verify-ca',
  'verify-full',
  'no-verify',
]);
const SSL_VALUES: ReadonlySet<string> = new Set(['true', '1', '0', 'no-verify']);

const TIMEOUTS: ReadonlySet<string> = new Set([
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'query_timeout',
]);

const MOST_PORT = 65_535;

/** @returns what is wrong with `text`, in words that go on from its key; undefined when nothing is. */
export function connectionStringProblem(text: string): string | undefined {
  if (text.startsWith('/')) return socketProblem(text);
  const parts = /^(postgres|postgresql|socket):(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?$/is.exec(text);
  if (parts === null) return FORM;
  const [, scheme = '', authority, path = '', query = '', fragment] = parts;
  if (fragment !== undefined) return `must not have a "#", which ends it (write %23): ${ENCODE}`;
  if (hasSpaceOrControl(text)) return `must not have spaces or control characters (write %20 and so on): ${ENCODE}`;
  if (path.includes('@') || query.includes('@'))
    return `must not have an "@" behind a "/" or "?" (write %2F, %3F and %40): ${ENCODE}`;
  if (!isDecodable(text))
    return `must have two hexadecimal digits, of a character in UTF-8, behind each "%" (write %25 for a "%")`;
  // `postgres:name` and `postgres:/name` are URLs too, of another kind.
  if (authority === undefined && scheme.toLowerCase() !== 'socket') return FORM;
  if (scheme.toLowerCase() === 'socket' && !path.startsWith('/')) return FORM;
  if (scheme.toLowerCase() !== 'socket' && path.includes('/', 1))
    return `must have one "/" at most behind the host (write %2F): ${ENCODE}`;
  // pg accepts a URL without a host (`postgres://user@/database`), which URL refuses.
  if (!URL.canParse(text) && !URL.canParse(text.replace('@/', '@localhost/'))) return FORM;
  if (authority?.slice(authority.lastIndexOf('@') + 1).includes(',') === true)
    return 'must name one host: pg knows no list of them';
  return parametersProblem(query);
}

/** The same string without what it says about TLS. */
export function withoutTls(connectionString: string): string {
  const start = connectionString.indexOf('?');
  if (start < 0 || connectionString.startsWith('/')) return connectionString;
  const kept = connectionString
    .slice(start + 1)
    .split('&')
    .filter((parameter) => !TLS_PARAMETERS.has(nameOf(parameter)));
  return connectionString.slice(0, start) + (kept.length > 0 ? `?${kept.join('&')}` : '');
}

/** `/directory` or `/directory database`. */
function socketProblem(text: string): string | undefined {
  return /^\/\S*( \S+)?$/.test(text)
    ? undefined
    : 'must be a directory, or a directory, one space and the name of a database';
}

function parametersProblem(query: string): string | undefined {
  const seen = new Set<string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (seen.has(name)) return `must not have the same parameter twice`;
    seen.add(name);
    const problem = parameterProblem(name, value);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function parameterProblem(name: string, value: string): string | undefined {
  if (PARAMETERS_OF_OTHERS.has(name)) return undefined;
  if (name === 'database' || name === 'dbname') return 'must have the database in its path, not among its parameters';
  if (!PARAMETERS.includes(name)) {
    const meant = closestName(name, PARAMETERS);
    return `has a parameter that pg doesn't know${meant === undefined ? '' : `. Did you mean "${meant}"?`}`;
  }
  if (name === 'host' && value.includes(',')) return 'must name one host: pg knows no list of them';
  if (name === 'port' && !isNumber(value, MOST_PORT)) return `must have a port between 1 and ${MOST_PORT}`;
  if (name === 'sslmode' && !SSL_MODES.has(value))
    return `must have one of these as sslmode: ${[...SSL_MODES].join(', ')}`;
  if (name === 'ssl' && !SSL_VALUES.has(value))
    return `must have one of these as ssl: ${[...SSL_VALUES].join(', ')} (pg takes "false" for a yes)`;
  if (TIMEOUTS.has(name) && !/^\d{1,9}$/.test(value)) return `must have ${name} in whole milliseconds, without a unit`;
  return undefined;
}

function isNumber(text: string, most: number): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) <= most;
}

function hasSpaceOrControl(text: string): boolean {
  return /[\s\p{Cc}]/u.test(text);
}

function isDecodable(text: string): boolean {
  if (/%(?![0-9a-f]{2})|%00/i.test(text)) return false;
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function nameOf(parameter: string): string {
  const [name = ''] = [...new URLSearchParams(parameter).keys()];
  return name;
}
