/**
 * What a session owes before its next use, and what is sent for that: the one file that decides it.
 *
 * Promise: nothing that a borrower left in the session reaches another one. What was used by a lease is reset before it
 * is used again; what served one-shot queries is reset before it serves another tenant; an open transaction is rolled
 * back; what a lease runs is bound to its tenant (see lease-binding.ts).
 *
 * What is owed goes out ahead of the next borrower's first statement, in the same write, in one of two ways:
 *  - In the statement's own implicit transaction, which saves an answer of the server's: {@link writeAhead}.
 *  - By a {@link SessionReset} of its own. Depending on what is owed it rolls back, discards, binds the session to the
 *    lease's tenant, and last of all prepares a statement of a random name. The borrower's statement behind it begins
 *    with that prepared statement: the server executes nothing of it unless the whole reset has worked. What is
 *    prepared is the statement that binds transactions to tenants, where the borrower's needs it, else an empty one: a
 *    mark, which is dropped again.
 * So a reset costs no round trip of its own and can still never be skipped. One that no statement takes along goes by
 * itself (see reset-schedule.ts).
 *
 * DISCARD ALL is the whole reset in the server's own words (cursors, session authorization and role, settings, prepared
 * statements, LISTEN, advisory locks, plans, temporary tables, sequences). It is safe for pg's named statements because
 * pg's list of them is emptied in the same step: each is parsed again at its next use.
 *
 * Servers before PostgreSQL 15 may take the reset back when anything behind it in a SessionReset fails. So each failure
 * there costs the connection, with one exception: the binding of a lease, which refuses the lease and leaves the reset
 * owed.
 */
import { randomUUID } from 'node:crypto';

import type { PoolCounters } from '../../engine/pool-counters.js';
import {
  sessionAssignment,
  SET_FOR_SESSION,
  SET_LOCALLY,
  type TenantIsolation,
  type TenantSetting,
} from '../isolation.js';
import { sqlStateOf } from '../protocol/pg-errors.js';
import type { WireValue } from '../protocol/pg-module.js';
import type { Wire } from '../protocol/wire.js';
import { LeaseBinding } from './lease-binding.js';
import type { SessionTask } from './session-queue.js';
import { type ResetOptions, type ResetOwner, type ResetSession, SessionReset } from './session-reset.js';

/** How sessions of one pool are treated. */
export interface SessionRules {
  readonly poolId: string;
  readonly isolation: TenantIsolation;
  /** One-shot queries leave nothing behind, says the pool's owner. */
  readonly trustOneShot: boolean;
  readonly counters: Pick<PoolCounters, 'resets'>;
}

/** A statement that makes a connection what it is: repeated with each reset. */
export interface SetupStatement {
  readonly text: string;
  readonly values: readonly WireValue[];
}

/** What hygiene needs of its session. */
export interface HygienicSession extends ResetSession {
  readonly rules: SessionRules;
  /** A lease has it. */
  readonly isLent: boolean;
  /** No lease has it, and nothing of the last one's is still under way. */
  readonly isIdle: boolean;
}

/**
 * PostgreSQL commits DISCARD ALL and its like within a pipeline at once since this version (and since August 2022 in
 * the ones before, which is not worth telling apart).
 */
const COMMITS_AT_ONCE_SINCE = 15;

/** What the names of the statements that bind begin with. */
export const BIND_STATEMENT = 'pool_bind_';

/** What may have left something in the session since it was last clean. */
type Residue = 'nothing' | 'oneShot' | 'lease';

