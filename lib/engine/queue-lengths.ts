/**
 * Tenants by the length of their queues, so that when the whole queue is full the longest one is found at once.
 *
 * A queue grows and shrinks by one, so a tenant moves between neighbouring lists only: O(1), no scan.
 */
import type { QueueLinks, Tenant } from './tenant.js';

export class QueueLengths<W extends QueueLinks<W>, S> {
  /** Index: length of the queue; value: head of a doubly linked list. */
  readonly #byLength: (Tenant<W, S> | undefined)[] = [];
  #longest = 0;

  /** The tenant with the longest queue (one of them), if anyone waits. */
  get longest(): Tenant<W, S> | undefined {
    return this.#byLength[this.#longest];
  }

  /** Follows a change of `tenant.waiting` from `before`. */
  moved(tenant: Tenant<W, S>, before: number): void {
    if (before > 0) this.#unlink(tenant, before);
    if (tenant.waiting > 0) this.#link(tenant, tenant.waiting);
    while (this.#longest > 0 && this.#byLength[this.#longest] === undefined) this.#longest--;
  }

  #link(tenant: Tenant<W, S>, length: number): void {
    while (this.#byLength.length <= length) this.#byLength.push(undefined);
    const head = this.#byLength[length];
    tenant.nextOfLength = head;
    if (head !== undefined) head.previousOfLength = tenant;
    this.#byLength[length] = tenant;
    if (length > this.#longest) this.#longest = length;
  }

  #unlink(tenant: Tenant<W, S>, length: number): void {
    const { previousOfLength, nextOfLength } = tenant;
    if (previousOfLength === undefined) this.#byLength[length] = nextOfLength;
    else previousOfLength.nextOfLength = nextOfLength;
    if (nextOfLength !== undefined) nextOfLength.previousOfLength = previousOfLength;
    tenant.previousOfLength = undefined;
    tenant.nextOfLength = undefined;
  }
}
