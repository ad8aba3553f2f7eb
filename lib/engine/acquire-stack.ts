/**
 * Where a lease was acquired, for reports of what its borrower has forgotten.
 */
import type { PoolLimits } from './limits.js';

/** The stack frames of the running acquire, for the report of a leak; costs nothing while leak detection is off. */
export function acquireStack({ leakDetectionMs }: PoolLimits): string | undefined {
  if (leakDetectionMs === 0) return undefined;
  const { stack = '' } = new Error();
  // The first line names the error, which is none.
  return stack.slice(stack.indexOf('\n') + 1);
}

/** What a report says of where a lease was acquired. @param stack as {@link acquireStack} gives it. */
export function whereAcquired(stack: string | undefined): string {
  return stack === undefined ? ' Set leakDetectionMs to see where it was acquired.' : `\nIt was acquired at:\n${stack}`;
}
