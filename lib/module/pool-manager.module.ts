/**
 * The module that an application imports: every outgoing connection, declared in one place.
 *
 * Each `forRoot` or `forRootAsync` is a registration with a manager of its own. An application has one, or gives the
 * others a `name`.
 */
import { type DynamicModule, Module } from '@nestjs/common';

import { poolProvider } from './pool-manager.core-module.js';
import {
  ConfigurableModuleClass,
  type PoolManagerModuleAsyncOptions,
  type PoolManagerModuleOptions,
} from './pool-manager.module-definition.js';
import { DEFAULT_MANAGER, poolTokenOf } from './pool-manager.tokens.js';
import { unregisteredFeature, withLateItems } from './undeclared-pools.js';

/**
 * Declares the pools of an application, opens them with it and closes them with it.
 *
 * @example
 * @Module({
 *   imports: [
 *     PoolManagerModule.forRoot({
 *       pools: { orders: { type: 'database', connectionString: process.env.DATABASE_URL, maxSize: 20 } },
 *     }),
 *   ],
 * })
 * class AppModule {}
 */
@Module({})
export class PoolManagerModule {
  /** Declares pools whose options are known by now. */
  static forRoot(options: PoolManagerModuleOptions): DynamicModule {
    const poolNames = Object.keys(options.pools ?? {});
    return { ...ConfigurableModuleClass.forRoot({ ...options, poolNames }), module: PoolManagerModule };
  }

  /**
   * Declares pools whose options come from a factory (`useFactory`, `useClass` or `useExisting`, with `inject` and
   * `imports`).
   *
   * @example
   * PoolManagerModule.forRootAsync({
   *   pools: ['orders'],
   *   inject: [ConfigService],
   *   useFactory: (env: ConfigService) => ({
   *     pools: { orders: { type: 'database', connectionString: env.get('DATABASE_URL') } },
   *   }),
   * })
   */
  static forRootAsync(options: PoolManagerModuleAsyncOptions): DynamicModule {
    const { pools, ...rest } = options;
    const definition = ConfigurableModuleClass.forRootAsync(pools === undefined ? rest : { ...rest, poolNames: pools });
    return { ...definition, module: PoolManagerModule };
  }

  /**
   * Makes the named pools injectable in the importing module, where the registration has `isGlobal: false`.
   *
   * @param manager the registration's `name`, if it has one.
   */
  static forFeature(pools: readonly string[], manager: string = DEFAULT_MANAGER): DynamicModule {
    const providers = withLateItems(
      [],
      () => unregisteredFeature(pools, manager) ?? pools.map((pool) => poolProvider(pool, manager)),
    );
    return { module: PoolManagerModule, providers, exports: pools.map((pool) => poolTokenOf(pool, manager)) };
  }
}
