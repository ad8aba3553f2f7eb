/**
 * Knows whether the present outage is in the log already, whichever of a pool's connections has seen it first.
 *
 * Promise: an outage is said once. It is over when the server has been back for a while: one that accepts connections
 * and drops them is in one outage all the time.
 */
import type { Clock } from '../engine/time/clock.js';

/** How long the server must have been back, in milliseconds. */
const STABLE_MS = 5_000;

export class OutageLog {
  readonly #clock: Clock;
  #said = false;
  #backAtMs: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get said(): boolean {
    return this.#said && (this.#backAtMs === undefined || this.#clock.now() - this.#backAtMs < STABLE_MS);
  }

  /** A connection was lost, or could not be made, and the log has been told. */
  failed(): void {
    this.#said = true;
    this.#backAtMs = undefined;
  }

  /** There is a connection. */
  back(): void {
    this.#backAtMs ??= this.#clock.now();
  }
}
