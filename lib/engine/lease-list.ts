/**
 * The leases that are out, oldest first. Adding and removing are O(1): the links are in the leases.
 */
import type { PoolLease } from './lease.js';

export class LeaseList<C, L> implements Iterable<PoolLease<C, L>> {
  #oldest: PoolLease<C, L> | undefined;
  #newest: PoolLease<C, L> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(lease: PoolLease<C, L>): void {
    lease.olderLease = this.#newest;
    if (this.#newest === undefined) this.#oldest = lease;
    else this.#newest.newerLease = lease;
    this.#newest = lease;
    this.#size++;
  }

  remove(lease: PoolLease<C, L>): void {
    if (lease.olderLease === undefined) this.#oldest = lease.newerLease;
    else lease.olderLease.newerLease = lease.newerLease;
    if (lease.newerLease === undefined) this.#newest = lease.olderLease;
    else lease.newerLease.olderLease = lease.olderLease;
    lease.olderLease = undefined;
    lease.newerLease = undefined;
    this.#size--;
  }

  /** Oldest first. The lease in hand may be removed meanwhile. */
  *[Symbol.iterator](): IterableIterator<PoolLease<C, L>> {
    for (let lease = this.#oldest; lease !== undefined;) {
      const next = lease.newerLease;
      yield lease;
      lease = next;
    }
  }
}
