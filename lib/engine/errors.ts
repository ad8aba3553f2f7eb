/**
 * What the engine throws. Every error says what happened, the numbers of that moment and the way out.
 *
 * Promise: printing one (`message`, `inspect`, `toJSON`) never shows a credential; the raw cause stays reachable
 * through `cause` for code that wants it.
 */
import { inspect } from 'node:util';

import { describeError, redact } from './redact.js';

/** @internal What every error may be told. */
export interface PoolErrorDetails {
  readonly poolId?: string | undefined;
  readonly tenantId?: string | undefined;
  readonly cause?: unknown;
  /** Whether the parts of the message have been redacted one by one. Default false. */
  readonly isRedacted?: boolean;
}

/** Base of everything that this package throws on its own account. */
export abstract class PoolError extends Error {
  /** Stable across versions; for `switch`, logs and alerts. */
  abstract readonly code: string;
  /** The pool that it is about; undefined: none in particular. */
  readonly poolId: string | undefined;
  /** The tenant whose work failed; undefined: work without a tenant, or none is known. */
  readonly tenantId: string | undefined;

  /** Only the package makes its errors: what a constructor takes may change in any version. */
  constructor(...args: never);
  /** @internal */
  constructor(message: string, details?: PoolErrorDetails);
  constructor(message: string, details: PoolErrorDetails = {}) {
    super(details.isRedacted === true ? message : redact(message));
    this.name = new.target.name;
    this.poolId = details.poolId;
    this.tenantId = details.tenantId;
    if (details.cause !== undefined) {
      // Not enumerable, so that a logger that walks properties can't print what a driver put into it.
      Object.defineProperty(this, 'cause', { value: details.cause, configurable: true, writable: true });
    }
  }

  /** What loggers write: name, code, message, pool, tenant and a redacted cause. */
  toJSON(): Record<string, unknown> {
    return {
      name: this.name,
      code: this.code,
      message: this.message,
      ...(this.poolId === undefined ? {} : { poolId: this.poolId }),
      ...(this.tenantId === undefined ? {} : { tenantId: this.tenantId }),
      ...(this.cause === undefined ? {} : { cause: describeError(this.cause) }),
    };
  }

  /** The stack, the code and a redacted cause. */
  [inspect.custom](): string {
    const cause = this.cause === undefined ? '' : `\n  [cause] ${describeError(this.cause)}`;
    return `${this.stack ?? `${this.name}: ${this.message}`}\n  [code] ${this.code}${cause}`;
  }
}

/** A slot in use, as error messages and reports name it. */
export interface LeaseHolder {
  /** Whom the work is done for; undefined: no tenant. */
  readonly tenantId: string | undefined;
  /** How long the slot has been in use, in milliseconds. */
  readonly heldMs: number;
  /** Where it was acquired; only while leak detection is on. */
  readonly stack?: string | undefined;
}

/** The numbers of a pool at one moment. */
export interface PoolNumbers {
  /** Slots that are lent. */
  readonly active: number;
  /** Connections that are open and not in use. */
  readonly idle: number;
  /** Connections that are being opened. */
  readonly connecting: number;
  /** Acquires that wait for a slot. */
  readonly waiting: number;
  /** Slots at most, in all states together. */
  readonly maxSize: number;
}

/** The pool, or the whole manager, has been closed or is closing. */
export class PoolClosedError extends PoolError {
  readonly code = 'POOL_CLOSED';

  /** @internal */
  constructor(poolId: string, details: PoolErrorDetails = {}) {
    super(
      `Pool "${poolId}" is closed and lends nothing any more. Acquire before shutdown begins, or create a new pool.`,
      {
        ...details,
        poolId,
      },
    );
  }
}

/** The pool is suspended, and was told to refuse, or stayed so until the waiter's deadline. */
export class PoolSuspendedError extends PoolError {
  readonly code = 'POOL_SUSPENDED';

  /** @internal */
  constructor(poolId: string, waitedMs: number, details: PoolErrorDetails = {}) {
    super(
      `Pool "${poolId}" is suspended${waitedMs > 0 ? ` and was not resumed within ${ms(waitedMs)}` : ''}. Call resume() to let work through.`,
      {
        ...details,
        poolId,
      },
    );
  }
}

/** Which of three things a waiter waited for in vain. */
export type AcquireTimeoutKind = 'pool' | 'tenant' | 'backend';

/** @internal What an AcquireTimeoutError is made of. */
export interface AcquireTimeoutDetails extends PoolErrorDetails {
  readonly poolId: string;
  readonly waitedMs: number;
  readonly numbers: PoolNumbers;
  readonly oldestHolders: readonly LeaseHolder[];
  /** The tenant's slots in use and its maximum. */
  readonly tenantInUse: number;
  readonly tenantMax: number;
  /** Leases whose holders themselves wait for this pool. */
  readonly blockedHolders: number;
  /** What failed with `cause`, if anything did while this was waited for. */
  readonly failedStep?: 'connect' | 'ping' | undefined;
  /** Connections that were being pinged, or made clean. */
  readonly validating?: number | undefined;
  readonly recycling?: number | undefined;
  readonly retryAfterMs?: number | undefined;
}

