/**
 * A pool over an application's own driver: the limits, fairness, health, statistics and shutdown of every pool, for any
 * other resource.
 *
 * What is lent is what the driver's `lend` returns. A driver without one lends the raw connection, and then nothing
 * stops a borrower from using it after release: the promise of every other kind ends there.
 */
import { PoolHandle, type TenantBinding } from '../pool/pool-handle.js';

/** A pool that lends `L`. */
export class ExternalPool<L = unknown> extends PoolHandle<L> {
  /** @internal */
  protected override view(binding: TenantBinding): this {
    return new ExternalPool(this.core, binding) as this;
  }
}
