/**
 * What a tenant may take, and whether it is known or may have been invented: what the pool's policy says of an id.
 */
import type { TenantLimits, TenantPolicy } from '../limits.js';
import type { KnownTenants } from './known-tenants.js';

export interface Standing {
  readonly limits: TenantLimits;
  readonly known: boolean;
}

/**
 * The standing of a tenant. Asks the application's functions, which may throw or call the pool.
 *
 * @param remembered says who is known where the application doesn't.
 */
export function standingOf(id: string, policy: TenantPolicy, remembered: KnownTenants): Standing {
  const { overrides, resolve, known } = policy;
  const own = Object.hasOwn(overrides, id) ? overrides[id] : undefined;
  const resolved = resolve?.(id);
  const isKnown =
    own !== undefined || resolved !== undefined || (known === undefined ? remembered.has(id) : isTrue(known(id)));
  const common = limitsForAll(policy, isKnown);
  const ownLimits = own !== undefined || resolved !== undefined;
  return { limits: ownLimits ? { ...common, ...own, ...resolved } : common, known: isKnown };
}

/** The standing of a tenant that has become known by itself. */
export function standingOfKnown(policy: TenantPolicy): Standing {
  return { limits: limitsForAll(policy, true), known: true };
}

/** Tenants that may be invented have no reserve, or each new one came first. */
function limitsForAll(policy: TenantPolicy, isKnown: boolean): TenantLimits {
  const { max, weight, reserved, maxWaiting, whenFull } = policy;
  return { max, weight, reserved: isKnown ? reserved : 0, maxWaiting, whenFull };
}

/** A function that isn't written in TypeScript may return a promise, which is not a yes. */
function isTrue(answer: unknown): boolean {
  return answer === true;
}
