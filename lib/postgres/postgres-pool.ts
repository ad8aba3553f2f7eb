/**
 * PostgreSQL pools: a drop-in for `pg.Pool` that knows tenants and never leaks a session.
 *
 * `query`, `connect`, `end`, the events and the counts are pg's; `transaction`, `acquire`, `use` and the tenant's views
 * are what it has besides.
 */
import { AsyncResource } from 'node:async_hooks';

import type { QueryArrayConfig, QueryArrayResult, QueryConfig, QueryResult, QueryResultRow } from 'pg';

import type { Lease } from '../engine/lease.js';
import { type AtScopeEnd, mayBeWithdrawn, requestWithin } from '../engine/scoped-request.js';
import { toError } from '../engine/to-error.js';
import { PoolClosedError, PoolViewEndedError } from '../errors.js';
import type { AcquireOptions, PoolCore, TenantBinding } from '../pool/pool-handle.js';
import type { ContextFrame } from '../tenancy/tenant-context.js';
import type { PgPoolOptions } from './client-config.js';
import { PostgresCounts } from './pg-counts.js';
import type { PgDriver } from './pg-driver.js';
import type { PoolEnds, SharedView } from './pool-ends.js';
import { PostgresPoolStats } from './postgres-pool-stats.js';
import type { PgModule, QueryCallback } from './protocol/pg-module.js';
import type { LeasedClient } from './session/leased-client.js';
import type { SessionRules } from './session/session-hygiene.js';
import type { CallerSubmittable } from './statement/caller-submittable.js';
import { OneShot } from './statement/one-shot.js';
import { PoolQuery, type StatementRules } from './statement/pool-query.js';
import { PoolSubmittable } from './statement/pool-submittable.js';
import {
  type CallLimits,
  definedLimits,
  MOST_PARAMETERS,
  type QueryRequest,
  readQuery,
  refuseQuery,
} from './statement/query-arguments.js';
import type { SubmittableQuery } from './statement/queryable.js';
import type { StatementConfig } from './statement/statement.js';
import type { PgTransaction } from './transaction/pg-transaction.js';
import { runTransaction, type TransactionHost, type TransactionOptions } from './transaction/run-transaction.js';
import type { TransactionChannel } from './transaction/transaction-channel.js';

export type { LeasedClient } from './session/leased-client.js';

/** What all views of one pool share. */
interface PostgresPoolDependencies extends StatementRules {
  readonly pg: PgModule;
  readonly rules: SessionRules;
  readonly driver: PgDriver;
  readonly options: PgPoolOptions;
  readonly ends: PoolEnds;
  readonly transactions: TransactionChannel;
}

/** A pool of PostgreSQL sessions. Get one by `@InjectPool`, or from the manager's `createDatabasePool`. */
export class PostgresPool extends PostgresCounts {
  private readonly dependencies: PostgresPoolDependencies;
  private readonly sharedView: SharedView | undefined;

  /** @internal */
  constructor(
    core: PoolCore<LeasedClient>,
    dependencies: PostgresPoolDependencies,
    binding?: TenantBinding,
    sharedView?: SharedView,
  ) {
    super(core, binding);
    this.dependencies = dependencies;
    this.sharedView = sharedView;
  }

