/**
 * What a session owes before it may serve its borrower, ahead of the first statement.
 *
 * Depending on what is owed: roll back, `DISCARD ALL`, bind the session to the lease's tenant, and last of all prepare a
 * statement of a name that nobody could foresee. The first statement of the borrower goes out in the same write and
 * begins with that prepared statement: the server executes nothing of it unless everything here has worked. So a reset
 * costs no round trip of its own and can still never be skipped. What is prepared is the statement that binds
 * transactions to tenants, where the borrower's statement needs it, else an empty one: a mark, which is dropped again.
 *
 * DISCARD ALL is the whole reset in the server's own words (cursors, session authorization and role, settings, prepared
 * statements, LISTEN, advisory locks, plans, temporary tables, sequences). It is safe for pg's named statements because
 * pg's list of them is emptied in the same step: each is parsed again at its next use.
 *
 * Servers before PostgreSQL 15 may take the reset back when anything behind it in here fails. So whatever fails costs the
 * connection, with one exception: the binding of a lease, which refuses the lease and leaves the reset owed.
 */
import type { Submittable } from 'pg';

import { sessionAssignment, type TenantSetting } from './isolation.js';
import type { MessageWriter } from './message-writer.js';
import type { ActiveQuery, CommandCompleteMessage } from './pg-module.js';
import type { PgSession } from './pg-session.js';
import { Statement } from './statement.js';

export interface PreambleParts {
  /** A transaction is open. */
  readonly rollback: boolean;
  /** Somebody else's state may be in the session. */
  readonly discard: boolean;
  /** Name of the mark: one that nobody could foresee. */
  readonly mark: string;
  /** Binds the session for the length of a lease. */
  readonly setting: TenantSetting | undefined;
  /** What comes behind it. */
  readonly next?: Submittable | undefined;
  readonly done?: ((error: Error | undefined) => void) | undefined;
}

export class SessionPreamble implements ActiveQuery {
  readonly #session: PgSession;
  readonly #parts: PreambleParts;
  /** Commands that have to complete before the session is clean. */
  #cleaningLeft: number;
  #error: Error | undefined = undefined;

  constructor(session: PgSession, parts: PreambleParts) {
    this.#session = session;
    this.#parts = parts;
    this.#cleaningLeft = (parts.rollback ? 1 : 0) + (parts.discard ? 1 + session.setup.length : 0);
  }

  submit(): null {
    const session = this.#session;
    const { rollback, discard, mark, setting, next } = this.#parts;
    const { writer } = session;
    if (rollback) writer.command('ROLLBACK');
    if (discard) {
      writer.command('DISCARD ALL');
      session.forgetStatements();
    }
    if (discard) {
      for (const { text, values } of session.setup) {
        writer.parse('', text);
        writer.bind('', values, false);
        writer.execute();
      }
    }
    if (setting !== undefined) assign(writer, setting);
    const binds = session.lacksBindStatement(next);
    if (binds) session.prepareBinding();
    else writer.parse(mark, '');
    writer.sync();
    if (next instanceof Statement && !next.isScript) next.encodeBehind(session, binds ? undefined : mark);
    session.flush();
    return null;
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
    this.#session.preambleOver(this.#parts.next);
    this.#parts.done?.(undefined);
  }

  handleError(error: Error): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    if (this.#cleaningLeft > 0 || this.#parts.setting === undefined) this.#session.kill(error);
    else this.#session.bindingFailed(error);
    // What has gone out behind it is skipped by the server, but answered for.
    this.#session.preambleOver(this.#parts.next);
    this.#parts.done?.(error);
  }
}

/** Makes `setting` the session's. */
function assign(writer: MessageWriter, setting: TenantSetting): void {
  const assignment = sessionAssignment(setting);
  if (assignment !== undefined) return writer.command(assignment);
  writer.parse('', 'select pg_catalog.set_config($1, $2, false)');
  writer.bind('', [setting.name, setting.value], false);
  writer.execute();
}
