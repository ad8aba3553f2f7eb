/**
 * A command that a caller waits for: its deadline, and what its caller is told when the connection fails it.
 *
 * Promise: the caller gets a typed error that says whether the command may have been carried out; the entry leaves the
 * clock as soon as the command settles.
 */
import type { Command } from 'ioredis';

import { DeadlineEntry } from '../engine/time/deadlines.js';

/** Who is told of a pending command's fate. */
export interface CommandKeeper {
  /** It was answered, refused or given up. */
  settled(pending: PendingCommand): void;
  /** Its deadline has passed; the keeper rejects it. */
  overdue(pending: PendingCommand, nowMs: number): void;
  /** Whether the command is sent again instead of being rejected with this error. */
  repeats?(error: Error, pending: PendingCommand): boolean;
  /** What the caller gets in place of ioredis' own error. */
  explain(error: Error, pending: PendingCommand): Error;
}

/** A write that was held back until the end of the event loop's turn. */
export interface HeldWrite {
  /** When it was made, a reading of the clock; undefined: not yet. */
  madeAtMs: number | undefined;
}

export class PendingCommand extends DeadlineEntry {
  override readonly keepsProcessAlive = true;
  readonly command: Command;
  /** False until it has been given to a connection that could send it. */
  sent = false;
  /** The write that it was held back for; undefined: it was written at once. */
  heldFor: HeldWrite | undefined = undefined;
  /** It has been sent before, and is to be sent again within the same limit. */
  repeated = false;
  /**
   * When its own time is over, while it waits to be sent or, once it is sent, for its reply; a reading of the clock.
   * `Infinity`: it has as long as it likes.
   */
  limitAtMs = Infinity;
  /** How long it may take once it is sent; 0: as long as it likes. */
  readonly timeoutMs: number;
  readonly #keeper: CommandKeeper;
  #settled = false;

  constructor(command: Command, keeper: CommandKeeper, timeoutMs: number) {
    super();
    this.command = command;
    this.#keeper = keeper;
    this.timeoutMs = timeoutMs;
    const { resolve, reject } = command;
    command.resolve = (reply: unknown) => {
      this.#settle();
      resolve(reply);
    };
    command.reject = (error: Error) => {
      if (!this.#settled && keeper.repeats?.(error, this) === true) return;
      this.#settle();
      reject(keeper.explain(error, this));
    };
  }

  /** What it is, for messages; without its arguments, which may be secret. */
  get title(): string {
    return `Redis command ${this.command.name.toUpperCase()}`;
  }

  /**
   * Until when it may be answered, where it was held back: its time begins when it is written. A caller that keeps the
   * event loop from turning would use it up.
   */
  get answerDueAtMs(): number {
    const madeAtMs = this.heldFor?.madeAtMs;
    return madeAtMs === undefined || this.repeated ? 0 : madeAtMs + this.timeoutMs;
  }

  /** Once: what was given up may still be answered. */
  #settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#keeper.settled(this);
  }

  override expire(nowMs: number): void {
    this.#keeper.overdue(this, nowMs);
  }
}
