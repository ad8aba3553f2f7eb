/**
 * `/health`, `/health/live` and `/health/ready`, and the indicator for health routes of one's own.
 */
import { type DynamicModule, Module, type ModuleMetadata } from '@nestjs/common';

import { poolHealthController } from './pool-health.controller.js';
import { PoolHealthIndicator } from './pool-health.indicator.js';
import { parsePoolHealthModuleOptions, type PoolHealthModuleOptions } from './pool-health.options.js';
import { healthChecks } from './terminus.js';

function declare(options: PoolHealthModuleOptions): ModuleMetadata {
  return {
    controllers: [poolHealthController(parsePoolHealthModuleOptions(options))],
    providers: [PoolHealthIndicator, healthChecks],
    exports: [PoolHealthIndicator],
  };
}

/** The class of what `register` returns: Nest adds to a dynamic module what its class declares. */
@Module({})
class RegisteredPoolHealthModule {}

/**
 * The routes `/health`, `/health/live` and `/health/ready`, and {@link PoolHealthIndicator} for routes of one's own.
 *
 * They answer as Terminus does, and need the package `@nestjs/terminus`: without it an application that imports this
 * module doesn't start, with a `PoolConfigError` that says so.
 *
 * @example
 * @Module({ imports: [PoolManagerModule.forRoot({ … }), PoolHealthModule] })
 * class AppModule {}
 */
@Module(declare({}))
export class PoolHealthModule {
  /**
   * The same routes under other paths, past a global guard, or with other limits.
   *
   * @example
   * // GET /internal/health, /internal/health/livez and /internal/health/readyz, without the guard of all other routes:
   * PoolHealthModule.register({ path: 'internal/health', live: 'livez', ready: 'readyz', decorators: [Public()] })
   *
   * @throws {PoolConfigError} with everything that is wrong with the options.
   */
  static register(options: PoolHealthModuleOptions = {}): DynamicModule {
    return { module: RegisteredPoolHealthModule, ...declare(options) };
  }
}
