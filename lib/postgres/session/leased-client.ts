/**
 * What a borrower gets: a client that passes for pg's `PoolClient`, for the length of one lease.
 *
 * Promise: after release every use of it fails with LeaseReleasedError and never reaches the connection, which may
 * serve another borrower by then. Listeners and type parsers that the borrower set go with the lease.
 *
 * Its name has no "Pool" in it on purpose: Drizzle takes an object whose class name has one for a pool, and would ask
 * it for a client.
 */
import { inspect } from 'node:util';

import type { Client, Connection, TransactionStatus } from 'pg';

import type { LeaseInfo } from '../../engine/driver.js';
import { PoolLease } from '../../engine/lease.js';
import type { Clock } from '../../engine/time/clock.js';
import type { Deadlines } from '../../engine/time/deadlines.js';
import { toError } from '../../engine/to-error.js';
import { LeaseReleasedError } from '../../errors.js';
import { isStatementError } from '../protocol/pg-errors.js';
import type { QueryCallback, TypeParser } from '../protocol/pg-module.js';
import type { Batch } from '../statement/batch.js';
import type { Batching } from '../statement/batching.js';
import type { ConnectionParsers } from '../statement/caller-code.js';
import type { CallerStatement } from '../statement/caller-statement.js';
import { type CallerSubmittable, textOwner } from '../statement/caller-submittable.js';
import type { Instrumentation, ObservedCall, StatementText } from '../statement/instrumentation.js';
import { LeaseStatement } from '../statement/lease-statement.js';
import { OpeningStatement } from '../statement/opening-statement.js';
import { type QueryRequest, type StatementLimits, strictest } from '../statement/query-arguments.js';
import type { QueryChannel } from '../statement/query-channel.js';
import { hasSeveralStatements } from '../statement/statement.js';
import { SubmittableTask } from '../statement/submittable-task.js';
import { LeaseEvents } from './lease-events.js';
import type { PgSession } from './pg-session.js';

/** What of the pool its clients need. */
export interface ClientDependencies {
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  /** Undefined for what the pool does for its own ends: instrumentation is not told of it. */
  readonly instrumentation: Instrumentation | undefined;
  /** The application's statements are published here. */
  readonly queries: QueryChannel;
  /** Limits of the pool on each statement. */
  readonly limits: StatementLimits;
  readonly parsers: ConnectionParsers;
  /** How one-shot statements travel together. */
  readonly batching: Batching;
}

/** A session with the clients that it was lent as. */
export type PoolSession = PgSession<LeasedClient>;

/**
 * What `connect()`, `acquire()` and `use()` of a PostgreSQL pool lend: it passes for a `PoolClient` of pg until it is
 * released. After that each use fails with LeaseReleasedError, and reaches no connection.
 */
export class LeasedClient extends LeaseEvents {
  readonly #lease: LeaseInfo;
  readonly #session: PgSession;
  readonly #dependencies: ClientDependencies;
  #parsers: Map<string, TypeParser> | undefined = undefined;
  #bound = false;
  #mustBeDestroyed = false;
  /** Queries wait for each other. */
  readonly pipeline = false;
  /** @internal What the borrower gave `release()`, for the pool's event of that name. */
  releasedWith: Error | boolean | undefined = undefined;
  /** @internal The event has been emitted. */
  releaseTold = false;
  /** @internal The one-shot statements that share its lease. */
  batch: Batch | undefined = undefined;

  /** @internal */
  constructor(session: PgSession, lease: LeaseInfo, dependencies: ClientDependencies) {
    super();
    this.#session = session;
    this.#lease = lease;
    this.#dependencies = dependencies;
  }

  /** @internal */
  get lease(): LeaseInfo {
    return this.#lease;
  }

  /** @internal Only for the pool itself: it knows no release. */
  get session(): PgSession {
    return this.#session;
  }

  /** Prints whom it works for: neither the connection nor what goes over it. */
  [inspect.custom](): string {
    return `LeasedClient ${inspect(this.toJSON())}`;
  }

  /** Pool, tenant, and whether it was released. */
  toJSON(): Record<string, unknown> {
    const { poolId, tenantId, released } = this.#lease;
    return { poolId, tenantId, released };
  }

  // ── The lease ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Gives the connection back. Harmless when called again, though reported.
   *
   * @param destroy `true`, or an error that isn't just a refused statement: the connection is closed instead of kept.
   */
  release(destroy?: Error | boolean): void {
    if (!(this.lease instanceof PoolLease)) return;
    if (!this.lease.released) this.releasedWith = destroy === false ? undefined : destroy;
    const gone =
      this.#mustBeDestroyed ||
      (destroy !== undefined && destroy !== false && destroy !== null && !isStatementError(destroy));
    this.lease.release(gone ? true : undefined);
  }

  /** As in pg: ends the connection itself. It leaves the pool when the lease ends, which is still up to `release()`. */
  end(): Promise<void>;
  /** As above, with a callback. */
  end(callback: (error?: Error) => void): void;
  end(callback?: (error?: Error) => void): Promise<void> | void {
    const ended = this.#alive().end();
    this.#mustBeDestroyed = true;
    if (callback === undefined) return ended;
    ended.then(() => callback(), callback);
  }

