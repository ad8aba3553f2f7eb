/**
 * When resets go that no statement has taken along.
 *
 * After a lease: at the end of the same turn of the event loop, so that no advisory lock, LISTEN or temporary table of
 * it is left; until then the reset may travel with the next borrower's first statement.
 *
 * After one-shot queries of tenants: when the session has been idle for a moment. That such a query left something of
 * that kind can't be told from its text. While its tenant goes on using the session that does no harm to others, and a
 * reset after each query would cost a round trip each. So one timer for all sessions looks every {@link LOOK_MS}, as
 * long as there is one to look at, and resets those that have been idle since the look before: after twice that time at
 * the latest nothing is left. A busy session pays nothing; one that was reset has its prepared statements parsed again
 * at their next use. So unscoped queries of a pool without isolation are left alone.
 */
import { DeadlineEntry } from '../../engine/time/deadlines.js';
import type { SessionTiming } from './session-queue.js';

/** Between two looks, in milliseconds. */
export const LOOK_MS = 100;

/** What the schedule needs of a session. */
export interface ScheduledSession {
  readonly hygiene: { readonly mustResetSoon: boolean; readonly mustResetWhenIdle: boolean };
  /** The look ahead of which it came back. */
  returnedInLook: number;
  /** Resets it ahead of everything that is asked for from now on. */
  resetNow(): void;
}

export class ResetSchedule extends DeadlineEntry {
  /** Before the process ends the connections close, and nothing is left on the server. */
  override readonly keepsProcessAlive = false;
  readonly #sessions: Iterable<ScheduledSession>;
  readonly #timing: SessionTiming;
  /** Those that are reset at the end of this turn of the event loop. */
  #soon: ScheduledSession[] = [];
  #look = 0;
  #isDue = false;

  /** @param sessions every one that is open. */
  constructor(sessions: Iterable<ScheduledSession>, timing: SessionTiming) {
    super();
    this.#sessions = sessions;
    this.#timing = timing;
  }

  /** A lease of `session` begins. */
  lent(session: ScheduledSession): void {
    if (session.hygiene.mustResetSoon && this.#soon.push(session) === 1) this.#resetAtEndOfTurn();
  }

  /** `session` has come back. On the path of every query: as little as possible. */
  returned(session: ScheduledSession): void {
    const { hygiene } = session;
    if (hygiene.mustResetSoon && this.#soon.push(session) === 1) this.#resetAtEndOfTurn();
    if (!hygiene.mustResetWhenIdle) return;
    session.returnedInLook = this.#look;
    if (!this.#isDue) this.#lookLater();
  }

  /** No session is looked at any more. */
  stop(): void {
    this.#timing.deadlines.remove(this);
  }

  #resetAtEndOfTurn(): void {
    setImmediate(() => {
      const sessions = this.#soon;
      this.#soon = [];
      for (const session of sessions) if (session.hygiene.mustResetSoon) session.resetNow();
    });
  }

  override expire(): void {
    this.#isDue = false;
    for (const session of this.#sessions) {
      if (!session.hygiene.mustResetWhenIdle) continue;
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
