/**
 * Addresses that a registration leaves to the environment.
 *
 * Promise: only what is absent is filled in; what the application wrote wins, also where it is wrong.
 */

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where a kind's address comes from when the options don't say. */
export interface AddressFallback {
  /** The option that is filled in. */
  readonly option: string;
  readonly variable: string;
  /** Whether the options name the server in another way. */
  readonly isElsewhere: (options: Readonly<Record<string, unknown>>) => boolean;
}

export interface Located {
  readonly options: unknown;
  /** The option and the variable that it was read from; undefined when nothing was filled in. */
  readonly filled: { readonly option: string; readonly variable: string } | undefined;
}

/** The options with the address that was left out. */
export function locate(options: unknown, fallback: AddressFallback | undefined, env: Environment): Located {
  if (fallback === undefined || !isRecord(options)) return { options, filled: undefined };
  const { option, variable, isElsewhere } = fallback;
  const value = env[variable];
  if (options[option] !== undefined || isElsewhere(options) || value === undefined || value === '') {
    return { options, filled: undefined };
  }
  return { options: { ...options, [option]: value }, filled: { option, variable } };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
