/** What the subjects of the benchmark `postgres` are asked for. */
import type { CallerLoad } from '../harness/callers.js';

/**
 * `one`: the smallest statement there is. `row`: one row of a table, by its key. `mixed`: one in twenty takes 200 ms,
 * the others 1 ms; only those are counted. `named`: prepared. `tenants`: the smallest, for a thousand tenants by turns.
 */
export type Statement = 'one' | 'row' | 'mixed' | 'named' | 'tenants';

/** What each caller does in a loop is to run such a statement. */
export interface PostgresLoad extends CallerLoad {
  readonly statement: Statement;
}

/** Queries per second, milliseconds, and microseconds of processor time a query. */
export type PostgresFigure = 'throughput' | 'p99' | 'mean' | 'CPU';
