/**
 * Resets sessions that have been idle for a moment after one-shot queries of tenants.
 *
 * That such a query left an advisory lock, a LISTEN or a temporary table can't be told from its text. While its tenant
 * goes on using the session that does no harm to others, and a reset after each query would cost a round trip each. So
 * one timer for all sessions looks every {@link LOOK_MS}, as long as there is one to look at, and resets those that
 * have been idle since the look before: after twice that time at the latest nothing is left. A busy session pays
 * nothing; one that was reset has its prepared statements parsed again at their next use. So unscoped queries of a pool
 * without isolation are left alone.
 */
import type { PoolSession } from './leased-client.js';
import { DeadlineEntry } from '../../engine/time/deadlines.js';
import type { SessionTiming } from './session-queue.js';

/** Between two looks, in milliseconds. */
export const LOOK_MS = 100;

export class IdleResets extends DeadlineEntry {
  /** Before the process ends the connections close, and nothing is left on the server. */
  override readonly keepsProcessAlive = false;
  readonly #sessions: Iterable<PoolSession>;
  readonly #timing: SessionTiming;
  #look = 0;
  #isDue = false;

  constructor(sessions: Iterable<PoolSession>, timing: SessionTiming) {
    super();
    this.#sessions = sessions;
    this.#timing = timing;
  }

  /** `session` has come back. On the path of every query: as little as possible. */
  returned(session: PoolSession): void {
    if (!session.mustResetWhenIdle) return;
    session.returnedInLook = this.#look;
    if (!this.#isDue) this.#lookLater();
  }

  /** No session is looked at any more. */
  stop(): void {
    this.#timing.deadlines.remove(this);
  }

  override expire(): void {
    this.#isDue = false;
    for (const session of this.#sessions) {
      if (!session.mustResetWhenIdle) continue;
      if (session.returnedInLook < this.#look) session.resetNow();
      else if (!this.#isDue) this.#lookLater();
    }
    this.#look++;
  }

  #lookLater(): void {
    const { deadlines, clock } = this.#timing;
    this.#isDue = true;
    deadlines.add(this, clock.now() + LOOK_MS);
  }
}
