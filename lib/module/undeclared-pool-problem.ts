/**
 * What is wrong where a pool is injected and there is none, in words: where it is asked for, what was meant, what there
 * is, and what to do.
 */
import type { ConfigProblem } from '../errors.js';
import { closestName } from '../options/closest-name.js';
import { keyOf, quote } from '../options/option-problems.js';
import { type InjectionPoint, placeOf } from './injection-points.js';
import { DEFAULT_MANAGER } from './pool-manager.tokens.js';

/** What a registration knows of its pools before its options are known. */
export interface AnnouncedPools {
  /** The registration's name. */
  readonly manager: string;
  /** Undefined: an asynchronous registration that named none. */
  readonly names: readonly string[] | undefined;
  /** Whether every module can inject them, or those alone that import them. */
  readonly isGlobal: boolean;
}

/** A pool of a registration; without one, the manager itself. */
export interface AskedFor {
  readonly pool: string | undefined;
  readonly manager: string;
}

/** What there is, in the application that asks. */
export interface Present {
  /** The pools of the registration that answers. */
  readonly pools: readonly string[];
  /** The names of all registrations. */
  readonly registrations: readonly string[];
}

/** @param point where it is injected, if that is known. */
export function undeclaredPoolProblem(
  asked: AskedFor,
  point: InjectionPoint | undefined,
  announced: AnnouncedPools,
  present: Present,
): ConfigProblem {
  const { pool, manager } = asked;
  const injected =
    point === undefined ? 'is to be injected' : `is injected into ${placeOf(point)} (${point.module.name})`;
  if (pool === undefined || manager !== announced.manager) return unregisteredProblem(asked, injected, present);
  const key = keyOf(['pools', pool]);
  const isPresent = present.pools.includes(pool);
  if (isPresent && !announced.isGlobal) {
    const importing = `PoolManagerModule.${forFeature([pool], manager)}`;
    const rule =
      `${injected}, which does not see it, because the registration has isGlobal: false. ` +
      `Add ${importing} to the imports of ${point?.module.name ?? 'the module'}`;
    return { key, rule };
  }
  const where = manager === DEFAULT_MANAGER ? '' : ` of the registration ${quote(manager)}`;
  if (isPresent && announced.names === undefined) {
    const rule =
      `${injected}, but forRootAsync was not told the names of the pools${where}, and Nest needs them before the ` +
      `factory runs. Name beside it what the factory gives: forRootAsync({ pools: [${listed(present.pools)}], … })`;
    return { key, rule };
  }
  const declared =
    present.pools.length === 0 ? `No pools are declared${where}` : `Declared${where}: ${listed(present.pools)}`;
  const unnamed = announced.names === undefined ? '; name them in forRootAsync({ pools: […] }) to inject any' : '';
  return { key, rule: `${injected}, and is not declared.${didYouMean(pool, present.pools)} ${declared}${unnamed}` };
}

/** @param use what becomes of it: "is injected into …". */
export function unregisteredProblem(
  { pool, manager }: AskedFor,
  use: string,
  { registrations }: Pick<Present, 'registrations'>,
): ConfigProblem {
  const what = pool === undefined ? 'its manager' : `its pool ${quote(pool)}`;
  const missing =
    manager === DEFAULT_MANAGER ? 'no registration goes without one' : `no registration is called ${quote(manager)}`;
  const rule = `${missing}, but ${what} ${use}.${didYouMean(manager, registrations)} Registered: ${listed(registrations)}`;
  return { key: 'name', rule };
}

/** `forFeature` as it is called. */
export function forFeature(pools: readonly string[], manager: string): string {
  return `forFeature([${listed(pools)}]${manager === DEFAULT_MANAGER ? '' : `, ${quote(manager)}`})`;
}

function didYouMean(name: string, candidates: readonly string[]): string {
  const meant = closestName(name, candidates);
  return meant === undefined ? '' : ` Did you mean ${quote(meant)}?`;
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'none' : names.map(quote).join(', ');
}