/**
 * An acquire reached its deadline. `kind` says why: `pool`: every slot was in use; `tenant`: the tenant was at its own
 * maximum; `backend`: there was room, but no connection could be opened, or none answered a ping (`cause` is the error
 * of the last connect or ping, if one has failed).
 */
export class AcquireTimeoutError extends PoolError {
  readonly code = 'POOL_ACQUIRE_TIMEOUT';
  /** What was waited for in vain. */
  readonly kind: AcquireTimeoutKind;
  /** How long the acquire waited, in milliseconds. */
  readonly waitedMs: number;
  /** The numbers of the pool at the deadline. */
  readonly numbers: PoolNumbers;
  /** The slots that had been in use for longest. */
  readonly oldestHolders: readonly LeaseHolder[];
  /** When a new attempt is worth while, in milliseconds from now; undefined: unknown. */
  readonly retryAfterMs: number | undefined;

  /** @internal */
  constructor(kind: AcquireTimeoutKind, details: AcquireTimeoutDetails) {
    super(timeoutMessage(kind, details), details);
    this.kind = kind;
    this.waitedMs = details.waitedMs;
    this.numbers = details.numbers;
    this.oldestHolders = details.oldestHolders;
    this.retryAfterMs = details.retryAfterMs;
  }
}

function timeoutMessage(kind: AcquireTimeoutKind, details: AcquireTimeoutDetails): string {
  const { poolId, tenantId, numbers, waitedMs } = details;
  const counts = `${numbers.active} of ${numbers.maxSize} in use, ${numbers.idle} idle, ${numbers.connecting} connecting, ${numbers.waiting} waiting`;
  switch (kind) {
    case 'backend': {
      const cause =
        details.cause !== undefined
          ? `the last ${details.failedStep ?? 'connect'} failed with ${describeError(details.cause)}`
          : (details.validating ?? 0) > 0
            ? `${details.validating} pinged, without an answer yet`
            : 'no connect has finished yet';
      const busy = numbers.active + (details.recycling ?? 0) + (details.validating ?? 0);
      const what = busy === 0 ? 'had no live connection' : 'had room, but got no connection that answers,';
      const most = busy === 0 ? '' : `, that it lets in as many as maxSize (${numbers.maxSize})`;
      return `Pool "${poolId}" ${what} for ${ms(waitedMs)}: ${cause} (${counts}). Check that the server is up and reachable${most}, and that its address and credentials are right.`;
    }
    case 'tenant':
      return (
        `Tenant "${tenantId ?? ''}" waited ${ms(waitedMs)} at its own maximum of pool "${poolId}" ` +
        `(${details.tenantInUse} of ${details.tenantMax} in use by the tenant; ${counts}). Shorten its holds or raise tenants.max.`
      );
    case 'pool': {
      const holders = details.oldestHolders
        .map((holder) => `${holder.tenantId ?? 'no tenant'} for ${ms(holder.heldMs)}`)
        .join(', ');
      const nested =
        details.blockedHolders > 0
          ? ` ${details.blockedHolders} of the holders wait for this pool themselves: look for an acquire inside use() or transaction().`
          : '';
      return `Pool "${poolId}" was busy for ${ms(waitedMs)} (${counts}; oldest holders: ${holders || 'none'}).${nested} Shorten the holds or raise maxSize.`;
    }
  }
}

/** The caller's AbortSignal fired before a slot came; `cause` is the signal's reason. */
export class AcquireAbortedError extends PoolError {
  readonly code = 'POOL_ACQUIRE_ABORTED';

  /** @internal */
  constructor(poolId: string, waitedMs: number, details: PoolErrorDetails = {}) {
    super(`The acquire from pool "${poolId}" was aborted by its signal after ${ms(waitedMs)}. Nothing was taken.`, {
      ...details,
      poolId,
    });
  }
}

/** The request on whose behalf a slot was waited for has ended; the wait was withdrawn. */
export class RequestEndedError extends PoolError {
  readonly code = 'POOL_REQUEST_ENDED';
  /** How long the acquire had waited, in milliseconds. */
  readonly waitedMs: number;

  /** @internal */
  constructor(poolId: string, waitedMs: number, details: PoolErrorDetails = {}) {
    super(
      `The request ended while it waited for a slot of pool "${poolId}" (for ${ms(waitedMs)}); the wait was withdrawn, and nothing was taken. ` +
        `Await all work before the response ends, or start what should outlive it with TenantContext.runDetached().`,
      { ...details, poolId },
    );
    this.waitedMs = waitedMs;
  }
}

