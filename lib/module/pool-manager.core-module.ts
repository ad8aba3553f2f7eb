/**
 * What stands behind one registration of the module: its options, its manager, and the hooks that open and close the
 * pools.
 *
 * Promise: the factories here build cold handles. Nothing is opened before the application's `onModuleInit`, so an
 * application whose other providers can't be built has nothing to clean up, and a pool that a test overrides is never
 * built at all.
 */
import {
  type DynamicModule,
  type FactoryProvider,
  type InjectionToken,
  Logger,
  Module,
  type Provider,
} from '@nestjs/common';
import { HttpAdapterHost, ModuleRef, ModulesContainer } from '@nestjs/core';

import { ConnectionPoolManager } from '../manager/connection-pool-manager.js';
import type { PoolManagerOptions } from '../manager/pool-manager.options.js';
import type { PoolHandle } from '../pool/pool-handle.js';
import { RequestScopes } from '../tenancy/request-scopes.js';
import { TENANCY_OPTIONS } from '../tenancy/tenancy.options.js';
import { TenantContext } from '../tenancy/tenant-context.js';
import { rememberRegistration } from './names-in-code.js';
import { PoolManagerLifecycle, ShutdownNotice } from './pool-manager.lifecycle.js';
import {
  DEFAULT_MANAGER,
  getLifecycleToken,
  getPoolManagerToken,
  getRegisteredManagerToken,
  getShutdownNoticeToken,
  MODULE_OPTIONS,
  poolTokenOf,
} from './pool-manager.tokens.js';
import { removeUndeclaredPools, undeclaredPoolProviders, withLateItems } from './undeclared-pools.js';

@Module({})
export class PoolManagerCoreModule {}

interface RegistrationDependencies {
  readonly name: string;
  readonly isGlobal: boolean;
  /** The pools that get injection tokens; undefined when an asynchronous registration named none. */
  readonly poolNames: readonly string[] | undefined;
}

/**
 * Turns what Nest's builder made of the options into the two modules of a registration: one for the manager, one for
 * its pools' tokens.
 */
export function register(definition: DynamicModule, dependencies: RegistrationDependencies): DynamicModule {
  const { name, poolNames = [], isGlobal } = dependencies;
  rememberRegistration(name);
  const pools = poolNames.map((pool) => poolProvider(pool, name));
  const notice: FactoryProvider<ShutdownNotice> = {
    provide: getShutdownNoticeToken(name),
    useFactory: (lifecycle: PoolManagerLifecycle) => new ShutdownNotice(lifecycle),
    inject: [getLifecycleToken(name)],
  };
  return {
    module: definition.module,
    global: isGlobal,
    imports: [coreModule(definition, dependencies)],
    providers: [...pools, notice],
    exports: pools.map(({ provide }) => provide),
  };
}

/** The factories of pools: what a test puts in the place of one has another, or none. */
const poolFactories = new WeakSet();

/** The token of a pool, and the cold handle behind it. */
export function poolProvider(pool: string, manager: string): FactoryProvider<Promise<PoolHandle>> {
  const useFactory = (registered: ConnectionPoolManager): Promise<PoolHandle> => registered.table.build(pool);
  poolFactories.add(useFactory);
  return { provide: poolTokenOf(pool, manager), useFactory, inject: [getRegisteredManagerToken(manager)] };
}

/** Whether a test has put something else in the place of a pool: `overrideProvider`. */
function isOverridden(pool: string, manager: string, modules: ModulesContainer): boolean {
  const token = poolTokenOf(pool, manager);
  return [...modules.values()].some(({ providers }) => {
    // The module that announces a pool has its registration's notice beside it.
    const provider = providers.has(getShutdownNoticeToken(manager)) ? providers.get(token) : undefined;
    return provider !== undefined && !isPoolFactory(provider.metatype);
  });
}

function isPoolFactory(metatype: unknown): boolean {
  return typeof metatype === 'function' && poolFactories.has(metatype);
}

/** What guards, interceptors and middleware anywhere in the application find the tenant with. */
function tenancyProviders(registered: string): FactoryProvider[] {
  return [
    {
      provide: TenantContext,
      useFactory: ({ tenants }: ConnectionPoolManager) => tenants,
      inject: [registered],
    },
    {
      provide: TENANCY_OPTIONS,
      // A copy, because the manager's own are frozen: an APM that wraps injectables in proxies could not wrap
      // `resolve`, and every access throws.
      useFactory: ({ options: { tenancy } }: ConnectionPoolManager) => tenancy && { ...tenancy },
      inject: [registered],
    },
    {
      provide: RequestScopes,
      useFactory: (tenants: TenantContext) => new RequestScopes(tenants),
      inject: [TenantContext],
    },
  ];
}

function tokensOf(providers: readonly { readonly provide: InjectionToken }[]): InjectionToken[] {
  return providers.map(({ provide }) => provide);
}

/**
 * Global also where `isGlobal` is false: `forFeature`, health routes and tenant guards anywhere in the application need
 * the manager.
 */
function coreModule(definition: DynamicModule, { name, poolNames, isGlobal }: RegistrationDependencies): DynamicModule {
  const registered = getRegisteredManagerToken(name);
  const isDefault = name === DEFAULT_MANAGER;
  const manager: FactoryProvider<ConnectionPoolManager> = {
    provide: registered,
    useFactory: (options: PoolManagerOptions, modules: ModulesContainer, tenants?: TenantContext) => {
      removeUndeclaredPools(modules);
      return new ConnectionPoolManager(options, {
        logger: new Logger('PoolManager'),
        staticNames: poolNames,
        overridden: (poolNames ?? []).filter((pool) => isOverridden(pool, name, modules)),
        tenants,
      });
    },
    // A request has one tenant, however many registrations serve it.
    inject: [MODULE_OPTIONS, ModulesContainer, ...(isDefault ? [] : [{ token: TenantContext, optional: true }])],
  };
  const visible = [
    manager,
    { provide: getPoolManagerToken(name), useExisting: registered },
    ...(isDefault ? tenancyProviders(registered) : []),
  ];
  const lifecycle: FactoryProvider<PoolManagerLifecycle> = {
    provide: getLifecycleToken(name),
    useFactory: (
      manager: ConnectionPoolManager,
      moduleRef: ModuleRef,
      modules: ModulesContainer,
      http: HttpAdapterHost,
    ) => new PoolManagerLifecycle({ name, poolNames, isGlobal, manager, moduleRef, modules, http }),
    inject: [registered, ModuleRef, ModulesContainer, HttpAdapterHost],
  };
  const undeclared = (): FactoryProvider[] => undeclaredPoolProviders({ manager: name, names: poolNames, isGlobal });
  return {
    module: PoolManagerCoreModule,
    global: true,
    imports: definition.imports ?? [],
    providers: withLateItems<Provider>([...(definition.providers ?? []), ...visible, lifecycle], undeclared),
    exports: withLateItems(tokensOf([...visible, lifecycle]), () => tokensOf(undeclared())),
  };
}
