/**
 * A reset with a round of its own: the answers to what session-hygiene.ts writes.
 */
import type { TenantSetting } from '../isolation.js';
import type { CommandCompleteMessage } from '../protocol/pg-module.js';
import type { LeaseBinding } from './lease-binding.js';
import type { SessionTask, WireSession } from './session-queue.js';

/** What a reset needs of its session. */
export interface ResetSession extends WireSession {
  /** What the server has answered a task with. */
  noteError(error: Error): void;
  /** The answers are not those that were asked for. */
  lostStep(error: Error): void;
  kill(reason: Error): void;
}

/** What decides what a reset sends, and is told how it ended. */
export interface ResetOwner {
  readonly binding: LeaseBinding;
  /** Sends a reset, and what comes behind it. @returns how many commands have to complete before it's clean. */
  sendReset(options: ResetOptions): number;
  /** The server has confirmed a reset. */
  cleaned(): void;
}

export interface ResetOptions {
  /** Something of another borrower's may be in the session. */
  readonly discards: boolean;
  /** Binds the session for the length of a lease, or its transaction. */
  readonly setting: TenantSetting | undefined;
  /** What comes behind it. */
  readonly next: SessionTask | undefined;
  readonly done: ((error: Error | undefined) => void) | undefined;
}

export class SessionReset implements SessionTask {
  readonly kind = 'own';
  readonly #session: ResetSession;
  readonly #owner: ResetOwner;
  readonly #options: ResetOptions;
  /** Commands that have to complete before the session is clean. */
  #cleaningLeft = 0;
  #error: Error | undefined = undefined;

  constructor(session: ResetSession, owner: ResetOwner, options: ResetOptions) {
    this.#session = session;
    this.#owner = owner;
    this.#options = options;
  }

  submit(): null {
    this.#cleaningLeft = this.#owner.sendReset(this.#options);
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
    const session = this.#session;
    const owner = this.#owner;
    const { discards, setting, done } = this.#options;
    if (this.#cleaningLeft > 0)
      return session.lostStep(new Error('The server left a part of a session reset unanswered'));
    if (discards) owner.cleaned();
    if (setting !== undefined) owner.binding.proved(session.wire.transactionStatus);
    // What comes behind it is the session's active task already, if anything does.
    session.finished(this);
    done?.(undefined);
  }

  handleError(error: Error): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#session.noteError(error);
    // What has gone out behind it is skipped by the server, but answered for.
    if (this.#cleaningLeft > 0 || this.#options.setting === undefined) this.#session.kill(error);
    else this.#owner.binding.refuse(error);
    this.#options.done?.(error);
  }
}
