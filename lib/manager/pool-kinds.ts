/**
 * Every kind of pool, by the `type` of its options: how its options are checked, and how a pool is made of them.
 *
 * The one list of kinds in the library: the options of a registration and the manager read it. The compiler compares it
 * with `PoolType`.
 */
import type { z } from 'zod';

import { createExternalPool, type ExternalPool } from '../external/external-pool.js';
import {
  externalPoolKind,
  parseExternalPoolOptions,
  type ResolvedExternalPoolOptions,
} from '../external/external-pool.options.js';
import { createHttpPool } from '../http/create-http-pool.js';
import { httpPoolKind, parseHttpPoolOptions } from '../http/http-pool.options.js';
import type { PoolKindOptions } from '../options/parse-pool.js';
import type { PoolDependencies, PoolHandle, PoolType } from '../pool/pool-handle.js';
import { createPostgresPool } from '../postgres/create-postgres-pool.js';
import { parsePostgresPoolOptions, postgresPoolKind } from '../postgres/postgres-pool.options.js';
import { createRedisPool } from '../redis/create-redis-pool.js';
import { parseRedisPoolOptions, redisPoolKind } from '../redis/redis-pool.options.js';

/** How a pool is made: `O` are its options as they are written, `C` those that are complete. */
export interface PoolMaker<O, C, P extends PoolHandle> {
  /** @throws {PoolConfigError} */
  readonly parse: (id: string, options: O) => C;
  /** Loads the packages that the kind needs. The pool is cold: nothing is opened. */
  readonly create: (id: string, config: C, dependencies: PoolDependencies) => Promise<P>;
}

interface PoolKind<T extends PoolType> extends PoolKindOptions<z.ZodType<{ readonly type: T }>> {
  readonly parse: (id: string, options: never) => unknown;
  readonly create: (id: string, config: never, dependencies: PoolDependencies) => Promise<PoolHandle>;
}

export const poolKinds = {
  database: { ...postgresPoolKind, parse: parsePostgresPoolOptions, create: createPostgresPool },
  redis: { ...redisPoolKind, parse: parseRedisPoolOptions, create: createRedisPool },
  http: { ...httpPoolKind, parse: parseHttpPoolOptions, create: createHttpPool },
  external: { ...externalPoolKind, parse: parseExternalPoolOptions, create: createFromDriver },
} satisfies { readonly [T in PoolType]: PoolKind<T> };

type Kinds = typeof poolKinds;

function createFromDriver(
  id: string,
  config: ResolvedExternalPoolOptions,
  dependencies: PoolDependencies,
): Promise<ExternalPool> {
  return Promise.resolve(createExternalPool(id, config.driver, config, dependencies));
}

/** What can be set on a pool of one kind. */
type OptionsOf<T extends PoolType> = Parameters<Kinds[T]['parse']>[1];

/** A pool of a registration: the options of its kind, and which kind it is. */
export type PoolDeclaration = { [T in PoolType]: OptionsOf<T> & { readonly type: T } }[PoolType];

/** What a pool of any kind is configured with. */
export type PoolConfig<T extends PoolType = PoolType> = { [K in T]: ReturnType<Kinds[K]['parse']> }[T];

interface Creator<C> {
  readonly create: (id: string, config: C, dependencies: PoolDependencies) => Promise<PoolHandle>;
}

/** The cold pool of a registration, of whichever kind. */
export function createDeclaredPool<T extends PoolType>(
  id: string,
  config: PoolConfig<T> & { readonly type: T },
  dependencies: PoolDependencies,
): Promise<PoolHandle> {
  const creators: { readonly [K in PoolType]: Creator<PoolConfig<K>> } = poolKinds;
  return creators[config.type].create(id, config, dependencies);
}
