/**
 * Ends a statement that outlives its lease.
 *
 * A statement that is sent right before `release()`, and not waited for (`client.query('select …'); client.release()`),
 * is executed in pg: it gets the time of a round trip here too. One that takes longer is never waited for: its
 * connection is destroyed, and the statement cancelled on the server. What {@link OverrunSession.awaitsEnd} names is
 * left to its own limit, and what comes behind it gets the time of a round trip again.
 */
import type { Clock } from '../../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../../engine/time/deadlines.js';

/** What ends with the lease's statement. */
export interface OverrunSession {
  /** What runs has a limit of its own: the end of a transaction, or a cursor or stream that is being closed. */
  readonly awaitsEnd: boolean;
  kill(reason: Error): void;
}

export class Overrun extends DeadlineEntry {
  /** How long the answer to a statement may take when its lease has ended, in milliseconds. */
  static readonly ALLOWED_MS = 100;
  override readonly keepsProcessAlive = true;
  readonly #session: OverrunSession;
  readonly #clock: Clock;
  readonly #deadlines: Deadlines;

  constructor(session: OverrunSession, clock: Clock, deadlines: Deadlines) {
    super();
    this.#session = session;
    this.#clock = clock;
    this.#deadlines = deadlines;
  }

  start(): void {
    this.#deadlines.add(this, this.#clock.now() + Overrun.ALLOWED_MS);
  }

  stop(): void {
    this.#deadlines.remove(this);
  }

  override expire(): void {
    if (this.#session.awaitsEnd) return this.start();
    this.#session.kill(new Error(`A statement was still running ${Overrun.ALLOWED_MS} ms after its lease had ended`));
  }
}
