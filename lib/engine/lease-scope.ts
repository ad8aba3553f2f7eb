/**
 * What one request (or any other stretch of work) holds of pools, and what it still waits for, so that its end finds
 * what was forgotten.
 */
import type { Lease } from './lease.js';
import { toError } from './to-error.js';

/** Something other than a lease that has to end with the scope: a waiting acquire, an open stream. */
export interface ScopedWork {
  readonly poolId: string;
  readonly tenantId: string | undefined;
  /** Since when it has waited, or been open, in epoch milliseconds. */
  readonly since: number;
  /** What it is, as a report names it: `waiting` has no slot yet, `open` holds one. */
  readonly state: 'waiting' | 'open';
  /** Ends it. Called at most once, by the end of the scope, after it has been taken out. */
  takeBack(): void;
}

/** One thing that was left when a scope ended. */
export interface TakenBack {
  readonly poolId: string;
  readonly tenantId: string | undefined;
  readonly since: number;
  readonly state: 'leased' | ScopedWork['state'];
  /** Where a lease was acquired, while leak detection is on. */
  readonly stack: string | undefined;
  /** Why it could not be ended, if so. */
  readonly failure: Error | undefined;
}

export class LeaseScope {
  readonly #leases = new Set<Lease<unknown>>();
  /** Made when it is first needed: most requests never wait. */
  #work: Set<ScopedWork> | undefined;
  #ended = false;

  /** Whether the stretch of work is over. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Leases that are out and not detached, and work that was joined. */
  get size(): number {
    return this.#leases.size + (this.#work?.size ?? 0);
  }

  /**
   * A lease taken after the end of its scope stays outside: work that goes on after the response answers for itself.
   */
  add(lease: Lease<unknown>): void {
    if (this.#ended) return;
    this.#leases.add(lease);
    lease.scope = this;
  }

  remove(lease: Lease<unknown>): void {
    this.#leases.delete(lease);
    lease.scope = undefined;
  }

  /** The same for what isn't a lease. It leaves by {@link leave} when it ends by itself. */
  join(work: ScopedWork): void {
    if (!this.#ended) (this.#work ??= new Set()).add(work);
  }

  leave(work: ScopedWork): void {
    this.#work?.delete(work);
  }

  /**
   * Ends the scope: what is still waited for is withdrawn, and what is still out is taken back and its connection
   * destroyed, because its borrower may still be using it. One that can't be ended doesn't keep the others.
   *
   * @returns what was left.
   */
  end(): readonly TakenBack[] {
    this.#ended = true;
    const left: TakenBack[] = [];
    // Waits first: a lease that comes back would otherwise go to another wait of the same request.
    for (const work of [...(this.#work ?? [])]) {
      // The end of one may have ended another.
      if (this.#work?.delete(work) !== true) continue;
      const { poolId, tenantId, since, state } = work;
      const failure = attempt(() => work.takeBack());
      left.push({ poolId, tenantId, since, state, stack: undefined, failure });
    }
    for (const lease of [...this.#leases]) {
      if (!this.#leases.has(lease)) continue;
      const { poolId, tenantId, acquiredAt, stack } = lease;
      const failure = attempt(() => lease.cut());
      left.push({ poolId, tenantId, since: acquiredAt, state: 'leased', stack, failure });
    }
    return left;
  }
}

function attempt(end: () => void): Error | undefined {
  try {
    end();
    return undefined;
  } catch (error) {
    return toError(error);
  }
}
