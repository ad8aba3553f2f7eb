/**
 * The engine as those above it see it: what it lends, not how its connections are made.
 */
import type { EngineWatcher, WaitReason } from './engine-watcher.js';
import type { LeaseHolder } from './errors.js';
import type { Lease } from './lease.js';
import type { PoolLimits, TenantLimits, TenantPolicy } from './limits.js';
import type { PoolCounters, TenantCounts } from './pool-counters.js';
import type { ProbeOptions, ProbeOutcome } from './probe.js';
import type { LeaseReceiver } from './receivers.js';
import type { Clock } from './time/clock.js';
import type { Deadlines } from './time/deadlines.js';

/** How long one acquire may wait, and what ends the wait. */
export interface AcquireLimits {
  /**
   * How long to wait for a slot, in milliseconds. What is no duration (0, less, NaN): no longer than a tick of the
   * pool's clock, 10 ms; `Infinity`: without end. Default: the pool's `acquireTimeoutMs`.
   */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
}

export interface CloseOptions {
  /** How long leases may go on, in milliseconds; 0: cut them now. */
  readonly deadlineMs: number;
}

/** How a pool ended. */
export interface CloseReport {
  /** The id of the pool. */
  readonly poolId: string;
  /** From the first `close()` until the last connection was gone. */
  readonly waitedMs: number;
  /** Leases that came back in time. */
  readonly finished: number;
  /** Leases that were still out at the deadline; their connections were killed. */
  readonly cut: number;
  /** Waiters that were refused. */
  readonly refused: number;
  /** Who held the leases that were cut. */
  readonly holders: readonly LeaseHolder[];
}

/** One tenant's numbers. */
export interface TenantNumbers extends TenantCounts {
  readonly limits: TenantLimits;
  readonly inUse: number;
  readonly waiting: number;
  /** Whether it may have one more slot. */
  readonly mayTake: boolean;
  /** Moving average, in milliseconds. */
  readonly meanHoldMs: number;
}

/** Is told of a lease: whose it is, and for how long it has been out, in milliseconds. Must not call the pool. */
export type LeaseVisitor = (tenantId: string | undefined, heldMs: number) => void;

/** An engine's numbers at this moment. */
export interface EngineNumbers {
  /** Slots taken, in all states together: what `maxSize` bounds. */
  readonly total: number;
  readonly idle: number;
  /** Slots that are lent. */
  readonly active: number;
  readonly connecting: number;
  readonly recycling: number;
  readonly validating: number;
  readonly closing: number;
  /** Acquires that wait for a slot. */
  readonly waiting: number;
  /** Since when the waiter that waits longest has waited, in milliseconds; 0 when none waits. */
  readonly oldestWaiterMs: number;
  /** Tenants that the scheduler knows at the moment; the one without an id is work without a tenant. */
  tenants(): Iterable<TenantNumbers>;
  /** What an acquire of that tenant waits for. */
  whyItWaits(tenantId: string | undefined): WaitReason;
  /** Calls `visit` for each lease that is out, in no order. Pools have many: nothing is made for one. */
  eachLease(visit: LeaseVisitor): void;
}

export interface LendingEngine<L> {
  readonly id: string;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly counters: PoolCounters;
  readonly watcher: EngineWatcher;
  readonly limits: PoolLimits;
  readonly tenantPolicy: TenantPolicy;
  readonly lifecycle: 'cold' | 'open' | 'draining' | 'closed';
  readonly suspended: boolean;
  readonly generation: number;

  readonly numbers: EngineNumbers;

  /** Begins to open the minimum. Without it, the first acquire does. */
  start(): void;
  /**
   * Resolves once the minimum (at least one connection) has been opened. Failing connects are retried meanwhile.
   * Rejects with PoolClosedError when the pool closes first.
   */
  whenReady(): Promise<void>;
  /**
   * Lends a slot to `tenantId`, as soon as one is free and it is the tenant's turn.
   *
   * Rejects with PoolClosedError, PoolSuspendedError, AcquireTimeoutError, AcquireAbortedError, TenantLimitError,
   * QueueFullError, BackendUnavailableError or NestedAcquireError.
   */
  acquire(tenantId: string | undefined, options?: AcquireLimits): Promise<Lease<L>>;
  /**
   * The same without a promise, for kinds whose own operation has one already. Uncontended, `granted` is called at
   * once.
   */
  request(receiver: LeaseReceiver<L>, tenantId: string | undefined, options?: AcquireLimits): void;
  /**
   * A slot if one can be had without waiting, else `undefined`; a connection is opened then, or a stale one pinged, for
   * the next time.
   */
  tryAcquire(tenantId: string | undefined): Lease<L> | undefined;
  /**
   * A slot if `acquire` would lend one without a wait, else `undefined`. For a caller that queues up next: nothing is
   * made ready here.
   */
  takeIdle(tenantId: string | undefined): Lease<L> | undefined;
  /**
   * Looks whether the backend answers, on an idle connection if there is one. Else a recent success counts; else the
   * probe waits for a connection ahead of the queue.
   *
   * Rejects with the ping's error, the last connect error, or PoolClosedError.
   */
  probe(options: ProbeOptions): Promise<ProbeOutcome>;
  /** Takes over new limits. Idle connections above a lower maximum go now, leased ones when they come back. */
  changeLimits(change: Partial<PoolLimits>): void;
  /** Takes over new limits of tenants, at once. */
  changeTenantPolicy(policy: TenantPolicy): void;
  /**
   * Replaces every connection: idle ones now, leased ones when they come back. For rotated credentials, or after a
   * failover: what is under way with the old server is not waited for.
   */
  evict(): void;
  /**
   * Stops lending. `queue`: acquires wait for `resume()`, as long as their deadlines let them; `reject`: they fail at
   * once, those that wait already too.
   */
  suspend(mode?: 'queue' | 'reject'): void;
  resume(): void;
  /**
   * Refuses new acquires and waiters at once, gives leases until the deadline, then kills their connections. Always
   * resolves. Called again, it can only bring the deadline forward.
   */
  close(options: CloseOptions): Promise<CloseReport>;
}
