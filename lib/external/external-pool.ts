/**
 * A pool over an application's own driver: the limits, fairness, health, statistics and shutdown of every pool, for any
 * other resource.
 *
 * What is lent is what the driver's `lend` returns. A driver without one lends the raw connection, and then nothing
 * stops a borrower from using it after release: the promise of every other kind ends there.
 */
import type { PoolDriver } from '../engine/driver.js';
import {
  createPoolCore,
  createPoolRuntime,
  type PoolDependencies,
  PoolHandle,
  type TenantBinding,
} from '../pool/pool-handle.js';
import type { ResolvedBasePoolOptions } from '../pool/pool-options.js';

/** A pool that lends `L`. */
export class ExternalPool<L = unknown> extends PoolHandle<L> {
  /** @internal */
  protected override view(binding: TenantBinding): this {
    return new ExternalPool(this.core, binding) as this;
  }
}

/** The cold handle of a pool over `driver`. */
export function createExternalPool<C, L = C>(
  id: string,
  driver: PoolDriver<C, L>,
  config: ResolvedBasePoolOptions,
  dependencies: PoolDependencies,
): ExternalPool<L> {
  const runtime = createPoolRuntime(id, 'external', config, dependencies);
  return new ExternalPool(createPoolCore({ runtime, config, driver }));
}
