/**
 * Turns what a schema found wrong into problems for people: the key, the rule, and what was received.
 *
 * Promise: a value is repeated only where it can't be a secret. Numbers and booleans of ordinary options are; of texts
 * only those that look like a number or stand where one of a few words belongs, and those without credentials. Under a
 * secret's name nothing is but the type.
 */
import type { z } from 'zod';

import { redact } from '../engine/redact.js';
import { type ConfigProblem, PoolConfigError } from '../errors.js';
import { closestName } from './closest-name.js';
import { isRecord } from './environment.js';

/** Names below which no value is ever repeated. */
const SECRET_NAMES: ReadonlySet<PropertyKey> = new Set([
  'connectionString',
  'url',
  'baseURL',
  'username',
  'password',
  'ssl',
  'tls',
  'headers',
  'client',
  'driver',
]);

type RawIssue = z.core.$ZodRawIssue;

/**
 * Runs a schema over `input`.
 *
 * @throws {PoolConfigError} with every problem.
 */
export function parseOptions<S extends z.ZodType>(
  schema: S,
  input: unknown,
  at: readonly PropertyKey[] = [],
  more: readonly ConfigProblem[] = [],
  notes: ReadonlyMap<string, string> = new Map(),
): z.output<S> {
  const result = schema.safeParse(input, { error: ruleOf });
  if (result.success && more.length === 0) return result.data;
  const found = result.success ? [] : result.error.issues.flatMap((issue) => problemsOf(issue, at));
  throw new PoolConfigError(
    [...found, ...more].map(({ key, rule }) => {
      const note = notes.get(key);
      return { key, rule: note === undefined ? rule : `${rule} (${note})` };
    }),
  );
}

function problemsOf(issue: z.core.$ZodIssue, at: readonly PropertyKey[]): ConfigProblem[] {
  const path = [...at, ...issue.path];
  if (issue.code !== 'unrecognized_keys') return [{ key: keyOf(path), rule: issue.message }];
  // One line a key, in the order of the keys: see optionsObject().
  const rules = issue.message.split('\n');
  return issue.keys.map((name, index) => ({ key: keyOf([...path, name]), rule: rules[index] ?? issue.message }));
}

/** `pools.orders.tenants.overrides["a b"].max` */
export function keyOf(path: readonly PropertyKey[]): string {
  if (path.length === 0) return 'options';
  let key = '';
  for (const part of path) {
    const name = String(part);
    if (typeof part === 'number') key += `[${name}]`;
    else if (/^[\p{L}\p{N}_$-]{1,64}$/u.test(name)) key += key === '' ? name : `.${name}`;
    else key += `[${quote(name)}]`;
  }
  return key;
}

/** What to say of an option that doesn't exist. */
export function unknownOption(
  name: string,
  known: readonly string[],
  elsewhere: Readonly<Record<string, string>>,
): string {
  const moved = Object.hasOwn(elsewhere, name) ? elsewhere[name] : undefined;
  const suggestion = moved ?? closestName(name, known);
  if (suggestion !== undefined) return `is not an option. Did you mean ${suggestion}?`;
  return known.length > 12 ? 'is not an option' : `is not an option. There are: ${known.join(', ')}`;
}

