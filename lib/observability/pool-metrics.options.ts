/**
 * What metrics tell, and where the route of metrics is.
 */
import { z } from 'zod';

import { parseOptions } from '../options/option-problems.js';
import { count, opaque, optionsObject } from '../options/option-types.js';
import type { MetricsRegistry } from './prom-client.js';

/** What the metrics of pools tell. */
export interface PoolMetricsOptions {
  /**
   * Whether there are metrics by tenant, of how many tenants of each pool: the `top` ones by slot time of late. All
   * others together are the tenant `other`, and work without a tenant is `none`. Default false: each tenant is several
   * time series more.
   */
  readonly tenants?: false | { readonly top: number };
  /**
   * Upper bounds of the histograms' buckets, in seconds, ascending. Default 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
   * 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30.
   */
  readonly buckets?: readonly number[];
  /**
   * A label `manager` of this value on each metric: it tells the managers of one registry apart. Default: no such
   * label.
   */
  readonly manager?: string;
}

/** Options of `PoolMetricsModule.register`. */
export interface PoolMetricsModuleOptions extends PoolMetricsOptions {
  /**
   * Path of the route. Default `metrics`. A global prefix of the application goes before it, as before the path of each
   * controller.
   */
  readonly path?: string;
  /**
   * The registry that the route writes, with all that is in it; prom-client's own is `register`. Default: a registry of
   * the pools alone, one for each application.
   */
  readonly registry?: MetricsRegistry;
  /**
   * Put on the class of the route: `UseGuards(…)`, a decorator of your own that lets requests past a global guard,
   * `ApiExcludeController()` of Swagger. Default: none.
   */
  readonly decorators?: readonly ClassDecorator[];
}

const BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** More names than these are no overview any more, and thousands of time series. */
const MOST_TENANTS = 1_000;

const metricsShape = {
  tenants: z
    .union([z.literal(false), optionsObject({ top: count(1).max(MOST_TENANTS) }, { max: 'top', limit: 'top' })])
    .default(false),
  buckets: z
    .array(z.number().positive())
    .min(1)
    .refine((bounds) => bounds.every((bound, index) => index === 0 || bound > (bounds[index - 1] ?? 0)), {
      error: 'must be ascending',
    })
    .default(BUCKETS),
  manager: z.string().min(1).optional(),
};

const metricsSchema = optionsObject(metricsShape, { topTenants: 'tenants: { top: … }', name: 'manager' });

const moduleSchema = optionsObject(
  {
    ...metricsShape,
    path: z.string().default('metrics'),
    registry: opaque<MetricsRegistry>('a Registry of prom-client', isRegistry).optional(),
    decorators: z
      .array(opaque<ClassDecorator>('a class decorator', (value) => typeof value === 'function'))
      .default([]),
  },
  {
    prefix: 'path',
    register: 'registry',
    topTenants: 'tenants: { top: … }',
    name: 'manager',
    guards: 'decorators: [UseGuards(…)]',
  },
);

/** What metrics tell: nothing is missing any more. */
export type ResolvedPoolMetricsOptions = z.output<typeof metricsSchema>;
/** What the route is made of: nothing is missing any more. */
export type ResolvedPoolMetricsModuleOptions = z.output<typeof moduleSchema>;

/** @throws {PoolConfigError} with every problem. */
export function parsePoolMetricsOptions(options: PoolMetricsOptions): ResolvedPoolMetricsOptions {
  return parseOptions(metricsSchema, options, ['collectPoolMetrics']);
}

/** @throws {PoolConfigError} with every problem. */
export function parsePoolMetricsModuleOptions(options: PoolMetricsModuleOptions): ResolvedPoolMetricsModuleOptions {
  return parseOptions(moduleSchema, options, ['PoolMetricsModule']);
}

function isRegistry(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'registerMetric' in value && 'metrics' in value;
}
