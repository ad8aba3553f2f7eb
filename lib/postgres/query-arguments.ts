/**
 * Reads the many forms in which pg lets one call `query`.
 */
import type { ForeignSubmittable, QueryCallback } from './foreign-query.js';
import type { StatementConfig } from './statement.js';

/** Bounds of one call. */
export interface CallLimits {
  /** For the call as a whole, in milliseconds: waiting for a connection included. Default: none. */
  readonly timeoutMs?: number | undefined;
  /** Gives the call up; the statement is cancelled on the server, too. */
  readonly signal?: AbortSignal | undefined;
}

/** What was asked for. */
export type QueryRequest =
  | { readonly foreign: ForeignSubmittable; readonly callback: QueryCallback | undefined }
  | {
      readonly foreign: undefined;
      readonly text: string | undefined;
      readonly values: readonly unknown[] | undefined;
      readonly config: StatementConfig | undefined;
      readonly callback: QueryCallback | undefined;
    };

/** @throws TypeError when there is no query, or its callback isn't a function. */
export function readQuery(query: unknown, values: unknown, callback: unknown): QueryRequest {
  const callbackGiven = typeof values === 'function' ? values : callback;
  const valuesGiven = typeof values === 'function' ? undefined : values;
  if (typeof query === 'string') {
    return {
      foreign: undefined,
      text: query,
      values: asValues(valuesGiven),
      config: undefined,
      callback: asCallback(callbackGiven),
    };
  }
  if (typeof query !== 'object' || query === null)
    throw new TypeError('query() needs a text, a config object or a Submittable');
  if (isForeign(query)) return { foreign: query, callback: asCallback(callbackGiven) };
  const config: StatementConfig & { readonly callback?: unknown } = query;
  return {
    foreign: undefined,
    text: config.text,
    values: asValues(valuesGiven) ?? config.values,
    config,
    callback: asCallback(callbackGiven ?? config.callback),
  };
}

function isForeign(query: object): query is ForeignSubmittable {
  return 'submit' in query && typeof query.submit === 'function';
}

function asValues(values: unknown): readonly unknown[] | undefined {
  if (values === undefined || values === null) return undefined;
  if (!Array.isArray(values)) throw new TypeError('Query values must be an array');
  const list: readonly unknown[] = values;
  return list;
}

function asCallback(callback: unknown): QueryCallback | undefined {
  if (callback === undefined || callback === null) return undefined;
  if (!isCallback(callback)) throw new TypeError('callback is not a function');
  return callback;
}

function isCallback(value: unknown): value is QueryCallback {
  return typeof value === 'function';
}
