/**
 * The waiting tenants that may have a slot, least virtual time first; those below their reserve before all others.
 *
 * An indexed 4-ary heap: a tenant's place is known, so that a changed key or a departure costs O(log n). Four children
 * a node make it shallower than a binary heap, and the keys of siblings are next to each other.
 */
import type { QueueLinks, Tenant } from './tenant.js';

const ARITY = 4;

export class TenantHeap<W extends QueueLinks<W>, S> {
  readonly #tenants: Tenant<W, S>[] = [];

  get size(): number {
    return this.#tenants.length;
  }

  /** The tenant to serve next. */
  get first(): Tenant<W, S> | undefined {
    return this.#tenants[0];
  }

  /** Puts a tenant in, or to its right place when its key has changed. */
  place(tenant: Tenant<W, S>): void {
    if (tenant.heapIndex < 0) {
      this.#set(tenant, this.#tenants.length);
      this.#siftUp(tenant);
      return;
    }
    if (this.#tenants.length === 1) return;
    const before = tenant.heapIndex;
    this.#siftUp(tenant);
    if (tenant.heapIndex === before) this.#siftDown(tenant);
  }

  remove(tenant: Tenant<W, S>): void {
    const index = tenant.heapIndex;
    if (index < 0) return;
    tenant.heapIndex = -1;
    const last = this.#tenants.pop();
    if (last === undefined || last === tenant) return;
    this.#set(last, index);
    this.place(last);
  }

  #set(tenant: Tenant<W, S>, index: number): void {
    this.#tenants[index] = tenant;
    tenant.heapIndex = index;
  }

  #siftUp(tenant: Tenant<W, S>): void {
    let index = tenant.heapIndex;
    while (index > 0) {
      const parentIndex = (index - 1) >> 2;
      const parent = this.#tenants[parentIndex];
      if (parent === undefined || !before(tenant, parent)) break;
      this.#set(parent, index);
      index = parentIndex;
    }
    this.#set(tenant, index);
  }

  #siftDown(tenant: Tenant<W, S>): void {
    let index = tenant.heapIndex;
    for (;;) {
      let leastIndex = -1;
      let least = tenant;
      const firstChild = index * ARITY + 1;
      for (let child = firstChild; child < firstChild + ARITY; child++) {
        const candidate = this.#tenants[child];
        if (candidate === undefined) break;
        if (before(candidate, least)) {
          least = candidate;
          leastIndex = child;
        }
      }
      if (leastIndex < 0) break;
      this.#set(least, index);
      index = leastIndex;
    }
    this.#set(tenant, index);
  }
}

function before<W extends QueueLinks<W>, S>(a: Tenant<W, S>, b: Tenant<W, S>): boolean {
  if (a.belowReserve !== b.belowReserve) return a.belowReserve;
  return a.virtualMs < b.virtualMs;
}
