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
