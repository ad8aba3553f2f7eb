/**
 * The route of the metrics. It asks for no tenant and is the same in each version that an API is at.
 */
import { applyDecorators, Controller, Get, Header, Inject, type Type, VERSION_NEUTRAL } from '@nestjs/common';

import { SkipTenant } from '../tenancy/tenant.decorators.js';
import type { ResolvedPoolMetricsModuleOptions } from './pool-metrics.options.js';
import type { MetricsRegistry } from './prom-client.js';

/** Injection token of the registry that the route writes. */
export const METRICS_REGISTRY = Symbol('nestjs-pool-manager:metrics-registry');

/** What prom-client says of a registry that wasn't given another type. */
const PROMETHEUS_TEXT = 'text/plain; version=0.0.4; charset=utf-8';

/** What answers the route. */
export interface PoolMetricsRoute {
  /** Every metric of the registry, in the format that the registry is set to. */
  metrics(): Promise<string>;
}

/** The controller of one registration of the module: Nest reads its path from the class. */
export function poolMetricsController({
  path,
  registry: given,
  decorators,
}: ResolvedPoolMetricsModuleOptions): Type<PoolMetricsRoute> {
  @SkipTenant()
  @Controller({ path, version: VERSION_NEUTRAL })
  @applyDecorators(...decorators)
  class PoolMetricsController implements PoolMetricsRoute {
    constructor(@Inject(METRICS_REGISTRY) private readonly registry: MetricsRegistry) {}

    @Get()
    // A registry of the application's own may be set to OpenMetrics at any time.
    @Header('Content-Type', () => given?.contentType ?? PROMETHEUS_TEXT)
    @Header('Cache-Control', 'no-cache, no-store, must-revalidate')
    metrics(): Promise<string> {
      return this.registry.metrics();
    }
  }
  return PoolMetricsController;
}