/** The rule that a value broke, in our words. Undefined leaves it to the schema's own message. */
function ruleOf(issue: RawIssue): string | undefined {
  const secret = (issue.path ?? []).some((part) => SECRET_NAMES.has(part));
  const got = `got ${secret ? typeName(issue.input) : received(issue.input)}`;
  switch (issue.code) {
    case 'invalid_type': {
      const expected = expectedType(issue.expected, issue.path?.at(-1));
      if (issue.input === undefined) return `is required: ${expected}`;
      if (Number.isNaN(issue.input)) return `must be ${expected}, got NaN${NOT_A_NUMBER}`;
      if (expected === typeNames.boolean && !secret && (issue.input === 'true' || issue.input === 'false'))
        return `must be ${expected}, got the text "${issue.input}" (convert it: value === 'true')`;
      return `must be ${expected}, ${got}`;
    }
    case 'too_small':
      if (issue.origin === 'string' && issue.minimum === 1) return 'must not be empty';
      return `must be ${issue.inclusive === false ? 'more than' : 'at least'} ${issue.minimum}${lengthUnit(issue.origin)}, ${got}`;
    case 'too_big':
      return `must be ${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${lengthUnit(issue.origin)}, ${got}`;
    case 'invalid_value':
      return `must be ${either(issue.values)}, got ${secret ? typeName(issue.input) : word(issue.input)}${meant(issue.input, issue.values)}`;
    case 'invalid_union': {
      // Only unions that are told apart by a word are used, and the word is what didn't match.
      const discriminator = 'discriminator' in issue ? issue.discriminator : undefined;
      const options = 'options' in issue && Array.isArray(issue.options) ? issue.options : [];
      if (typeof discriminator !== 'string' || !isRecord(issue.input)) return undefined;
      const value = issue.input[discriminator];
      if (value === undefined) return `is required: ${either(options)}`;
      return `must be ${either(options)}, got ${word(value)}${meant(value, options)}`;
    }
    case 'invalid_key':
      return issue.issues?.[0]?.message;
    default:
      return undefined;
  }
}

const typeNames: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a text',
  boolean: 'true or false',
  object: 'an object',
  record: 'an object',
  array: 'a list',
  function: 'a function',
};

/** What is wanted; durations say so in their names. */
function expectedType(expected: string, name: PropertyKey | undefined): string {
  const what = typeNames[expected] ?? expected;
  return what === typeNames.number && String(name).endsWith('Ms') ? `${what} of milliseconds` : what;
}

const NOT_A_NUMBER = ', which is what Number(…) makes of a variable that is not set and of a text that is no number';

/** What people call the kinds of pools, by the packages and servers that they know. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  postgres: 'database',
  postgresql: 'database',
  pg: 'database',
  sql: 'database',
  ioredis: 'redis',
  valkey: 'redis',
  axios: 'http',
  https: 'http',
  rest: 'http',
  custom: 'external',
  driver: 'external',
};

/** Which of a few words was meant by another. */
function meant(value: unknown, words: readonly unknown[]): string {
  if (typeof value !== 'string') return '';
  const known = words.filter((candidate) => typeof candidate === 'string');
  const other = Object.hasOwn(OTHER_WORDS, value.toLowerCase()) ? OTHER_WORDS[value.toLowerCase()] : undefined;
  const suggestion = other !== undefined && known.includes(other) ? other : closestName(value, known);
  return suggestion === undefined ? '' : `. Did you mean ${JSON.stringify(suggestion)}?`;
}

function lengthUnit(origin: string): string {
  if (origin === 'string') return ' characters long';
  return origin === 'array' ? ' long' : '';
}

function either(values: readonly unknown[]): string {
  const words = values.map((value) => JSON.stringify(value));
  const last = words.pop() ?? '';
  return words.length === 0 ? last : `${words.join(', ')} or ${last}`;
}

/** What was received where a number or an object was wanted. */
export function received(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (typeof value === 'string' && /^\s*[+-]?(\d+(\.\d*)?|\.\d+)\s*$/.test(value) && value.length <= 20) {
    return `the text ${JSON.stringify(value)} (convert it with Number(…))`;
  }
  return typeName(value);
}

/** What was received where one of a few words was wanted: repeated if it is a word. */
function word(value: unknown): string {
  return typeof value === 'string' && /^[\p{L}\p{N}_ .:-]{1,40}$/u.test(value)
    ? JSON.stringify(value)
    : received(value);
}

export function typeName(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Map) return 'a Map';
  if (typeof value === 'string') return value === '' ? 'an empty text' : 'a text';
  if (typeof value === 'function' && isClass(value)) return `the class ${value.name}`;
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Whether a function can only be called with `new`. */
export function isClass(value: unknown): boolean {
  return typeof value === 'function' && /^class\b/.test(Function.prototype.toString.call(value));
}

/** A name in quotes; one that may be a person's address or has no end is not repeated. */
export function quote(name: string): string {
  return name.length > 128 || name.includes('://') ? '"…"' : JSON.stringify(redact(name));
}
