/**
 * The slot of a request that a caller's adapter sends, shared with the requests that this adapter passes on to an
 * adapter of the pool: `(config) => original(config)`.
 *
 * With a slot of its own such a request would count twice. In a pool of one slot it would wait for the slot that its
 * caller's adapter holds.
 *
 * Promises: the requests that are passed on use the slot one after the other; the slot is given back once, when its
 * holder and the requests that were passed on are over.
 */
import { LeaseReleasedError } from '../errors.js';
import type { HttpSlot } from './http-slot.js';
import type { SlotSource, SlotTaker } from './pooled-request.js';

export class HeldSlot implements SlotSource {
  readonly #poolId: string;
  readonly #source: SlotSource;
  /** The request that the caller's adapter sends: the first that enters. */
  #holder: SlotTaker | undefined;
  #slot: HttpSlot | undefined;
  #closed: (() => void) | undefined;
  readonly #waiting: SlotTaker[] = [];
  /** Of the requests that were passed on the one that uses the slot. */
  #current: SlotTaker | undefined;
  /** What the upstream did wrong to the last request that was passed on, if it did. */
  #error: unknown;
  /** Gives the slot back. Set at the end of the holder. */
  #leave: (() => void) | undefined;

  /** @param source where the holder gets the slot. */
  constructor(poolId: string, source: SlotSource) {
    this.#poolId = poolId;
    this.#source = source;
  }

  get tenantId(): string | undefined {
    return this.#source.tenantId;
  }

  /**
   * The holder has the slot: requests that are passed on may enter.
   *
   * @param closed called at the end of the holder: they may no longer.
   */
  open(slot: HttpSlot, closed: () => void): void {
    this.#slot = slot;
    this.#closed = closed;
  }

  enter(request: SlotTaker): void {
    if (this.#holder === undefined) {
      this.#holder = request;
      return this.#source.enter(request);
    }
    this.#waiting.push(request);
    this.#next();
  }

  forget(request: SlotTaker, reason?: unknown): void {
    if (request === this.#holder) return this.#source.forget(request, reason);
    const place = this.#waiting.indexOf(request);
    if (place >= 0) this.#waiting.splice(place, 1);
  }

  leave(request: SlotTaker, error: unknown): void {
    if (request === this.#holder) this.#end(request, error);
    if (request === this.#current) {
      this.#current = undefined;
      this.#error = error;
    }
    this.#next();
  }

  /** The adapter may have answered before the requests that it passed on: one that is under way keeps the slot. */
  #end(holder: SlotTaker, error: unknown): void {
    this.#closed?.();
    this.#leave = () => this.#source.leave(holder, error ?? this.#error);
    for (const request of this.#waiting.splice(0))
      request.refuse(new LeaseReleasedError(this.#poolId, { tenantId: this.tenantId }));
  }

  #next(): void {
    while (this.#current === undefined && this.#slot !== undefined) {
      const request = this.#waiting.shift();
      if (request === undefined) break;
      this.#current = request;
      request.start(this.#slot);
    }
    if (this.#current !== undefined) return;
    const leave = this.#leave;
    this.#leave = undefined;
    leave?.();
  }
}
