/**
 * Defers what the leases of one pool write to the end of the event loop's turn, when the replies that have arrived are
 * read.
 *
 * Each lease writes to a connection of its own, which takes a system call and wakes the server. Where the server shares
 * a processor with this process, it takes over at once, for one command, while other replies wait to be read. Deferred,
 * the commands of all leases reach the server one after the other. No reply is read later for it: that happens in the
 * next turn in any case. Several commands of one lease leave in one write.
 *
 * A connection that is lost meanwhile drops what it holds back with all else that has not been answered: such commands
 * count as sent.
 */
import type { Duplex } from 'node:stream';

import { runOutside } from '../engine/outside-context.js';
import type { Clock } from '../engine/time/clock.js';
import type { HeldWrite, PendingCommand } from './pending-command.js';

/** As it is when this is loaded: a test of an application may stop its own clock, and would stop this with it. */
const { setImmediate } = globalThis;

export class DeferredWrites {
  readonly #clock: Clock;
  #held: Duplex[] = [];
  #write: HeldWrite = { madeAtMs: undefined };

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `pending` is about to be written to `socket`. */
  next(socket: Duplex, pending: PendingCommand): void {
    // What the sockets of all leases report must not run in the context of the caller that happened to be the first.
    if (this.#held.length === 0) runOutside(() => setImmediate(this.#writeAll));
    socket.cork();
    this.#held.push(socket);
    pending.heldFor = this.#write;
  }

  readonly #writeAll = (): void => {
    const held = this.#held;
    this.#held = [];
    this.#write.madeAtMs = this.#clock.now();
    this.#write = { madeAtMs: undefined };
    // A socket writes once it has been uncorked as often as it was corked.
    for (const socket of held) socket.uncork();
  };
}
