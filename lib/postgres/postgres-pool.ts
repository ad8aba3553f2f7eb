/**
 * PostgreSQL pools: a drop-in for `pg.Pool` that knows tenants and never leaks a session.
 *
 * `query`, `connect`, `end`, the events and the counts are pg's; `transaction`, `acquire`, `use` and the tenant's views
 * are what it has besides.
 */
import { AsyncResource } from 'node:async_hooks';
import type { QueryArrayConfig, QueryArrayResult, QueryConfig, QueryResult, QueryResultRow, Submittable } from 'pg';

import type { Lease } from '../engine/lease.js';
import { requestWithin } from '../engine/scoped-request.js';
import { toError } from '../engine/thrown.js';
import {
  type AcquireOptions,
  createPoolCore,
  type PoolCore,
  type PoolSurroundings,
  type TenantBinding,
} from '../pool-handle.js';
import { clientConfigOf, type PgPoolOptions, pgPoolOptionsOf } from './client-config.js';
import { ForeignQuery, type ForeignSubmittable, type QueryCallback } from './foreign-query.js';
import { isolationOf } from './isolation.js';
import type { ClientSurroundings, LeasedClient } from './leased-client.js';
import { OneShot } from './one-shot.js';
import { PgDriver } from './pg-driver.js';
import { pgEvents, PostgresEvents } from './pg-events.js';
import { loadPg, type PgModule } from './pg-module.js';
import type { PgSession, SessionRules } from './pg-session.js';
import type { ResolvedPostgresPoolOptions } from './postgres-pool.options.js';
import { type CallLimits, readQuery } from './query-arguments.js';
import { findUnsafeRole, RoleSafety } from './role-safety.js';
import { SetupClient } from './setup-client.js';
import type { StatementConfig } from './statement.js';
import { type PgTransaction, runTransaction, type TransactionOptions } from './transaction.js';

export type { LeasedClient } from './leased-client.js';
export type { PostgresEventMap } from './pg-events.js';
export { QueryAbortedError } from './query-aborted-error.js';
export type { CallLimits } from './query-arguments.js';
export { type PgTransaction, TransactionAbortedError, type TransactionOptions } from './transaction.js';

/** What all views of one pool share. */
interface PostgresParts extends ClientSurroundings {
  readonly pg: PgModule;
  readonly rules: SessionRules;
  readonly driver: PgDriver;
  readonly options: PgPoolOptions;
  readonly safety: RoleSafety;
}

/** A pool of PostgreSQL sessions. Get one by `@InjectPool`, or from the manager's `createDatabasePool`. */
export class PostgresPool extends PostgresEvents {
  private readonly parts: PostgresParts;

  /** @internal */
  constructor(core: PoolCore<LeasedClient>, parts: PostgresParts, binding?: TenantBinding) {
    super(core, binding);
    this.parts = parts;
  }

  // ── Queries ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Runs one statement on whichever connection is free, as the current tenant; arguments and results are pg's. A config
   * object may also have `timeoutMs` and `signal`.
   *
   * Rejects with what the server says, with what `acquire` rejects with, with OperationTimeoutError, QueryAbortedError,
   * or, when the statement left a transaction open, with TransactionLeftOpenError.
   *
   * @example
   * const { rows } = await pool.query<Order>('select * from orders where id = $1', [id]);
   */
  query<T extends Submittable>(query: T): T;
  query<R extends unknown[] = unknown[]>(
    config: QueryArrayConfig<unknown[]> & CallLimits,
    values?: readonly unknown[],
  ): Promise<QueryArrayResult<R>>;
  query<R extends QueryResultRow = QueryResultRow>(
    config: string | (QueryConfig<unknown[]> & CallLimits),
    values?: readonly unknown[],
  ): Promise<QueryResult<R>>;
  query<R extends unknown[] = unknown[]>(
    config: QueryArrayConfig<unknown[]> & CallLimits,
    callback: (error: Error, result: QueryArrayResult<R>) => void,
  ): void;
  query<R extends QueryResultRow = QueryResultRow>(
    config: string | (QueryConfig<unknown[]> & CallLimits),
    callback: (error: Error, result: QueryResult<R>) => void,
  ): void;
  query<R extends QueryResultRow = QueryResultRow>(
    config: string | (QueryConfig<unknown[]> & CallLimits),
    values: readonly unknown[] | undefined,
    callback: (error: Error, result: QueryResult<R>) => void,
  ): void;
  query(query: unknown, values?: unknown, callback?: unknown): unknown {
    // The commonest form, by the shortest way.
    if (typeof query === 'string' && callback === undefined && (values === undefined || Array.isArray(values))) {
      return this.oneShot(query, values, undefined, undefined);
    }
    const request = readQuery(query, values, callback);
    if (request.foreign !== undefined) return this.queryForeign(request.foreign, request.callback);
    return this.oneShot(request.text, request.values, request.config, request.callback);
  }

