/**
 * Whether the session is known to be its lease's tenant's.
 *
 * Promise: a statement of a lease goes out only when the server has confirmed the binding to exactly this tenant, or
 * behind the binding in the same pipeline, where the server executes nothing of it unless the binding has worked. A
 * binding that could not be made refuses the lease for good. A statement that may have undone it (SET, RESET, DISCARD
 * ALL, CALL, DO, any that has failed) takes the proof away, and the next statement binds anew; so does the end of a
 * transaction block in which the session was bound, because the end may have taken the binding back. Once a statement
 * that sets by a function has gone out, every later one binds anew: it may be a part of what is executed or fetched
 * then.
 *
 * In a lease that is a transaction the binding is local to it. A transaction that its own statements have ended is
 * over: what came behind would run outside of it.
 */
import type { TransactionStatus } from 'pg';

import type { TenantSetting } from '../isolation.js';
import type { Wire } from '../protocol/wire.js';
import { rollsBackParts } from '../statement/script-check.js';

/** Commands after which a setting may have another value. */
const MAY_UNBIND: ReadonlySet<string> = new Set(['SET', 'RESET', 'DISCARD ALL', 'CALL', 'DO']);
/**
 * What does as SET does in any statement: the function, the view that calls it, and statements prepared before, which
 * may hold either.
 */
const MAY_SET = /set_config|pg_settings|u&"|\bexecute\b/i;

/** What begins the lease's transaction, with its first statement. */
export interface TransactionOpening {
  /** What binds the transaction to its tenant. */
  readonly tenant: TenantSetting | undefined;
  /** Writes it, without a Sync. @returns how many commands that is. */
  write(wire: Wire): number;
}

export class LeaseBinding {
  #setting: TenantSetting | undefined = undefined;
  #isProved = false;
  /** The proof holds for the transaction block in which it was given. */
  #provedInBlock = false;
  /** A statement has gone out that may set something now or later: when it is executed by name, or fetched from. */
  #maySetAnyTime = false;
  #rejection: Error | undefined = undefined;
  #isTransaction = false;
  /** What has to go ahead of the first statement. */
  #opening: TransactionOpening | undefined = undefined;
  /** It has been asked to go by itself. */
  isOpeningAsked = false;
  /** The server has begun the transaction, and not yet said so. */
  #isBeginning = false;
  /** What ended the lease's transaction. */
  #endedBy: string | undefined = undefined;

  /** Another lease begins. Nothing of the one before counts. */
  clear(): void {
    this.#setting = undefined;
    this.#isProved = false;
    this.#provedInBlock = false;
    this.#maySetAnyTime = false;
    this.#rejection = undefined;
    this.#isTransaction = false;
    this.#opening = undefined;
    this.isOpeningAsked = false;
    this.#isBeginning = false;
    this.#endedBy = undefined;
  }

  /** What binds the session, when the lease is not a transaction. */
  require(setting: TenantSetting): void {
    this.#setting = setting;
  }

  /** Nothing may run in this lease any more. */
  refuse(error: Error): void {
    this.#rejection ??= error;
  }

  get rejection(): Error | undefined {
    return this.#rejection;
  }

  /** The lease is for a transaction, which begins with its first statement. */
  beginWith(opening: TransactionOpening): void {
    this.#opening = opening;
  }

  /** What has to go ahead of the next statement, in the same implicit transaction; undefined once it has worked. */
  get opening(): TransactionOpening | undefined {
    return this.#opening;
  }

  /** BEGIN has worked, and with it the tenant's setting, local to the transaction. */
  transactionBegan(): void {
    this.#setting = this.#opening?.tenant;
    this.#opening = undefined;
    this.#isTransaction = true;
    this.#isBeginning = true;
    this.#endedBy = undefined;
    this.proved('T');
  }

  /** The lease's own COMMIT or ROLLBACK goes out, or there is nothing to end: nothing comes behind it. */
  transactionEnds(): void {
    if (!this.#isTransaction && this.#opening === undefined) return;
    this.#opening = undefined;
    this.#endedBy ??= 'the end of its function';
  }

  /** The turn of a task has come: what the server says of the transaction is true of the one before. */
  turnBegins(): void {
    this.#isBeginning = false;
  }

  /** What binds the session, if the lease has begun to use it. */
  get setting(): TenantSetting | undefined {
    return this.#setting;
  }

  get isTransaction(): boolean {
    return this.#isTransaction;
  }

  /** What ended the transaction, if it is over. */
  endedBy(status: TransactionStatus): string | undefined {
    if (this.#isTransaction && !this.#isBeginning && status === 'I') this.#endedBy ??= 'one of its statements';
    return this.#endedBy;
  }

  /**
   * The setting that has to go ahead of the next statement. In a failed transaction only its end can be sent anyway.
   */
  owed(status: TransactionStatus): TenantSetting | undefined {
    return (this.#isProved && !this.#maySetAnyTime) || status === 'E' ? undefined : this.#setting;
  }

  /** A statement of the caller's goes out. */
  goesOut(text: string | undefined): void {
    // The first statement of a transaction takes the binding along: there is none before.
    const setting = this.#setting ?? this.#opening?.tenant;
    if (setting !== undefined && text !== undefined && MAY_SET.test(text)) this.#maySetAnyTime = true;
  }

  /**
   * Whether the session is still bound when the statement `text`, which reads and writes rows, has been executed:
   * neither it nor a statement before it names what sets a session's settings.
   */
  isKeptBy(text: string): boolean {
    if ((this.#setting ?? this.#opening?.tenant) === undefined) return true;
    return !this.#maySetAnyTime && !MAY_SET.test(text);
  }

  /** A statement has failed. A procedure may have committed what it had set by then. */
  failed(): void {
    this.#isProved = false;
  }

  /** The server has confirmed the binding. @param status of the transaction at that moment. */
  proved(status: TransactionStatus): void {
    this.#isProved = true;
    this.#provedInBlock = status !== 'I';
  }

  /** A command of the caller's has completed. @param tag as the server names it. @param text that it was part of. */
  completed(tag: string, text: string | undefined): void {
    if (this.#setting !== undefined && MAY_UNBIND.has(tag)) this.#isProved = false;
    if (tag === 'COMMIT' || tag === 'ROLLBACK') this.#blockEnded(tag, text ?? '');
  }

  #blockEnded(tag: string, text: string): void {
    if (this.#provedInBlock) this.#isProved = false;
    if (this.#isTransaction && (tag === 'COMMIT' || !rollsBackParts(text))) this.#endedBy ??= tag;
  }

  /** The server is ready for the next statement. */
  ready(status: TransactionStatus): void {
    this.#isBeginning = false;
    if (status === 'I' && this.#provedInBlock) this.#isProved = false;
  }
}
