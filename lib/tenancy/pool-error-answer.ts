/**
 * What the client of a request is told when a pool refused the work.
 *
 * 429: this tenant is at its own limit; others are served. 503: no tenant can be served just now. Both say when to try
 * again. Promise: an answer names no pool, host, tenant or number, and nothing that a driver said.
 */
import { isError } from '../engine/to-error.js';
import {
  AcquireTimeoutError,
  BackendUnavailableError,
  PoolClosedError,
  PoolError,
  PoolSuspendedError,
  QueueFullError,
  RequestEndedError,
  TenantLimitError,
} from '../errors.js';

export interface Answer {
  readonly status: 400 | 429 | 503;
  readonly message: string;
  /** Whole seconds, at least 1; undefined where trying again would not help. */
  readonly retryAfterSeconds: number | undefined;
}

/** The standard reason phrases. */
export const REASONS: Readonly<Record<Answer['status'], string>> = {
  400: 'Bad Request',
  429: 'Too Many Requests',
  503: 'Service Unavailable',
};

export const TENANT_MISSING: Answer = {
  status: 400,
  message: 'The request names no tenant, and needs one.',
  retryAfterSeconds: undefined,
};
export const TENANT_MALFORMED: Answer = {
  status: 400,
  message: 'The tenant that the request names is malformed.',
  retryAfterSeconds: undefined,
};

/** How many errors deep a pool's error is looked for: query builders wrap what their driver throws. */
const MAX_CAUSES = 8;

/**
 * The answer to an error of a handler; undefined for one that isn't a pool's rejection, or is its user's own mistake.
 */
export function answerTo(error: unknown): Answer | undefined {
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES && isError(current); depth++) {
    if (current instanceof PoolError) return answerToPoolError(current);
    current = current.cause;
  }
  return undefined;
}

function answerToPoolError(error: PoolError): Answer | undefined {
  if (error instanceof TenantLimitError) return tenantBusy(error.retryAfterMs);
  if (error instanceof AcquireTimeoutError)
    return error.kind === 'tenant' ? tenantBusy(error.retryAfterMs) : unavailable(error.retryAfterMs);
  if (error instanceof QueueFullError || error instanceof BackendUnavailableError)
    return unavailable(error.retryAfterMs);
  if (error instanceof PoolClosedError || error instanceof PoolSuspendedError) return unavailable(undefined);
  // Its client has gone; without an answer Nest would log it as a fault of the handler.
  if (error instanceof RequestEndedError) return unavailable(undefined);
  return undefined;
}

function tenantBusy(retryAfterMs: number | undefined): Answer {
  return {
    status: 429,
    message: 'Too many requests of this tenant are in progress. Try again later.',
    retryAfterSeconds: seconds(retryAfterMs),
  };
}

function unavailable(retryAfterMs: number | undefined): Answer {
  return {
    status: 503,
    message: 'The service cannot take this request at the moment. Try again later.',
    retryAfterSeconds: seconds(retryAfterMs),
  };
}

/** `Retry-After` counts whole seconds; 0 would be an invitation to try again at once. */
function seconds(ms: number | undefined): number {
  return ms !== undefined && Number.isFinite(ms) ? Math.max(1, Math.ceil(ms / 1_000)) : 1;
}
