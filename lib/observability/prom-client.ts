/**
 * prom-client behind the Prometheus metrics: an optional package, loaded when an application makes use of them.
 */
import type { Registry } from 'prom-client';

import { describeError } from '../engine/redact.js';
import { PoolConfigError } from '../errors.js';

export type PromClient = typeof import('prom-client');

/** A registry of prom-client that writes Prometheus' format, or OpenMetrics. */
export type MetricsRegistry = Registry | Registry<'application/openmetrics-text; version=1.0.0; charset=utf-8'>;

/**
 * @param neededBy what the application uses that needs it: the key of the error.
 * @throws PoolConfigError that names the package to install.
 */
export async function loadPromClient(neededBy: 'PoolMetricsModule' | 'collectPoolMetrics'): Promise<PromClient> {
  try {
    return await import('prom-client');
  } catch (cause) {
    const rule =
      `needs the package "prom-client", which could not be loaded (${describeError(cause)}). ` +
      `Install it: npm install prom-client`;
    throw new PoolConfigError([{ key: neededBy, rule }], { cause });
  }
}