  // ── Queries ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs a Submittable, such as a cursor or a COPY stream, on a lease that ends with it, and returns it. */
  query<T extends SubmittableQuery>(query: T): T;
  /** Runs a query whose rows are arrays (`rowMode`). */
  query<R extends unknown[] = unknown[]>(
    config: QueryArrayConfig<unknown[]> & CallLimits,
    values?: readonly unknown[],
  ): Promise<QueryArrayResult<R>>;
  /**
   * Runs one statement on whichever connection is free, as the current tenant; arguments and results are pg's. A config
   * object may also have `timeoutMs` and `signal`. Never throws: a query that isn't one rejects, or calls back.
   *
   * Rejects with what the server says, with what `acquire` rejects with, with OperationTimeoutError, QueryAbortedError,
   * or, when the statement left a transaction open, with TransactionLeftOpenError.
   *
   * @example
   * const { rows } = await pool.query<Order>('select * from orders where id = $1', [id]);
   */
  query<R extends QueryResultRow = QueryResultRow>(
    config: string | (QueryConfig<unknown[]> & CallLimits),
    values?: readonly unknown[],
  ): Promise<QueryResult<R>>;
  /** Runs a query whose rows are arrays, and calls back. */
  query<R extends unknown[] = unknown[]>(
    config: QueryArrayConfig<unknown[]> & CallLimits,
    callback: (error: Error, result: QueryArrayResult<R>) => void,
  ): void;
  /** Runs a query, and calls back. */
  query<R extends QueryResultRow = QueryResultRow>(
    config: string | (QueryConfig<unknown[]> & CallLimits),
    callback: (error: Error, result: QueryResult<R>) => void,
  ): void;
  /** Runs a query with values, and calls back. */
  query<R extends QueryResultRow = QueryResultRow>(
    config: string | (QueryConfig<unknown[]> & CallLimits),
    values: readonly unknown[] | undefined,
    callback: (error: Error, result: QueryResult<R>) => void,
  ): void;
  query(query: unknown, values?: unknown, callback?: unknown): unknown {
    // The commonest form, by the shortest way.
    if (
      typeof query === 'string' &&
      callback === undefined &&
      (values === undefined || (Array.isArray(values) && values.length <= MOST_PARAMETERS))
    ) {
      return this.oneShot(query, values, undefined, undefined);
    }
    let request: QueryRequest;
    try {
      request = readQuery(query, values, callback);
    } catch (error) {
      return refuseQuery(error, [query, values, callback]);
    }
    if (request.submittable !== undefined) return this.querySubmittable(request.submittable, request.callback);
    return this.oneShot(request.text, request.values, request.config, request.callback);
  }

