/**
 * A server session: runs the tasks of its borrowers one after the other, and knows when it is quiet, and why it broke.
 *
 * What it owes before it serves the next borrower is decided in session-hygiene.ts. Until the server has confirmed that
 * the borrower hears nothing of the connection: a notification may be meant for the tenant before.
 */
import type { Client, TransactionStatus } from 'pg';

import { toError } from '../../engine/to-error.js';
import { ConnectionLostError, PoolError, ScriptRefusedError, TransactionEndedError } from '../../errors.js';
import { isFatalError, isReadOnlyError, isStatementError } from '../protocol/pg-errors.js';
import type { ActiveQuery, PgModule } from '../protocol/pg-module.js';
import { Wire } from '../protocol/wire.js';
import { endsTransaction, unboundBehind } from '../statement/script-check.js';
import { hasSeveralStatements, Statement, type StatementSession } from '../statement/statement.js';
import { cancelAbandoned, Cancellation } from './cancellation.js';
import { Overrun } from './overrun.js';
import { type HygienicSession, SessionHygiene, type SessionRules } from './session-hygiene.js';
import { type QueueOwner, SessionQueue, type SessionTask, type SessionTiming } from './session-queue.js';
import { SyncPoint } from './sync-point.js';
import { type WriteAccess, WriteAccessLook } from './write-access.js';

/** Nothing is sent behind statements that take so much, in bytes. */
const BATCH_BYTES = 32_768;

/** @typeParam B what a lease of it is given. */
export class PgSession<B = unknown> implements QueueOwner, HygienicSession, StatementSession {
  readonly client: Client;
  readonly wire: Wire;
  readonly rules: SessionRules;
  /** What it owes before its next use. */
  readonly hygiene: SessionHygiene;
  readonly #queue: SessionQueue;
  /** It is on its way back. */
  #isReturning = false;
  /** A cancel request that has not been dealt with. */
  #cancellation: Cancellation | undefined = undefined;
  /** Cancel requests that may hit a statement that was sent behind the one they were meant for. */
  #straying = 0;
  /** The cancel request of a session that was destroyed in the middle of something. */
  #abandonment: Promise<void> | undefined = undefined;
  readonly openedAtMs: number;
  readonly #timing: SessionTiming;
  /** The look of the reset schedule ahead of which it came back. */
  returnedInLook = 0;
  /** The client of the lease before. */
  lastBorrower: B | undefined = undefined;
  /** The client of the current lease. */
  borrower: B | undefined = undefined;
  /** It has refused a write as read-only during the current lease, or the last one. */
  hasRefusedWrite = false;
  #ending = false;
  #broken: Error | undefined = undefined;
  /** What the server said before it ended the session. */
  #lastWords: Error | undefined = undefined;
  #brokenListener: ((error: Error) => void) | undefined = undefined;

