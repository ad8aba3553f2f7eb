/**
 * A bare Sync among the tasks of a session: the server answers ReadyForQuery and does nothing.
 */
import type { ActiveQuery } from './pg-module.js';
import type { PgSession } from './pg-session.js';
import type { SessionTask } from './session-queue.js';

export class Ping implements SessionTask, ActiveQuery {
  readonly kind = 'own';
  readonly #session: PgSession;
  readonly #answered: () => void;
  readonly #failed: (error: Error) => void;

  constructor(session: PgSession, answered: () => void, failed: (error: Error) => void) {
    this.#session = session;
    this.#answered = answered;
    this.#failed = failed;
  }

  submit(): null {
    this.#session.writer.sync();
    this.#session.flush();
    return null;
  }

  handleReadyForQuery(): void {
    this.#session.finished(this);
    this.#answered();
  }

  handleError(error: Error): void {
    this.#failed(error);
  }

  handleRowDescription(): void {}
  handleDataRow(): void {}
  handleCommandComplete(): void {}
  handleEmptyQuery(): void {}
  handlePortalSuspended(): void {}
  handleCopyInResponse(): void {}
  handleCopyData(): void {}
}
