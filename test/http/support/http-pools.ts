// HTTP pools as a manager would make them, without a manager.
import { systemClock } from '../../../lib/engine/time/clock.js';
import { createHttpPool } from '../../../lib/http/create-http-pool.js';
import type { HttpPool } from '../../../lib/http/http-pool.js';
import { type HttpPoolOptions, parseHttpPoolOptions } from '../../../lib/http/http-pool.options.js';
import type { PoolDependencies } from '../../../lib/pool/pool-handle.js';
import { TenantContext } from '../../../lib/tenancy/tenant-context.js';

export interface MadePool extends AsyncDisposable {
  readonly pool: HttpPool;
  readonly tenants: TenantContext;
  /** Everything that was logged. */
  readonly log: string[];
}

/**
 * Makes and starts a pool; probes only when asked, and at its start only with `startup: 'wait'`. Disposing it cuts
 * what is still under way.
 */
export async function httpPool(options: HttpPoolOptions = {}): Promise<MadePool> {
  const log: string[] = [];
  const write = (message: string) => void log.push(message);
  const tenants = new TenantContext();
  const dependencies: PoolDependencies = {
    tenants,
    clock: systemClock,
    random: Math.random,
    logger: { log: write, warn: write, error: write, debug: write },
    owner: 'tests',
  };
  const config = parseHttpPoolOptions('billing', { startup: 'background', healthCheck: { intervalMs: 0 }, ...options });
  const pool = await createHttpPool('billing', config, dependencies);
  await pool.start();
  return { pool, tenants, log, [Symbol.asyncDispose]: async () => void (await pool.close({ deadlineMs: 0 })) };
}
