/**
 * The health of all pools of a manager together, and whether that is enough to take requests.
 */
import type { PoolHandle } from '../pool/pool-handle.js';
import type { HealthCheckResult, PoolStatus } from '../pool/pool-monitor.js';

/** The health of all pools of a manager. */
export interface ManagerHealth {
  /** Whether requests should be sent here: started, not stopping, and every critical pool available. */
  readonly ready: boolean;
  /**
   * `draining` once the manager stops. Before that the worst of the critical pools, `starting` included; and `degraded`
   * when only a pool that isn't critical is unwell.
   */
  readonly status: PoolStatus;
  /** What the check of each pool found, by its id. */
  readonly pools: Readonly<Record<string, HealthCheckResult>>;
}

export interface CheckedPool {
  readonly pool: PoolHandle;
  readonly result: HealthCheckResult;
}

export function managerHealth(
  phase: 'starting' | 'started' | 'draining',
  checked: readonly CheckedPool[],
): ManagerHealth {
  const status = phase === 'started' ? together(checked) : phase;
  return {
    ready: status === 'healthy' || status === 'degraded',
    status,
    pools: Object.fromEntries(checked.map(({ pool, result }) => [pool.id, result])),
  };
}

function together(checked: readonly CheckedPool[]): PoolStatus {
  const critical = checked.filter(({ pool }) => pool.config.critical).map(({ result }) => result);
  if (critical.some(({ available, status }) => !available && status !== 'starting')) return 'unhealthy';
  if (critical.some(({ available }) => !available)) return 'starting';
  return checked.every(({ result }) => result.status === 'healthy') ? 'healthy' : 'degraded';
}
