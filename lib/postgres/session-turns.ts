/**
 * What a session puts among the queries of its client for its own ends: to know when a turn comes, to hold one, to ask
 * whether anybody is there. None of it changes anything on the server.
 */
import { toError } from '../engine/thrown.js';
import { cancelRunning } from './cancel-request.js';
import type { PgSession } from './pg-session.js';

const NOTHING_TO_SEND = new Error('Nothing to send');

/** Something of ours in pg's queue, whose turn others may wait for too. */
export interface Turn {
  /** @returns whether `reached` will be called; not when the turn is over. */
  join(reached: () => void): boolean;
}

/**
 * Takes a turn among the queries of a client and sends nothing: its turn comes at ReadyForQuery, with the transaction's
 * status known, also after an error, of which pg tells the query before that.
 */
export class Barrier implements Turn {
  #reached: (() => void)[] | undefined;

  constructor(reached: () => void) {
    this.#reached = [reached];
  }

  join(reached: () => void): boolean {
    this.#reached?.push(reached);
    return this.#reached !== undefined;
  }

  submit(): Error {
    this.#pass();
    return NOTHING_TO_SEND;
  }

  handleError(): void {
    this.#pass();
  }

  #pass(): void {
    const reached = this.#reached ?? [];
    this.#reached = undefined;
    for (const call of reached) call();
  }
}

/** A request that came before its query did nothing; it is repeated after this time. */
const CANCEL_AGAIN_MS = 50;

/**
 * Cancels what runs before it, and holds its turn until the cancel request has been dealt with. The Sync that ends the
 * turn also makes the server notice a request that came after the statement it was meant for: there is nothing left for
 * it to cancel.
 */
export class CancelFence implements Turn {
  readonly #session: PgSession;
  readonly #passed: () => void;
  #reached: (() => void)[] | undefined = [];
  #hasTurn = false;
  #underWay: Promise<void> | undefined = undefined;
  #again: NodeJS.Timeout | undefined = undefined;

  constructor(session: PgSession, passed: () => void) {
    this.#session = session;
    this.#passed = passed;
    this.#cancel();
  }

  join(reached: () => void): boolean {
    this.#reached?.push(reached);
    return this.#reached !== undefined;
  }

  submit(): null {
    this.#hasTurn = true;
    clearTimeout(this.#again);
    if (this.#underWay === undefined) this.#sync();
    else void this.#underWay.then(() => this.#sync());
    return null;
  }

  handleReadyForQuery(): void {
    this.#pass();
  }

  handleError(): void {
    this.#pass();
  }

  #cancel(): void {
    this.#underWay = cancelRunning(this.#session.client).then(
      () => {
        this.#underWay = undefined;
        if (this.#hasTurn || this.#reached === undefined) return;
        this.#again = setTimeout(() => this.#cancel(), CANCEL_AGAIN_MS).unref();
      },
      (error: unknown) => {
        if (this.#reached !== undefined) this.#session.kill(toError(error));
      },
    );
  }

  #sync(): void {
    this.#session.writer.sync();
    this.#session.flush();
  }

  #pass(): void {
    clearTimeout(this.#again);
    const reached = this.#reached ?? [];
    this.#reached = undefined;
    this.#passed();
    for (const call of reached) call();
  }
}

/** A bare Sync: the server answers ReadyForQuery and does nothing. */
export class Ping {
  readonly #session: PgSession;
  readonly #answered: () => void;
  readonly #failed: (error: Error) => void;

  constructor(session: PgSession, answered: () => void, failed: (error: Error) => void) {
    this.#session = session;
    this.#answered = answered;
    this.#failed = failed;
  }

  submit(): null {
    this.#session.writer.sync();
    this.#session.flush();
    return null;
  }

  handleReadyForQuery(): void {
    this.#answered();
  }

  handleError(error: Error): void {
    this.#failed(error);
  }
}