  private oneShot(
    text: string | undefined,
    values: readonly unknown[] | undefined,
    config: StatementConfig | undefined,
    callback: QueryCallback | undefined,
  ): unknown {
    const { core, parts } = this;
    const { frame } = this;
    let tenantId: string | undefined;
    let statement: OneShot;
    try {
      tenantId = this.tenantFor(undefined, frame);
      if (parts.safety.error !== undefined) throw parts.safety.error;
      statement = new OneShot(core.id, tenantId, parts, text, values, config);
      const { isolation } = parts.rules;
      if (isolation.mode !== 'none') {
        const setting = isolation.settingFor(tenantId);
        if (setting !== undefined && statement.isScript) return this.script(statement.config ?? { text }, callback);
        statement.binding = setting;
        if (statement.name !== undefined) statement.name = isolation.statementName(statement.name, tenantId);
      }
    } catch (error) {
      return refuse(error, callback);
    }
    const answer = callback === undefined ? statement.promise() : statement.callBack(callback);
    if (config !== undefined && (config.timeoutMs !== undefined || config.signal !== undefined)) {
      const { timeoutMs, signal } = config;
      statement.limit(parts.deadlines, parts.clock.now(), timeoutMs, signal);
      requestWithin(core.engine, frame?.scope, 'left', statement, tenantId, { timeoutMs, signal });
    } else {
      requestWithin(core.engine, frame?.scope, 'left', statement, tenantId, undefined);
    }
    return answer;
  }

  /** Several statements in one text, as a tenant: they go by the simple protocol, which takes no setting along. */
  private script(config: StatementConfig, callback: QueryCallback | undefined): unknown {
    const { text = '', timeoutMs, signal, rowMode, types } = config;
    const run = this.transaction(
      (tx) => tx.query({ text, ...(rowMode === 'array' ? { rowMode } : {}), ...(types ? { types } : {}) }),
      { timeoutMs, signal },
    );
    if (callback === undefined) return run;
    const inContext = new AsyncResource('PostgresQuery').bind(callback);
    run.then(
      (result) => inContext(undefined, result),
      (error: Error) => inContext(error),
    );
    return undefined;
  }

  /** Runs a Submittable on a lease of its own, which ends with it. */
  private queryForeign<T extends ForeignSubmittable>(query: T, callback: QueryCallback | undefined): T {
    const { frame } = this;
    const tenantId = this.tenantFor(undefined, frame);
    const context = new AsyncResource('PostgresSubmittable');
    requestWithin(
      this.core.engine,
      frame?.scope,
      'taken back',
      {
        granted: (lease) => {
          const over = (error: Error | undefined): void => {
            if (!lease.released) lease.release(error);
          };
          context.runInAsyncScope(() => lease.connection.runForeign(query, callback, over));
        },
        refused: (error) => {
          context.runInAsyncScope(() => ForeignQuery.refuse(query, error, callback));
        },
      },
      tenantId,
      undefined,
    );
    return query;
  }

