/**
 * Runs the pool's own work outside every caller's async context.
 *
 * A connection lives longer than the request that happened to open it. If it were opened inside that request, each
 * event of its socket would run with that request's AsyncLocalStorage stores: another tenant's identity.
 */
import { AsyncResource } from 'node:async_hooks';

// Made while the module loads, so no store of any AsyncLocalStorage has been entered yet. Holds no state.
const outside = new AsyncResource('PoolManager', { requireManualDestroy: true });

/** Calls `fn` with every AsyncLocalStorage empty. */
export function runOutside<T>(fn: () => T): T {
  return outside.runInAsyncScope(fn);
}
