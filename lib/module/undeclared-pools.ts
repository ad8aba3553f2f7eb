/**
 * What is said of a pool that is injected where there is none: one that no registration declares, that belongs to a
 * registration which the application doesn't have, or that the module doesn't import (`isGlobal: false`).
 *
 * Nest's own error knows neither the pools that there are nor the one that may have been meant, and it comes before any
 * hook. So each registration provides, besides its pools, what this process has asked a token for and what Nest would
 * not find: as transient providers, which Nest makes only where they are injected. One that is made tells all the
 * places that ask for such pools, and fails.
 *
 * Promises: a name that is asked for by no class or factory of the application itself (another application of the
 * process, a class that was never registered) fails nothing; `@Optional()` stays optional; what a test overrides or
 * mocks stays so. Once the manager has been made, those that nothing asks for are gone.
 */
import { type FactoryProvider, Scope } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';

import { type ConfigProblem, PoolConfigError } from '../errors.js';
import type { ConnectionPoolManager } from '../manager/connection-pool-manager.js';
import {
  type InjectionPoint,
  injectionPointsOf,
  isMadeLater,
  isOptional,
  providerFor,
  type Wrapper,
} from './injection-points.js';
import { askedManagers, askedPools, registrationNames } from './names-in-code.js';
import { getPoolManagerToken, getRegisteredManagerToken, poolTokenOf } from './pool-manager.tokens.js';
import {
  type AnnouncedPools,
  type AskedFor,
  forFeature,
  type Present,
  undeclaredPoolProblem,
  unregisteredProblem,
} from './undeclared-pool-problem.js';

/** The factories of what stands in for pools: what a test overrides has another one. */
const undeclared = new WeakSet();

/**
 * `list`, which further items follow whenever it is iterated: Nest does that when it builds an application, by when all
 * of its classes have been decorated; a registration is often written down before them.
 */
export function withLateItems<T>(list: readonly T[], late: () => Iterable<T>): T[] {
  const items = [...list];
  const iterate = function* (): Generator<T, undefined> {
    yield* list;
    yield* late();
    return undefined;
  };
  return Object.defineProperty(items, Symbol.iterator, { value: iterate });
}

/** Providers for what has been asked for and what Nest would not find with this registration alone. */
export function undeclaredPoolProviders(announced: AnnouncedPools): FactoryProvider[] {
  return [...askedInVain(announced)].map(([token, asked]): FactoryProvider => {
    const useFactory = (registered: ConnectionPoolManager, modules: ModulesContainer): unknown =>
      standIn(token, asked, announced, registered, modules);
    undeclared.add(useFactory);
    return {
      provide: token,
      useFactory,
      inject: [getRegisteredManagerToken(announced.manager), ModulesContainer],
      scope: Scope.TRANSIENT,
    };
  });
}

/** By their tokens. What belongs to a registration that the process doesn't have is the affair of every other. */
function askedInVain({ manager, names = [], isGlobal }: AnnouncedPools): ReadonlyMap<string, AskedFor> {
  const found = new Map<string, AskedFor>();
  for (const pool of askedPools(manager)) {
    if (!isGlobal || !names.includes(pool)) found.set(poolTokenOf(pool, manager), { pool, manager });
  }
  for (const other of askedManagers()) {
    if (other === manager || registrationNames().has(other)) continue;
    for (const pool of askedPools(other)) found.set(poolTokenOf(pool, other), { pool, manager: other });
    const token = getPoolManagerToken(other);
    if (typeof token === 'string') found.set(token, { pool: undefined, manager: other });
  }
  return found;
}

/**
 * What is injected in the place of the pool.
 *
 * @returns undefined, if all that ask for it do without; or what Nest has passed over: its versions 11.0 prefer a later
 * import to an earlier one that has been made, and all prefer an earlier global module to a later one.
 * @throws {PoolConfigError}
 */
function standIn(
  token: string,
  asked: AskedFor,
  announced: AnnouncedPools,
  registered: ConnectionPoolManager,
  modules: ModulesContainer,
): unknown {
  const present = presentIn(modules, registered);
  const found = undeclaredPools(announced, present, injectionPointsOf(modules), token);
  const { problems, isDispensable, passedOver } = found;
  if (problems.length === 0 && passedOver !== undefined) {
    return passedOver.instance ?? (isDeclared(asked, announced) ? registered.table.build(asked.pool) : undefined);
  }
  if (problems.length === 0 && isDispensable) return undefined;
  letMock(token, modules);
  throw new PoolConfigError(
    problems.length > 0 ? problems : [undeclaredPoolProblem(asked, undefined, announced, present)],
  );
}