  /**
   * Runs `fn` in a transaction, as the current tenant: committed when it returns, rolled back when it throws.
   *
   * Rejects with what `fn` throws, with what `acquire` and the server's COMMIT reject with, with OperationTimeoutError,
   * QueryAbortedError, or with TransactionAbortedError when a failed statement's error was swallowed.
   *
   * @returns what `fn` returns.
   * @example
   * await pool.transaction(async (tx) => {
   *   await tx.query('update accounts set balance = balance - $1 where id = $2', [sum, from]);
   *   await tx.query('update accounts set balance = balance + $1 where id = $2', [sum, to]);
   * }, { isolation: 'serializable', retries: 3 });
   */
  transaction<T>(
    fn: (tx: PgTransaction) => T | Promise<T>,
    options: TransactionOptions & Pick<AcquireOptions, 'tenantId'> = {},
  ): Promise<T> {
    const { core, parts } = this;
    return runTransaction(
      {
        ...parts,
        poolId: core.id,
        random: core.surroundings.random,
        acquire: (limits) => this.borrow({ ...definedLimits(limits), tenantId: options.tenantId }, this.frame),
        holding: (lease, work) => this.holding(lease, work),
      },
      fn,
      options,
    );
  }

  // ── pg.Pool's own methods ────────────────────────────────────────────────────────────────────────────────────────

  /** As pg.Pool's: a client that is yours until `client.release()`. Under a tenant it is bound to that tenant. */
  connect(): Promise<LeasedClient>;
  connect(
    callback: (
      error: Error | undefined,
      client: LeasedClient | undefined,
      done: (destroy?: Error | boolean) => void,
    ) => void,
  ): void;
  connect(
    callback?: (
      error: Error | undefined,
      client: LeasedClient | undefined,
      done: (destroy?: Error | boolean) => void,
    ) => void,
  ): Promise<LeasedClient> | void {
    const acquired = this.acquire().then((lease) => lease.connection);
    if (callback === undefined) return acquired;
    const inContext = new AsyncResource('PostgresConnect').bind(callback);
    // On the next tick, so that what the callback throws is an uncaught exception, as in pg, and no lost rejection.
    acquired.then(
      (client) =>
        process.nextTick(inContext, undefined, client, (destroy?: Error | boolean) => client.release(destroy)),
      (error: Error) => process.nextTick(inContext, error, undefined, () => {}),
    );
  }

  /** As pg.Pool's, but it ends: leases that are out get as long as `close()` gives them. */
  end(): Promise<void>;
  end(callback: (error?: Error) => void): void;
  end(callback?: (error?: Error) => void): Promise<void> | void {
    const ended = this.ending
      ? Promise.reject(new Error('Called end on pool more than once'))
      : this.close().then(() => undefined);
    if (callback === undefined) return ended;
    const inContext = new AsyncResource('PostgresEnd').bind(callback);
    ended.then(
      () => process.nextTick(inContext),
      (error: Error) => process.nextTick(inContext, error),
    );
  }

  /** Connections, in whatever state. */
  get totalCount(): number {
    return this.core.engine.total;
  }

  get idleCount(): number {
    return this.core.engine.idle;
  }

  /** Callers waiting for a connection. */
  get waitingCount(): number {
    return this.core.engine.waiting;
  }

  get ending(): boolean {
    const { lifecycle } = this.core.engine;
    return lifecycle === 'draining' || lifecycle === 'closed';
  }

  get ended(): boolean {
    return this.core.engine.lifecycle === 'closed';
  }

  /** Lent connections that are older than `maxLifetimeMs`; they are replaced when they come back. */
  get expiredCount(): number {
    const { maxLifetimeMs } = this.core.engine.limits;
    if (maxLifetimeMs === 0) return 0;
    const bornBeforeMs = this.parts.clock.now() - maxLifetimeMs;
    let expired = 0;
    for (const session of this.parts.driver.sessions) if (session.openedAtMs < bornBeforeMs) expired++;
    return expired;
  }

