/**
 * What a configuration was refused for.
 */
import { type ConfigProblem, PoolConfigError } from '../../lib/errors.js';

/**
 * The problems of the PoolConfigError that `parse` throws, as `key: rule` lines. Fails when it throws nothing or
 * something else.
 */
export function problemsOf(parse: () => unknown): string[] {
  return errorOf(parse).problems.map(({ key, rule }: ConfigProblem) => `${key}: ${rule}`);
}

/** The PoolConfigError that `parse` throws. */
export function errorOf(parse: () => unknown): PoolConfigError {
  try {
    parse();
  } catch (error) {
    if (error instanceof PoolConfigError) return error;
    throw error;
  }
  throw new Error('Nothing was refused');
}

/** The PoolConfigError with which `starting` rejects. */
export async function rejectionOf(starting: Promise<unknown>): Promise<PoolConfigError> {
  const error: unknown = await starting.then(
    () => new Error('Nothing was refused'),
    (reason: unknown) => reason,
  );
  if (error instanceof PoolConfigError) return error;
  throw error;
}
