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
  /**
   * Options that take the place of an address which is missing, for a pool that is to be made all the same.
   *
   * @param reason what a connect of the kind's own fails with, one that is not for a slot.
   */
  readonly standIn: (reason: Error) => Readonly<Record<string, unknown>>;
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

/** Whether the address is neither in the options nor in the environment; an empty one is none. */
export function lacksAddress(options: unknown, fallback: AddressFallback, env: Environment): boolean {
  if (!isRecord(options) || fallback.isElsewhere(options)) return false;
  return [options[fallback.option], env[fallback.variable]].every((address) => address === undefined || address === '');
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