/** The queue of the whole pool is full, and this request was the newest of the longest tenant's queue. */
export class QueueFullError extends PoolError {
  readonly code = 'POOL_QUEUE_FULL';
  /** When a new attempt is worth while, in milliseconds from now; undefined: unknown. */
  readonly retryAfterMs: number | undefined;

  /** @internal */
  constructor(
    poolId: string,
    waiting: number,
    maxQueue: number,
    details: PoolErrorDetails & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(
      `The queue of pool "${poolId}" is full (${waiting} waiting, maxQueue ${maxQueue}), and the tenant with the longest queue gave way. ` +
        `Send less at once, or raise maxQueue.`,
      { ...details, poolId },
    );
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** @internal What a TenantLimitError is made of. */
export interface TenantLimitDetails extends PoolErrorDetails {
  readonly inUse: number;
  readonly max: number;
  readonly waiting: number;
  readonly maxWaiting: number;
  readonly retryAfterMs?: number | undefined;
}

/** The tenant is at its maximum (`whenFull: 'reject'`) or has as many waiters as it may. */
export class TenantLimitError extends PoolError {
  readonly code = 'POOL_TENANT_LIMIT';
  /** Slots that the tenant had in use. */
  readonly inUse: number;
  /** Slots that the tenant may have in use at once. */
  readonly max: number;
  /** Acquires of the tenant that waited. */
  readonly waiting: number;
  /** Acquires of the tenant that may wait at once. */
  readonly maxWaiting: number;
  /** When a new attempt is worth while, in milliseconds from now; undefined: unknown. */
  readonly retryAfterMs: number | undefined;

  /** @internal */
  constructor(poolId: string, details: TenantLimitDetails) {
    const who = details.tenantId === undefined ? 'Work without a tenant' : `Tenant "${details.tenantId}"`;
    super(
      `${who} is at its limit in pool "${poolId}" (${details.inUse} of ${details.max} in use, ${details.waiting} of ${details.maxWaiting} waiting). ` +
        `Retry later, or raise tenants.max or tenants.maxWaiting.`,
      { ...details, poolId },
    );
    this.inUse = details.inUse;
    this.max = details.max;
    this.waiting = details.waiting;
    this.maxWaiting = details.maxWaiting;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** The backend has been down for longer than `failFastAfterMs`; `cause` is the last connect error. */
export class BackendUnavailableError extends PoolError {
  readonly code = 'POOL_BACKEND_UNAVAILABLE';
  /** When a new attempt is worth while, in milliseconds from now; undefined: unknown. */
  readonly retryAfterMs: number | undefined;

  /** @internal */
  constructor(
    poolId: string,
    downForMs: number,
    failures: number,
    details: PoolErrorDetails & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(
      `The backend of pool "${poolId}" has been down for ${ms(downForMs)} (${failures} failed connects, the last with ${describeError(details.cause)}). ` +
        `The pool keeps trying; retry later, or check that the server is up and its credentials are right.`,
      { ...details, poolId },
    );
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** A lease, or what it lent, was used after it had been given back. */
export class LeaseReleasedError extends PoolError {
  readonly code = 'POOL_LEASE_RELEASED';

  /** @internal */
  constructor(poolId: string, details: PoolErrorDetails = {}) {
    super(
      `This lease of pool "${poolId}" has been released; its connection may serve somebody else by now. ` +
        `Finish all work before release(), and acquire again for more.`,
      { ...details, poolId },
    );
  }
}

/** Every slot this acquire could get is held by code that itself waits for this pool: it would never end. */
export class NestedAcquireError extends PoolError {
  readonly code = 'POOL_NESTED_ACQUIRE';

  /** @internal */
  constructor(poolId: string, holders: number, details: PoolErrorDetails = {}) {
    super(
      `Deadlock in pool "${poolId}": all ${holders} slots that this acquire could get are held by code that waits for the same pool. ` +
        `Use the connection you hold (the argument of use() or transaction()) instead of acquiring another inside it.`,
      { ...details, poolId },
    );
  }
}

/**
 * An operation passed its own deadline and was given up. A PostgreSQL statement is cancelled, and its connection kept
 * if the server obeys; a Redis lease and an HTTP request lose their connection.
 */
export class OperationTimeoutError extends PoolError {
  readonly code = 'POOL_OPERATION_TIMEOUT';
  /** The limit that the operation passed, in milliseconds. */
  readonly timeoutMs: number;

  /** @internal */
  constructor(operation: string, timeoutMs: number, details: PoolErrorDetails = {}) {
    const where = details.poolId === undefined ? '' : ` of pool "${details.poolId}"`;
    super(`${operation}${where} took longer than ${ms(timeoutMs)} and was given up.`, details);
    this.timeoutMs = timeoutMs;
  }
}

function ms(value: number): string {
  return `${Math.round(value)} ms`;
}
