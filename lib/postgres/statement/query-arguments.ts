/**
 * Reads the many forms in which pg lets one call `query`.
 */
import { LONGEST_TIMER_MS } from '../../engine/time/clock.js';
import { durationOf } from '../../engine/time/deadlines.js';
import { toError } from '../../engine/to-error.js';
import type { QueryCallback } from '../protocol/pg-module.js';
import type { CallerSubmittable } from './caller-submittable.js';
import type { StatementConfig } from './statement.js';

/** The number of parameters goes over the wire in 16 bits. */
export const MOST_PARAMETERS = 65_535;

/** Bounds of one call. */
export interface CallLimits {
  /**
   * For the call as a whole, in milliseconds: waiting for a connection included. `Infinity`, and what is longer than a
   * timer can run (24.8 days): none. What isn't a duration (NaN, less than 0): no time at all. Default: none.
   *
   * pg's own `query_timeout` is understood too; of the two the shorter one holds.
   */
  readonly timeoutMs?: number | undefined;
  /** Gives the call up; the statement is cancelled on the server, too. */
  readonly signal?: AbortSignal | undefined;
}

/** The same, for an acquire: there `timeoutMs` is a number or left out. */
export function definedLimits(limits: CallLimits): CallLimits {
  return limits.timeoutMs === undefined ? { signal: limits.signal } : limits;
}

/** Limits on each statement of a pool, in milliseconds. Undefined: none. */
export interface StatementLimits {
  /** Kept here, from the moment a statement has a connection. */
  readonly queryTimeoutMs: number | undefined;
  /** Kept by the server, unless a transaction's own is shorter. */
  readonly statementTimeoutMs: number | undefined;
}

/** A statement that was asked for. */
export interface TextRequest {
  readonly submittable: undefined;
  readonly text: string | undefined;
  readonly values: readonly unknown[] | undefined;
  readonly config: StatementConfig | undefined;
  readonly callback: QueryCallback | undefined;
}

/** What was asked for. */
export type QueryRequest =
  { readonly submittable: CallerSubmittable; readonly callback: QueryCallback | undefined } | TextRequest;

/**
 * pg's `query_timeout` in milliseconds: a number, or a text as connection strings have it. Undefined: none.
 *
 * As in pg, what is no number, is nothing or is less than nothing means none.
 */
export function queryTimeoutOf(value: unknown): number | undefined {
  const limitMs = typeof value === 'number' || typeof value === 'string' ? Number(value) : NaN;
  return limitMs > 0 && limitMs <= LONGEST_TIMER_MS ? limitMs : undefined;
}

/** The shortest of limits that may not be set. */
export function strictest(...limitsMs: readonly (number | undefined)[]): number | undefined {
  let strictestMs: number | undefined;
  for (const limitMs of limitsMs) {
    if (limitMs !== undefined && (strictestMs === undefined || limitMs < strictestMs)) strictestMs = limitMs;
  }
  return strictestMs;
}

/**
 * @throws TypeError when there is no query, its values aren't an array, or its callback isn't a function.
 * @throws RangeError when it has more parameters than the protocol has room for.
 */
export function readQuery(query: unknown, values: unknown, callback: unknown): QueryRequest {
  const callbackGiven = typeof values === 'function' ? values : callback;
  const valuesGiven = typeof values === 'function' ? undefined : values;
  if (typeof query === 'string') {
    return {
      submittable: undefined,
      text: query,
      values: asValues(valuesGiven),
      config: undefined,
      callback: asCallback(callbackGiven),
    };
  }
  if (typeof query !== 'object' || query === null)
    throw new TypeError('query() needs a text, a config object or a Submittable');
  if (isSubmittable(query)) return { submittable: query, callback: asCallback(callbackGiven) };
  const given: StatementConfig & { readonly callback?: unknown; readonly query_timeout?: unknown } = query;
  const config = withLimits(withName(given));
  return {
    submittable: undefined,
    text: config.text,
    values: asValues(valuesGiven) ?? withinProtocol(config.values),
    config,
    callback: asCallback(callbackGiven ?? given.callback),
  };
}

/** pg takes a name of `null`, or an empty one, for none. */
function withName(config: StatementConfig): StatementConfig {
  const name: unknown = config.name;
  if (name === undefined || (typeof name === 'string' && name !== '')) return config;
  if (name !== null && name !== '') throw new TypeError("A statement's name must be a text");
  return { ...config, name: undefined };
}

/** Its limits as this package has them: pg's own taken in, and none where the time could never be over. */
function withLimits(config: StatementConfig & { readonly query_timeout?: unknown }): StatementConfig {
  const { timeoutMs, query_timeout: queryTimeout } = config;
  if (queryTimeout === undefined && (timeoutMs === undefined || timeoutMs <= LONGEST_TIMER_MS)) return config;
  return { ...config, timeoutMs: strictest(callLimitOf(timeoutMs), queryTimeoutOf(queryTimeout)) };
}

/** What `timeoutMs` of a call means, see {@link CallLimits.timeoutMs}. Undefined: none. */
export function callLimitOf(timeoutMs: number | undefined): number | undefined {
  return timeoutMs === undefined || timeoutMs > LONGEST_TIMER_MS ? undefined : durationOf(timeoutMs);
}

function withinProtocol(values: readonly unknown[] | null | undefined): readonly unknown[] | undefined {
  // As in pg.
  if (values === null) return undefined;
  // What isn't an array the statement itself refuses.
  if (!Array.isArray(values) || values.length <= MOST_PARAMETERS) return values;
  throw new RangeError(
    `A statement can have ${MOST_PARAMETERS} parameters at most, and this one has ${values.length}. ` +
      'Pass arrays (unnest($1::int[], …)), or split it.',
  );
}

/** Answers a query that can't be read, as one that could would have been: by its callback, or by a rejection. */
export function refuseQuery(error: unknown, args: readonly unknown[]): Promise<never> | undefined {
  const callback = args.find(isCallback);
  if (callback === undefined) return Promise.reject(toError(error));
  process.nextTick(callback, error);
  return undefined;
}

function isSubmittable(query: object): query is CallerSubmittable {
  return 'submit' in query && typeof query.submit === 'function';
}

function asValues(values: unknown): readonly unknown[] | undefined {
  if (values === undefined || values === null) return undefined;
  if (!Array.isArray(values)) throw new TypeError('Query values must be an array');
  const list: readonly unknown[] = values;
  return withinProtocol(list);
}

function asCallback(callback: unknown): QueryCallback | undefined {
  if (callback === undefined || callback === null) return undefined;
  if (!isCallback(callback)) throw new TypeError('callback is not a function');
  return callback;
}

function isCallback(value: unknown): value is QueryCallback {
  return typeof value === 'function';
}
