/**
 * A command that somebody waits for: its deadline, and what its caller is told when the connection fails it.
 *
 * Promise: the caller gets a typed error that says whether the command may have been carried out; the entry leaves the
 * clock as soon as the command settles.
 */
import type { Command } from 'ioredis';
import { DeadlineEntry } from '../engine/deadlines.js';

/** Who is told of a pending command's fate. */
export interface CommandKeeper {
  /** It was answered, refused or given up. */
  settled(pending: PendingCommand): void;
  /** Its deadline has passed; the keeper rejects it. */
  overdue(pending: PendingCommand, nowMs: number): void;
  /** What the caller gets in place of ioredis' own error. */
  explain(error: Error, pending: PendingCommand): Error;
}

export class PendingCommand extends DeadlineEntry {
  override readonly keepsProcessAlive = true;
  readonly command: Command;
  /** False until it has been given to a connection that could send it. */
  sent = false;
  readonly #keeper: CommandKeeper;

  constructor(command: Command, keeper: CommandKeeper) {
    super();
    this.command = command;
    this.#keeper = keeper;
    const { resolve, reject } = command;
    command.resolve = (reply: unknown) => {
      keeper.settled(this);
      resolve(reply);
    };
    command.reject = (error: Error) => {
      keeper.settled(this);
      reject(keeper.explain(error, this));
    };
  }

  override expire(nowMs: number): void {
    this.#keeper.overdue(this, nowMs);
  }
}