function isDeclared(asked: AskedFor, { manager, names = [] }: AnnouncedPools): asked is AskedFor & { pool: string } {
  return asked.manager === manager && asked.pool !== undefined && names.includes(asked.pool);
}

/**
 * Where a test has a mocker (`useMocker`), Nest asks it for what can't be made, and gives the mock the scope of that: a
 * transient one would be injected nowhere.
 */
function letMock(token: string, modules: ModulesContainer): void {
  for (const { providers } of modules.values()) {
    const provider = providers.get(token);
    if (provider !== undefined && isUndeclared(provider)) provider.scope = Scope.DEFAULT;
  }
}

/**
 * What the classes ask for that are made later than the others: they would fail with their first request. The others
 * have been made by now, with what a test mocks in the place of the pool if need be.
 */
export function undeclaredPoolsOfLater(
  announced: AnnouncedPools,
  registered: ConnectionPoolManager,
  modules: ModulesContainer,
): readonly ConfigProblem[] {
  const later = [...injectionPointsOf(modules)].filter(({ wrapper }) => isMadeLater(wrapper));
  return undeclaredPools(announced, presentIn(modules, registered), later).problems;
}

interface Findings {
  /** One for each place that needs a pool which isn't there for it. */
  readonly problems: readonly ConfigProblem[];
  /** Whether something asks for the pool in question and does without. */
  readonly isDispensable: boolean;
  /** What is provided under the token of the pool in question to something that asks for it. */
  readonly passedOver: Wrapper | undefined;
}

/** @param inQuestion the token of a pool. */
function undeclaredPools(
  announced: AnnouncedPools,
  present: Present,
  points: Iterable<InjectionPoint>,
  inQuestion?: string,
): Findings {
  const inVain = askedInVain(announced);
  // By its text, because a class may be a provider of several modules.
  const problems = new Map<string, ConfigProblem>();
  let isDispensable = false;
  let passedOver: Wrapper | undefined;
  for (const point of points) {
    const { token, module } = point;
    const asked = typeof token === 'string' ? inVain.get(token) : undefined;
    if (asked === undefined || typeof token !== 'string') continue;
    let provider = providerFor(token, module);
    if (provider === undefined) continue;
    // A global module that exports the pools again comes after ours, and so does what it exports.
    if (isUndeclared(provider) && isDeclared(asked, announced)) {
      provider = providerFor(token, module, (other) => !isUndeclared(other)) ?? provider;
    }
    if (!isUndeclared(provider)) {
      if (token === inQuestion) passedOver ??= provider;
    } else if (isOptional(point)) {
      if (token === inQuestion) isDispensable = true;
    } else {
      const problem = undeclaredPoolProblem(asked, point, announced, present);
      problems.set(problem.rule, problem);
    }
  }
  return { problems: [...problems.values()], isDispensable, passedOver };
}

function presentIn(modules: ModulesContainer, registered: ConnectionPoolManager): Present {
  return { pools: Object.keys(registered.options.pools), registrations: registeredIn(modules) };
}

/** The names of an application's registrations. */
function registeredIn(modules: ModulesContainer): readonly string[] {
  const all = [...modules.values()];
  return [...registrationNames()].filter((name) =>
    all.some(({ providers }) => providers.has(getRegisteredManagerToken(name))),
  );
}

/** Takes the providers away that nothing asks for, so that what is looked up meets Nest's own answers. */
export function removeUndeclaredPools(modules: ModulesContainer): void {
  const inUse = new Set<Wrapper | undefined>();
  for (const { token, module } of injectionPointsOf(modules)) {
    if (typeof token === 'string') inUse.add(providerFor(token, module));
  }
  for (const { providers, exports } of modules.values()) {
    for (const [token, provider] of providers) {
      if (!isUndeclared(provider) || inUse.has(provider)) continue;
      providers.delete(token);
      exports.delete(token);
    }
  }
}

function isUndeclared({ metatype }: Wrapper): boolean {
  return typeof metatype === 'function' && undeclared.has(metatype);
}

/**
 * What `forFeature` imports from a registration that the process doesn't have; undefined where it has that, or none at
 * all, as where a test builds the importing module alone.
 */
export function unregisteredFeature(pools: readonly string[], manager: string): FactoryProvider[] | undefined {
  if (registrationNames().size === 0 || registrationNames().has(manager)) return undefined;
  return pools.map((pool) => ({
    provide: poolTokenOf(pool, manager),
    useFactory: (modules: ModulesContainer): never => {
      const use = `is imported by ${forFeature(pools, manager)}`;
      throw new PoolConfigError([
        unregisteredProblem({ pool, manager }, use, { registrations: registeredIn(modules) }),
      ]);
    },
    inject: [ModulesContainer],
  }));
}
