/**
 * How an application says where the tenant of a request is found.
 */
import type { ExecutionContext } from '@nestjs/common';
import { z } from 'zod';

import { callback, optionsObject } from '../options/option-types.js';
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
};

export interface TenancySchema extends z.ZodObject<typeof tenancyShape, z.core.$strict> {}
export const tenancySchema: TenancySchema = optionsObject(
  tenancyShape,
  { resolver: 'resolve', optional: 'required' },
  (value) => (typeof value === 'function' ? '{ resolve: … }, with that function' : undefined),
);

/** How the tenant of a request is found. */
export interface TenancyOptions extends z.input<TenancySchema> {}

/** Injection token of the {@link TenancyOptions} that the manager was registered with; undefined where it has none. */
export const TENANCY_OPTIONS = Symbol('nestjs-pool-manager:tenancy-options');
