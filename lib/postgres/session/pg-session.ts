/**
 * A server session with the bookkeeping that decides what it owes before it serves the next borrower.
 *
 * Promise: nothing that a borrower left in the session reaches another one. What was used by a lease is reset before it
 * is used again; what served one-shot queries is reset before it serves another tenant; an open transaction is rolled
 * back at once. The reset travels with the next borrower's first statement (see session-reset.ts), or by itself: when
 * none comes within the same turn of the event loop after a lease, and when the session has been idle for a moment
 * after one-shot queries (see idle-resets.ts). Until the server has confirmed it the borrower hears nothing of the
 * connection: a notification may be meant for the tenant before.
 */
import { randomUUID } from 'node:crypto';
import type { Client, TransactionStatus } from 'pg';

import type { PoolCounters } from '../../engine/pool-counters.js';
import { ConnectionLostError, PoolError, ScriptRefusedError, TransactionEndedError } from '../../errors.js';
import { Cancellation, cancelAbandoned } from './cancellation.js';
import { SET_LOCALLY, type TenantIsolation, type TenantSetting } from '../isolation.js';
import { LeaseBinding } from './lease-binding.js';
import { Overrun } from './overrun.js';
import { isFatalError, isReadOnlyError, isStatementError } from '../protocol/pg-errors.js';
import type { ActiveQuery, PgModule } from '../protocol/pg-module.js';
import { Wire } from '../protocol/wire.js';
import { type ResetSession, SessionReset, type SetupStatement } from './session-reset.js';
import { endsTransaction, unboundBehind } from '../statement/script-check.js';
import { type QueueOwner, SessionQueue, type SessionTask, type SessionTiming } from './session-queue.js';
import { SyncPoint } from './sync-point.js';
import { hasSeveralStatements, Statement } from '../statement/statement.js';
import { type WriteAccess, WriteAccessLook } from './write-access.js';

/** How sessions of one pool are treated. */
export interface SessionRules {
  readonly poolId: string;
  readonly isolation: TenantIsolation;
  /** One-shot queries leave nothing behind, says the pool's owner. */
  readonly trustOneShot: boolean;
  readonly counters: Pick<PoolCounters, 'resets'>;
}

/**
 * PostgreSQL commits DISCARD ALL and its like within a pipeline at once since this version (and since August 2022 in
 * the ones before, which is not worth telling apart).
 */
const COMMITS_AT_ONCE_SINCE = 15;

/** What may have left something in the session since it was last clean. */
type Residue = 'nothing' | 'oneShot' | 'lease';

