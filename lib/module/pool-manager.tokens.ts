/**
 * Under which tokens an application finds its pools and their manager.
 *
 * The tokens of pools are plain strings, so that Nest's "can't resolve dependencies" names the pool that is missing.
 */
import type { InjectionToken } from '@nestjs/common';

import { ConnectionPoolManager } from '../manager/connection-pool-manager.js';
import { rememberManager, rememberPool } from './names-in-code.js';

/** The name of the registration that gives itself none. */
export const DEFAULT_MANAGER = 'default';

/** The options as they were passed in; visible inside a registration only. */
export const MODULE_OPTIONS = 'PoolManagerOptions';

/**
 * The token of a pool: for `overrideProvider` in tests, `inject` lists of factories and `moduleRef.get`.
 *
 * A test that overrides a pool needs nothing of the registration's other pools: the start waits for none, each is
 * opened by its first use, and one whose address is neither in the options nor in the environment says so then.
 *
 * @param manager the `name` of the registration that declares the pool, where an application has more than one.
 * @example
 * Test.createTestingModule({ imports: [AppModule] }).overrideProvider(getPoolToken('orders')).useValue(fakeOrders);
 */
export function getPoolToken(pool: string, manager: string = DEFAULT_MANAGER): string {
  rememberPool(pool, manager);
  return poolTokenOf(pool, manager);
}

/**
 * The token itself, for what declares it.
 *
 * @internal
 */
export function poolTokenOf(pool: string, manager: string): string {
  return manager === DEFAULT_MANAGER ? `Pool(${pool})` : `Pool(${manager}/${pool})`;
}

/** The token of a manager: the class itself, or a string for a registration with a `name`. */
export function getPoolManagerToken(manager: string = DEFAULT_MANAGER): InjectionToken<ConnectionPoolManager> {
  rememberManager(manager);
  return manager === DEFAULT_MANAGER ? ConnectionPoolManager : `ConnectionPoolManager(${manager})`;
}

/**
 * The manager as the registration made it. Pools depend on this token, so that replacing the public one in a test
 * replaces nothing else.
 *
 * @internal
 */
export function getRegisteredManagerToken(manager: string): string {
  return `RegisteredPoolManager(${manager})`;
}

/**
 * The hooks that open and close the pools of a registration.
 *
 * @internal
 */
export function getLifecycleToken(manager: string): string {
  return `PoolManagerLifecycle(${manager})`;
}

/**
 * What hears of the shutdown before any other provider of the application.
 *
 * @internal
 */
export function getShutdownNoticeToken(manager: string): string {
  return `PoolManagerShutdownNotice(${manager})`;
}
