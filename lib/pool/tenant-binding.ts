/**
 * Whom a handle, or a view of it, works for, and which tenants its calls may name.
 *
 * Promise: a call that names another tenant than the one it works for is refused, as is one without a tenant where one
 * is required.
 */
import { TenantInvalidError, TenantRequiredError } from '../errors.js';
import { assertTenantId } from '../tenancy/tenant-id.js';
import type { PoolCore } from './pool-core.js';

/** Whose work a handle does: that of the running code's tenant, of one tenant, or of none. */
export type TenantBinding =
  | { readonly kind: 'context' }
  | { readonly kind: 'tenant'; readonly tenantId: string }
  | { readonly kind: 'unscoped'; readonly tenantId?: undefined };

export const FROM_CONTEXT: TenantBinding = { kind: 'context' };
export const UNSCOPED: TenantBinding = { kind: 'unscoped', tenantId: undefined };

/**
 * The tenant of a call that names one, or where none is known.
 *
 * @param fixed the tenant of the view or of the running code's context.
 * @throws {TenantRequiredError}, {TenantInvalidError}
 */
export function namedTenant(
  core: Pick<PoolCore<unknown>, 'runtime' | 'requiresTenant' | 'unscopedUses'>,
  binding: TenantBinding,
  named: string | undefined,
  fixed: string | undefined,
): string | undefined {
  const { id } = core.runtime;
  if (named !== undefined) assertTenantId(named);
  const mayBeNamed = named === fixed || (fixed === undefined && binding.kind !== 'unscoped');
  if (named !== undefined && !mayBeNamed) throw mismatch(id, named, fixed);
  const tenantId = fixed ?? named;
  if (tenantId !== undefined || !core.requiresTenant) return tenantId;
  if (binding.kind !== 'unscoped') throw new TenantRequiredError(id);
  core.unscopedUses++;
  return undefined;
}

function mismatch(poolId: string, named: string, fixed: string | undefined): TenantInvalidError {
  const here = fixed === undefined ? 'on a view without a tenant' : `while working for tenant "${fixed}"`;
  return new TenantInvalidError(
    `Tenant "${named}" was named ${here} of pool "${poolId}"; say so visibly with forTenant("${named}")`,
    { poolId, tenantId: named },
  );
}
