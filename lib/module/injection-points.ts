/**
 * Where the classes and factories of an application have something injected, as Nest has resolved it.
 *
 * The methods of Nest's wrappers that tell it are no part of its public face: in a version without them nothing is
 * found, and what is built on this says nothing.
 */
import type { ModulesContainer } from '@nestjs/core';

/** A provider, controller, guard or middleware, and what Nest knows of it. */
export interface Wrapper {
  readonly name: unknown;
  readonly metatype: unknown;
  readonly inject?: readonly unknown[] | null | undefined;
  readonly isTransient: boolean;
  isDependencyTreeStatic?(): boolean;
  getCtorMetadata?(): readonly (Dependency | undefined)[] | undefined;
  getPropertiesMetadata?(): readonly { readonly key: string | symbol; readonly wrapper: Dependency }[] | undefined;
}

/** What is injected somewhere. */
export interface Dependency {
  readonly instance: unknown;
  /** The class or the factory that makes it. */
  readonly metatype: unknown;
}

/** One parameter of a constructor, property, or argument of a factory. */
export interface InjectionPoint {
  readonly wrapper: Wrapper;
  /** The name of the module that has it. */
  readonly module: string;
  /** The index of the parameter or argument, or the name of the property. */
  readonly at: number | string | symbol;
  readonly dependency: Dependency;
}

const PARAMETER_TYPES = 'design:paramtypes';
const NAMED_PARAMETERS = 'self:paramtypes';
const OPTIONAL_PARAMETERS = 'optional:paramtypes';
const OPTIONAL_PROPERTIES = 'optional:properties_metadata';

/** Every class and factory of the application, those that are made for each request included. */
export function* wrappersOf(
  modules: ModulesContainer,
): Iterable<{ readonly wrapper: Wrapper; readonly module: string }> {
  for (const { name, providers, controllers, injectables, middlewares } of modules.values()) {
    for (const wrappers of [providers, controllers, injectables, middlewares]) {
      for (const wrapper of wrappers.values()) yield { wrapper, module: name };
    }
  }
}

/** Every place of the application where something is injected, as far as Nest has resolved it by now. */
export function* injectionPointsOf(modules: ModulesContainer): Iterable<InjectionPoint> {
  for (const { wrapper, module } of wrappersOf(modules)) {
    for (const [at, dependency] of (wrapper.getCtorMetadata?.() ?? []).entries()) {
      if (dependency !== undefined) yield { wrapper, module, at, dependency };
    }
    for (const { key, wrapper: dependency } of wrapper.getPropertiesMetadata?.() ?? []) {
      yield { wrapper, module, at: key, dependency };
    }
  }
}

/** Whether the application does without it there: `@Optional()`, or `optional: true` of a factory's argument. */
export function isOptional({ wrapper, at }: Pick<InjectionPoint, 'wrapper' | 'at'>): boolean {
  const { inject, metatype } = wrapper;
  if (Array.isArray(inject)) {
    const argument: unknown = typeof at === 'number' ? inject[at] : undefined;
    return typeof argument === 'object' && argument !== null && 'optional' in argument && argument.optional === true;
  }
  if (typeof metatype !== 'function') return false;
  const optional: unknown =
    typeof at === 'number'
      ? Reflect.getOwnMetadata(OPTIONAL_PARAMETERS, constructorOwner(metatype) ?? metatype)
      : Reflect.getMetadata(OPTIONAL_PROPERTIES, metatype);
  return Array.isArray(optional) && optional.includes(at);
}

/** Whether it is made more than once, for each request or each that asks for it, and so not yet when others are. */
export function isMadeLater(wrapper: Wrapper): boolean {
  return wrapper.isTransient || wrapper.isDependencyTreeStatic?.() === false;
}

/** A place in words. */
export function placeOf({ wrapper, at }: Pick<InjectionPoint, 'wrapper' | 'at'>): string {
  const { inject, metatype } = wrapper;
  if (Array.isArray(inject)) return `argument ${Number(at) + 1} of the factory of ${nameOf(wrapper.name)}`;
  const owner = nameOf(metatype);
  return typeof at === 'number'
    ? `parameter ${at + 1} of the constructor of ${owner}`
    : `the property "${String(at)}" of ${owner}`;
}

function nameOf(token: unknown): string {
  return typeof token === 'function' ? token.name : String(token);
}

/** The class whose constructor runs: a class with none of its own, and so without metadata on one, inherits it. */
export function constructorOwner(metatype: object): object | undefined {
  let owner: unknown = metatype;
  while (typeof owner === 'function') {
    if (hasConstructorMetadata(owner)) return owner;
    owner = Object.getPrototypeOf(owner);
  }
  return undefined;
}

/** The compiler's metadata on the parameters of a constructor, and Nest's on those with an `@Inject` or `@Optional`. */
function hasConstructorMetadata(owner: object): boolean {
  return [PARAMETER_TYPES, NAMED_PARAMETERS, OPTIONAL_PARAMETERS].some((key) => Reflect.hasOwnMetadata(key, owner));
}
