/**
 * Limits that change while a pool runs: `resize()`, `limitTenants()`, and what `tenants.resolve` answers.
 *
 * Promise: they follow the rules of the start.
 */
import type { TenantLimits, TenantPolicy } from '../engine/limits.js';
import { type ConfigProblem, PoolConfigError } from '../errors.js';
import { keyOf } from '../options/option-problems.js';
import { checkPool, type ProblemReporter } from './pool-options.js';

/** What a pool that runs has, or is to have, of the options that depend on each other. */
export interface RunningLimits {
  readonly minSize: number;
  readonly maxSize: number;
  readonly tenants: TenantPolicy;
}

/**
 * Applies the rules of the start to limits that are changed at run time.
 *
 * @throws {PoolConfigError} with every problem.
 */
export function assertLimits(poolId: string, { minSize, maxSize, tenants }: RunningLimits): void {
  const problems: ConfigProblem[] = [];
  const key = (path: readonly PropertyKey[]): string => keyOf(['pools', poolId, ...path]);
  if (!Number.isSafeInteger(minSize) || minSize < 0)
    problems.push({ key: key(['minSize']), rule: `must be a whole number of slots, at least 0, got ${minSize}` });
  if (!Number.isSafeInteger(maxSize) || maxSize < 1)
    problems.push({ key: key(['maxSize']), rule: `must be a whole number of slots, at least 1, got ${maxSize}` });
  const addIssue: ProblemReporter['addIssue'] = ({ path, message }) =>
    void problems.push({ key: key(path), rule: message });
  const { max, weight, reserved, maxWaiting, whenFull, overrides } = tenants;
  checkPool({ minSize, maxSize, tenants: { max, weight, reserved, maxWaiting, whenFull, overrides } }, { addIssue });
  if (problems.length > 0) throw new PoolConfigError(problems, { poolId });
}

/**
 * What `tenants.resolve` has answered for one tenant, by the rules that hold for `tenants.overrides`.
 *
 * @param limits those of the pool at this moment.
 * @throws {PoolConfigError} when it contradicts the pool's limits.
 */
export function assertResolvedLimits(
  poolId: string,
  tenantId: string,
  own: Partial<TenantLimits>,
  { maxSize, tenants }: Omit<RunningLimits, 'minSize'>,
): void {
  const base = Object.hasOwn(tenants.overrides, tenantId) ? tenants.overrides[tenantId] : undefined;
  const max = own.max ?? base?.max ?? tenants.max;
  const reserved = own.reserved ?? base?.reserved ?? tenants.reserved;
  if (reserved <= max && reserved <= maxSize) return;
  const rule =
    reserved > max
      ? `must be at most the tenant's max (${max}), got ${reserved}`
      : `must be at most maxSize (${maxSize}), got ${reserved}`;
  const key = keyOf(['pools', poolId, 'tenants', `resolve(${tenantId})`, 'reserved']);
  throw new PoolConfigError([{ key, rule }], { poolId, tenantId });
}

/**
 * A policy with one change to it.
 *
 * @param tenantId whose limits change; without it, those of all tenants that have none of their own.
 */
export function changedPolicy(
  policy: TenantPolicy,
  change: Partial<TenantLimits>,
  tenantId: string | undefined,
): TenantPolicy {
  if (tenantId === undefined) return { ...policy, ...change };
  const before = Object.hasOwn(policy.overrides, tenantId) ? policy.overrides[tenantId] : undefined;
  // A computed key is a property of its own for every name, `__proto__` too.
  return { ...policy, overrides: { ...policy.overrides, [tenantId]: { ...before, ...change } } };
}
