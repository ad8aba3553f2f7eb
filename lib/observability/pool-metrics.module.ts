/**
 * `/metrics`: the pools' numbers, as Prometheus reads them.
 */
import { type DynamicModule, Module, type ModuleMetadata, type OnApplicationShutdown } from '@nestjs/common';

import { ConnectionPoolManager } from '../manager/connection-pool-manager.js';
import { collectPoolMetrics } from './collect-pool-metrics.js';
import { METRICS_REGISTRY, poolMetricsController } from './pool-metrics.controller.js';
import {
  parsePoolMetricsModuleOptions,
  type PoolMetricsModuleOptions,
  type PoolMetricsOptions,
  type ResolvedPoolMetricsModuleOptions,
} from './pool-metrics.options.js';
import { loadPromClient, type MetricsRegistry } from './prom-client.js';

/** What was put into a registry, until the application ends: the next one may use the same registry. */
class CollectedMetrics implements OnApplicationShutdown {
  constructor(
    readonly registry: MetricsRegistry,
    private readonly stop: () => void,
  ) {}

  onApplicationShutdown(): void {
    this.stop();
  }
}

function declare(options: ResolvedPoolMetricsModuleOptions): ModuleMetadata {
  const { registry: given, tenants, buckets, manager: name } = options;
  const told: PoolMetricsOptions = { tenants, buckets, ...(name !== undefined && { manager: name }) };
  return {
    controllers: [poolMetricsController(options)],
    providers: [
      {
        provide: CollectedMetrics,
        inject: [ConnectionPoolManager],
        useFactory: async (manager: ConnectionPoolManager) => {
          const { Registry } = await loadPromClient('PoolMetricsModule');
          const registry = given ?? new Registry();
          return new CollectedMetrics(registry, await collectPoolMetrics(registry, manager, told));
        },
      },
      {
        provide: METRICS_REGISTRY,
        inject: [CollectedMetrics],
        useFactory: ({ registry }: CollectedMetrics) => registry,
      },
    ],
  };
}

/** The class of what `register` returns: Nest adds to a dynamic module what its class declares. */
@Module({})
class RegisteredPoolMetricsModule {}

/**
 * The route `/metrics`, for Prometheus. It needs the package `prom-client`: without it an application that imports this
 * module doesn't start, with a `PoolConfigError` that says so.
 *
 * Each application has a registry of its own, unless it is given one.
 *
 * @example
 * @Module({ imports: [PoolManagerModule.forRoot({ … }), PoolMetricsModule] })
 * class AppModule {}
 */
@Module(declare(parsePoolMetricsModuleOptions({})))
export class PoolMetricsModule {
  /**
   * The same route under another path, past a global guard, with the metrics of busy tenants, or with all that is in a
   * registry of the application's.
   *
   * @example
   * // GET /internal/metrics, with the ten busiest tenants and what else prom-client collects:
   * PoolMetricsModule.register({ path: 'internal/metrics', tenants: { top: 10 }, registry: register })
   *
   * @throws {PoolConfigError} with everything that is wrong with the options.
   */
  static register(options: PoolMetricsModuleOptions = {}): DynamicModule {
    return { module: RegisteredPoolMetricsModule, ...declare(parsePoolMetricsModuleOptions(options)) };
  }
}
