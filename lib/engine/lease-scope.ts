/**
 * The leases of one request (or of any other stretch of work), so that its end finds those that were forgotten.
 */
import type { Lease } from './lease.js';

export class LeaseScope {
  readonly #leases = new Set<Lease<unknown>>();
  #ended = false;

  /** Whether the stretch of work is over. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Leases that are out and not detached. */
  get size(): number {
    return this.#leases.size;
  }

  /** A lease taken after the end of its scope stays outside: work that goes on after the response answers for itself. */
  add(lease: Lease<unknown>): void {
    if (this.#ended) return;
    this.#leases.add(lease);
    lease.scope = this;
  }

  remove(lease: Lease<unknown>): void {
    this.#leases.delete(lease);
    lease.scope = undefined;
  }

  /**
   * Ends the scope: what is still out is taken back and its connection destroyed, because whoever held it may still be using it.
   *
   * @returns the leases that were still out.
   */
  end(): readonly Lease<unknown>[] {
    this.#ended = true;
    const left = [...this.#leases];
    for (const lease of left) lease.cut();
    return left;
  }
}
