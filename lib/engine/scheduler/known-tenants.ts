/**
 * Which tenants a pool has served before, where the application doesn't say which there are.
 *
 * Tenant ids may come from a request's header: a caller that invents ids starts each time with nothing used and nothing
 * owed. A tenant is known once a lease of it has ended {@link KNOWN_AFTER_MS} after its first one. That bounds those
 * who make up an id a request; a caller that repeats invented ids for so long can only be told apart by the
 * application.
 *
 * Promise: no more than {@link MAX_REMEMBERED} ids are remembered of each sort; ids that were seen once push out no
 * known ones.
 */

/** How long a tenant has to be around, in milliseconds. */
export const KNOWN_AFTER_MS = 10_000;
/** How many ids are remembered. */
export const MAX_REMEMBERED = 10_000;

export class KnownTenants {
  /** Those that have been around for long; the one that was forgotten by the pool last comes last. */
  readonly #known = new Set<string>();
  /** When a lease of the others ended for the first time; a reading of the clock. */
  readonly #seen = new Map<string, number>();

  has(id: string): boolean {
    return this.#known.has(id);
  }

  /**
   * Notes that a lease of a tenant that isn't known has ended. @returns from when on it is known if it is still served.
   */
  served(id: string, nowMs: number): number {
    const firstMs = this.#seen.get(id);
    if (firstMs === undefined) {
      this.#seen.set(id, nowMs);
      dropOldest(this.#seen);
      return nowMs + KNOWN_AFTER_MS;
    }
    const knownAtMs = firstMs + KNOWN_AFTER_MS;
    if (nowMs < knownAtMs) return knownAtMs;
    this.#seen.delete(id);
    this.refresh(id);
    return knownAtMs;
  }

  /** A known tenant was active until now. */
  refresh(id: string): void {
    this.#known.delete(id);
    this.#known.add(id);
    dropOldest(this.#known);
  }
}

function dropOldest(ids: Set<string> | Map<string, number>): void {
  if (ids.size <= MAX_REMEMBERED) return;
  for (const oldest of ids.keys()) {
    ids.delete(oldest);
    return;
  }
}
