/**
 * Metrics of a manager's pools in a registry of prom-client.
 *
 * Promises: nothing is recorded between two scrapes, each number is read when the registry is asked for it; what is not
 * asked for costs nothing. Registries know nothing of each other.
 */
import { PoolConfigError } from '../errors.js';
import type { ConnectionPoolManager } from '../manager/connection-pool-manager.js';
import { poolMetrics, tenantMetrics } from './pool-metrics.js';
import {
  parsePoolMetricsOptions,
  type PoolMetricsOptions,
  type ResolvedPoolMetricsOptions,
} from './pool-metrics.options.js';
import { PoolReader } from './pool-reading.js';
import { loadPromClient, type MetricsRegistry } from './prom-client.js';
import { MetricsSources, register } from './registered-metrics.js';

/** The managers that a registry shows, so that a second manager joins the metrics of the first. */
const sourcesOf = new WeakMap<MetricsRegistry, RegistrySources>();

interface RegistrySources {
  readonly sources: MetricsSources;
  /** The names of the metrics that were put into the registry. */
  readonly names: Set<string>;
}

/**
 * Puts the metrics of a manager's pools into a registry of prom-client, which needs that package. Pools that are
 * created or closed later come and go with the next scrape.
 *
 * Several managers can share a registry, each with a `manager` of its own, which becomes a label. A registry that was
 * cleared has no metrics of pools any more; call it again.
 *
 * @example
 * import { register } from 'prom-client';
 * await collectPoolMetrics(register, manager, { tenants: { top: 10 } });
 *
 * @returns what takes the metrics of this manager out of the registry again.
 * @throws {PoolConfigError} with everything that is wrong with the options, when the package `prom-client` isn't
 * installed, and when the registry has a manager of that name already.
 * @throws {Error} of prom-client when the registry has a metric of the application under one of the names.
 */
export async function collectPoolMetrics(
  registry: MetricsRegistry,
  manager: ConnectionPoolManager,
  options: PoolMetricsOptions = {},
): Promise<() => void> {
  const resolved = parsePoolMetricsOptions(options);
  const client = await loadPromClient('collectPoolMetrics');
  const { sources, names } = sourcesIn(registry);
  const { tenants, buckets } = resolved;
  const reader = new PoolReader(manager, { bounds: buckets, topTenants: tenants === false ? false : tenants.top });
  if (!sources.add(resolved.manager, reader)) throw taken(resolved);
  const stop = (): void => {
    if (!sources.remove(resolved.manager, reader) || sources.size > 0) return;
    for (const name of names) registry.removeSingleMetric(name);
    sourcesOf.delete(registry);
  };
  try {
    for (const metric of tenants === false ? poolMetrics : [...poolMetrics, ...tenantMetrics]) {
      if (names.has(metric.name)) continue;
      register(client, registry, metric, sources);
      names.add(metric.name);
    }
  } catch (error) {
    // The application has a metric of that name.
    stop();
    throw error;
  }
  return stop;
}

function sourcesIn(registry: MetricsRegistry): RegistrySources {
  const known = sourcesOf.get(registry);
  // After registry.clear() the metrics are gone, and with them those that were shown.
  if (known !== undefined && [...known.names].some((name) => registry.getSingleMetric(name) !== undefined)) {
    return known;
  }
  known?.sources.close();
  const fresh = { sources: new MetricsSources(), names: new Set<string>() };
  sourcesOf.set(registry, fresh);
  return fresh;
}

function taken({ manager }: ResolvedPoolMetricsOptions): PoolConfigError {
  const which = manager === undefined ? 'a manager without a name' : `a manager "${manager}"`;
  const rule =
    `must tell the managers of one registry apart, and this registry has the metrics of ${which} already. ` +
    `Give each its name: { manager: 'reports' }, or a registry of its own`;
  return new PoolConfigError([{ key: 'collectPoolMetrics.manager', rule }]);
}
