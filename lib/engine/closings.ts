/**
 * Connections on their way out: they still take up room, but no longer than a graceful close may take.
 *
 * Promise: each ends once. A graceful close that takes longer than its time-out is followed by `kill`; so is one that
 * has had {@link PATIENCE_MS} while an acquire waits for its room. A `kill` that returns a promise (a statement that is
 * being cancelled on the server) is waited for under the same limits.
 */
import { isThenable } from './guard.js';
import { runOutside } from './outside-context.js';
import type { DestroyReason } from './pool-counters.js';
import { DeadlineEntry, type Deadlines, durationOf } from './time/deadlines.js';

/** So long a connection may take to end while an acquire waits for its room, in milliseconds. */
export const PATIENCE_MS = 250;

export interface ClosingsOptions<C> {
  readonly deadlines: Deadlines;
  readonly close: (connection: C) => Promise<void>;
  readonly kill: (connection: C, reason: DestroyReason | undefined) => unknown;
  readonly failed: (method: 'close' | 'kill', error: unknown) => void;
  /** Whether an acquire waits that could have a new connection, were there room for one. */
  readonly isRoomAwaited: () => boolean;
  /** One has ended by itself, or its time was up: there is room. */
  readonly ended: () => void;
}

export class Closings<C> {
  readonly #options: ClosingsOptions<C>;
  readonly #all = new Set<Closing<C>>();

  constructor(options: ClosingsOptions<C>) {
    this.#options = options;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Ends a connection gracefully, within `timeoutMs`. */
  close(connection: C, reason: DestroyReason, timeoutMs: number, nowMs: number): void {
    const closing = this.#add(connection, reason, timeoutMs, nowMs, true);
    // The async wrapper turns a driver that throws into one that rejects.
    runOutside(async () => this.#options.close(connection)).then(
      () => this.#end(closing),
      (error: unknown) => {
        this.#options.failed('close', error);
        this.#cut(closing);
        this.#options.ended();
      },
    );
  }

  /**
   * Ends a connection now. It takes up its room as long as the driver's code runs, which may ask for more or close the
   * pool; and if its driver has more to do until that is done, for `timeoutMs` at most.
   *
   * @param reason `undefined`: it has never been in the pool.
   */
  kill(connection: C, reason: DestroyReason | undefined, timeoutMs: number, nowMs: number): void {
    const closing = this.#add(connection, reason, timeoutMs, nowMs, false);
    const rest = this.#kill(connection, reason);
    // The caller dispatches.
    if (rest === undefined) this.#forget(closing);
    else runOutside(() => void rest.then(() => this.#end(closing)));
  }

  /** Ends a connection that takes up no room: its connect had been given up, and the room is another's by now. */
  killLate(connection: C): void {
    void this.#kill(connection, undefined);
  }

  /** Has the driver end a connection. @returns what it has left to do, if anything; never rejects. */
  #kill(connection: C, reason: DestroyReason | undefined): Promise<void> | undefined {
    const failed = (error: unknown): void => this.#options.failed('kill', error);
    try {
      return runOutside(() => {
        const rest = this.#options.kill(connection, reason);
        return isThenable(rest) ? Promise.resolve(rest).then(ignore, failed) : undefined;
      });
    } catch (error) {
      failed(error);
      return undefined;
    }
  }

  /** Cuts up to `count` of those that have had their time while an acquire waits. @returns how many. */
  makeRoom(count: number, nowMs: number): number {
    let cut = 0;
    for (const closing of this.#all) {
      if (cut >= count) break;
      if (nowMs - closing.sinceMs < PATIENCE_MS) continue;
      this.#cut(closing);
      cut++;
    }
    return cut;
  }

  #add(
    connection: C,
    reason: DestroyReason | undefined,
    timeoutMs: number,
    nowMs: number,
    graceful: boolean,
  ): Closing<C> {
    const limitMs = durationOf(timeoutMs);
    const due = (closing: Closing<C>, atMs: number): void => this.#due(closing, atMs);
    const closing = new Closing<C>(connection, reason, nowMs, nowMs + limitMs, graceful, due);
    this.#all.add(closing);
    this.#options.deadlines.add(closing, nowMs + Math.min(limitMs, PATIENCE_MS));
    return closing;
  }

  #due(closing: Closing<C>, nowMs: number): void {
    if (nowMs < closing.limitAtMs && !this.#options.isRoomAwaited()) {
      this.#options.deadlines.add(closing, closing.limitAtMs);
      return;
    }
    this.#cut(closing);
    this.#options.ended();
  }

  #cut(closing: Closing<C>): void {
    if (!this.#forget(closing) || !closing.graceful) return;
    void this.#kill(closing.connection, closing.reason);
  }

  #end(closing: Closing<C>): void {
    if (this.#forget(closing)) this.#options.ended();
  }

  #forget(closing: Closing<C>): boolean {
    if (!this.#all.delete(closing)) return false;
    this.#options.deadlines.remove(closing);
    return true;
  }
}

class Closing<C> extends DeadlineEntry {
  readonly connection: C;
  readonly reason: DestroyReason | undefined;
  readonly sinceMs: number;
  readonly limitAtMs: number;
  /** Whether there is something left that `kill` could end sooner. */
  readonly graceful: boolean;
  readonly #due: (closing: Closing<C>, nowMs: number) => void;
  override readonly keepsProcessAlive = true;

  constructor(
    connection: C,
    reason: DestroyReason | undefined,
    sinceMs: number,
    limitAtMs: number,
    graceful: boolean,
    due: (closing: Closing<C>, nowMs: number) => void,
  ) {
    super();
    this.connection = connection;
    this.reason = reason;
    this.sinceMs = sinceMs;
    this.limitAtMs = limitAtMs;
    this.graceful = graceful;
    this.#due = due;
  }

  override expire(nowMs: number): void {
    this.#due(this, nowMs);
  }
}

function ignore(): void {
  // Of a promise's value.
}
