/**
 * The few types that options are made of: sizes, durations, functions, opaque objects, and objects of options.
 *
 * Promise: every message that a schema built from these gives is free of the value where that could be a secret.
 */
import { z } from 'zod';

import { unknownOption } from './option-problems.js';

/** The longest delay of `setTimeout`: beyond it Node fires at once. Some 24.8 days. */
export const LONGEST_TIMER_MS = 2_147_483_647;

/** A number of slots, waiters or uses. */
export function count(least: number): z.ZodInt {
  return z.int().min(least);
}

/** Milliseconds. `least` is 1 where nothing sensible could happen in no time at all. */
export function durationMs(least: 0 | 1): z.ZodNumber {
  return z.number().min(least).max(LONGEST_TIMER_MS);
}

/** A function; its arguments and result are the type's business. */
export function callback<F extends (...args: never[]) => unknown>(): z.ZodCustom<F, F> {
  return z.custom<F>((value) => typeof value === 'function', { error: 'must be a function' });
}

/** A text, or a function that gives it when it is needed (and gives the new one after a rotation). */
export function secretText(): z.ZodCustom<SecretText, SecretText> {
  return z.custom<SecretText>((value) => (typeof value === 'string' && value !== '') || typeof value === 'function', {
    error: 'must be a text that is not empty, or a function that returns one (or a promise of one)',
  });
}
export type SecretText = string | (() => string | Promise<string>);

/** An object that goes to a driver as it is. */
export function untouched<T extends object>(): z.ZodCustom<T, T> {
  return z.custom<T>((value) => typeof value === 'object' && value !== null && !Array.isArray(value), {
    error: "must be an object of the driver's own options",
  });
}

/** TLS: on with the defaults, off, or the options of Node's `tls.connect`. */
export function tlsOptions<T extends object>(): z.ZodCustom<boolean | T, boolean | T> {
  return z.custom<boolean | T>(
    (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null && !Array.isArray(value)),
    { error: 'must be true, false or an object of TLS options' },
  );
}

/**
 * An object of options. An unknown key is an error that suggests the right one.
 *
 * @param elsewhere names that belong in another place, or that other libraries use, and what to write instead.
 */
export function optionsObject<S extends z.core.$ZodLooseShape>(
  shape: S,
  elsewhere: Readonly<Record<string, string>> = {},
): ReturnType<typeof z.strictObject<S>> {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((name) => unknownOption(name, known, elsewhere)).join('\n')
        : undefined,
  });
}