  /**
   * @param client has connected just now.
   * @param serverVersion of PostgreSQL, the major one; 0 when it isn't known.
   */
  constructor(pg: PgModule, client: Client, rules: SessionRules, timing: SessionTiming, serverVersion: number) {
    this.#timing = timing;
    this.openedAtMs = timing.clock.now();
    this.client = client;
    this.wire = new Wire(pg, client);
    this.rules = rules;
    this.hygiene = new SessionHygiene(this, serverVersion);
    this.#queue = new SessionQueue(client, this);
    // Without a listener an error event would end the process (node-postgres #2762).
    client.on('error', (error) => this.#died(error));
    client.on('end', () => this.#died(new Error('The server closed the connection')));
  }

  get transactionStatus(): TransactionStatus {
    return this.wire.transactionStatus;
  }

  get isLent(): boolean {
    return this.borrower !== undefined;
  }

  /** No lease has it, and nothing of the last one's is still under way. */
  get isIdle(): boolean {
    return !this.isLent && !this.#isReturning;
  }

  /** Whether the pool ends it, and it hasn't broken by itself. */
  get isEnding(): boolean {
    return this.#ending;
  }

  /** Why the connection can't be used any more: what the server said last, if it said anything. */
  get lostBecause(): Error | undefined {
    return this.#lastWords ?? this.#broken;
  }

  /**
   * What the caller of `operation` is told of `error`: a connection that ended under it is told as such, with what the
   * server said last.
   */
  toCallersError(error: Error, sent: boolean, operation = 'a query'): Error {
    const lost = this.lostBecause ?? (isFatalError(error) ? error : undefined);
    if (error instanceof PoolError || lost === undefined || isStatementError(error)) return error;
    return new ConnectionLostError(this.rules.poolId, operation, sent, {
      tenantId: this.hygiene.servedTenant,
      cause: lost,
    });
  }

  // ── From borrower to borrower ────────────────────────────────────────────────────────────────────────────────────

  /** A lease for `tenantId` begins. */
  lend(tenantId: string | undefined): void {
    this.hygiene.lend(tenantId);
    this.hasRefusedWrite = false;
  }

  /** The lease is over. @returns a promise when the session isn't ready for the next one yet. */
  retire(): void | Promise<void> {
    if (this.#queue.isIdle && this.transactionStatus === 'I') return undefined;
    return this.#finishLease();
  }

  async #finishLease(): Promise<void> {
    this.#isReturning = true;
    try {
      await this.#quietSoon();
      if (this.transactionStatus !== 'I') await this.reset();
    } finally {
      this.#isReturning = false;
    }
  }

  async #resetOnItsWay(): Promise<void> {
    this.#isReturning = true;
    try {
      await this.reset();
    } finally {
      this.#isReturning = false;
    }
  }

  /** A statement of the lease that has ended may be about to be answered; one that isn't soon costs the connection. */
  async #quietSoon(): Promise<void> {
    this.#queue.active?.leaseEnded?.();
    // A cancelled statement takes as long as the server needs to obey.
    if (this.#queue.isIdle || this.#cancellation !== undefined) return this.quiet();
    const { clock, deadlines } = this.#timing;
    const overrun = new Overrun(this, clock, deadlines);
    overrun.start();
    await this.quiet();
    overrun.stop();
  }

  /**
   * Whether what runs after its lease is never cut off as an overrun. A transaction that is cancelled at its end would
   * be lost; the time for cleaning the connection limits it.
   */
  get awaitsEnd(): boolean {
    const { active } = this.#queue;
    if (active === undefined) return false;
    return endsTransaction(this.hygiene.textOf(active) ?? '') || active.leaseEnded?.() === true;
  }

  /** Resets it now, in a round trip of its own, and rolls back what is open. */
  reset(): Promise<void> {
    return new Promise((resolve, reject) => {
      // What is reset on its way back the engine counts itself.
      const reset = this.hygiene.newReset(!this.#isReturning, (error) =>
        error === undefined ? resolve() : reject(error),
      );
      this.#queue.run(reset);
    });
  }

  /** Resolves when everything sent has been answered to the end, or the connection is gone. */
  quiet(): Promise<void> {
    return new Promise((resolve) => this.#queue.whenReady(resolve));
  }

  /** Resets it ahead of everything that is asked for from now on. */
  resetNow(): void {
    // A failed reset destroys the session, which tells everyone.
    this.reset().catch(() => {});
  }

  /**
   * Asks the server whether the session could write, once nothing of the last borrower is left that would be reset: who
   * made the session read-only says nothing of the connection. Only while no lease has it.
   */
  async writeAccess(): Promise<WriteAccess> {
    if (this.hygiene.mustResetSoon || this.hygiene.mustResetWhenIdle) await this.#resetOnItsWay();
    return new Promise((resolve) => this.#queue.run(new WriteAccessLook(this, resolve)));
  }

  /** Resolves when the server answers. Changes nothing, in any state of the session. */
  ping(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.run(new SyncPoint(this, resolve, reject));
    });
  }

  // ── Statements ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs what is all there is to a lease. */
  runOneShot(statement: Statement): void {
    statement.session = this;
    this.#queue.run(statement);
    this.hygiene.usedByOneShot();
  }

  /** Lets `ask` run several one-shot statements: those that can go out together. */
  gather(ask: () => void): void {
    this.#queue.gather(ask);
  }

  /** Asked by the queue. */
  mayBeFollowed(task: SessionTask): boolean {
    return this.hygiene.mayBeFollowed(task) && this.wire.length < BATCH_BYTES && !this.wire.isCongested;
  }

  /** Called by the queue. */
  send(): void {
    this.wire.send();
  }

  /** pg has come to a statement that was sent behind others. */
  begins(statement: SessionTask): void {
    this.#queue.begins(statement);
  }

  isActive(task: SessionTask): boolean {
    return this.#queue.active === task;
  }

  /** Runs a task of a lease. */
  runInLease(task: SessionTask): void {
    if (task instanceof Statement) task.session = this;
    this.#queue.run(task);
    this.hygiene.usedByLease();
  }

  /** Sends what follows `task`, if `task` has been sent: the queue does it otherwise. */
  sendFollowerOf(task: SessionTask): void {
    this.#queue.sendFollowerOf(task);
  }

  /** Has the server drop the plan of a statement that has just failed, and runs it ahead of everything that waits. */
  prepareAgain(statement: SessionTask): void {
    const { name } = statement;
    if (name === undefined) return;
    this.wire.forgetStatement(name);
    this.#queue.runFirst(this.#sync(name), statement);
  }

  statementsForgotten(): void {
    this.hygiene.statementsForgotten();
  }

  replaceStatements(): void {
    this.hygiene.replaceStatements();
  }

  /** A Sync whose answer nothing waits for. @param drops the name of a prepared statement to drop. */
  #sync(drops?: string): SyncPoint {
    const ignore = (): void => {};
    return new SyncPoint(this, ignore, ignore, drops);
  }

