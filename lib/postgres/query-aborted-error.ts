import { PoolError, type PoolErrorFacts } from '../engine/errors.js';

/** A query was given up because its caller's AbortSignal fired; `cause` is the signal's reason. */
export class QueryAbortedError extends PoolError {
  readonly code = 'POOL_QUERY_ABORTED';

  constructor(poolId: string, facts: PoolErrorFacts = {}) {
    super(
      `A query on pool "${poolId}" was aborted by its signal. It may have been executed on the server nevertheless, unless it ran in a transaction.`,
      {
        ...facts,
        poolId,
      },
    );
  }
}