export class SessionHygiene implements ResetOwner {
  /** What binds the current lease to its tenant. */
  readonly binding: LeaseBinding;
  /** What was done once, when the session was opened. */
  setup: readonly SetupStatement[];
  readonly #session: HygienicSession;
  readonly #wire: Wire;
  readonly #rules: SessionRules;
  /** Whether the server commits what can't be part of a transaction as soon as it has been executed. */
  readonly #commitsAtOnce: boolean;
  #residue: Residue = 'nothing';
  #servedTenant: string | undefined = undefined;
  #owesReset = false;
  /** The server has confirmed that nothing of a former borrower is left. */
  #isClean = true;
  /** The prepared statement that binds a transaction to a tenant, if the server has it. */
  #bindStatement: string | undefined = undefined;
  /** The prepared statement that the statement being written has to begin with. */
  #guard: string | undefined = undefined;
  /** The statement that takes the reset along. */
  #carrier: SessionTask | undefined = undefined;
  /** Commands of that reset that have still to complete. */
  #carriedLeft = 0;
  /** The statement that takes the beginning of the lease's transaction along. */
  #openingTask: SessionTask | undefined = undefined;
  /** Commands of that beginning that have still to complete. */
  #openingLeft = 0;

  /** @param serverVersion of PostgreSQL, the major one; 0 when it isn't known. */
  constructor(session: HygienicSession, serverVersion: number) {
    this.binding = new LeaseBinding();
    this.setup = [];
    this.#session = session;
    this.#wire = session.wire;
    this.#rules = session.rules;
    this.#commitsAtOnce = serverVersion >= COMMITS_AT_ONCE_SINCE;
  }

  // ── What is owed ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whom the session serves, or served last. */
  get servedTenant(): string | undefined {
    return this.#servedTenant;
  }

  /** Whether what arrives is meant for the borrower: it may have been meant for the tenant before. */
  get isClean(): boolean {
    return this.#isClean;
  }

