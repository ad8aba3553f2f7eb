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
  type ExternalPoolOptions,
  parseExternalPoolOptions,
  type ResolvedExternalPoolOptions,
} from '../external/external-pool.options.js';
import { createHttpPool } from '../http/create-http-pool.js';
import {
  httpPoolKind,
  type HttpPoolOptions,
  parseHttpPoolOptions,
  type ResolvedHttpPoolOptions,
} from '../http/http-pool.options.js';
import type { PoolKindOptions } from '../options/parse-pool.js';
import type { PoolDependencies, PoolHandle, PoolType } from '../pool/pool-handle.js';
import { createPostgresPool } from '../postgres/create-postgres-pool.js';
import {
  parsePostgresPoolOptions,
  postgresPoolKind,
  type PostgresPoolOptions,
  type ResolvedPostgresPoolOptions,
} from '../postgres/postgres-pool.options.js';
import { createRedisPool } from '../redis/create-redis-pool.js';
import {
  parseRedisPoolOptions,
  redisPoolKind,
  type RedisPoolOptions,
  type ResolvedRedisPoolOptions,
} from '../redis/redis-pool.options.js';

/** A pool of a registration: the options of its kind, and which kind it is. */
export type PoolDeclaration =
  | (PostgresPoolOptions & { readonly type: 'database' })
  | (RedisPoolOptions & { readonly type: 'redis' })
  | (HttpPoolOptions & { readonly type: 'http' })
  | (ExternalPoolOptions & { readonly type: 'external' });

/** What a pool of any kind is configured with. */
export type PoolConfig =
  ResolvedPostgresPoolOptions | ResolvedRedisPoolOptions | ResolvedHttpPoolOptions | ResolvedExternalPoolOptions;

/** How a pool is made: `O` are its options as they are written, `C` those that are complete. */
export interface PoolMaker<O, C, P extends PoolHandle> {
  /** @throws {PoolConfigError} */
  readonly parse: (id: string, options: O) => C;
  /** Loads the packages that the kind needs. The pool is cold: nothing is opened. */
  readonly create: (id: string, config: C, dependencies: PoolDependencies) => Promise<P>;
}

/** A type that {@link PoolDeclaration} or {@link PoolConfig} leaves out does not compile. */
type Declared = PoolDeclaration['type'];
type DeclarationOf<T extends Declared> = Extract<PoolDeclaration, { readonly type: T }>;
type Configs = { readonly [T in Declared]: Extract<PoolConfig, { readonly type: T }> };
type PoolKind<T extends Declared> = PoolKindOptions<z.ZodType<Configs[T]>> &
  PoolMaker<DeclarationOf<T>, Configs[T], PoolHandle>;

export const poolKinds = {
  database: { ...postgresPoolKind, parse: parsePostgresPoolOptions, create: createPostgresPool },
  redis: { ...redisPoolKind, parse: parseRedisPoolOptions, create: createRedisPool },
  http: { ...httpPoolKind, parse: parseHttpPoolOptions, create: createHttpPool },
  external: { ...externalPoolKind, parse: parseExternalPoolOptions, create: createFromDriver },
} satisfies { readonly [T in PoolType]: PoolKind<T> };

function createFromDriver(
  id: string,
  config: ResolvedExternalPoolOptions,
  dependencies: PoolDependencies,
): Promise<ExternalPool> {
  return Promise.resolve(createExternalPool(id, config.driver, config, dependencies));
}

/** The cold pool of a registration, of whichever kind. */
export function createDeclaredPool<T extends PoolType>(
  id: string,
  config: Configs[T] & { readonly type: T },
  dependencies: PoolDependencies,
): Promise<PoolHandle> {
  const makers: { readonly [K in PoolType]: Pick<PoolMaker<never, Configs[K], PoolHandle>, 'create'> } = poolKinds;
  return makers[config.type].create(id, config, dependencies);
}
