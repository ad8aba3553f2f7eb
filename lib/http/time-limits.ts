/**
 * What the time-outs of a request mean, with either client.
 *
 * `timeoutMs` and `acquireTimeoutMs` are numbers of milliseconds from 0 on; anything else (NaN, a text, less than
 * nothing) is refused, because a limit that is silently none would be worse. Infinity, and what a timer can't hold, is
 * no limit for `timeoutMs`, as 0 is. axios' own `timeout` is read as axios reads it, except that what would crash it or
 * fire at once there (less than nothing, beyond a timer) is refused and bounded here.
 */
import type { AxiosStatic, InternalAxiosRequestConfig } from 'axios';

import { LONGEST_TIMER_MS } from '../engine/time/clock.js';
import type { HttpRequestOptions } from './http-pool.options.js';

type RequestConfig = InternalAxiosRequestConfig & HttpRequestOptions;

/**
 * The total time of a request in milliseconds; 0: none.
 *
 * @throws AxiosError with the code ERR_BAD_OPTION_VALUE.
 */
export function totalLimitMs(axios: AxiosStatic, config: RequestConfig, poolsMs: number): number {
  const ms = durationOption(axios, config, 'timeoutMs') ?? poolsMs;
  return ms > LONGEST_TIMER_MS ? 0 : ms;
}

/**
 * How long a request waits for a slot, in milliseconds; `undefined`: as long as the pool says.
 *
 * @throws AxiosError with the code ERR_BAD_OPTION_VALUE.
 */
export function waitLimitMs(axios: AxiosStatic, config: RequestConfig): number | undefined {
  const ms = durationOption(axios, config, 'acquireTimeoutMs');
  return ms === undefined ? undefined : Math.min(ms, LONGEST_TIMER_MS);
}

/**
 * axios' `timeout` in milliseconds; 0: none.
 *
 * @throws AxiosError with the code ERR_BAD_OPTION_VALUE.
 */
export function axiosTimeoutMs(axios: AxiosStatic, config: InternalAxiosRequestConfig): number {
  const { AxiosError } = axios;
  const timeout: unknown = config.timeout;
  if (!timeout) return 0;
  const ms = typeof timeout === 'number' || typeof timeout === 'string' ? Number.parseInt(`${timeout}`, 10) : NaN;
  if (Number.isNaN(ms)) {
    const message = 'error trying to parse `config.timeout` to int';
    throw new AxiosError(message, AxiosError.ERR_BAD_OPTION_VALUE, config);
  }
  if (ms < 0) throw new AxiosError('`timeout` must not be negative', AxiosError.ERR_BAD_OPTION_VALUE, config);
  return Math.min(ms, LONGEST_TIMER_MS);
}

function durationOption(
  { AxiosError }: AxiosStatic,
  config: RequestConfig,
  name: 'timeoutMs' | 'acquireTimeoutMs',
): number | undefined {
  const value: unknown = config[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && value >= 0) return value;
  const got = typeof value === 'number' ? `${value}` : `a ${typeof value}`;
  throw new AxiosError(
    `\`${name}\` must be a number of milliseconds, at least 0, got ${got}`,
    AxiosError.ERR_BAD_OPTION_VALUE,
    config,
  );
}