  /** A lease for `tenantId` begins. */
  lend(tenantId: string | undefined): void {
    // Not when the lease before ended: what it had sent by then was still to be rejected.
    this.binding.clear();
    const isOtherTenants = this.#residue === 'oneShot' && this.#servedTenant !== tenantId && !this.#rules.trustOneShot;
    if (this.#residue === 'lease' || isOtherTenants) this.#owesReset = true;
    if (this.#owesReset) this.#isClean = false;
    this.#servedTenant = tenantId;
  }

  /** A one-shot statement has been given to the session. It may have begun already, behind the reset that was owed. */
  usedByOneShot(): void {
    if (this.#residue === 'nothing') this.#residue = 'oneShot';
  }

  /** A task of a lease has been given to the session. */
  usedByLease(): void {
    this.#residue = 'lease';
  }

  /** Makes `setup` a part of the connection: it is repeated after each reset. */
  adoptSetup(setup: readonly SetupStatement[]): void {
    this.setup = setup;
    this.#residue = 'nothing';
  }

  /** Something of a lease that has ended may hold locks or listen: a reset must not wait for long. */
  get mustResetSoon(): boolean {
    const { isLent, isIdle } = this.#session;
    return isLent ? this.#owesReset : isIdle && this.#residue === 'lease';
  }

  /**
   * Something of a tenant's one-shot query may hold locks or listen, and nothing uses the session: it must not stay so
   * for long. Without tenants there is no one to keep it from, and the plans of prepared statements are worth keeping.
   */
  get mustResetWhenIdle(): boolean {
    const { trustOneShot, isolation } = this.#rules;
    const isOfTenants = this.#servedTenant !== undefined || isolation.mode !== 'none';
    return this.#session.isIdle && this.#residue === 'oneShot' && isOfTenants && !trustOneShot;
  }

  // ── What the server knows ────────────────────────────────────────────────────────────────────────────────────────

  /** The server has dropped every prepared statement. */
  statementsForgotten(): void {
    this.#wire.forgetStatements();
    this.#bindStatement = undefined;
  }

  /** A prepared statement has to be made anew. The server keeps it under its name until a reset drops it. */
  replaceStatements(): void {
    this.#owesReset = true;
    this.statementsForgotten();
  }

  /** What a task executes: of a named statement that goes without its text, the text it was prepared with. */
  textOf({ text, name }: SessionTask): string | undefined {
    if (text) return text;
    return typeof name === 'string' ? this.#wire.preparedText(name) : undefined;
  }

  /** Whether `task` is bound by a prepared statement that the server hasn't got. */
  #lacksBindStatement(task: SessionTask | undefined): boolean {
    return this.#bindStatement === undefined && task?.binding !== undefined;
  }

  /** Writes its preparation, under a name that could not be foreseen, not even by SQL of the borrower before. */
  #prepareBinding(): void {
    this.#bindStatement = `${BIND_STATEMENT}${randomUUID()}`;
    this.#wire.prepare(this.#bindStatement, SET_LOCALLY);
  }

  // ── Ahead of a statement ─────────────────────────────────────────────────────────────────────────────────────────

  /** The turn of `task` has come. @returns what has to go out by itself ahead of it. */
  resetAheadOf(task: SessionTask): SessionReset | undefined {
    if (task.kind === 'own') return undefined;
    const isOneShot = task.kind === 'oneShot';
    const setting = isOneShot ? undefined : this.binding.owed(this.#wire.transactionStatus);
    if (task.kind === 'caller') this.binding.goesOut(this.textOf(task));
    if (setting === undefined && !this.#owesReset && !this.#lacksBindStatement(task)) return undefined;
    if (isOneShot && this.#mayCarryReset(task)) {
      this.#carrier = task;
      this.#carriedLeft = 0;
      return undefined;
    }
    const discards = this.#owesReset;
    if (discards) this.#resetBegins(true);
    this.#residue = isOneShot ? 'oneShot' : 'lease';
    return new SessionReset(this.#session, this, { discards, setting, next: task, done: undefined });
  }

  /**
   * Whether the reset can go out as a part of `task`: DISCARD ALL commits at once, and should it fail nothing behind it
   * is executed. On servers that don't commit it at once a failing statement would take it back.
   */
  #mayCarryReset(task: SessionTask): boolean {
    return (
      this.#owesReset &&
      this.#commitsAtOnce &&
      this.setup.length === 0 &&
      // pg would take the answers to what goes ahead for those to the preparation of a named statement.
      task.name === undefined &&
      task.isScript === false
    );
  }

  /** Whether nothing is owed that could still fail ahead of what is sent behind `task`. */
  mayBeFollowed(task: SessionTask): boolean {
    return this.#carrier !== task && !this.#owesReset && !this.#lacksBindStatement(task);
  }

  /** A reset that goes by itself. @param isCounted the engine counts what is reset on its way back. */
  newReset(isCounted: boolean, done: (error: Error | undefined) => void): SessionReset {
    this.#resetBegins(isCounted);
    return new SessionReset(this.#session, this, { discards: true, setting: undefined, next: undefined, done });
  }

  /** From here on the reset answers for it: should it fail, the connection dies or the lease is refused. */
  #resetBegins(isCounted: boolean): void {
    if (isCounted) this.#rules.counters.resets++;
    this.#residue = 'nothing';
    this.#owesReset = false;
    this.#isClean = false;
  }

  /** Whether something has to go out ahead of `task` in its own implicit transaction. */
  hasAhead(task: SessionTask): boolean {
    return this.#guard !== undefined || this.#carrier === task || task.binding !== undefined || this.#opens(task);
  }

  /** Whether `task` has to begin the lease's transaction. */
  #opens({ kind }: SessionTask): boolean {
    return this.binding.opening !== undefined && (kind === 'caller' || kind === 'begin');
  }

  /** Writes that. @returns how many commands have to complete ahead of those of `task`. */
  writeAhead(task: SessionTask): number {
    const wire = this.#wire;
    let commands = 0;
    if (this.#guard !== undefined) wire.guard(this.#guard);
    if (this.#carrier === task) {
      commands = this.#carriedLeft = this.#writeCleaning();
      this.#rules.counters.resets++;
      this.#residue = 'oneShot';
      this.#owesReset = false;
      if (this.#lacksBindStatement(task)) this.#prepareBinding();
    }
    const { opening } = this.binding;
    if (opening !== undefined && this.#opens(task)) {
      this.#openingTask = task;
      this.#openingLeft = opening.write(wire);
      return commands + this.#openingLeft;
    }
    const { binding } = task;
    if (binding === undefined) return commands;
    // One that was never prepared: the server refuses it, and the statement is sent again.
    wire.executePrepared(this.#bindStatement ?? `${BIND_STATEMENT}${randomUUID()}`, [binding.name, binding.value]);
    return commands + 1;
  }

  /** One of the commands ahead of the active statement has completed. */
  aheadCompleted(): void {
    if (this.#carriedLeft > 0 && --this.#carriedLeft === 0) this.cleaned();
    else if (this.#openingLeft > 0 && --this.#openingLeft === 0) this.binding.transactionBegan();
  }

  /** `task` has failed. @returns whether the reset that it took along has, so that nothing of the task was executed. */
  failedAheadOf(task: SessionTask, error: Error): boolean {
    if (this.#openingTask === task) {
      this.#openingTask = undefined;
      // What comes behind it would run outside of a transaction.
      if (this.#openingLeft > 0 && sqlStateOf(error) !== undefined) this.binding.refuse(error);
      this.#openingLeft = 0;
    }
    if (this.#carrier !== task) return false;
    this.#carrier = undefined;
    const isUnconfirmed = this.#carriedLeft > 0;
    this.#carriedLeft = 0;
    // Only an answer of the server's tells that the reset failed; when the connection is lost the task may have run.
    if (isUnconfirmed && sqlStateOf(error) !== undefined) return true;
    // The reset itself has not failed, but another one is cheaper than the proof of it.
    this.#owesReset = true;
    return false;
  }

  /** `task` has reached ReadyForQuery. */
  finished(task: SessionTask): void {
    if (this.#carrier === task) this.#carrier = undefined;
    if (this.#openingTask === task) this.#openingTask = undefined;
    this.binding.ready(this.#wire.transactionStatus);
  }

  /** A command of `task` has completed. */
  commandCompleted(task: SessionTask, tag: string, text: string | undefined): void {
    if (tag === 'DISCARD ALL' || tag === 'DEALLOCATE ALL') this.statementsForgotten();
    if (task.kind === 'caller') this.binding.completed(tag, text);
  }

  // ── A reset ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends a reset, and what comes behind it. @returns how many commands have to complete before it's clean. */
  sendReset({ discards, setting, next }: ResetOptions): number {
    const wire = this.#wire;
    const cleaning = discards ? this.#writeCleaning() : 0;
    if (setting !== undefined) this.#writeSetting(setting);
    let mark: string | undefined;
    if (this.#lacksBindStatement(next)) {
      this.#prepareBinding();
    } else {
      // One that could not be foreseen.
      mark = `pool_mark_${randomUUID()}`;
      wire.prepare(mark, '');
    }
    wire.sync();
    this.#guard = mark;
    next?.writeBehind?.();
    this.#guard = undefined;
    wire.send();
    return cleaning;
  }

  /** @returns how many commands that is. */
  #writeCleaning(): number {
    const wire = this.#wire;
    const { setup } = this;
    const isOpen = wire.transactionStatus !== 'I';
    if (isOpen) wire.command('ROLLBACK');
    wire.command('DISCARD ALL');
    this.statementsForgotten();
    for (const { text, values } of setup) wire.command(text, values);
    return (isOpen ? 1 : 0) + 1 + setup.length;
  }

  /** Makes `setting` the session's, or that of the lease's transaction. */
  #writeSetting(setting: TenantSetting): void {
    const isLocal = this.binding.isTransaction;
    const assignment = isLocal ? undefined : sessionAssignment(setting);
    if (assignment !== undefined) return this.#wire.command(assignment);
    this.#wire.command(isLocal ? SET_LOCALLY : SET_FOR_SESSION, [setting.name, setting.value]);
  }

  /** The server has confirmed a reset. */
  cleaned(): void {
    if (!this.#owesReset) this.#isClean = true;
  }
}
