/**
 * The waiting tenants that may have a slot, least virtual time first; those below their reserve before all others.
 *
 * An indexed 4-ary heap: a tenant's place is known, so that a changed key or a departure costs O(log n). The keys are
 * kept apart from the tenants, the four of siblings side by side: to find the least of them costs one access to memory,
 * where asking a hundred thousand tenants that were not looked at for long would cost four or eight.
 */
const ARITY = 4;
const LEAST_CAPACITY = 16;
/**
 * Comes off the key of tenants below their reserve: 35 years of virtual time, which leaves a quarter of a microsecond
 * of precision.
 */
const RESERVE_FIRST = 2 ** 40;

/** What the heap needs to know of a tenant. */
export interface Ranked {
  /** Virtual time, in slot-milliseconds per weight. */
  readonly virtualMs: number;
  readonly belowReserve: boolean;
  /** @internal Place in the heap; -1: not in it. */
  heapIndex: number;
}

export class TenantHeap<T extends Ranked> {
  readonly #tenants: T[] = [];
  /** By place; `Infinity` where there is no tenant. */
  #keys = new Float64Array(LEAST_CAPACITY).fill(Infinity);

  get size(): number {
    return this.#tenants.length;
  }

  /** The tenant to serve next. */
  get first(): T | undefined {
    return this.#tenants[0];
  }

  /** The key of the first tenant; `Infinity` when there is none. */
  get firstKey(): number {
    return this.#keys[0] ?? Infinity;
  }

  /** Puts a tenant in, or to its right place when its key has changed. */
  place(tenant: T): void {
    const key = keyOf(tenant);
    if (tenant.heapIndex < 0) {
      this.#makeRoom();
      this.#siftUp(this.#tenants.length, tenant, key);
    } else if (key < (this.#keys[tenant.heapIndex] ?? Infinity)) this.#siftUp(tenant.heapIndex, tenant, key);
    else this.#siftDown(tenant.heapIndex, tenant, key);
  }

  remove(tenant: T): void {
    const index = tenant.heapIndex;
    if (index < 0) return;
    tenant.heapIndex = -1;
    const last = this.#tenants.pop();
    const lastIndex = this.#tenants.length;
    const key = this.#keys[lastIndex] ?? Infinity;
    this.#keys[lastIndex] = Infinity;
    if (last === undefined || last === tenant) return;
    if (index > 0 && key < (this.#keys[parentOf(index)] ?? Infinity)) this.#siftUp(index, last, key);
    else this.#siftDown(index, last, key);
  }

  #makeRoom(): void {
    if (this.#tenants.length < this.#keys.length) return;
    const keys = new Float64Array(2 * this.#keys.length).fill(Infinity);
    keys.set(this.#keys);
    this.#keys = keys;
  }

  #set(index: number, tenant: T, key: number): void {
    this.#tenants[index] = tenant;
    this.#keys[index] = key;
    tenant.heapIndex = index;
  }

  /** Puts `tenant` at `from`, or above it. */
  #siftUp(from: number, tenant: T, key: number): void {
    let index = from;
    while (index > 0) {
      const parentIndex = parentOf(index);
      const parent = this.#tenants[parentIndex];
      const parentKey = this.#keys[parentIndex] ?? Infinity;
      if (parent === undefined || key >= parentKey) break;
      this.#set(index, parent, parentKey);
      index = parentIndex;
    }
    this.#set(index, tenant, key);
  }

  /** Puts `tenant` at `from`, or below it. */
  #siftDown(from: number, tenant: T, key: number): void {
    let index = from;
    for (;;) {
      let leastIndex = -1;
      let leastKey = key;
      const firstChild = index * ARITY + 1;
      for (let child = firstChild; child < firstChild + ARITY; child++) {
        const childKey = this.#keys[child] ?? Infinity;
        if (childKey < leastKey) {
          leastKey = childKey;
          leastIndex = child;
        }
      }
      const least = leastIndex < 0 ? undefined : this.#tenants[leastIndex];
      if (least === undefined) break;
      this.#set(index, least, leastKey);
      index = leastIndex;
    }
    this.#set(index, tenant, key);
  }
}

function keyOf(tenant: Ranked): number {
  return tenant.belowReserve ? tenant.virtualMs - RESERVE_FIRST : tenant.virtualMs;
}

function parentOf(index: number): number {
  return (index - 1) >> 2;
}