  /** Why nothing may run in the lease any more, if so. */
  get leaseRejection(): Error | undefined {
    return this.hygiene.binding.rejection;
  }

  /** What ended the lease's transaction, if it is over. */
  transactionEndedBy(): string | undefined {
    return this.hygiene.binding.endedBy(this.transactionStatus);
  }

  /** Ahead of the first statement of a lease: makes the session the tenant's for as long as the lease lasts. */
  bind(tenantId: string | undefined): void {
    const { binding } = this.hygiene;
    try {
      const setting = this.rules.isolation.settingFor(tenantId);
      if (setting !== undefined) binding.require(setting);
    } catch (error) {
      binding.refuse(toError(error));
    }
  }

  /** Asked by the queue. */
  rejectionOf(task: SessionTask): Error | undefined {
    const { binding } = this.hygiene;
    binding.turnBegins();
    if (task.kind === 'end') binding.transactionEnds();
    if (task.kind !== 'caller') return undefined;
    if (binding.rejection !== undefined) return binding.rejection;
    const details = { tenantId: this.hygiene.servedTenant };
    const endedBy = binding.endedBy(this.transactionStatus);
    if (endedBy !== undefined) return new TransactionEndedError(this.rules.poolId, endedBy, details);
    const culprit = hasSeveralStatements(task.text) ? unboundBehind(task.text, binding) : undefined;
    return culprit === undefined ? undefined : new ScriptRefusedError(this.rules.poolId, culprit, details);
  }

  /** Asked by the queue. */
  resetAheadOf(task: SessionTask): ActiveQuery | undefined {
    return this.hygiene.resetAheadOf(task);
  }

  hasAhead(task: SessionTask): boolean {
    return this.hygiene.hasAhead(task);
  }

  writeAhead(task: SessionTask): number {
    return this.hygiene.writeAhead(task);
  }

  aheadCompleted(): void {
    this.hygiene.aheadCompleted();
  }

  failedAheadOf(task: SessionTask, error: Error): boolean {
    if (!this.hygiene.failedAheadOf(task, error)) return false;
    this.kill(error);
    return true;
  }

