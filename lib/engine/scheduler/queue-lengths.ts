/**
 * Tenants by the length of their queues, so that when the whole queue is full the longest one is found at once.
 *
 * A queue grows and shrinks by one, so a tenant moves between neighbouring lists only: O(1), no scan. The lists are
 * made when they are first asked for, and given up when half of those who waited then have gone: a pool that isn't
 * overloaded pays nothing for them, and one that is looks at all tenants once in as many requests as half a queue
 * holds.
 */
/** What the lists need to know of a tenant. */
export interface Queued<T> {
  readonly waiting: number;
  /** @internal Links among tenants with queues of the same length. */
  nextOfLength: T | undefined;
  /** @internal */
  previousOfLength: T | undefined;
}

export class QueueLengths<T extends Queued<T>> {
  /** Index: length of the queue; value: head of a doubly linked list. Empty until it is asked for. */
  #byLength: (T | undefined)[] = [];
  #longest = 0;
  #kept = false;
  /** They are given up when no more than this many wait. */
  #keptAbove = 0;

  /** Whether there are lists that have to be told when a queue grows or shrinks. */
  get kept(): boolean {
    return this.#kept;
  }

  /**
   * The tenant with the longest queue (one of them), if anyone waits.
   *
   * @param tenants all that may have one.
   * @param waiting the sum of all lengths.
   */
  longest(tenants: Iterable<T>, waiting: number): T | undefined {
    if (!this.#kept) {
      this.#kept = true;
      this.#keptAbove = waiting / 2;
      for (const tenant of tenants) if (tenant.waiting > 0) this.#link(tenant, tenant.waiting);
    }
    return this.#byLength[this.#longest];
  }

  /** A queue has one waiter more. Told while the lists are kept. */
  grown(tenant: T): void {
    if (tenant.waiting > 1) this.#unlink(tenant, tenant.waiting - 1);
    this.#link(tenant, tenant.waiting);
  }

  /** A queue has one waiter less; `waiting` are left in all. Told while the lists are kept. */
  shrunk(tenant: T, waiting: number): void {
    if (waiting <= this.#keptAbove) return this.giveUp();
    this.#unlink(tenant, tenant.waiting + 1);
    if (tenant.waiting > 0) this.#link(tenant, tenant.waiting);
    while (this.#longest > 0 && this.#byLength[this.#longest] === undefined) this.#longest--;
  }

  /** The next reader computes them anew. */
  giveUp(): void {
    this.#byLength = [];
    this.#longest = 0;
    this.#kept = false;
  }

  #link(tenant: T, length: number): void {
    while (this.#byLength.length <= length) this.#byLength.push(undefined);
    const head = this.#byLength[length];
    tenant.nextOfLength = head;
    tenant.previousOfLength = undefined;
    if (head !== undefined) head.previousOfLength = tenant;
    this.#byLength[length] = tenant;
    if (length > this.#longest) this.#longest = length;
  }

  #unlink(tenant: T, length: number): void {
    const { previousOfLength, nextOfLength } = tenant;
    if (previousOfLength === undefined) this.#byLength[length] = nextOfLength;
    else previousOfLength.nextOfLength = nextOfLength;
    if (nextOfLength !== undefined) nextOfLength.previousOfLength = previousOfLength;
    // A tenant that lives long would keep alive all that have ever stood beside it, and those beside them.
    tenant.previousOfLength = undefined;
    tenant.nextOfLength = undefined;
  }
}
