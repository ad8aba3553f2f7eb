/**
 * Whether the classes that inject pools declare each as what it is.
 *
 * The compiler accepts `@InjectPool('orders') orders: RedisPool` for a PostgreSQL pool as well: the decorator does not
 * know the pool's class. Where the compiler emits decorator metadata, the declared class is known at the start of the
 * application, and compared then, once.
 *
 * Promises: only pools of the registration itself are compared, never what a test or a module put in the place of one,
 * a view, say; only where the declared class is one of a pool. Interfaces, unions and types that are imported as types
 * have no class in the metadata, an abstract class of the application is none of a pool, and a drop-in for `pg.Pool`
 * may be declared as one.
 */
import type { ModulesContainer } from '@nestjs/core';

import type { ConfigProblem } from '../errors.js';
import { PoolHandle } from '../pool/pool-handle.js';
import type { PoolClass } from '../pool/pool-registry.js';
import { constructorOwner, type Hosted, placeOf, providerFor, tokensOf, wrappersOf } from './injection-points.js';

/** Where a class asks for a pool. */
interface PoolInjection {
  /** The class of a constructor's parameter, the prototype that has a property. */
  readonly target: object;
  /** The index of the parameter, or the name of the property. */
  readonly at: number | string | symbol;
}

const INJECTION_POINTS = 'nestjs-pool-manager:injection-points';

/** Remembers on a class that a pool is injected there. */
export function markInjectionPoint(target: object, at: number | string | symbol): void {
  const owner = typeof target === 'function' ? target : target.constructor;
  Reflect.defineMetadata(INJECTION_POINTS, [...poolInjectionsOf(owner), { target, at }], owner);
}

/** Those of a class, and of the classes that it extends. */
function poolInjectionsOf(owner: object): readonly PoolInjection[] {
  return (Reflect.getMetadata(INJECTION_POINTS, owner) as readonly PoolInjection[] | undefined) ?? [];
}

/**
 * Looks at every class of the application, those that are made for each request included.
 *
 * @param pools those that may be compared.
 * @returns one problem for each injection point whose declared class is another than that of its pool.
 */
export function misdeclaredPools(modules: ModulesContainer, pools: ReadonlySet<unknown>): readonly ConfigProblem[] {
  // By its text, because a class may be a provider of several modules.
  const problems = new Map<string, ConfigProblem>();
  for (const hosted of wrappersOf(modules)) {
    for (const problem of problemsOf(hosted, pools)) problems.set(problem.rule, problem);
  }
  return [...problems.values()];
}

function* problemsOf(hosted: Hosted, pools: ReadonlySet<unknown>): Iterable<ConfigProblem> {
  const { wrapper } = hosted;
  const { metatype } = wrapper;
  if (typeof metatype !== 'function') return;
  // A class that extends another may inject something else at the same place.
  const points = new Map(poolInjectionsOf(metatype).map((point) => [point.at, point]));
  for (const { target, at } of points.values()) {
    if (typeof at === 'number' && target !== constructorOwner(metatype)) continue;
    const pool = injectedAt(hosted, at);
    // In this order: what a test put in the place of a pool may not like to be looked at.
    if (!pools.has(pool) || !(pool instanceof PoolHandle)) continue;
    const declared = declaredAt(target, at);
    if (!isPoolClass(declared) || accepts(declared, pool)) continue;
    const own = pool.constructor.name;
    const rule =
      `is of the type "${pool.type}" (${own}), but is injected as ${declared.name} into ${placeOf({ wrapper, at })}. ` +
      `Declare that as ${own} or PoolHandle, or inject the pool that was meant`;
    yield { key: `pools.${pool.id}`, rule };
  }
}

/** What Nest has for it, whether or not it has made anything of the class by now. */
function injectedAt({ wrapper, module }: Hosted, at: number | string | symbol): unknown {
  const token = tokensOf(wrapper).get(at);
  return typeof token === 'string' ? providerFor(token, module)?.instance : undefined;
}

/** The class in the compiler's metadata; undefined without any. */
function declaredAt(target: object, at: number | string | symbol): unknown {
  if (typeof at !== 'number') return Reflect.getMetadata('design:type', target, at);
  const types: unknown = Reflect.getMetadata('design:paramtypes', target);
  return Array.isArray(types) ? types[at] : undefined;
}

function isPoolClass(declared: unknown): declared is PoolClass<PoolHandle> {
  return typeof declared === 'function' && (declared === PoolHandle || declared.prototype instanceof PoolHandle);
}

/** A class of the application that extends the pool's own and adds nothing is another name for that. */
function accepts(declared: PoolClass<PoolHandle>, pool: object): boolean {
  if (pool instanceof declared) return true;
  const own = pool.constructor;
  let prototype = declared.prototype as object | null;
  while (prototype instanceof own) {
    if (Reflect.ownKeys(prototype).length > 1) return false;
    prototype = Object.getPrototypeOf(prototype) as object | null;
  }
  return prototype === own.prototype;
}