  /** What it was configured with, in pg.Pool's words. Secrets are left out. */
  get options(): PgPoolOptions {
    return this.parts.options;
  }

  /** @internal The module `pg` behind it. */
  get pgModule(): object {
    return this.parts.pg.exports;
  }

  // ── Safety of the database user ──────────────────────────────────────────────────────────────────────────────────

  /** @internal Fails at once, and not only at the time-out, when the database user isn't bound by row security. */
  override start(): Promise<void> {
    return Promise.race([super.start(), this.parts.safety.refused]);
  }

  override async acquire(options?: AcquireOptions): Promise<Lease<LeasedClient>> {
    const { safety } = this.parts;
    if (safety.error !== undefined) throw safety.error;
    try {
      return await super.acquire(options);
    } catch (error) {
      throw safety.error ?? error;
    }
  }

  protected override view(binding: TenantBinding): this {
    return new PostgresPool(this.core, this.parts, binding) as this;
  }
}

/**
 * Puts a PostgreSQL pool together; nothing is opened until the manager starts it or somebody uses it.
 *
 * @throws MissingDriverError when the package `pg` is missing.
 */
export async function createPostgresPool(
  id: string,
  config: ResolvedPostgresPoolOptions,
  surroundings: PoolSurroundings,
): Promise<PostgresPool> {
  const pg = await loadPg(id);
  const rules: SessionRules = {
    isolation: isolationOf(config.isolation),
    trustOneShot: config.session.trustOneShot,
    onReset: () => core.engine.counters.resets++,
  };
  const safety = new RoleSafety();
  const driver: PgDriver = new PgDriver({
    pg,
    clientConfig: clientConfigOf(id, config, surroundings.owner),
    password: config.password,
    rules,
    surroundings: () => parts,
    setUp: (session) => setUp(session, core, parts, config),
  });
  const core: PoolCore<LeasedClient> = createPoolCore<PgSession, LeasedClient>({
    id,
    type: 'database',
    config,
    driver,
    surroundings,
    observer: pgEvents(() => core.events),
  });
  const { deadlines } = core.engine;
  const parts: PostgresParts = {
    pg,
    rules,
    driver,
    safety,
    options: pgPoolOptionsOf(config),
    deadlines,
    clock: surroundings.clock,
  };
  return new PostgresPool(core, parts);
}

/** What is done once on each new connection. */
async function setUp(
  session: PgSession,
  core: PoolCore<LeasedClient>,
  parts: PostgresParts,
  config: ResolvedPostgresPoolOptions,
): Promise<void> {
  const { isolation, onConnect, verify } = config;
  const { events, surroundings, id } = core;
  if (isolation.mode === 'rls') {
    await SetupClient.run(id, session, parts, async (client) => {
      const unsafe = await findUnsafeRole(id, client);
      if (unsafe === undefined || isolation.unsafeRole === 'refuse') parts.safety.found(unsafe);
      else if (parts.safety.warnOnce()) surroundings.logger.warn(unsafe.message);
    });
    session.adoptSetup([]);
  }
  if (onConnect === undefined && verify === undefined && events.listenerCount('connect') === 0) return;
  await SetupClient.run(id, session, parts, async (client) => {
    await onConnect?.(client);
    events.emit('connect', client);
    if (verify !== undefined) {
      await new Promise<void>((resolve, reject) => verify(client, (error) => (error ? reject(error) : resolve())));
    }
  });
}

function refuse(error: unknown, callback: QueryCallback | undefined): Promise<never> | undefined {
  if (callback === undefined) return Promise.reject(toError(error));
  process.nextTick(callback, error);
  return undefined;
}

function definedLimits(limits: CallLimits): CallLimits {
  return limits.timeoutMs === undefined ? { signal: limits.signal } : limits;
}
