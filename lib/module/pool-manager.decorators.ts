/**
 * Constructor parameters that ask for a pool or for the manager.
 */
import { Inject } from '@nestjs/common';

import { getPoolManagerToken, getPoolToken } from './pool-manager.tokens.js';
import type { PoolName } from '../pool/pool-registry.js';

/**
 * Injects the pool of that name: the same object that `manager.getPool(name)` finds.
 *
 * @param manager the `name` of the registration that declares the pool, where an application has more than one.
 * @example
 * constructor(@InjectPool('orders') private readonly orders: PostgresPool) {}
 */
export function InjectPool(pool: PoolName, manager?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getPoolToken(pool, manager));
}

/**
 * Injects the {@link ConnectionPoolManager}, of the registration with that `name` where an application has more than
 * one.
 */
export function InjectPoolManager(manager?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getPoolManagerToken(manager));
}
