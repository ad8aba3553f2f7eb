/**
 * How an application says where the tenant of a request is found.
 */
import type { ExecutionContext, Type } from '@nestjs/common';
import { z } from 'zod';

import { callback, opaque, optionsObject } from '../options/option-types.js';
import { routePatternProblem } from './route-path.js';
import { fromHeader, fromPath, fromPayload, fromSubdomain, fromUser } from './tenant-resolvers.js';

/**
 * Finds the tenant of a request, message or event; null or undefined where it names none.
 *
 * What it returns is checked like every tenant id. It may throw `TenantInvalidError` for something that was meant as a
 * tenant and can't be one; both answer 400. Other errors answer as they would anywhere in a request. In {@link
 * TenantMiddleware} it runs before there is a handler, and before guards have set `request.user`: what it finds there
 * is only used until the interceptor asks again.
 *
 * @example
 * // HTTP requests by header, messages by a property of their payload:
 * const header = fromHeader('x-tenant-id');
 * const payload = fromPayload('tenantId');
 * const resolve: TenantResolver = (context) => (context.getType() === 'rpc' ? payload(context) : header(context));
 */
export type TenantResolver = (
  context: ExecutionContext,
) => string | null | undefined | Promise<string | null | undefined>;

/** A class; a function that isn't one is most likely a predicate in the wrong place. */
function controllerClass(): z.ZodCustom<Type<unknown>, Type<unknown>> {
  return opaque<Type<unknown>>(
    'a class',
    // Functions that can't be constructed (arrows, methods, async ones) have no prototype of their own.
    (value) => typeof value === 'function' && Object.hasOwn(value, 'prototype'),
  );
}

function routePath(): z.ZodString {
  return z.string().check((checked) => {
    const problem = routePatternProblem(checked.value);
    if (problem !== undefined) checked.issues.push({ code: 'custom', input: checked.value, message: problem });
  });
}

export const exemptShape = {
  /**
   * Paths of HTTP routes, whole (with the global prefix and the version) and as they are declared: `/metrics`,
   * `/v1/jobs/:id`, `/admin/*path` for all below `/admin`. They are compared with the route that was chosen, not with
   * the URL.
   */
  paths: z.array(routePath()).readonly().optional(),
  /** Controllers, gateways or resolvers by their class; each is exempt itself, not what extends it. */
  controllers: z.array(controllerClass()).readonly().optional(),
  /**
   * Asked for each call that the others leave; true exempts it. It answers at once, and where it throws, the call fails
   * with a PoolConfigError.
   */
  when: callback<(context: ExecutionContext) => boolean>().optional(),
};

export interface ExemptSchema extends z.ZodObject<typeof exemptShape, z.core.$strict> {}
const exemptSchema: ExemptSchema = optionsObject(exemptShape, {
  path: 'paths',
  routes: 'paths',
  controller: 'controllers',
  resolvers: 'controllers',
  gateways: 'controllers',
  predicate: 'when',
});

/** What needs no tenant although it carries no `@SkipTenant()`. */
export interface TenantExemptOptions extends z.input<ExemptSchema> {}

/** What makes a resolver is no resolver, and would find a tenant for every request: the function that it returns. */
const FACTORIES: ReadonlyMap<unknown, string> = new Map<unknown, string>([
  [fromHeader, "fromHeader('x-tenant-id')"],
  [fromSubdomain, "fromSubdomain('example.com')"],
  [fromPath, "fromPath('tenant')"],
  [fromUser, "fromUser('tenantId')"],
  [fromPayload, "fromPayload('tenantId')"],
]);

function notCalled(value: unknown): string | undefined {
  const example = FACTORIES.get(value);
  if (example !== undefined) return `must be what ${example.split('(')[0]} returns: call it, as in ${example}`;
  return typeof value === 'string'
    ? 'must be a function that finds the tenant, got a text. ' +
        "Did you mean fromHeader(…), with the name of a header, or fromUser(…), with that of a user's property?"
    : undefined;
}

export const tenancyShape = {
  /**
   * Finds the tenant of a request: `fromHeader(…)`, `fromSubdomain(…)`, `fromPath(…)`, `fromUser(…)`, or a function of
   * one's own.
   */
  resolve: callback<TenantResolver>(notCalled),
  /** Whether a guarded request without a tenant is refused with 400. A malformed one always is. */
  required: z.boolean().default(true),
  /**
   * What needs no tenant behind a global `TenantGuardInterceptor` and can't carry `@SkipTenant()`, because another
   * package declares it: metrics, a page of queues.
   */
  exempt: exemptSchema.optional(),
};

export interface TenancySchema extends z.ZodObject<typeof tenancyShape, z.core.$strict> {}
export const tenancySchema: TenancySchema = optionsObject(
  tenancyShape,
  { resolver: 'resolve', optional: 'required', exclude: 'exempt', skip: 'exempt' },
  (value) => (typeof value === 'function' ? '{ resolve: … }, with that function' : undefined),
);

/** How the tenant of a request is found. */
export interface TenancyOptions extends z.input<TenancySchema> {}

/** Injection token of the {@link TenancyOptions} that the manager was registered with; undefined where it has none. */
export const TENANCY_OPTIONS = Symbol('nestjs-pool-manager:tenancy-options');
