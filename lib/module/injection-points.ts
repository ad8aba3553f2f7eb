/**
 * What the classes and factories of an application ask to have injected, and where Nest finds it.
 *
 * It is read from the metadata of Nest's decorators and from what its modules provide, and not from what Nest has
 * resolved: what is made for each request is resolved only then.
 */
import type { InjectionToken } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';

/** A provider, controller, guard or middleware, and what Nest knows of it. */
export interface Wrapper {
  readonly name: unknown;
  readonly metatype: unknown;
  readonly instance: unknown;
  readonly inject?: readonly unknown[] | null | undefined;
  readonly isTransient: boolean;
  /** No part of Nest's public face. */
  isDependencyTreeStatic?(): boolean;
}

/** A module of the application. */
export type Module = ModulesContainer extends Map<string, infer M> ? M : never;

/** A wrapper and the module that it belongs to. */
export interface Hosted {
  readonly wrapper: Wrapper;
  readonly module: Module;
}

/** A parameter of a constructor, a property, or an argument of a factory. */
export interface InjectionPoint extends Hosted {
  /** The index of the parameter or argument, or the name of the property. */
  readonly at: number | string | symbol;
  readonly token: unknown;
}

const PARAMETER_TYPES = 'design:paramtypes';
const NAMED_PARAMETERS = 'self:paramtypes';
const OPTIONAL_PARAMETERS = 'optional:paramtypes';
const NAMED_PROPERTIES = 'self:properties_metadata';
const OPTIONAL_PROPERTIES = 'optional:properties_metadata';

/** Every class and factory of the application, those that are made for each request included. */
export function* wrappersOf(modules: ModulesContainer): Iterable<Hosted> {
  for (const module of modules.values()) {
    const { providers, controllers, injectables, middlewares } = module;
    for (const wrappers of [providers, controllers, injectables, middlewares]) {
      for (const wrapper of wrappers.values()) yield { wrapper, module };
    }
  }
}

/** Every place of the application that names by a token what is injected there. */
export function* injectionPointsOf(modules: ModulesContainer): Iterable<InjectionPoint> {
  for (const hosted of wrappersOf(modules)) {
    for (const [at, token] of tokensOf(hosted.wrapper)) yield { ...hosted, at, token };
  }
}

/** The tokens of one class or factory, by their place. Of two for the same place the later one is the class's own. */
export function tokensOf({ inject, metatype }: Wrapper): ReadonlyMap<number | string | symbol, unknown> {
  const tokens = new Map<number | string | symbol, unknown>();
  if (Array.isArray(inject)) {
    for (const [index, argument] of inject.entries())
      tokens.set(index, isWrapped(argument) ? argument.token : argument);
  } else if (typeof metatype === 'function') {
    for (const { index, param } of named<{ index: number; param: unknown }>(NAMED_PARAMETERS, metatype))
      tokens.set(index, param);
    for (const { key, type } of named<{ key: string | symbol; type: unknown }>(NAMED_PROPERTIES, metatype))
      tokens.set(key, type);
  }
  return tokens;
}

function named<T>(key: string, owner: object): readonly T[] {
  return (Reflect.getMetadata(key, owner) as readonly T[] | undefined) ?? [];
}

function isWrapped(argument: unknown): argument is { readonly token: unknown; readonly optional?: unknown } {
  return typeof argument === 'object' && argument !== null && 'token' in argument;
}

/**
 * What Nest injects under a token into what belongs to `module`, or undefined: its own, else the first import's.
 *
 * @param counts says which providers do; the others are passed over.
 */
export function providerFor(
  token: InjectionToken,
  module: Module,
  counts: (provider: Wrapper) => boolean = () => true,
): Wrapper | undefined {
  const own = module.providers.get(token);
  return own !== undefined && counts(own) ? own : importedBy(module, token, new Set(), () => true, counts);
}

function importedBy(
  module: Module,
  token: InjectionToken,
  seen: Set<Module>,
  isInReach: (imported: Module) => boolean,
  counts: (provider: Wrapper) => boolean,
): Wrapper | undefined {
  for (const imported of module.imports) {
    if (seen.has(imported) || !isInReach(imported)) continue;
    seen.add(imported);
    const provider = imported.exports.has(token) ? imported.providers.get(token) : undefined;
    // Of what a module imports, others see only what it exports again.
    const isExported = ({ metatype }: Module): boolean => imported.exports.has(metatype);
    const found =
      provider !== undefined && counts(provider) ? provider : importedBy(imported, token, seen, isExported, counts);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether the application does without it there: `@Optional()`, or `optional: true` of a factory's argument. */
export function isOptional({ wrapper, at }: Pick<InjectionPoint, 'wrapper' | 'at'>): boolean {
  const { inject, metatype } = wrapper;
  if (Array.isArray(inject)) {
    const argument: unknown = typeof at === 'number' ? inject[at] : undefined;
    return isWrapped(argument) && argument.optional === true;
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
