/**
 * `query` as pg has it, for objects that run queries on one connection: a client that was lent, a transaction.
 */
import type { Connection, QueryArrayConfig, QueryArrayResult, QueryConfig, QueryResult, QueryResultRow } from 'pg';

import { type CallLimits, type QueryRequest, readQuery, refuseQuery } from './query-arguments.js';

/**
 * What pg calls a Submittable: a query that sends itself, such as a cursor or a COPY stream. Written out here, because
 * pg's own type is `any` where `@types/pg` isn't installed, and every text would be a Submittable.
 */
export interface SubmittableQuery {
  /** Called by pg when the connection is free. */
  submit(connection: Connection): void;
}

/** What runs queries on one connection: a client that was lent, a transaction. */
export abstract class Queryable {
  /** Runs a Submittable, such as a cursor or a COPY stream, and returns it. */
  query<T extends SubmittableQuery>(query: T): T;
  /** Runs a query whose rows are arrays (`rowMode`). */
  query<R extends unknown[] = unknown[]>(
    config: QueryArrayConfig<unknown[]> & CallLimits,
    values?: readonly unknown[],
  ): Promise<QueryArrayResult<R>>;
  /**
   * Runs a query, with pg's own arguments. A config object may also have `timeoutMs` and `signal`.
   *
   * @example
   * const { rows } = await client.query('select * from orders where id = $1', [7]);
   */
  query<R extends QueryResultRow = QueryResultRow>(
    config: string | (QueryConfig<unknown[]> & CallLimits),
    values?: readonly unknown[],
  ): Promise<QueryResult<R>>;
  /** Runs a query whose rows are arrays, and calls back. */
  query<R extends unknown[] = unknown[]>(
    config: QueryArrayConfig<unknown[]> & CallLimits,
    callback: (error: Error, result: QueryArrayResult<R>) => void,
  ): void;
  /** Runs a query, and calls back. */
  query<R extends QueryResultRow = QueryResultRow>(
    config: string | (QueryConfig<unknown[]> & CallLimits),
    callback: (error: Error, result: QueryResult<R>) => void,
  ): void;
  /** Runs a query with values, and calls back. */
  query<R extends QueryResultRow = QueryResultRow>(
    config: string | (QueryConfig<unknown[]> & CallLimits),
    values: readonly unknown[] | undefined,
    callback: (error: Error, result: QueryResult<R>) => void,
  ): void;
  query(query: unknown, values?: unknown, callback?: unknown): unknown {
    let request: QueryRequest;
    try {
      request = readQuery(query, values, callback);
    } catch (error) {
      return refuseQuery(error, [query, values, callback]);
    }
    return this.runQuery(request);
  }

  /** @internal What `query` comes down to. */
  protected abstract runQuery(request: QueryRequest): unknown;
}
