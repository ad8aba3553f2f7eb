/**
 * The options of a pool over an application's own driver.
 */
import { z } from 'zod';

import type { PoolDriver } from '../engine/driver.js';
import type { Environment } from '../options/environment.js';
import { isClass, typeName } from '../options/option-problems.js';
import { opaque, optionsObject } from '../options/option-types.js';
import { parsePool, type PoolKindOptions } from '../options/parse-pool.js';
import { seal } from '../options/sealed-options.js';
import {
  basePoolShape,
  checkPool,
  namesElsewhere,
  type ResolvedBasePoolOptions,
  resolvePool,
  whenObject,
} from '../pool/pool-options.js';

const METHODS = ['open', 'close', 'kill', 'ping', 'onBroken', 'isFatal'] as const;

/** A driver of your own. */
export const externalPoolShape = {
  /** Opens, checks and ends the connections; not needed where `createPool` gets it as an argument. */
  driver: opaque<PoolDriver<unknown>>(
    `a PoolDriver with the methods ${METHODS.join(', ')}`,
    (value) => missingMethods(value)?.length === 0,
    notDriver,
  ),
};

const shape = { type: z.literal('external'), ...basePoolShape, ...externalPoolShape };

/** The schema of a pool over an application's own driver, with its `type`. */
export const externalPoolSchema = optionsObject(shape, namesElsewhere)
  .superRefine((pool, context) => checkPool(pool, context), whenObject)
  .transform((pool) => seal(resolvePool(pool), { driver: () => '[driver]' }));

/** What can be set on a pool over an application's own driver. */
export interface ExternalPoolOptions extends z.input<
  z.ZodObject<typeof externalPoolShape & typeof basePoolShape, z.core.$strict>
> {
  /** The kind of pool; needed in a registration's `pools` alone. */
  readonly type?: 'external';
}

/** What a pool over an application's own driver is configured with. */
export interface ResolvedExternalPoolOptions extends ResolvedBasePoolOptions, z.output<typeof externalPoolSchema> {}

export const externalPoolKind: PoolKindOptions<typeof externalPoolSchema> = {
  type: 'external',
  schema: externalPoolSchema,
};

/**
 * Validates the options of a pool over an application's own driver and fills in the defaults.
 *
 * @throws {PoolConfigError} with every problem.
 */
export function parseExternalPoolOptions(
  id: string,
  options: ExternalPoolOptions,
  env: Environment = process.env,
): ResolvedExternalPoolOptions {
  return parsePool(externalPoolKind, id, options, env);
}

/** The methods that a driver lacks; undefined: it is no object at all. */
function missingMethods(value: unknown): readonly string[] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  return METHODS.filter((name) => typeof Reflect.get(value, name) !== 'function');
}

function notDriver(value: unknown): string | undefined {
  if (isClass(value)) return `must be a PoolDriver, got ${typeName(value)}: give an instance of it, made with new`;
  const missing = missingMethods(value);
  return missing && `must be a PoolDriver, got an object without ${missing.join(', ')}`;
}