  private oneShot(
    text: string | undefined,
    values: readonly unknown[] | undefined,
    config: StatementConfig | undefined,
    callback: QueryCallback | undefined,
  ): unknown {
    const { core, dependencies, frame } = this;
    const { id } = core.runtime;
    let tenantId: string | undefined;
    let statement: OneShot;
    let ruled: PoolQuery | undefined;
    try {
      tenantId = this.tenantFor(undefined, frame);
      this.admit();
      if (dependencies.safety.isEnforced)
        statement = ruled = new PoolQuery(id, tenantId, dependencies, text, values, config);
      else statement = new OneShot(id, tenantId, dependencies, text, values, config);
      const { isolation } = dependencies.rules;
      if (isolation.mode !== 'none') {
        const setting = isolation.settingFor(tenantId);
        if (setting !== undefined && statement.isScript) return this.script(statement.config ?? { text }, callback);
        statement.binding = setting;
      }
      if (statement.name !== undefined) statement.name = isolation.statementName(statement.name, tenantId);
    } catch (error) {
      return refuseQuery(error, [callback]);
    }
    const answer = callback === undefined ? statement.promise() : statement.callBack(callback);
    if (frame?.scope !== undefined && answer !== undefined) statement.withdrawable = answer;
    if (config !== undefined && (config.timeoutMs !== undefined || config.signal !== undefined)) {
      const { timeoutMs, signal } = config;
      statement.limitCall(timeoutMs, signal);
      requestWithin(core.engine, frame?.scope, 'left', statement, tenantId, { timeoutMs, signal });
    } else {
      requestWithin(core.engine, frame?.scope, 'left', statement, tenantId, undefined);
    }
    ruled?.requested();
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

  /** Runs a Submittable on a lease of its own, which ends with it. What keeps it from running, it is told. */
  private querySubmittable<T extends CallerSubmittable>(query: T, callback: QueryCallback | undefined): T {
    const { dependencies, core, frame } = this;
    const submittable = new PoolSubmittable(query, callback, dependencies.safety);
    try {
      const tenantId = this.tenantFor(undefined, frame);
      this.admit();
      const { signal } = submittable;
      requestWithin(core.engine, frame?.scope, 'taken back', submittable, tenantId, { signal });
      submittable.requested();
    } catch (error) {
      submittable.refused(toError(error));
    }
    return query;
  }

  /**
   * Runs `fn` in a transaction, as the current tenant: committed when it returns, rolled back when it throws.
   *
   * Rejects with what `fn` throws, with what `acquire` and the server's COMMIT reject with, with OperationTimeoutError,
   * QueryAbortedError, or with TransactionAbortedError when a failed statement's error was swallowed.
   *
   * Where `fn` returns the promise of its last statement itself, as `(tx) => tx.query('update …')` does, COMMIT may
   * travel with that statement, once all that `fn` has set off by promises in the same turn of the event loop has run.
   * A statement that is asked for in a later turn, while that one runs, rejects with TransactionEndedError then.
   *
   * @returns what `fn` returns.
   * @example
   * await pool.transaction(async (tx) => {
   *   await tx.query('update accounts set balance = balance - $1 where id = $2', [sum, from]);
   *   await tx.query('update accounts set balance = balance + $1 where id = $2', [sum, to]);
   * }, { isolation: 'serializable', retries: 3 });
   */
  transaction<T>(
    fn: (tx: PgTransaction) => T | PromiseLike<T>,
    options: TransactionOptions & Pick<AcquireOptions, 'tenantId'> = {},
  ): Promise<T> {
    const { frame } = this;
    const run = this.runTransaction(fn, options, frame, (acquired) => {
      if (frame?.scope !== undefined) void mayBeWithdrawn(acquired, run);
    });
    return run;
  }

  private runTransaction<T>(
    fn: (tx: PgTransaction) => T | PromiseLike<T>,
    options: TransactionOptions & Pick<AcquireOptions, 'tenantId'>,
    frame: ContextFrame | undefined,
    asked: (acquired: Promise<Lease<LeasedClient>>) => void,
  ): Promise<T> {
    const { core, dependencies } = this;
    const acquire: TransactionHost['acquire'] = (limits) => {
      const lease = this.borrow({ ...definedLimits(limits), tenantId: options.tenantId }, frame);
      queueMicrotask(() => asked(lease));
      return lease;
    };
    const { random } = core.runtime;
    const holding: TransactionHost['holding'] = (lease, work) => this.holding(lease, work);
    const host: TransactionHost = { ...dependencies, poolId: core.runtime.id, random, acquire, holding };
    const { transactions } = dependencies;
    if (!transactions.hasSubscribers) return runTransaction(host, fn, options);
    const tenantId = options.tenantId ?? this.fixedTenant(frame);
    return transactions.follow(host, tenantId, (counting) => runTransaction(counting, fn, options));
  }

  // ── pg.Pool's own methods ────────────────────────────────────────────────────────────────────────────────────────

  /** As pg.Pool's: a client that is yours until `client.release()`. Under a tenant it is bound to that tenant. */
  connect(): Promise<LeasedClient>;
  /** As above, with a callback; `done` gives the client back. */
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
    const lease = this.acquire();
    const acquired = lease.then(({ connection }) => connection);
    if (callback === undefined) return mayBeWithdrawn(lease, acquired);
    const inContext = new AsyncResource('PostgresConnect').bind(callback);
    // On the next tick, so that what the callback throws is an uncaught exception, as in pg, and no lost rejection.
    acquired.then(
      (client) =>
        process.nextTick(inContext, undefined, client, (destroy?: Error | boolean) => client.release(destroy)),
      (error: Error) => process.nextTick(inContext, error, undefined, () => {}),
    );
  }

  /**
   * Closes the pool where it is the caller's: one that the caller has created, and no view of it. As in pg.Pool what
   * was asked for before is served, and what comes after is refused. But it ends: after 10 seconds those who still wait
   * are refused, and the connections of leases that are still out are closed.
   *
   * A pool that the application declares, and a tenant's view, stay open: others use them, and a library that ends
   * what it was handed must not end it for them. There it resolves, is counted (`stats().ignoredEnds`) and reported
   * once. `close()` closes any pool. What {@link shared} gave out is ended alone.
   */
  end(): Promise<void>;
  /** As above, with a callback. */
  end(callback: (error?: Error) => void): void;
  end(callback?: (error?: Error) => void): Promise<void> | void {
    const { binding, sharedView, ending: isEnding } = this;
    const { ends } = this.dependencies;
    const ended = ends.end({ binding, sharedView, isEnding, close: (options) => this.close(options) });
    if (callback === undefined) return ended;
    const inContext = new AsyncResource('PostgresEnd').bind(callback);
    ended.then(
      () => process.nextTick(inContext),
      (error: Error) => process.nextTick(inContext, error),
    );
  }

