/**
 * The shape of `PoolManagerModule.forRoot` and `forRootAsync`, made by Nest's own builder.
 */
import { type ConfigurableModuleAsyncOptions, ConfigurableModuleBuilder } from '@nestjs/common';

import type { PoolManagerOptions } from '../manager/pool-manager.options.js';
import { register } from './pool-manager.core-module.js';
import { DEFAULT_MANAGER, MODULE_OPTIONS } from './pool-manager.tokens.js';

/** What a registration says beside its options, because Nest must know it before any factory runs. */
export interface PoolManagerRegistration {
  /**
   * Whether every module can inject the pools. Default true. With false a module imports
   * `PoolManagerModule.forFeature([…])` to inject the pools that it names. The manager can be injected everywhere in
   * either case.
   */
  readonly isGlobal?: boolean;
  /** Tells registrations of one application apart; each has a manager and pools of its own. Default `default`. */
  readonly name?: string;
}

/** What a class for `useClass` or `useExisting` implements. */
export interface PoolManagerOptionsFactory {
  /** The options of the registration. Called once, before any pool is made. */
  createPoolManagerOptions(): PoolManagerOptions | Promise<PoolManagerOptions>;
}

/** Options of `PoolManagerModule.forRoot`. */
export interface PoolManagerModuleOptions extends PoolManagerOptions, PoolManagerRegistration {}

/** Options of `PoolManagerModule.forRootAsync`. */
export interface PoolManagerModuleAsyncOptions
  extends ConfigurableModuleAsyncOptions<PoolManagerOptions, 'createPoolManagerOptions'>, PoolManagerRegistration {
  /**
   * The names of the pools that the factory will return. Injection tokens are made from them before it runs, so they
   * must be the same, all of them; where they aren't, the application doesn't start. Without a list nothing can be
   * injected by name, only found with `manager.getPool`.
   */
  readonly pools?: readonly string[];
}

export const { ConfigurableModuleClass } = new ConfigurableModuleBuilder<PoolManagerOptions>({
  optionsInjectionToken: MODULE_OPTIONS,
})
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createPoolManagerOptions')
  .setExtras<PoolManagerRegistration & { readonly poolNames?: readonly string[] | undefined }>(
    { isGlobal: true, name: DEFAULT_MANAGER, poolNames: undefined },
    (definition, { isGlobal = true, name = DEFAULT_MANAGER, poolNames }) =>
      register(definition, { isGlobal, name, poolNames }),
  )
  .build();
