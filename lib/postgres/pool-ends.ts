/**
 * What `end()` ends, of a pool, a view of it, and what `shared()` handed out.
 *
 * Libraries end what they were handed (`destroy()`, `stop()`), because in pg the pool is theirs. Promise: no library
 * ends a pool that others use. Who creates a pool may end it; one that the application declares ends with the
 * application.
 */
import type { Clock } from '../engine/time/clock.js';
import type { PoolCore, TenantBinding } from '../pool/pool-handle.js';

/** What one call of `shared()` handed out: a view, and the views of it. */
export interface SharedView {
  isEnded: boolean;
}

/** What `end()` is called on. */
interface Ended {
  readonly binding: TenantBinding;
  readonly sharedView: SharedView | undefined;
  /** Whether it has been ended before, or closed. */
  readonly isEnding: boolean;
  readonly close: (options: { readonly deadlineMs: number }) => Promise<unknown>;
}

/** How long the end of a pool gives to what was asked for before it, and to leases, in milliseconds. */
const END_WITHIN_MS = 10_000;
/** How often it looks whether a call still waits. */
const END_LOOK_MS = 10;

export class PoolEnds {
  readonly #core: Pick<PoolCore<unknown>, 'engine' | 'runtime'>;
  readonly #clock: Clock;
  readonly #isDeclared: boolean;
  #isEnding = false;
  #ignored = 0;

  constructor(core: Pick<PoolCore<unknown>, 'engine' | 'runtime'>, clock: Clock, isDeclared: boolean) {
    this.#core = core;
    this.#clock = clock;
    this.#isDeclared = isDeclared;
  }

  /** Whether the pool is ending: what was asked for before is served, nothing is taken on. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** How often an `end()` ended nothing. */
  get ignored(): number {
    return this.#ignored;
  }

  /** Rejects, as pg does, when what is ended has been ended before. */
  async end({ binding, sharedView, isEnding, close }: Ended): Promise<void> {
    const isView = binding.kind !== 'context';
    if (sharedView === undefined && (isView || this.#isDeclared)) {
      if (!isEnding) this.#ignore(isView ? 'a view of the pool' : 'a pool that the application declares');
      return;
    }
    if (sharedView?.isEnded ?? isEnding) throw new Error('Called end on pool more than once');
    if (sharedView === undefined) await this.#serveAndClose(close);
    else sharedView.isEnded = true;
  }

  #ignore(which: string): void {
    this.#core.runtime.log[this.#ignored++ === 0 ? 'warn' : 'debug'](
      `end() was called on ${which}, and ended nothing. ` +
        'Hand pool.shared() to a library that ends its pool; close() closes the pool for all.',
    );
  }

  async #serveAndClose(close: Ended['close']): Promise<void> {
    const { engine } = this.#core;
    this.#isEnding = true;
    const untilMs = this.#clock.now() + END_WITHIN_MS;
    const isServed = (): boolean =>
      engine.numbers.waiting === 0 || engine.lifecycle !== 'open' || this.#clock.now() >= untilMs;
    while (!isServed()) await new Promise<void>((resolve) => this.#clock.setTimer(resolve, END_LOOK_MS).ref());
    await close({ deadlineMs: Math.max(0, untilMs - this.#clock.now()) });
  }
}
