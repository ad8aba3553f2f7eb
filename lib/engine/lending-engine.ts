/**
 * The engine as those above it see it: what it lends, not how its connections are made.
 */
import type { Clock } from './time/clock.js';
import type { Deadlines } from './time/deadlines.js';
import type { CloseOptions, CloseReport } from './drain.js';
import type { LeaseHolder } from './errors.js';
import type { Lease } from './lease.js';
import type { PoolLimits, TenantLimits, TenantPolicy } from './limits.js';
import type { PoolCounters } from './pool-counters.js';
import type { ProbeOptions, ProbeOutcome } from './probe.js';
import type { LeaseReceiver } from './receivers.js';

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

/** One tenant's numbers. */
export interface TenantNumbers {
  /** `undefined`: work without a tenant. */
  readonly id: string | undefined;
  readonly limits: TenantLimits;
  readonly inUse: number;
  readonly waiting: number;
  /** Whether it may have one more slot. */
  readonly mayTake: boolean;
  readonly acquisitions: number;
  readonly timeouts: number;
  readonly rejections: number;
  /** Milliseconds over all its leases that have ended. */
  readonly heldMs: number;
  /** Milliseconds that its granted waiters had waited. */
  readonly waitedMs: number;
  /** Moving average, in milliseconds. */
  readonly meanHoldMs: number;
}

export interface LendingEngine<L> {
  readonly id: string;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly counters: PoolCounters;
  readonly limits: PoolLimits;
  readonly tenantPolicy: TenantPolicy;
  readonly lifecycle: 'cold' | 'open' | 'draining' | 'closed';
  readonly suspended: boolean;
  readonly generation: number;

  /** Slots taken, in all states together: what `maxSize` bounds. */
  readonly total: number;
  readonly idle: number;
  readonly active: number;
  readonly connecting: number;
  readonly recycling: number;
  readonly validating: number;
  readonly closing: number;
  readonly waiting: number;
  readonly oldestWaiterMs: number;
  tenants(): Iterable<TenantNumbers>;
  oldestHolders(most?: number): readonly LeaseHolder[];

  start(): void;
  whenReady(): Promise<void>;
  acquire(tenantId: string | undefined, options?: AcquireLimits): Promise<Lease<L>>;
  request(receiver: LeaseReceiver<L>, tenantId: string | undefined, options?: AcquireLimits): void;
  tryAcquire(tenantId: string | undefined): Lease<L> | undefined;
  /** What `acquire` would lend without a wait; else `undefined`, and nothing is made ready. */
  takeIdle(tenantId: string | undefined): Lease<L> | undefined;
  probe(options: ProbeOptions): Promise<ProbeOutcome>;
  changeLimits(change: Partial<PoolLimits>): void;
  changeTenantPolicy(policy: TenantPolicy): void;
  evict(): void;
  suspend(mode?: 'queue' | 'reject'): void;
  resume(): void;
  close(options: CloseOptions): Promise<CloseReport>;
}
