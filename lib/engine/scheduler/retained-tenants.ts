/**
 * Tenants that held nothing and waited for nothing, but still had debt or a warm slot, oldest first.
 *
 * One that has come back since stays among them until the clean-up meets it: coming and going must cost no look-up.
 */
export interface Retained {
  /** @internal Whether the clean-up will look at it. */
  isRetained: boolean;
}

export class RetainedTenants<T extends Retained> {
  readonly #tenants = new Set<T>();
  /** Where the clean-up is: beginning anew each time would walk over all that have been deleted at the front. */
  #next = this.#tenants.values();

  get size(): number {
    return this.#tenants.size;
  }

  add(tenant: T): void {
    if (tenant.isRetained) return;
    tenant.isRetained = true;
    this.#tenants.add(tenant);
  }

  remove(tenant: T): void {
    if (tenant.isRetained) this.#tenants.delete(tenant);
    tenant.isRetained = false;
  }

  /** Takes the next one out, for the clean-up. `undefined`: it has been at the end, and begins anew. */
  takeNext(): T | undefined {
    const { value: tenant } = this.#next.next();
    if (tenant === undefined) this.#next = this.#tenants.values();
    else this.remove(tenant);
    return tenant;
  }
}
