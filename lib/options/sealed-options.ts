/**
 * Resolved options that can be logged.
 *
 * Promise: an option that is named secret is read by its name and in no other way. `util.inspect`, `JSON.stringify`, a
 * spread and a structured clone of sealed options never carry its value. Sealed options can't be changed.
 */
import { inspect } from 'node:util';

/** How a secret option looks in print; undefined: it isn't shown at all. */
export type Disguise = (value: unknown) => unknown;

/** Shows that the option is set, and nothing else. */
export const hidden: Disguise = () => '[hidden]';

/** Shows which names are set (of headers, of driver options), not to what. */
export const namesOnly: Disguise = (value) =>
  typeof value === 'object' && value !== null
    ? Object.fromEntries(Object.keys(value).map((name) => [name, '[hidden]']))
    : '[hidden]';

/** Seals `options` itself and returns it; nested plain options are expected to be sealed already. */
export function seal<T extends object>(
  options: T,
  secrets: { readonly [Name in keyof T]?: Disguise } = {},
): Readonly<T> {
  const disguises = new Map<string, Disguise | undefined>(Object.entries(secrets));
  const printed: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options) as [string, unknown][]) {
    const disguise = disguises.get(name);
    if (disguise === undefined) {
      printed[name] = value;
      continue;
    }
    if (value === undefined) continue;
    printed[name] = disguise(value);
    // A getter, so that not even `inspect(…, { showHidden: true, customInspect: false })` finds a value.
    Object.defineProperty(options, name, { get: () => value, enumerable: false, configurable: false });
  }
  Object.defineProperty(options, 'toJSON', { value: () => printed, enumerable: false });
  Object.defineProperty(options, inspect.custom, { value: () => printed, enumerable: false });
  return Object.freeze(options);
}
