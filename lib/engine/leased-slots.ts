/**
 * The slots that are lent, longest first. Adding and removing are O(1) and allocate nothing: a slot is either idle or
 * lent, so the links that the idle stack uses serve here too.
 */
import type { Slot } from './slot.js';

export class LeasedSlots<C, L> implements Iterable<Slot<C, L>> {
  #oldest: Slot<C, L> | undefined;
  #newest: Slot<C, L> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(slot: Slot<C, L>): void {
    slot.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = slot;
    else this.#newest.newer = slot;
    this.#newest = slot;
    this.#size++;
  }

  remove(slot: Slot<C, L>): void {
    if (slot.older === undefined) this.#oldest = slot.newer;
    else slot.older.newer = slot.newer;
    if (slot.newer === undefined) this.#newest = slot.older;
    else slot.newer.older = slot.older;
    slot.older = undefined;
    slot.newer = undefined;
    this.#size--;
  }

  /** Longest lent first. The slot in hand may be removed meanwhile. */
  *[Symbol.iterator](): IterableIterator<Slot<C, L>> {
    for (let slot = this.#oldest; slot !== undefined;) {
      const next = slot.newer;
      yield slot;
      slot = next;
    }
  }
}
