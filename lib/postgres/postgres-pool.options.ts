/**
 * The options of a PostgreSQL pool.
 */
import type { ConnectionOptions } from 'node:tls';

import type { ClientConfig } from 'pg';
import { z } from 'zod';

import { LONGEST_TIMER_MS } from '../engine/time/clock.js';
import { type Environment, isRecord } from '../options/environment.js';
import {
  callback,
  count,
  durationMs,
  optionsObject,
  secretText,
  tlsOptions,
  untouched,
} from '../options/option-types.js';
import { parsePool, type PoolKindOptions } from '../options/parse-pool.js';
import { hidden, namesOnly, seal } from '../options/sealed-options.js';
import { givenAsUndefined, unsetAddressProblem } from '../options/unset-address.js';
import {
  basePoolShape,
  checkPool,
  namesElsewhere,
  type ResolvedBasePoolOptions,
  resolvePool,
  whenObject,
} from '../pool/pool-options.js';
import { connectionStringProblem } from './connection-string.js';
import type { LeasedClient } from './session/leased-client.js';
import { settingProblem } from './special-names.js';
import { queryTimeoutOf, strictest } from './statement/query-arguments.js';

export const noIsolationShape = {
  /** Not at all: every tenant's work runs as the same user. */
  mode: z.literal('none'),
};

export const rlsIsolationShape = {
  /** Row security: the tenant is bound to a setting for the length of a transaction, and policies read it. */
  mode: z.literal('rls'),
  /** The setting that the policies read, as in `current_setting('app.tenant_id', true)`. */
  setting: z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+$/, {
      error: "must be a setting's name with a dot in it, such as 'app.tenant_id'",
    })
    .superRefine((setting, context) => {
      const problem = settingProblem(setting);
      if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
    })
    .default('app.tenant_id'),
  /**
   * What to do at start when the database user is not bound by row security: refuse, or only warn (for development).
   */
  unsafeRole: z.enum(['refuse', 'warn']).default('refuse'),
};

export const roleIsolationShape = {
  /** A database role a tenant: `SET LOCAL ROLE`. */
  mode: z.literal('role'),
  /** The tenant's role. It is quoted as an identifier. */
  role: callback<(tenantId: string) => string>(),
};

export const schemaIsolationShape = {
  /** A schema a tenant: `SET LOCAL search_path`. */
  mode: z.literal('schema'),
  /** The tenant's schema. It is quoted as an identifier. */
  schema: callback<(tenantId: string) => string>(),
};

export interface NoIsolationSchema extends z.ZodObject<typeof noIsolationShape, z.core.$strict> {}
export interface RlsIsolationSchema extends z.ZodObject<typeof rlsIsolationShape, z.core.$strict> {}
export interface RoleIsolationSchema extends z.ZodObject<typeof roleIsolationShape, z.core.$strict> {}
export interface SchemaIsolationSchema extends z.ZodObject<typeof schemaIsolationShape, z.core.$strict> {}
const noIsolation: NoIsolationSchema = optionsObject(noIsolationShape);
const rlsIsolation: RlsIsolationSchema = optionsObject(rlsIsolationShape);
const roleIsolation: RoleIsolationSchema = optionsObject(roleIsolationShape);
const schemaIsolation: SchemaIsolationSchema = optionsObject(schemaIsolationShape);
const ISOLATION_MODES = { none: true, rls: true, role: true, schema: true };
const isolationSchema = z.discriminatedUnion('mode', [noIsolation, rlsIsolation, roleIsolation, schemaIsolation], {
  error: ({ input }) =>
    typeof input === 'string' && Object.hasOwn(ISOLATION_MODES, input)
      ? `must be an object, got a text. Did you mean { mode: '${input}' }?`
      : undefined,
});

export const sessionShape = {
  /**
   * Whether one-shot queries are trusted to leave nothing behind in their session, so that a session that served
   * nothing else isn't reset before it serves another tenant.
   */
  trustOneShot: z.boolean().default(false),
};

export interface SessionSchema extends z.ZodObject<typeof sessionShape, z.core.$strict> {}
const sessionSchema: SessionSchema = optionsObject(sessionShape);

