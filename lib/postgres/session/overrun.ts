/**
 * Ends a statement that outlives its lease.
 *
 * A statement that is sent right before `release()`, and not waited for (`client.query('commit'); client.release()`), is
 * executed in pg: it gets the time of a round trip here too. One that takes longer is never waited for: its connection is
 * destroyed, and the statement cancelled on the server.
 */
import { DeadlineEntry } from '../../engine/time/deadlines.js';

/** What ends with the lease's statement. */
export interface OverrunSession {
  kill(reason: Error): void;
}

export class Overrun extends DeadlineEntry {
  /** How long the answer to a statement may take when its lease has ended, in milliseconds. */
  static readonly ALLOWED_MS = 100;
  override readonly keepsProcessAlive = true;
  readonly #session: OverrunSession;

  constructor(session: OverrunSession) {
    super();
    this.#session = session;
  }

  override expire(): void {
    this.#session.kill(new Error(`A statement was still running ${Overrun.ALLOWED_MS} ms after its lease had ended`));
  }
}
