/**
 * Where the health routes are, and what goes with them.
 */
import { z } from 'zod';

import { PoolConfigError } from '../errors.js';
import { keyOf, parseOptions } from '../options/option-problems.js';
import { durationMs, opaque, optionsObject } from '../options/option-types.js';
import type { PoolHealthOptions } from './pool-health.indicator.js';

/** Options of `PoolHealthModule.register`. */
export interface PoolHealthModuleOptions extends PoolHealthOptions {
  /**
   * Path of the health routes. Default `health`. A global prefix of the application goes before it, as before the path
   * of each controller.
   */
  readonly path?: string;
  /**
   * Path below `path` of the route that tells of every pool, by name. Default: `path` itself. With false there is no
   * such route.
   */
  readonly all?: string | false;
  /** Path below `path` of the readiness probe. Default `ready`. With false there is no such route. */
  readonly ready?: string | false;
  /** Path below `path` of the liveness probe. Default `live`. With false there is no such route. */
  readonly live?: string | false;
  /**
   * Put on the class of the routes: `UseGuards(…)`, a decorator of your own that lets requests past a global guard,
   * `ApiExcludeController()` of Swagger. Default: none.
   */
  readonly decorators?: readonly ClassDecorator[];
}

/** The routes of the module, each the name of the option that says where it is. */
const ROUTES = ['all', 'ready', 'live'] as const;

const routePath = (byDefault: string): z.ZodDefault<z.ZodCustom<string | false, string | false>> =>
  opaque<string | false>('a path, or false', (value) => typeof value === 'string' || value === false).default(
    byDefault,
  );

const schema = optionsObject(
  {
    path: z.string().default('health'),
    all: routePath(''),
    ready: routePath('ready'),
    live: routePath('live'),
    decorators: z
      .array(opaque<ClassDecorator>('a class decorator', (value) => typeof value === 'function'))
      .default([]),
    timeoutMs: durationMs(0).optional(),
    maxAgeMs: durationMs(0).optional(),
  },
  { prefix: 'path', readiness: 'ready', liveness: 'live', guards: 'decorators: [UseGuards(…)]' },
);

/** What the routes are made of: nothing is missing any more, but the limits that the indicator has defaults for. */
export type ResolvedPoolHealthModuleOptions = z.output<typeof schema>;

/** @throws {PoolConfigError} with every problem. */
export function parsePoolHealthModuleOptions(options: PoolHealthModuleOptions): ResolvedPoolHealthModuleOptions {
  const at = 'PoolHealthModule';
  const resolved = parseOptions(schema, options, [at]);
  const taken = new Map<string, string>();
  const problems = ROUTES.flatMap((name) => {
    const path = resolved[name];
    if (path === false) return [];
    const other = taken.get(bare(path));
    taken.set(bare(path), name);
    return other === undefined
      ? []
      : [{ key: keyOf([at, name]), rule: `must be another path than that of "${other}"` }];
  });
  if (problems.length > 0) throw new PoolConfigError(problems);
  return resolved;
}

/** As Nest reads it. */
function bare(path: string): string {
  return path.replace(/^\/+|\/+$/g, '');
}
