/**
 * Whether running a statement calls code of its caller's, which then has to run in the caller's async context.
 *
 * Most statements call none, and pay for no AsyncResource.
 */
import { isDate } from 'node:util/types';

import type { StatementConfig } from './statement.js';

/**
 * Whether parsers of an application's own are on the connections of a pool.
 *
 * Those that `pg.types.setTypeParser` sets for the whole process don't count, and may run outside of the caller's
 * context: pg has no list of them, and most (`setTypeParser(20, Number)`) look at no context, for which each query
 * would pay.
 */
export class ConnectionParsers {
  /** Not known before the first connection has been set up. */
  #areKnown = false;
  #areOwn: boolean;

  /** @param areOwn the options have some. */
  constructor(areOwn: boolean) {
    this.#areOwn = areOwn;
  }

  /** A connection has been given a parser. */
  added(): void {
    this.#areOwn = true;
  }

  /** A connection has been set up. */
  setUp(): void {
    this.#areKnown = true;
  }

  get mayBeOwn(): boolean {
    return this.#areOwn || !this.#areKnown;
  }
}

/** Whether the values or the type parsers of a statement call code of its caller's. */
export function callsCaller(values: readonly unknown[] | undefined, config: StatementConfig | undefined): boolean {
  return config?.types !== undefined || (Array.isArray(values) && values.some(hasCode));
}

/** `toPostgres` and `toJSON`, also of what is in an array. */
function hasCode(value: unknown): boolean {
  if (typeof value === 'function') return true;
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.some(hasCode);
  return !ArrayBuffer.isView(value) && !isDate(value);
}
