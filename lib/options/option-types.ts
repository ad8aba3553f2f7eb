/**
 * The few types that options are made of: sizes, durations, functions, opaque objects, and objects of options.
 *
 * Promise: every message that a schema built from these gives is free of the value where that could be a secret.
 */
import { z } from 'zod';

import { LONGEST_TIMER_MS } from '../engine/time/clock.js';
import { isRecord } from './environment.js';
import { isClass, received, typeName, unknownOption } from './option-problems.js';

/** A number of slots, waiters or uses. */
export function count(least: number): z.ZodInt {
  return z.int().min(least);
}

/** Milliseconds. `least` is 1 where nothing sensible could happen in no time at all. */
export function durationMs(least: 0 | 1): z.ZodNumber {
  return z.number().min(least).max(LONGEST_TIMER_MS);
}

/**
 * A function; its arguments and result are the type's business.
 *
 * @param hint says of a function which is another than what is wanted why.
 */
export function callback<F extends (...args: never[]) => unknown>(
  hint?: (value: unknown) => string | undefined,
): z.ZodCustom<F, F> {
  return opaque<F>('a function', (value) => typeof value === 'function' && !isClass(value) && !hint?.(value), hint);
}

/** A text, or a function that gives it when it is needed (and gives the new one after a rotation). */
export type SecretText = string | (() => string | Promise<string>);

export function secretText(): z.ZodCustom<SecretText, SecretText> {
  return opaque<SecretText>(
    'a text, or a function that returns one (or a promise of one)',
    (value) => (typeof value === 'string' && value !== '') || typeof value === 'function',
  );
}

/** An object that goes to a driver as it is. */
export function untouched<T extends object>(): z.ZodCustom<T, T> {
  return opaque<T>("an object of the driver's own options", isRecord);
}

/** TLS: on with the defaults, off, or the options of Node's `tls.connect`. */
export function tlsOptions<T extends object>(): z.ZodCustom<boolean | T, boolean | T> {
  return opaque<boolean | T>(
    'true, false, or an object of TLS options',
    (value) => typeof value === 'boolean' || isRecord(value),
  );
}

/**
 * A value that is only looked at from outside.
 *
 * @param what the type in words, for messages and for the table of options.
 * @param hint what to say of a value that isn't accepted, in place of what its type is; it must not repeat a secret.
 */
export function opaque<T>(
  what: string,
  accepts: (value: unknown) => boolean,
  hint?: (value: unknown) => string | undefined,
): z.ZodCustom<T, T> {
  return z
    .custom<T>(accepts, {
      error: ({ input }) =>
        input === undefined ? `is required: ${what}` : (hint?.(input) ?? `must be ${what}, got ${typeName(input)}`),
    })
    .describe(what);
}

/**
 * An object of options. An unknown key is an error that suggests the right one.
 *
 * @param elsewhere names that belong in another place, or that other libraries use, and what to write instead.
 * @param short what to write for a value that stands in the place of the object, if that is clear.
 */
export function optionsObject<S extends z.core.$ZodLooseShape>(
  shape: S,
  elsewhere: Readonly<Record<string, string>> = {},
  short: (value: unknown) => string | undefined = () => undefined,
): ReturnType<typeof z.strictObject<S>> {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code === 'unrecognized_keys')
        return issue.keys.map((name) => unknownOption(name, known, elsewhere)).join('\n');
      const instead = issue.code === 'invalid_type' ? short(issue.input) : undefined;
      return instead && `must be an object, got ${received(issue.input)}. Did you mean ${instead}?`;
    },
  });
}

/**
 * An object whose keys are names that others have chosen. As entries of a map they are all alike: `z.record` leaves out
 * a key `__proto__`, which an attacker may pick as a name, and which `JSON.parse` and `Object.fromEntries` make an
 * ordinary key.
 */
export function namedRecord<K extends z.ZodType<string, string>, V extends z.ZodType>(
  name: K,
  value: V,
): NamedRecord<K, V> {
  const entries = (input: Named<z.input<V>>, context: z.core.$RefinementCtx): unknown => {
    if (plainObject.safeParse(input).success) return new Map(Object.entries(input));
    // A map of the caller's own is no object of options.
    context.issues.push({ code: 'invalid_type', expected: 'record', input });
    return z.NEVER;
  };
  return z.preprocess(entries, z.map(name, value)).transform((named) => Object.fromEntries(named));
}

const plainObject = z.record(z.string(), z.unknown());

type Named<T> = Readonly<Record<string, T>>;
export type NamedRecord<K extends z.ZodType<string, string>, V extends z.ZodType> = z.ZodPipe<
  z.ZodPreprocess<z.ZodMap<K, V>, Named<z.input<V>>>,
  z.ZodTransform<Record<string, z.output<V>>, Map<z.output<K>, z.output<V>>>
>;
