/**
 * Cancels what a session is doing, so that nothing else is hit.
 *
 * A cancel request names a connection, not a statement (see cancel-request.ts). So the session starts nothing until the
 * server has passed the request on, and sends a Sync before the next statement.
 */
import type { Client } from 'pg';

import { DeadlineEntry } from '../../engine/time/deadlines.js';
import { toError } from '../../engine/to-error.js';
import { cancelRunning } from '../protocol/cancel-request.js';
import type { SessionTiming } from './session-queue.js';

/** A request that came before its statement did nothing; it is repeated after this time. */
const CANCEL_AGAIN_MS = 50;

/** What a cancellation needs of the session. */
export interface CancelledSession {
  readonly client: Client;
  /** Ends the connection. */
  kill(reason: Error): void;
}

export class Cancellation extends DeadlineEntry {
  override readonly keepsProcessAlive = false;
  readonly #session: CancelledSession;
  readonly #timing: SessionTiming;
  readonly #dealtWith: () => void;
  #isUnderWay = false;
  #nothingRuns = false;
  #isOver = false;

  /** @param dealtWith called when nothing runs any more and no request is under way. */
  constructor(session: CancelledSession, timing: SessionTiming, dealtWith: () => void) {
    super();
    this.#session = session;
    this.#timing = timing;
    this.#dealtWith = dealtWith;
  }

  start(): void {
    if (this.#isOver) return;
    this.#isUnderWay = true;
    cancelRunning(this.#session.client).then(
      () => {
        this.#isUnderWay = false;
        this.#goOn();
      },
      (error: unknown) => {
        if (!this.#isOver) this.#session.kill(toError(error));
      },
    );
  }

  override expire(): void {
    this.start();
  }

  /** What was to be cancelled has been answered to its end. */
  nothingRuns(): void {
    this.#nothingRuns = true;
    if (!this.#isUnderWay) this.#goOn();
  }

  /** The connection is gone. */
  stop(): void {
    this.#isOver = true;
    this.#timing.deadlines.remove(this);
  }

  #goOn(): void {
    if (this.#isOver) return;
    this.#timing.deadlines.remove(this);
    if (!this.#nothingRuns) {
      this.#timing.deadlines.add(this, this.#timing.clock.now() + CANCEL_AGAIN_MS);
      return;
    }
    this.#isOver = true;
    this.#dealtWith();
  }
}

/**
 * Cancels what the server does for a connection that is about to be destroyed. What becomes of the request changes
 * nothing.
 */
export function cancelAbandoned(client: Client): Promise<void> {
  return cancelRunning(client).catch(() => {});
}
