/**
 * A bare Sync among the tasks of a session: the server answers ReadyForQuery and does nothing, but for dropping a
 * prepared statement if it is told to.
 */
import type { ActiveQuery } from '../protocol/pg-module.js';
import type { SessionTask, WireSession } from './session-queue.js';

export class SyncPoint implements SessionTask, ActiveQuery {
  readonly kind = 'own';
  readonly #session: WireSession;
  readonly #answered: () => void;
  readonly #failed: (error: Error) => void;
  readonly #drops: string | undefined;

  /** @param drops the name of a prepared statement. */
  constructor(session: WireSession, answered: () => void, failed: (error: Error) => void, drops?: string) {
    this.#session = session;
    this.#answered = answered;
    this.#failed = failed;
    this.#drops = drops;
  }

  submit(): null {
    const { wire } = this.#session;
    wire.sync(this.#drops);
    wire.send();
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
