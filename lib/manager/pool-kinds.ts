/**
 * Every kind of pool, by the `type` of its options: how its options are checked, and how a pool is made of them.
 *
 * The one list of kinds in the library: the options of a registration and the manager read it. The compiler compares it
 * with `PoolType`.
 */
import type { z } from 'zod';

import {
  externalPoolKind,
  type ExternalPoolOptions,
  parseExternalPoolOptions,
  type ResolvedExternalPoolOptions,
} from '../external/external-pool.options.js';
import {
  httpPoolKind,
  type HttpPoolOptions,
  parseHttpPoolOptions,
  type ResolvedHttpPoolOptions,
} from '../http/http-pool.options.js';
import type { PoolKindOptions } from '../options/parse-pool.js';
import type { PoolDependencies, PoolHandle, PoolType } from '../pool/pool-handle.js';
import {
  parsePostgresPoolOptions,
  postgresPoolKind,
  type PostgresPoolOptions,
  type ResolvedPostgresPoolOptions,
} from '../postgres/postgres-pool.options.js';
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

/**
 * What is behind a kind, its driver and the engine, is loaded with the first pool of that kind: every test and every
 * script of an application imports the package, and most of them open no pool, or pools of one kind.
 */
export const poolKinds = {
  database: {
    ...postgresPoolKind,
    parse: parsePostgresPoolOptions,
    create: async (id, config, dependencies) => {
      const { createPostgresPool } = await import('../postgres/create-postgres-pool.js');
      return createPostgresPool(id, config, dependencies);
    },
  },
  redis: {
    ...redisPoolKind,
    parse: parseRedisPoolOptions,
    create: async (id, config, dependencies) => {
      const { createRedisPool } = await import('../redis/create-redis-pool.js');
      return createRedisPool(id, config, dependencies);
    },
  },
  http: {
    ...httpPoolKind,
    parse: parseHttpPoolOptions,
    create: async (id, config, dependencies) => {
      const { createHttpPool } = await import('../http/create-http-pool.js');
      return createHttpPool(id, config, dependencies);
    },
  },
  external: {
    ...externalPoolKind,
    parse: parseExternalPoolOptions,
    create: async (id, config, dependencies) => {
      const { createExternalPool } = await import('../external/create-external-pool.js');
      return createExternalPool(id, config.driver, config, dependencies);
    },
  },
} satisfies { readonly [T in PoolType]: PoolKind<T> };

/** The cold pool of a registration, of whichever kind. */
export function createDeclaredPool<T extends PoolType>(
  id: string,
  config: Configs[T] & { readonly type: T },
  dependencies: PoolDependencies,
): Promise<PoolHandle> {
  const makers: { readonly [K in PoolType]: Pick<PoolMaker<never, Configs[K], PoolHandle>, 'create'> } = poolKinds;
  return makers[config.type].create(id, config, dependencies);
}
