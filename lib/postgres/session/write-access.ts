/**
 * Asks a session, outside of any transaction, whether it could write.
 */
import type { ActiveQuery, DataRowMessage } from '../protocol/pg-module.js';
import type { SessionTask, WireSession } from './session-queue.js';

/** `readOnly`: the server takes writes, and this session's transactions are read-only all the same. */
export type WriteAccess = 'writes' | 'readOnly' | 'standby';

const LOOK = "select pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

export class WriteAccessLook implements SessionTask, ActiveQuery {
  readonly kind = 'own';
  readonly #session: WireSession;
  readonly #answered: (access: WriteAccess) => void;
  #access: WriteAccess = 'writes';

  /** @param answered is told `writes` also by a server that can't answer. */
  constructor(session: WireSession, answered: (access: WriteAccess) => void) {
    this.#session = session;
    this.#answered = answered;
  }

  submit(): null {
    const { wire } = this.#session;
    wire.query(LOOK);
    wire.send();
    return null;
  }

  handleDataRow({ fields: [isStandby, isReadOnly] }: DataRowMessage): void {
    if (String(isStandby) === 't') this.#access = 'standby';
    else if (String(isReadOnly) === 'on') this.#access = 'readOnly';
  }

  handleReadyForQuery(): void {
    this.#session.finished(this);
    this.#answered(this.#access);
  }

  handleError(): void {
    this.#session.whenReady(() => this.#answered('writes'));
  }

  handleRowDescription(): void {}
  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {}
}
