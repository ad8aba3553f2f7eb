/**
 * What the caller of a statement is told when the connection ends under it.
 */
import { PoolError } from '../engine/errors.js';
import { ConnectionLostError } from '../errors.js';
import { isFatalError, isStatementError } from './pg-errors.js';
import type { PgSession } from './pg-session.js';

/** @returns the error to tell, with what the server said last as its cause; undefined when `error` is of another kind. */
export function lossOf(
  session: PgSession,
  error: Error,
  facts: { readonly poolId: string; readonly tenantId: string | undefined; readonly sent: boolean },
): ConnectionLostError | undefined {
  if (error instanceof PoolError) return undefined;
  const cause = session.lostBecause ?? (isFatalError(error) ? error : undefined);
  if (cause === undefined || isStatementError(error)) return undefined;
  const { poolId, tenantId, sent } = facts;
  return new ConnectionLostError(poolId, 'a query', sent, { tenantId, cause });
}
