/**
 * Keeps the process alive while it is held, at the cost of two cheap calls a change from none to some.
 */

/** Longer than any process is meant to wait; the timer does nothing when it fires. */
const A_DAY_MS = 86_400_000;

export class ProcessHold {
  #holders = 0;
  #timer: NodeJS.Timeout | undefined;

  acquire(): void {
    if (this.#holders++ > 0) return;
    if (this.#timer === undefined) this.#timer = setInterval(() => {}, A_DAY_MS);
    else this.#timer.ref();
  }

  release(): void {
    if (--this.#holders === 0) this.#timer?.unref();
  }

  /** Nothing will be held any more. */
  dispose(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
