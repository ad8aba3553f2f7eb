/**
 * Commands that wait for a connection, in the order in which they came.
 *
 * Promise: those of one pipeline stay together. ioredis writes a pipeline only once each of its commands has asked to
 * be written, so to drop one of them would leave the others waiting for ever.
 */
import type { PendingCommand } from './pending-command.js';

/** A command with what ioredis wants to be given with it. Those of one pipeline have one `stream`. */
export interface HeldCommand {
  readonly pending: PendingCommand;
  readonly stream: unknown;
  readonly node: unknown;
}

export class HeldCommands {
  readonly #held = new Map<PendingCommand, HeldCommand>();

  get size(): number {
    return this.#held.size;
  }

  add(held: HeldCommand): void {
    this.#held.set(held.pending, held);
  }

  /** Takes out a command and the rest of its pipeline; nothing if it isn't held. */
  takeWithPipeline(pending: PendingCommand): readonly PendingCommand[] {
    const held = this.#held.get(pending);
    if (held === undefined) return [];
    const together =
      held.stream === undefined ? [held] : [...this.#held.values()].filter(({ stream }) => stream === held.stream);
    for (const one of together) this.#held.delete(one.pending);
    return together.map((one) => one.pending);
  }

  /** All of them. */
  [Symbol.iterator](): IterableIterator<HeldCommand> {
    return this.#held.values();
  }

  /** Takes out all of them. */
  takeAll(): readonly HeldCommand[] {
    const all = [...this.#held.values()];
    this.#held.clear();
    return all;
  }
}