/** PostgreSQL. */
export const postgresPoolShape = {
  /**
   * Where the database is: `postgres://user:password@host:5432/database`. Not needed when `client.host` is set.
   * @defaultValue the environment variable `DATABASE_URL`
   */
  connectionString: z
    .string()
    .superRefine((text, context) => {
      const problem = unsetAddressProblem(text) ?? connectionStringProblem(text);
      if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
    })
    .optional(),
  /**
   * The password, or a function that gives it for every new connection (rotation: change it, then `evict()` the pool).
   * @defaultValue that of the connection string
   */
  password: secretText().optional(),
  /**
   * TLS: `true`, `false`, or options of Node's `tls.connect`.
   * @defaultValue that of the connection string
   */
  ssl: tlsOptions<ConnectionOptions>().optional(),
  /**
   * What `pg_stat_activity` shows as `application_name`; the server cuts it off after 63 bytes.
   * @defaultValue application, pool and process id
   */
  applicationName: z.string().min(1).optional(),
  /** After this time the server cancels a statement; 0: never. */
  statementTimeoutMs: durationMs(0).default(0),
  /**
   * After this time, counted from the moment it has a connection, a statement is given up here, also when the server or
   * the network has gone silent, and cancelled on the server; 0: never. It is pg's `query_timeout`, which works here
   * too, in `client`, in the connection string and in `pg.defaults`: the shortest limit holds.
   */
  queryTimeoutMs: durationMs(0).default(0),
  /** After this time the server ends a session that sits idle in a transaction; 0: never. */
  idleInTransactionTimeoutMs: durationMs(0).default(0),
  /**
   * One-shot queries of a tenant that may travel in one packet when they wait for a connection, each a transaction for
   * itself; 1: each goes alone. Fewer go together where the tenant's statements take long.
   */
  maxBatch: count(1).default(8),
  /** How tenants are kept apart inside the database. */
  isolation: isolationSchema.prefault({ mode: 'none' }),
  /** How sessions are handed from one borrower to the next. */
  session: sessionSchema.prefault({}),
  /**
   * Called with each new connection before it is lent; a promise is awaited. What it sets, one statement a
   * query, is set again after every reset; type parsers and listeners stay for the connection's life. An error or
   * rejection closes the connection.
   */
  onConnect: callback<(client: LeasedClient) => unknown>().optional(),
  /** As pg-pool's: called with each new connection after `onConnect`; `done(error)` refuses the connection. */
  verify: callback<(client: LeasedClient, done: (error?: Error) => void) => void>().optional(),
  /** Options of `pg.Client` that have no name above; they are passed on as they are. */
  client: untouched<Readonly<ClientConfig>>().default({}),
};

/** pg's own time-outs, which may stand among the driver's options. */
const TIMEOUTS_OF_PG = [
  'query_timeout',
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'connectionTimeoutMillis',
] as const;

const shape = { type: z.literal('database'), ...basePoolShape, ...postgresPoolShape };

/** The schema of a PostgreSQL pool, with its `type`. */
export const postgresPoolSchema = optionsObject(shape, {
  ...namesElsewhere,
  url: 'connectionString',
  uri: 'connectionString',
  host: 'client.host',
  port: 'client.port',
  user: 'client.user',
  database: 'client.database',
  tls: 'ssl',
  unsafeRole: 'isolation.unsafeRole',
  trustOneShot: 'session.trustOneShot',
  types: 'client.types',
  application_name: 'applicationName',
  statement_timeout: 'statementTimeoutMs',
  idle_in_transaction_session_timeout: 'idleInTransactionTimeoutMs',
  query_timeout: 'queryTimeoutMs',
})
  .superRefine((pool, context) => {
    checkPool(pool, context, { failsClosed: isIsolated(pool.isolation) });
    const client = isRecord(pool.client) ? pool.client : {};
    for (const name of TIMEOUTS_OF_PG) {
      const value = client[name];
      const isLimit = typeof value === 'number' && value >= 0 && value <= LONGEST_TIMER_MS;
      if (value === undefined || value === null || value === false || isLimit) continue;
      context.addIssue({
        code: 'custom',
        path: ['client', name],
        message: `must be milliseconds, from 0 to ${LONGEST_TIMER_MS}, or false`,
      });
    }
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (client.connectionString !== undefined) {
      refuse(['client', 'connectionString'], 'is not a driver option here. Set connectionString of the pool instead');
    } else if (pool.connectionString === undefined && client.host === undefined) {
      refuse(
        ['connectionString'],
        'is required: a postgres:// URL here or in the environment variable DATABASE_URL, or client.host' +
          givenAsUndefined(pool, 'connectionString'),
      );
    }
  }, whenObject)
  .transform((pool) =>
    seal(
      {
        ...resolvePool(pool, { failsClosed: isIsolated(pool.isolation) }),
        connectTimeoutMs: strictest(pool.connectTimeoutMs, queryTimeoutOf(pool.client.connectionTimeoutMillis)) ?? 0,
        isolation: Object.freeze(pool.isolation),
      },
      { connectionString: hidden, password: hidden, ssl: hidden, client: namesOnly },
    ),
  );

/** What can be set on a PostgreSQL pool. */
export interface PostgresPoolOptions extends z.input<
  z.ZodObject<typeof postgresPoolShape & typeof basePoolShape, z.core.$strict>
> {
  /** The kind of pool; needed in a registration's `pools` alone. */
  readonly type?: 'database';
}

/** What a PostgreSQL pool is configured with. */
export interface ResolvedPostgresPoolOptions extends ResolvedBasePoolOptions, z.output<typeof postgresPoolSchema> {}

/** How tenants are kept apart inside a database, resolved. */
export type ResolvedIsolation = ResolvedPostgresPoolOptions['isolation'];

export const postgresPoolKind: PoolKindOptions<typeof postgresPoolSchema> = {
  type: 'database',
  schema: postgresPoolSchema,
  address: {
    option: 'connectionString',
    variable: 'DATABASE_URL',
    isElsewhere: ({ client }) => isRecord(client) && client.host !== undefined,
    standIn: () => ({ connectionString: 'postgres://no-address.invalid/none', failFastAfterMs: 0 }),
  },
};

/**
 * Validates the options of a PostgreSQL pool and fills in the defaults.
 *
 * @throws {PoolConfigError} with every problem, none of them with a secret in it.
 */
export function parsePostgresPoolOptions(
  id: string,
  options: PostgresPoolOptions,
  env: Environment = process.env,
): ResolvedPostgresPoolOptions {
  return parsePool(postgresPoolKind, id, options, env);
}

function isIsolated(isolation: unknown): boolean {
  return isRecord(isolation) && isolation.mode !== 'none';
}
