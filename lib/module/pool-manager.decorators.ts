/**
 * Constructor parameters that ask for a pool or for the manager.
 */
import { Inject } from '@nestjs/common';

import type { PoolName } from '../pool/pool-registry.js';
import { markInjectionPoint } from './declared-pools.js';
import { getPoolManagerToken, getPoolToken } from './pool-manager.tokens.js';

/**
 * Injects the pool of that name: the same object that `manager.getPool(name)` finds.
 *
 * A parameter or property that is declared as another class of pool ends the start of the application with a
 * PoolConfigError, where the compiler emits decorator metadata (`emitDecoratorMetadata`). PoolHandle, a union and an
 * interface accept each kind of pool, and nothing is said against what a test puts in a pool's place.
 *
 * @param manager the `name` of the registration that declares the pool, where an application has more than one.
 * @example
 * constructor(@InjectPool('orders') private readonly orders: PostgresPool) {}
 */
export function InjectPool(pool: PoolName, manager?: string): PropertyDecorator & ParameterDecorator {
  const inject = Inject(getPoolToken(pool, manager));
  return (target: object, key: string | symbol | undefined, index?: number): void => {
    if (index !== undefined) inject(target, key, index);
    else if (key !== undefined) inject(target, key);
    const at = index ?? key;
    if (at !== undefined) markInjectionPoint(target, at);
  };
}

/**
 * Injects the {@link ConnectionPoolManager}, of the registration with that `name` where an application has more than
 * one.
 */
export function InjectPoolManager(manager?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getPoolManagerToken(manager));
}
