/**
 * What is said of a pool that is injected and that no registration declares.
 *
 * Nest's own error knows neither the pools that there are nor the one that may have been meant, and it comes before any
 * hook. So each registration provides, besides its pools, every name that this process has asked a token for and that
 * the registration doesn't declare: as transient providers, which Nest makes only where they are injected. One that is
 * made tells all the places that ask for it, and fails.
 *
 * Promises: a name that is asked for by no class or factory of the application itself (another application of the
 * process, a class that was never registered) fails nothing; `@Optional()` stays optional; what a test overrides or
 * mocks stays so. Once the application has started, these providers are gone.
 */
import { type FactoryProvider, Scope } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';

import { type ConfigProblem, PoolConfigError } from '../errors.js';
import type { ConnectionPoolManager } from '../manager/connection-pool-manager.js';
import { closestName } from '../options/closest-name.js';
import { keyOf, quote } from '../options/option-problems.js';
import {
  type InjectionPoint,
  injectionPointsOf,
  isMadeLater,
  isOptional,
  placeOf,
  providerFor,
  type Wrapper,
} from './injection-points.js';
import { askedPoolNames, getRegisteredManagerToken, poolTokenOf } from './pool-manager.tokens.js';

/** What a registration knows of its pools' names before its options are known. */
export interface AnnouncedPools {
  /** The registration's name. */
  readonly manager: string;
  /** Undefined: an asynchronous registration that named none. */
  readonly names: readonly string[] | undefined;
}

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

/** Providers for the names that have been asked for and that the registration doesn't declare. */
export function undeclaredPoolProviders(announced: AnnouncedPools): FactoryProvider[] {
  const { manager, names = [] } = announced;
  const unknown = [...askedPoolNames(manager)].filter((pool) => !names.includes(pool));
  return unknown.map((pool): FactoryProvider => {
    const useFactory = (registered: ConnectionPoolManager, modules: ModulesContainer): unknown =>
      standIn(pool, announced, Object.keys(registered.options.pools), modules);
    undeclared.add(useFactory);
    return {
      provide: poolTokenOf(pool, manager),
      useFactory,
      inject: [getRegisteredManagerToken(manager), ModulesContainer],
      scope: Scope.TRANSIENT,
    };
  });
}

/**
 * What is injected in the place of the pool.
 *
 * @returns undefined, if all that ask for it do without; or what Nest has passed over: its versions 11.0 prefer a later
 * import to an earlier one that has been made.
 * @throws {PoolConfigError}
 */
function standIn(
  pool: string,
  announced: AnnouncedPools,
  configured: readonly string[],
  modules: ModulesContainer,
): unknown {
  const { problems, isDispensable, passedOver } = undeclaredPools(
    announced,
    configured,
    injectionPointsOf(modules),
    pool,
  );
  if (problems.length === 0 && passedOver !== undefined) return passedOver.instance;
  if (problems.length === 0 && isDispensable) return undefined;
  letMock(poolTokenOf(pool, announced.manager), modules);
  throw new PoolConfigError(problems.length > 0 ? problems : [problemOf(pool, undefined, announced, configured)]);
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
 *
 * @param configured the pools that the registration's options have.
 */
export function undeclaredPoolsOfLater(
  announced: AnnouncedPools,
  configured: readonly string[],
  modules: ModulesContainer,
): readonly ConfigProblem[] {
  const later = [...injectionPointsOf(modules)].filter(({ wrapper }) => isMadeLater(wrapper));
  return undeclaredPools(announced, configured, later).problems;
}

interface Findings {
  /** One for each place that needs a pool which isn't declared. */
  readonly problems: readonly ConfigProblem[];
  /** Whether something asks for the pool in question and does without. */
  readonly isDispensable: boolean;
  /** What is provided under the token of the pool in question to something that asks for it. */
  readonly passedOver: Wrapper | undefined;
}

/** @param inQuestion a pool. */
function undeclaredPools(
  announced: AnnouncedPools,
  configured: readonly string[],
  points: Iterable<InjectionPoint>,
  inQuestion?: string,
): Findings {
  const pools = new Map(
    [...askedPoolNames(announced.manager)].map((pool) => [poolTokenOf(pool, announced.manager), pool]),
  );
  // By its text, because a class may be a provider of several modules.
  const problems = new Map<string, ConfigProblem>();
  let isDispensable = false;
  let passedOver: Wrapper | undefined;
  for (const point of points) {
    const pool = typeof point.token === 'string' ? pools.get(point.token) : undefined;
    if (pool === undefined || typeof point.token !== 'string') continue;
    const provider = providerFor(point.token, point.module);
    if (provider === undefined) continue;
    if (!isUndeclared(provider)) {
      if (pool === inQuestion) passedOver ??= provider;
    } else if (isOptional(point)) {
      if (pool === inQuestion) isDispensable = true;
    } else {
      const problem = problemOf(pool, `${placeOf(point)} (${point.module.name})`, announced, configured);
      problems.set(problem.rule, problem);
    }
  }
  return { problems: [...problems.values()], isDispensable, passedOver };
}

/** Takes the providers away that nothing asks for, so that what is looked up later meets Nest's own answers. */
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

function problemOf(
  pool: string,
  place: string | undefined,
  { manager, names }: AnnouncedPools,
  configured: readonly string[],
): ConfigProblem {
  const injected = place === undefined ? 'is to be injected' : `is injected into ${place}`;
  const where = manager === 'default' ? '' : ` of the registration ${quote(manager)}`;
  const key = keyOf(['pools', pool]);
  if (names === undefined && configured.includes(pool)) {
    const rule =
      `${injected}, but forRootAsync was not told the names of the pools${where}, and Nest needs them before the ` +
      `factory runs. Name beside it what the factory gives: forRootAsync({ pools: [${configured.map(quote).join(', ')}], … })`;
    return { key, rule };
  }
  const meant = closestName(pool, configured);
  const suggestion = meant === undefined ? '' : ` Did you mean ${quote(meant)}?`;
  const declared =
    configured.length === 0 ? `No pools are declared${where}` : `Declared${where}: ${configured.map(quote).join(', ')}`;
  const unnamed = names === undefined ? '; name them in forRootAsync({ pools: […] }) to inject any' : '';
  return { key, rule: `${injected}, and is not declared.${suggestion} ${declared}${unnamed}` };
}