  /** A task has reached ReadyForQuery. Called ahead of everything that its end sets off. */
  finished(task: SessionTask): void {
    this.#queue.finished(task);
    this.hygiene.finished(task);
  }

  /** A command of `task` has completed. */
  commandCompleted(task: SessionTask, tag: string, text: string | undefined): void {
    this.hygiene.commandCompleted(task, tag, text);
  }

  /** Calls `reached` when everything sent so far has been answered to the end, or the connection is gone. */
  whenReady(reached: () => void): void {
    this.#queue.whenReady(reached);
  }

  /** Calls `reached` when `task` has been answered to the end, unless it has already, or the connection is gone. */
  whenAnswered(task: SessionTask, reached: () => void): void {
    this.#queue.whenAnswered(task, reached);
  }

  /**
   * Cancels what is running. Nothing more is sent before the cancel request has been dealt with: late, it would hit the
   * next statement. One that was sent together with the running one may be hit: see {@link mayBeHit}. A server that
   * can't be asked loses the connection.
   */
  interrupt(): void {
    if (this.#cancellation !== undefined || this.#queue.active === undefined) return;
    const mayHitOthers = this.#queue.hasFollowers;
    if (mayHitOthers) this.#straying++;
    const dealtWith = (): void => {
      if (mayHitOthers) this.#straying--;
    };
    const cancellation = new Cancellation(this, this.#timing, () => {
      this.#cancellation = undefined;
      // This Sync makes the server notice a request that came after the statement it was meant for.
      this.#queue.release(new SyncPoint(this, dealtWith, dealtWith));
      // Meanwhile the server may have come to the next one that is to be cancelled.
      if (this.#queue.active?.answered === true) this.interrupt();
    });
    this.#cancellation = cancellation;
    this.#queue.hold(() => cancellation.nothingRuns());
    cancellation.start();
  }

  /** Whether a statement may be cancelled by a request that was meant for one ahead of it. */
  get mayBeHit(): boolean {
    return this.#straying > 0;
  }

  /** Cancels what the lease runs, and refuses with `error` what it has asked for besides. */
  breakOff(error: Error): void {
    this.hygiene.binding.refuse(error);
    this.interrupt();
  }

  // ── Its end ──────────────────────────────────────────────────────────────────────────────────────────────────────

  onBroken(listener: (error: Error) => void): void {
    this.#brokenListener = listener;
    if (this.#broken !== undefined) listener(this.#broken);
  }

  /** What the server has answered a task with. The last thing it says before it ends the session is worth keeping. */
  noteError(error: Error): void {
    if (isFatalError(error)) this.#lastWords ??= error;
    if (isReadOnlyError(error)) this.hasRefusedWrite = true;
    this.hygiene.binding.failed();
  }

  /** The queue has lost step with the answers. */
  lostStep(error: Error): void {
    this.kill(error);
  }

  #died(error: Error): void {
    if (this.#broken !== undefined) return;
    this.#broken = error;
    this.#cancellation?.stop();
    this.#queue.close(error);
    if (!this.#ending) this.#brokenListener?.(error);
  }

  /** Ends the session gracefully. */
  async end(): Promise<void> {
    this.#ending = true;
    this.wire.ref();
    await this.client.end();
  }

  /**
   * Ends it now. What the server is still working on is cancelled there: without that it would go on, hold its locks
   * and count as a connection until it notices that the socket is gone.
   *
   * @param reason given when the session itself has found that it can't go on.
   */
  kill(reason?: Error): void {
    if (reason === undefined) this.#ending = true;
    if (this.#queue.active !== undefined) this.#abandonment ??= cancelAbandoned(this.client);
    if (reason !== undefined) this.#died(reason);
    this.wire.destroy();
  }

  /** While the cancel request of a destroyed session is under way: until then the server counts the connection. */
  get abandonment(): Promise<void> | undefined {
    return this.#abandonment;
  }
}
