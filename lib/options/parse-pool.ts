/**
 * Parses the options of one pool, of any kind: the address from the environment, then the kind's schema.
 */
import type { z } from 'zod';

import { type AddressFallback, type Environment, isRecord, locate } from './environment.js';
import { keyOf, parseOptions } from './option-problems.js';

/** What checks the options of one kind of pool, which its `type` tells from the others. */
export type PoolSchema = z.ZodType<{ readonly type: string }>;

/** The part of a kind that parsing needs. */
export interface PoolKindOptions<S extends PoolSchema> {
  readonly type: z.output<S>['type'];
  readonly schema: S;
  readonly address?: AddressFallback;
}

/**
 * The resolved options of the pool `id`.
 *
 * @throws {PoolConfigError} with every problem; keys start with `pools.<id>`.
 */
export function parsePool<S extends PoolSchema>(
  kind: PoolKindOptions<S>,
  id: string,
  input: unknown,
  env: Environment,
): z.output<S> {
  const at = ['pools', id];
  const { options, filled } = locate(input, kind.address, env);
  const notes = filled && new Map([[keyOf([...at, filled.option]), `read from ${filled.variable}`]]);
  return parseOptions(kind.schema, isRecord(options) ? { type: kind.type, ...options } : options, at, [], notes);
}
