/**
 * Puts a pool over an application's own driver together.
 */
import type { PoolDriver } from '../engine/driver.js';
import { createPoolCore } from '../pool/pool-core.js';
import type { PoolDependencies } from '../pool/pool-handle.js';
import type { ResolvedBasePoolOptions } from '../pool/pool-options.js';
import { createPoolRuntime } from '../pool/pool-runtime.js';
import { ExternalPool } from './external-pool.js';

/** The cold handle of a pool over `driver`. */
export function createExternalPool<C, L = C>(
  id: string,
  driver: PoolDriver<C, L>,
  config: ResolvedBasePoolOptions,
  dependencies: PoolDependencies,
): ExternalPool<L> {
  const runtime = createPoolRuntime(id, dependencies);
  return new ExternalPool(createPoolCore({ runtime, type: 'external', config, driver }));
}