  /** @internal The transaction is bound to the tenant already, or needs no binding. */
  bindNothing(): void {
    this.#bound = true;
  }

  /** @internal A statement has worked. */
  completed(_statement: LeaseStatement): void {}

  /** @internal */
  awaitLastWordOf(statement: LeaseStatement): void {
    statement.awaitLastWord(this.#dependencies.deadlines, this.#dependencies.clock.now());
  }

  /** @internal Whether results go through type parsers of an application's own. */
  get hasOwnParsers(): boolean {
    return this.#parsers !== undefined || this.#dependencies.parsers.mayBeOwn;
  }

  /** @internal The lease is over. */
  retire(): void {
    this.stopListening(this.session.client);
    this.#parsers = undefined;
  }

  #alive(): PgSession {
    if (this.lease.released) throw this.#releasedError();
    return this.session;
  }

  #releasedError(): LeaseReleasedError {
    return new LeaseReleasedError(this.lease.poolId, { tenantId: this.lease.tenantId });
  }

  /** @internal */
  protected override get hearsConnection(): boolean {
    return this.session.hygiene.isClean;
  }

  /** @internal */
  protected override source(): Client {
    return this.#alive().client;
  }

  // ── Queries ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @internal */
  protected override runQuery(request: QueryRequest): unknown {
    return this.execute(request);
  }

  /** @internal What `query` comes down to. */
  execute(request: QueryRequest): unknown {
    if (request.submittable !== undefined) return this.runSubmittable(request.submittable, request.callback);
    const { text, values, config, callback } = request;
    const statement = new LeaseStatement(this, text, values, config);
    const promise = callback === undefined ? statement.promise() : statement.callBack(callback);
    this.runStatement(statement);
    return promise;
  }

  /** @internal Runs a statement of the caller's. Called in the caller's async context. */
  runStatement(statement: LeaseStatement): void {
    if (this.observe(statement)) this.#run(statement);
  }

  /**
   * @internal Begins the lease's transaction by itself, if it has not begun and `request` can't take that along;
   * without a request in any case.
   */
  beginAhead(request: QueryRequest | undefined): void {
    const { binding } = this.session.hygiene;
    if (binding.opening === undefined || binding.isOpeningAsked) return;
    if (request !== undefined && this.#takesOpening(request)) return;
    binding.isOpeningAsked = true;
    // The statements behind it are told.
    this.run(new OpeningStatement(this)).catch(() => {});
  }

  /** pg would take the answers to what goes ahead for those to the preparation of a named statement. */
  #takesOpening(request: QueryRequest): boolean {
    if (request.submittable !== undefined) return false;
    if (request.config?.name !== undefined || hasSeveralStatements(request.text)) return false;
    return this.#dependencies.instrumentation?.isPresent() !== true;
  }

  /** @internal Runs a statement of the pool's own in this lease. */
  run(statement: LeaseStatement): ReturnType<LeaseStatement['promise']> {
    const promise = statement.promise();
    this.#run(statement);
    return promise;
  }

  /**
   * @internal Tells instrumentation of a caller's statement. Called in the caller's async context.
   * @returns false when instrumentation has blocked it; its caller has been told.
   */
  observe(statement: CallerStatement): boolean {
    const { text, values, config } = statement;
    const observed = this.#observe({ text, values, name: config?.name });
    if (observed === undefined) return true;
    if (observed.blocked !== undefined) {
      statement.giveUp(observed.blocked);
      return false;
    }
    statement.observed = observed;
    statement.text = observed.text;
    return true;
  }

  #observe(statement: StatementText): ObservedCall | undefined {
    const { instrumentation, queries } = this.#dependencies;
    if (this.lease.released || instrumentation === undefined) return undefined;
    const observed = instrumentation.isPresent() ? instrumentation.observe(this.session.client, statement) : undefined;
    if (observed?.blocked !== undefined) return observed;
    for (const text of observed?.ahead ?? []) this.#runAhead(text);
    return queries.hasSubscribers ? queries.begin(this.lease.tenantId, statement, observed) : observed;
  }

  /** A statement of instrumentation's own. What becomes of it is not the caller's concern. */
  #runAhead(text: string): void {
    this.run(new LeaseStatement(this, text, undefined, undefined)).catch(() => {});
  }

  #run(statement: LeaseStatement): void {
    const { deadlines, clock, limits } = this.#dependencies;
    const signal = statement.config?.signal;
    const own = statement.config?.timeoutMs;
    const timeoutMs = limits.queryTimeoutMs === undefined ? own : strictest(own, limits.queryTimeoutMs);
    if (this.lease.released) {
      statement.giveUp(this.#releasedError());
    } else if (signal?.aborted === true) {
      statement.aborted(signal.reason);
    } else {
      if (timeoutMs !== undefined || signal !== undefined) statement.limit(deadlines, clock.now(), timeoutMs, signal);
      this.#bind();
      this.#nameApart(statement);
      this.session.runInLease(statement);
    }
  }

  /**
   * @internal Runs a Submittable.
   * @param over called when the connection is ready again, or gone.
   */
  runSubmittable<T extends CallerSubmittable>(
    query: T,
    callback: QueryCallback | undefined,
    over?: (error: Error | undefined) => void,
  ): T {
    const session = this.#alive();
    const observed = this.#observe({ text: textOwner(query).text, values: undefined, name: query.name });
    if (observed?.blocked !== undefined) {
      const { blocked } = observed;
      process.nextTick(() => {
        SubmittableTask.refuse(query, blocked, callback);
        over?.(blocked);
      });
      return query;
    }
    const { clock, deadlines, limits } = this.#dependencies;
    const submittable = new SubmittableTask(query, callback, {
      session,
      tenantId: this.lease.tenantId,
      queryTimeoutMs: limits.queryTimeoutMs,
      clock,
      deadlines,
      typeParsers: this,
      observed,
      over,
    });
    this.#bind();
    session.runInLease(submittable);
    return query;
  }

  /** Ahead of the first statement: makes the session the tenant's for as long as the lease lasts. */
  #bind(): void {
    if (this.#bound) return;
    this.#bound = true;
    this.session.bind(this.lease.tenantId);
  }

  /** A caller's named statement has another name for each role or schema. */
  #nameApart(statement: LeaseStatement): void {
    const { leaseRejection, rules } = this.session;
    if (statement.name === undefined || leaseRejection !== undefined) return;
    try {
      statement.name = rules.isolation.statementName(statement.name, this.lease.tenantId);
    } catch (error) {
      statement.rejection = toError(error);
    }
  }

  // ── What pg's clients have besides ───────────────────────────────────────────────────────────────────────────────

  /** Of the server's process; undefined when the server has not told. */
  get processID(): number | undefined {
    return this.session.wire.processID;
  }
  /** The user that the connection is of. */
  get user(): string | undefined {
    return this.session.client.user;
  }
  /** The database that the connection is to. */
  get database(): string | undefined {
    return this.session.client.database;
  }
  /** The host, or the directory of the socket. */
  get host(): string {
    return this.session.client.host;
  }
  /** The port of the server. */
  get port(): number {
    return this.session.client.port;
  }
  /** Whether the connection is encrypted. */
  get ssl(): boolean {
    return Boolean(this.session.client.ssl);
  }

  /** A client that was lent is connected: rejects, as pg's clients do when they are connected twice. */
  connect(): Promise<never> {
    return Promise.reject(new Error('This client was lent by a pool and is connected already.'));
  }

  /**
   * Where the session stands, as the server said last: `I` outside of a transaction, `T` in one, `E` in a failed one.
   *
   * @throws LeaseReleasedError after release.
   */
  getTransactionStatus(): TransactionStatus {
    return this.#alive().transactionStatus;
  }

  /** Quotes the name of a table, a column and the like. */
  escapeIdentifier(name: string): string {
    return this.session.client.escapeIdentifier(name);
  }

  /** Quotes a text. Values of a query are better given as parameters. */
  escapeLiteral(text: string): string {
    return this.session.client.escapeLiteral(text);
  }

  /** For this lease alone: the connection's own parsers stay as they are. */
  setTypeParser(oid: number, format: string | TypeParser, parser?: TypeParser): void {
    this.#alive();
    const chosen = typeof format === 'function' ? format : parser;
    if (chosen === undefined) throw new TypeError('setTypeParser() needs a parser');
    this.#parsers ??= new Map();
    this.#parsers.set(parserKey(oid, typeof format === 'string' ? format : 'text'), chosen);
  }

  /** The parser for values of a type: that of this lease, else that of the connection. */
  getTypeParser(oid: number, format: 'text' | 'binary' = 'text'): TypeParser {
    const own = this.#parsers?.get(parserKey(oid, format));
    return own ?? this.session.wire.typeParsers.getTypeParser(oid, format);
  }

  /** pg's own connection, for libraries that reach for it. */
  get connection(): Connection {
    return this.#alive().client.connection;
  }

  /** Of pg's native client alone, which pools don't use. @throws always: pg-copy-streams is the way. */
  copyFrom(_text: string): never {
    throw new Error('copyFrom() is of the native client: use query(from(text)) with pg-copy-streams');
  }

  /**
   * Of the native client alone, which pools don't use.
   *
   * @throws always: pg-copy-streams is the way.
   */
  copyTo(_text: string): never {
    throw new Error('copyTo() is of the native client: use query(to(text)) with pg-copy-streams');
  }

  /** Without effect, as in pg's JavaScript client, which has no such methods. */
  pauseDrain(): void {}
  /** Without effect; see {@link pauseDrain}. */
  resumeDrain(): void {}

  /** The pool decides what keeps the process alive: nothing happens. */
  ref(): void {}
  /** Without effect; see {@link ref}. */
  unref(): void {}
}

function parserKey(oid: number, format: string): string {
  return `${oid}:${format}`;
}
