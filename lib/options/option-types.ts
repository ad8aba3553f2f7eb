/**
 * The few types that options are made of: sizes, durations, functions, opaque objects, and objects of options.
 *
 * Promise: every message that a schema built from these gives is free of the value where that could be a secret.
 */
import { z } from 'zod';

import { LONGEST_TIMER_MS } from '../engine/clock.js';

import { isRecord } from './environment.js';
import { typeName, unknownOption } from './option-problems.js';

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
  return opaque<F>('a function', (value) => typeof value === 'function');
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
 */
export function opaque<T>(what: string, accepts: (value: unknown) => boolean): z.ZodCustom<T, T> {
  return z
    .custom<T>(accepts, {
      error: ({ input }) => (input === undefined ? `is required: ${what}` : `must be ${what}, got ${typeName(input)}`),
    })
    .describe(what);
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

/**
 * An object whose keys are names that others have chosen. zod leaves out a key `__proto__`, which an attacker may pick as a name, and which
 * `JSON.parse` and `Object.fromEntries` make an ordinary key; here it is a name like any other.
 */
export function namedRecord<K extends z.core.$ZodRecordKey, V extends z.ZodType>(name: K, value: V): z.ZodRecord<K, V> {
  const record = z.record(name, value);
  const internals = record._zod;
  const { parse } = internals;
  const parseAll: typeof parse = (payload, context) => {
    const input: unknown = payload.value;
    const parsed = parse(payload, context);
    if (!isRecord(input) || !Object.hasOwn(input, PROTO) || parsed instanceof Promise) return parsed;
    const checkedName = ran(name._zod.run({ value: PROTO, issues: [] }, context));
    if (checkedName.issues.length > 0) {
      const issues = checkedName.issues.map((issue) => z.core.util.finalizeIssue(issue, context, z.config()));
      parsed.issues.push({ code: 'invalid_key', origin: 'record', issues, input: PROTO, path: [PROTO], inst: record });
      return parsed;
    }
    const entry = ran(value._zod.run({ value: input[PROTO], issues: [] }, context));
    parsed.issues.push(...z.core.util.prefixIssues(PROTO, entry.issues));
    if (isRecord(parsed.value)) {
      // An assignment would set the prototype.
      const property = { value: entry.value, enumerable: true, configurable: true, writable: true };
      Object.defineProperty(parsed.value, PROTO, property);
    }
    return parsed;
  };
  internals.parse = parseAll;
  internals.run = parseAll;
  return record;
}

const PROTO = '__proto__';

function ran(result: z.core.util.MaybeAsync<z.core.ParsePayload>): z.core.ParsePayload {
  if (result instanceof Promise) throw new Error('Options are checked synchronously.');
  return result;
}