/** @typeParam B what a lease of it is given. */
export class PgSession<B = unknown> implements QueueOwner, ResetSession {
  readonly client: Client;
  readonly wire: Wire;
  readonly rules: SessionRules;
  /** What binds the current lease to its tenant. */
  readonly binding = new LeaseBinding();
  /** Whether the server commits what can't be part of a transaction as soon as it has been executed. */
  readonly #commitsAtOnce: boolean;
  readonly #queue: SessionQueue;
  #residue: Residue = 'nothing';
  #servedTenant: string | undefined = undefined;
  #owesReset = false;
  /** The server has confirmed that nothing of a former borrower is left. */
  #isClean = true;
  #bindStatement: string | undefined = undefined;
  /** It is on its way back. */
  #settling = false;
  /** A cancel request that has not been dealt with. */
  #cancellation: Cancellation | undefined = undefined;
  /** The cancel request of a session that was destroyed in the middle of something. */
  #abandonment: Promise<void> | undefined = undefined;
  /** What was done once, when it was opened. */
  setup: readonly SetupStatement[] = [];
  readonly openedAtMs: number;
  readonly #timing: SessionTiming;
  /** The look of the idle resets ahead of which it came back. */
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
    this.#commitsAtOnce = serverVersion >= COMMITS_AT_ONCE_SINCE;
    this.client = client;
    this.wire = new Wire(pg, client);
    this.rules = rules;
    this.#queue = new SessionQueue(client, this);
    // Without a listener an error event would end the process (node-postgres #2762).
    client.on('error', (error) => this.#died(error));
    client.on('end', () => this.#died(new Error('The server closed the connection')));
  }

  get transactionStatus(): TransactionStatus {
    return this.wire.transactionStatus;
  }

  /** No lease has it, and nothing of the last one's is still under way. */
  get isIdle(): boolean {
    return this.borrower === undefined && !this.#settling;
  }

  /** Whether what arrives is meant for the borrower. */
  get isClean(): boolean {
    return this.#isClean;
  }

  /** Why the connection can't be used any more: what the server said last, if it said anything. */
  get lostBecause(): Error | undefined {
    return this.#lastWords ?? this.#broken;
  }

  /**
   * What the caller of `error` is told: a connection that ended under a query is told as such, with what the server
   * said last.
   */
  toCallersError(error: Error, sent: boolean): Error {
    const lost = this.lostBecause ?? (isFatalError(error) ? error : undefined);
    if (error instanceof PoolError || lost === undefined || isStatementError(error)) return error;
    return new ConnectionLostError(this.rules.poolId, 'a query', sent, { tenantId: this.#servedTenant, cause: lost });
  }

  // ── From borrower to borrower ────────────────────────────────────────────────────────────────────────────────────

  /** A lease for `tenantId` begins. */
  lend(tenantId: string | undefined): void {
    // Not when the lease before ended: what it had sent by then was still to be rejected.
    this.binding.clear();
    this.hasRefusedWrite = false;
    const isOtherTenants = this.#residue === 'oneShot' && this.#servedTenant !== tenantId && !this.rules.trustOneShot;
    if (this.#residue === 'lease' || isOtherTenants) this.#owesReset = true;
    if (this.#owesReset) this.#isClean = false;
    this.#servedTenant = tenantId;
  }

  /** The lease is over. @returns a promise when the session isn't ready for the next one yet. */
  retire(): void | Promise<void> {
    if (this.#queue.isIdle && this.transactionStatus === 'I') return undefined;
    return this.#settle();
  }

  async #settle(): Promise<void> {
    this.#settling = true;
    try {
      await this.#quietSoon();
      if (this.transactionStatus !== 'I') await this.reset();
    } finally {
      this.#settling = false;
    }
  }

  async #resetOnItsWay(): Promise<void> {
    this.#settling = true;
    try {
      await this.reset();
    } finally {
      this.#settling = false;
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
    return endsTransaction(this.#textOf(active) ?? '') || active.leaseEnded?.() === true;
  }

  /** Resets it now, in a round trip of its own, and rolls back what is open. */
  reset(): Promise<void> {
    return new Promise((resolve, reject) => {
      const reset = this.#reset(true, undefined, undefined, (error) =>
        error === undefined ? resolve() : reject(error),
      );
      this.#queue.run(reset);
    });
  }

  /** Resolves when everything sent has been answered to the end, or the connection is gone. */
  quiet(): Promise<void> {
    return new Promise((resolve) => this.#queue.whenReady(resolve));
  }

  /** Makes `setup` a part of the connection: it is repeated after each reset. */
  adoptSetup(setup: readonly SetupStatement[]): void {
    this.setup = setup;
    this.#residue = 'nothing';
  }

  /** Something of a lease that has ended may hold locks or listen: a reset must not wait for long. */
  get mustResetSoon(): boolean {
    return this.borrower === undefined ? this.isIdle && this.#residue === 'lease' : this.#owesReset;
  }

  /**
   * Something of a tenant's one-shot query may hold locks or listen, and nothing uses the session: it must not stay so
   * for long. Without tenants there is no one to keep it from, and the plans of prepared statements are worth keeping.
   */
  get mustResetWhenIdle(): boolean {
    const { trustOneShot, isolation } = this.rules;
    const isOfTenants = this.#servedTenant !== undefined || isolation.mode !== 'none';
    return this.isIdle && this.#residue === 'oneShot' && isOfTenants && !trustOneShot;
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
    if (this.mustResetSoon || this.mustResetWhenIdle) await this.#resetOnItsWay();
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
    if (this.#residue === 'nothing') this.#residue = 'oneShot';
  }

  /** Runs a task of a lease. */
  runInLease(task: SessionTask): void {
    if (task instanceof Statement) task.session = this;
    this.#queue.run(task);
    this.#residue = 'lease';
  }

  /** Has the server drop the plan of a statement that has just failed, and runs it ahead of everything that waits. */
  prepareAgain(statement: SessionTask): void {
    const { name } = statement;
    if (name === undefined) return;
    this.wire.forgetStatement(name);
    this.#queue.runFirst(this.#sync(name), statement);
  }

  /** A Sync whose answer nothing waits for. @param drops the name of a prepared statement to drop. */
  #sync(drops?: string): SyncPoint {
    const ignore = (): void => {};
    return new SyncPoint(this, ignore, ignore, drops);
  }

  /** Asked by the queue. */
  rejectionOf(task: SessionTask): Error | undefined {
    if (task.kind === 'end') this.binding.transactionEnds();
    if (task.kind !== 'caller') return undefined;
    const { rejection } = this.binding;
    if (rejection !== undefined) return rejection;
    const details = { tenantId: this.#servedTenant };
    const endedBy = this.binding.endedBy(this.transactionStatus);
    if (endedBy !== undefined) return new TransactionEndedError(this.rules.poolId, endedBy, details);
    const culprit = hasSeveralStatements(task.text) ? unboundBehind(task.text, this.binding) : undefined;
    return culprit === undefined ? undefined : new ScriptRefusedError(this.rules.poolId, culprit, details);
  }

  /** Asked by the queue. */
  resetAheadOf(task: SessionTask): ActiveQuery | undefined {
    if (task.kind === 'own') return undefined;
    const isOneShot = task.kind === 'oneShot';
    const setting = isOneShot ? undefined : this.binding.owed(this.transactionStatus);
    if (task.kind === 'caller') this.binding.goesOut(this.#textOf(task));
    if (setting === undefined && !this.#owesReset && !this.lacksBindStatement(task)) return undefined;
    if (isOneShot && task instanceof Statement && this.#mayResetInPassing(task)) {
      task.resetsSession = true;
      return undefined;
    }
    return this.#reset(this.#owesReset, setting, task, undefined);
  }

  /** What a task executes: of a named statement that goes without its text, the text it was prepared with. */
  #textOf(task: SessionTask): string | undefined {
    if (task.text) return task.text;
    const { name } = task;
    return typeof name === 'string' ? this.wire.preparedText(name) : undefined;
  }

  /**
   * Whether the reset can go out as a part of `statement`, which saves an answer of the server's: DISCARD ALL commits
   * at once, and should it fail nothing behind it is executed. On servers that don't commit it at once a failing
   * statement would take it back.
   */
  #mayResetInPassing(statement: Statement): boolean {
    return (
      this.#owesReset &&
      this.#commitsAtOnce &&
      this.setup.length === 0 &&
      // pg would take the answers to what goes ahead for those to the preparation of a named statement.
      statement.name === undefined &&
      !statement.isScript
    );
  }

  /** Writes the reset that a statement takes along. */
  resetInPassing(): void {
    this.wire.command('DISCARD ALL');
    this.forgetStatements();
    this.rules.counters.resets++;
    this.#residue = 'oneShot';
    this.#owesReset = false;
  }

  /** What took a reset along has failed. The reset itself has not, but another one is cheaper than the proof of it. */
  oweReset(): void {
    this.#owesReset = true;
  }

  /** The server has confirmed a reset. */
  cleaned(): void {
    if (!this.#owesReset) this.#isClean = true;
  }

  /** A task has reached ReadyForQuery. Called ahead of everything that its end sets off. */
  finished(task: SessionTask): void {
    this.#queue.finished(task);
    this.binding.ready(this.transactionStatus);
  }

  /** A command of `task` has completed. */
  commandCompleted(task: SessionTask, tag: string, text: string | undefined): void {
    if (tag === 'DISCARD ALL' || tag === 'DEALLOCATE ALL') this.forgetStatements();
    if (task.kind === 'caller') this.binding.completed(tag, text);
  }

  /** Calls `reached` when everything sent so far has been answered to the end, or the connection is gone. */
  whenReady(reached: () => void): void {
    this.#queue.whenReady(reached);
  }

  /**
   * Cancels what is running. Nothing else runs before the cancel request has been dealt with: late, it would hit the
   * next statement. A server that can't be asked loses the connection.
   */
  interrupt(): void {
    if (this.#cancellation !== undefined || this.#queue.active === undefined) return;
    const cancellation = new Cancellation(this, this.#timing, () => {
      this.#cancellation = undefined;
      // This Sync makes the server notice a request that came after the statement it was meant for.
      this.#queue.release(this.#sync());
    });
    this.#cancellation = cancellation;
    this.#queue.hold(() => cancellation.nothingRuns());
    cancellation.start();
  }

  /** Cancels what the lease runs, and refuses with `error` what it has asked for besides. */
  breakOff(error: Error): void {
    this.binding.refuse(error);
    this.interrupt();
  }

  #reset(
    discard: boolean,
    setting: TenantSetting | undefined,
    next: SessionTask | undefined,
    done: ((error: Error | undefined) => void) | undefined,
  ): SessionReset {
    // From here on the reset answers for it: should it fail, the connection dies or the lease is refused.
    if (discard) {
      // What is reset on its way back the engine counts itself.
      if (!this.#settling) this.rules.counters.resets++;
      this.#residue = 'nothing';
      this.#owesReset = false;
      this.#isClean = false;
    }
    if (next?.kind === 'oneShot') this.#residue = 'oneShot';
    else if (next !== undefined) this.#residue = 'lease';
    return new SessionReset(this, {
      discard,
      mark: `pool_mark_${randomUUID()}`,
      setting,
      isLocal: this.binding.isTransaction,
      next,
      done,
    });
  }

  // ── What the server knows ────────────────────────────────────────────────────────────────────────────────────────

  /** Whether `task` is bound by a prepared statement that the server hasn't got. */
  lacksBindStatement(task: SessionTask | undefined): boolean {
    return this.#bindStatement === undefined && task instanceof Statement && task.binding !== undefined;
  }

  /** Writes its preparation, under a name that could not be foreseen, not even by SQL of the borrower before. */
  prepareBinding(): void {
    this.#bindStatement = `pool_bind_${randomUUID()}`;
    this.wire.prepare(this.#bindStatement, SET_LOCALLY);
  }

  /** The prepared statement that binds a transaction to a tenant. */
  get bindStatement(): string {
    // One that was never prepared: the server refuses it, and the statement is sent again.
    return this.#bindStatement ?? `pool_bind_${randomUUID()}`;
  }

  /** The server drops every prepared statement: pg has to parse each again. */
  forgetStatements(): void {
    this.wire.forgetStatements();
    this.#bindStatement = undefined;
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
    this.binding.failed();
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
