/**
 * The errors with which a pool refuses who waits or would wait: what happened, the numbers of that moment, and when to
 * come again.
 */
import {
  AcquireTimeoutError,
  type AcquireTimeoutKind,
  BackendUnavailableError,
  type LeaseHolder,
  QueueFullError,
  TenantLimitError,
} from './errors.js';
import type { TenantNumbers } from './lending-engine.js';
import type { PoolLimits } from './limits.js';

/** What the errors tell of a pool. */
export interface RejectingPool {
  readonly id: string;
  readonly limits: PoolLimits;
  readonly numbers: RejectionNumbers;
  /** Leases whose holders wait for this pool. */
  readonly blockedLeases: number;
}

/** Its numbers, as far as errors tell them. */
export interface RejectionNumbers {
  readonly idle: number;
  readonly active: number;
  readonly recycling: number;
  readonly validating: number;
  readonly connecting: number;
  readonly waiting: number;
  /** Connections that are open, in all states together. */
  readonly open: number;
  readonly meanHoldMs: number;
  readonly connectFailures: number;
  readonly lastConnectError: Error | undefined;
  /** What last failed for want of a backend, if anything has since `sinceMs`, a reading of the clock, or still does. */
  backendFailure(sinceMs: number): BackendFailure | undefined;
  downForMs(nowMs: number): number;
  oldestHolders(): readonly LeaseHolder[];
}

/** Why there was no connection. */
export interface BackendFailure {
  readonly step: 'connect' | 'ping';
  readonly error: Error;
}

export class Rejections {
  readonly #pool: RejectingPool;

  constructor(pool: RejectingPool) {
    this.#pool = pool;
  }

  tenantLimit(tenant: TenantNumbers): TenantLimitError {
    return new TenantLimitError(this.#pool.id, {
      tenantId: tenant.id,
      inUse: tenant.inUse,
      max: tenant.limits.max,
      waiting: tenant.waiting,
      maxWaiting: tenant.limits.maxWaiting,
      retryAfterMs: this.#tenantRetryAfterMs(tenant),
    });
  }

  queueFull(tenant: TenantNumbers): QueueFullError {
    const { id, numbers, limits } = this.#pool;
    return new QueueFullError(id, numbers.waiting, limits.maxQueue, {
      tenantId: tenant.id,
      retryAfterMs: this.#retryAfterMs(),
    });
  }

  backendUnavailable(tenant: TenantNumbers, nowMs: number): BackendUnavailableError {
    const { id, numbers } = this.#pool;
    return new BackendUnavailableError(id, numbers.downForMs(nowMs), numbers.connectFailures, {
      tenantId: tenant.id,
      cause: numbers.lastConnectError,
      retryAfterMs: this.#retryAfterMs(),
    });
  }

  timedOut(tenant: TenantNumbers, sinceMs: number, waitedMs: number): AcquireTimeoutError {
    const { id, limits, numbers, blockedLeases } = this.#pool;
    const { idle, active, recycling, validating, connecting, waiting } = numbers;
    const kind: AcquireTimeoutKind = !tenant.mayTake
      ? 'tenant'
      : active + recycling < limits.maxSize
        ? 'backend'
        : 'pool';
    const failure = kind === 'backend' ? numbers.backendFailure(sinceMs) : undefined;
    return new AcquireTimeoutError(kind, {
      poolId: id,
      tenantId: tenant.id,
      cause: failure?.error,
      failedStep: failure?.step,
      validating,
      recycling,
      waitedMs,
      numbers: { active, idle, connecting, waiting, maxSize: limits.maxSize },
      oldestHolders: numbers.oldestHolders(),
      tenantInUse: tenant.inUse,
      tenantMax: tenant.limits.max,
      blockedHolders: blockedLeases,
      retryAfterMs: kind === 'tenant' ? this.#tenantRetryAfterMs(tenant) : this.#retryAfterMs(),
    });
  }

  /** When a slot should be free for one more waiter: the queue ahead times the mean hold, over all slots. */
  #retryAfterMs(): number {
    const { waiting, meanHoldMs } = this.#pool.numbers;
    return ((waiting + 1) * meanHoldMs) / this.#pool.limits.maxSize;
  }

  #tenantRetryAfterMs({ waiting, meanHoldMs, limits }: TenantNumbers): number {
    return ((waiting + 1) * meanHoldMs) / Math.max(1, Math.min(limits.max, this.#pool.limits.maxSize));
  }
}
