/**
 * The names to which PostgreSQL gives a meaning beyond the literal, and those that it would cut.
 *
 * Promise: a tenant's role or schema that passes here is looked up under exactly its name, or not found. Quoting is not
 * enough for the names listed: `role` and `search_path` give them their meaning after they have been unquoted.
 *
 * Sources: PostgreSQL's documentation, 18 and before: SET ROLE (`none`), CREATE ROLE and "Predefined Roles" (`pg_`),
 * CREATE SCHEMA and "System Catalog Schema" (`pg_`), "Client Connection Defaults", search_path (`$user`, `pg_temp`),
 * "The Information Schema", "Identifiers and Key Words" (NAMEDATALEN), "Customized Options".
 */

/** PostgreSQL cuts names off after this many bytes, statements' names too. */
export const MAX_NAME_BYTES = 63;

/** Why a name can't be a tenant's, in words that go on from "The role of tenant … "; undefined when it can. */
type Problem = string | undefined;

/** Roles that stand for something else. Case matters: these names are never folded. */
const SPECIAL_ROLES: ReadonlyMap<string, string> = new Map([
  ['none', 'is called "none", which PostgreSQL takes for no role: the tenant would be the pool\'s own user'],
  ['public', 'is called "public", which stands for every role'],
]);

/** Entries of `search_path` that stand for something else, also in quotes. */
const SPECIAL_SCHEMAS: ReadonlyMap<string, string> = new Map([
  ['$user', 'is called "$user", which PostgreSQL takes for the schema of the current role'],
  ['information_schema', 'is called "information_schema", which every database has'],
]);

/** Predefined roles (`pg_read_all_data`), and the server's own schemas (`pg_catalog`, `pg_temp`, `pg_toast`). */
const SERVER_PREFIX = 'pg_';

/**
 * Classes of settings that belong to the server's languages and extensions: one of theirs may refuse a tenant's name,
 * or do something else with it.
 */
const SETTING_CLASSES: ReadonlySet<string> = new Set([
  'auth_delay',
  'auto_explain',
  'basebackup_to_shell',
  'basic_archive',
  'citus',
  'cron',
  'isn',
  'passwordcheck',
  'pg_prewarm',
  'pg_stat_statements',
  'pg_surgery',
  'pg_trgm',
  'pg_walinspect',
  'pgaudit',
  'pgcrypto',
  'plperl',
  'plperlu',
  'plpgsql',
  'plpython',
  'pltcl',
  'pltclu',
  'postgres_fdw',
  'sepgsql',
  'timescaledb',
]);

/** @param poolUser the user that the pool connects as: as that role a tenant would be the pool itself. */
export function roleProblem(role: unknown, poolUser: string | undefined): Problem {
  const problem = nameProblem(role);
  if (problem !== undefined || typeof role !== 'string') return problem;
  if (role === poolUser) return `is "${role}", the pool's own user: the tenant would be whatever the pool may be`;
  return SPECIAL_ROLES.get(role) ?? serverProblem(role);
}

export function schemaProblem(schema: unknown): Problem {
  const problem = nameProblem(schema);
  if (problem !== undefined || typeof schema !== 'string') return problem;
  return SPECIAL_SCHEMAS.get(schema) ?? serverProblem(schema);
}

/** What is wrong with the name of a setting that policies read; in words that go on from its key. */
export function settingProblem(setting: string): Problem {
  const parts = setting.split('.');
  const [settingClass = ''] = parts;
  if (SETTING_CLASSES.has(settingClass.toLowerCase()))
    return `must not be of the class "${settingClass}", whose settings belong to PostgreSQL or an extension`;
  // In SET its parts are identifiers: cut, it would be a setting that no policy reads.
  if (parts.some((part) => Buffer.byteLength(part) > MAX_NAME_BYTES))
    return `must have at most ${MAX_NAME_BYTES} bytes on each side of a dot`;
  return undefined;
}

function serverProblem(name: string): Problem {
  return name.startsWith(SERVER_PREFIX)
    ? `is called "${name}", and names that begin with "pg_" are PostgreSQL's own`
    : undefined;
}

/** What could be taken for another name. */
function nameProblem(name: unknown): Problem {
  if (typeof name !== 'string') return `is no text but ${name === null ? 'null' : typeof name}`;
  if (name === '') return 'is empty';
  if (name.includes('\0')) return 'has a NUL in it, where PostgreSQL would end it';
  const bytes = Buffer.byteLength(name);
  if (bytes <= MAX_NAME_BYTES) return undefined;
  return `has ${bytes} bytes, and PostgreSQL cuts names off after ${MAX_NAME_BYTES}: it could be taken for another's`;
}