  /** Whether `end()` has ended what it was called on, or `close()` has been called. */
  get ending(): boolean {
    const { lifecycle } = this.core.engine;
    return this.ended || this.dependencies.ends.isEnding || lifecycle === 'draining';
  }

  /** Whether the pool has closed, or what `shared()` gave out has been ended. */
  get ended(): boolean {
    return this.sharedView?.isEnded === true || this.core.engine.lifecycle === 'closed';
  }

  /** @internal */
  protected override openedBefore(atMs: number): number {
    return this.dependencies.driver.openedBefore(atMs);
  }

  /** What it was configured with, in pg.Pool's words. Secrets are left out. */
  get options(): PgPoolOptions {
    return this.dependencies.options;
  }

  /** @internal The module `pg` behind it. */
  get pgModule(): object {
    return this.dependencies.pg.exports;
  }

  // ── Shared with libraries ────────────────────────────────────────────────────────────────────────────────────────

  /**
   * The same pool, for a library that ends what it is handed (`destroy()`, `end()`): its `end()` ends this view alone,
   * at once. What was asked through it goes on, later calls through it reject with PoolViewEndedError, and the pool
   * stays open for everybody else.
   *
   * @example
   * const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool: pool.shared() }) });
   * await db.destroy(); // ends no connection
   */
  shared(): this {
    return new PostgresPool(this.core, this.dependencies, this.binding, { isEnded: false }) as this;
  }

  /** The numbers of this moment. */
  override stats(): PostgresPoolStats {
    return new PostgresPoolStats(this.core.engine, this.statsContext, this.dependencies.ends.ignored);
  }

  // ── Safety of the database user ──────────────────────────────────────────────────────────────────────────────────

  /** @internal Fails at once, and not only at the time-out, when the database user isn't bound by row security. */
  override start(): Promise<void> {
    const started = super.start();
    const { safety } = this.dependencies;
    if (!safety.isEnforced) return started;
    if (safety.error === undefined) return safety.unlessUnsafe(started, () => undefined);
    started.catch(() => undefined);
    return Promise.reject(safety.error);
  }

  /**
   * A slot if one can be had without waiting, else `undefined`.
   *
   * @throws PoolClosedError, PoolViewEndedError, UnsafeRoleError, TenantRequiredError
   */
  override tryAcquire(): Lease<LeasedClient> | undefined {
    this.admit();
    return super.tryAcquire();
  }

  /** @internal */
  protected override acquireFor(
    atEnd: AtScopeEnd,
    options: AcquireOptions | undefined,
    frame: ContextFrame | undefined,
  ): Promise<Lease<LeasedClient>> {
    try {
      this.admit();
    } catch (error) {
      return Promise.reject(toError(error));
    }
    const borrowed = super.acquireFor(atEnd, options, frame);
    const { safety } = this.dependencies;
    return safety.isEnforced ? mayBeWithdrawn(borrowed, safety.unlessUnsafe(borrowed, giveBack)) : borrowed;
  }

  /** What every call has to pass. @throws PoolClosedError, PoolViewEndedError, UnsafeRoleError */
  private admit(): void {
    if (this.sharedView?.isEnded === true) throw new PoolViewEndedError(this.core.runtime.id);
    const { safety, ends, clock } = this.dependencies;
    if (ends.isEnding) throw new PoolClosedError(this.core.runtime.id);
    if (!safety.isEnforced) return;
    if (safety.error !== undefined) throw safety.error;
    safety.used(clock.now());
  }

  /** @internal */
  protected override view(binding: TenantBinding): this {
    return new PostgresPool(this.core, this.dependencies, binding, this.sharedView) as this;
  }
}

function giveBack(lease: Lease<LeasedClient>): void {
  if (!lease.released) lease.release();
}
