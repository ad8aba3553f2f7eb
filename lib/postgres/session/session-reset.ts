/**
 * What a session owes before it may serve its borrower, ahead of the first statement.
 *
 * Depending on what is owed: roll back, `DISCARD ALL`, bind the session to the lease's tenant, and last of all prepare
 * a statement of a random name. The first statement of the borrower goes out in the same write and
 * begins with that prepared statement: the server executes nothing of it unless everything here has worked. So a reset
 * costs no round trip of its own and can still never be skipped. What is prepared is the statement that binds
 * transactions to tenants, where the borrower's statement needs it, else an empty one: a mark, which is dropped again.
 *
 * DISCARD ALL is the whole reset in the server's own words (cursors, session authorization and role, settings, prepared
 * statements, LISTEN, advisory locks, plans, temporary tables, sequences). It is safe for pg's named statements because
 * pg's list of them is emptied in the same step: each is parsed again at its next use.
 *
 * Servers before PostgreSQL 15 may take the reset back when anything behind it in here fails. So each failure costs
 * the connection, with one exception: the binding of a lease, which refuses the lease and leaves the reset owed.
 */
import { sessionAssignment, SET_FOR_SESSION, SET_LOCALLY, type TenantSetting } from '../isolation.js';
import type { CommandCompleteMessage, WireValue } from '../protocol/pg-module.js';
import type { Wire } from '../protocol/wire.js';
import type { SessionTask } from './session-queue.js';
import { Statement, type StatementSession } from '../statement/statement.js';

/** A statement that makes a connection what it is: repeated with each reset. */
export interface SetupStatement {
  readonly text: string;
  readonly values: readonly WireValue[];
}

/** What a reset needs of its session. */
export interface ResetSession extends StatementSession {
  /** What was done once, when it was opened. */
  readonly setup: readonly SetupStatement[];
  lacksBindStatement(task: SessionTask | undefined): boolean;
}

export interface ResetOptions {
  /** Something of another borrower's may be in the session. */
  readonly discard: boolean;
  /** Name of the mark: one that could not be foreseen. */
  readonly mark: string;
  /** Binds the session for the length of a lease. */
  readonly setting: TenantSetting | undefined;
  /** The binding is to last for the transaction only. */
  readonly isLocal: boolean;
  /** What comes behind it. */
  readonly next: SessionTask | undefined;
  readonly done: ((error: Error | undefined) => void) | undefined;
}

export class SessionReset implements SessionTask {
  readonly kind = 'own';
  readonly #session: ResetSession;
  readonly #dependencies: ResetOptions;
  /** Commands that have to complete before the session is clean. */
  #cleaningLeft = 0;
  #error: Error | undefined = undefined;

  constructor(session: ResetSession, dependencies: ResetOptions) {
    this.#session = session;
    this.#dependencies = dependencies;
  }

  submit(): null {
    const session = this.#session;
    const { discard, mark, setting, isLocal, next } = this.#dependencies;
    const { wire } = session;
    if (discard) this.#encodeReset();
    if (setting !== undefined) assign(wire, setting, isLocal);
    const binds = session.lacksBindStatement(next);
    if (binds) session.prepareBinding();
    else wire.prepare(mark, '');
    wire.sync();
    if (next instanceof Statement && !next.isScript) next.encodeBehind(session, binds ? undefined : mark);
    wire.send();
    return null;
  }

  #encodeReset(): void {
    const session = this.#session;
    const { wire } = session;
    const rollback = wire.transactionStatus !== 'I';
    this.#cleaningLeft = (rollback ? 1 : 0) + 1 + session.setup.length;
    if (rollback) wire.command('ROLLBACK');
    wire.command('DISCARD ALL');
    session.forgetStatements();
    for (const { text, values } of session.setup) wire.command(text, values);
  }

  handleRowDescription(): void {}

  handleDataRow(): void {}

  handleCommandComplete(_message: CommandCompleteMessage): void {
    if (this.#cleaningLeft > 0) this.#cleaningLeft--;
  }

  handleEmptyQuery(): void {
    if (this.#cleaningLeft > 0) this.#cleaningLeft--;
  }

  handlePortalSuspended(): void {}

  handleCopyInResponse(): void {}

  handleCopyData(): void {}

  handleReadyForQuery(): void {
    const session = this.#session;
    const { discard, setting, done } = this.#dependencies;
    if (this.#cleaningLeft > 0)
      return session.lostStep(new Error('The server left a part of a session reset unanswered'));
    if (discard) session.cleaned();
    if (setting !== undefined) session.binding.proved(session.wire.transactionStatus);
    // What comes behind it is the session's active task already, if anything does.
    session.finished(this);
    done?.(undefined);
  }

  handleError(error: Error): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#session.noteError(error);
    // What has gone out behind it is skipped by the server, but answered for.
    if (this.#cleaningLeft > 0 || this.#dependencies.setting === undefined) this.#session.kill(error);
    else this.#session.binding.refuse(error);
    this.#dependencies.done?.(error);
  }
}

/** Makes `setting` the session's, or the transaction's. */
function assign(wire: Wire, setting: TenantSetting, isLocal: boolean): void {
  const assignment = isLocal ? undefined : sessionAssignment(setting);
  if (assignment !== undefined) return wire.command(assignment);
  wire.command(isLocal ? SET_LOCALLY : SET_FOR_SESSION, [setting.name, setting.value]);
}
