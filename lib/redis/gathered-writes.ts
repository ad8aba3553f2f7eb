/**
 * Gathers the commands of one turn of the event loop into one write.
 *
 * Half of what a command costs this process is its own write to the socket. The first of a turn is written at once, so
 * that a lone caller loses nothing; those that follow it are held back until the turn is over. Which is soon: the
 * replies of one read wake their callers within the same turn.
 *
 * A connection that is lost meanwhile drops what is held back with all else that has not been answered: such commands
 * count as sent.
 */
import type { Duplex } from 'node:stream';

import type { Clock } from '../engine/time/clock.js';
import type { HeldWrite, PendingCommand } from './pending-command.js';

/** As it is when this is loaded: a test of an application may stop its own clock, and would stop this with it. */
const { nextTick } = process;

export class GatheredWrites {
  readonly #clock: Clock;
  #count = 0;
  #held: Duplex | undefined = undefined;
  #write: HeldWrite | undefined = undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `pending` is about to be written to `socket`. */
  next(socket: Duplex, pending: PendingCommand): void {
    if (this.#count++ === 0) return nextTick(this.#turnEnds);
    pending.heldFor = this.#write ??= { madeAtMs: undefined };
    if (socket === this.#held) return;
    this.#held?.uncork();
    socket.cork();
    this.#held = socket;
  }

  readonly #turnEnds = (): void => {
    this.#count = 0;
    this.#held?.uncork();
    this.#held = undefined;
    if (this.#write === undefined) return;
    this.#write.madeAtMs = this.#clock.now();
    this.#write = undefined;
  };
}
