/**
 * One checkout of one slot. Every checkout is a new object, so a stale one can never touch the next borrower.
 */
import { inspect } from 'node:util';

import type { LeaseInfo } from './driver.js';
import { LeaseReleasedError } from './errors.js';
import { epochMs } from './time/clock.js';

/**
 * A slot that is yours until `release()`.
 *
 * @example
 * await using lease = await pool.acquire();
 * await lease.connection.query('select 1');
 */
export interface Lease<L> extends LeaseInfo, Disposable, AsyncDisposable {
  /**
   * What was acquired.
   *
   * @throws LeaseReleasedError after release; what the driver throws, where it lends on demand.
   */
  readonly connection: L;

  /**
   * Gives the slot back. Harmless when called again, though reported.
   *
   * @param error what went wrong with the connection, if anything did: a connection-class error costs the connection,
   * as does `true`.
   */
  release(error?: unknown): void;

  /**
   * Takes the lease out of the current request's scope, for work that outlives the response. Its release is up to you.
   */
  detach(): this;

  /** Pool, tenant, times and state; never the connection. */
  toJSON(): Record<string, unknown>;

  /** @internal Reading of the engine's clock. */
  readonly startedAtMs: number;
  /** @internal Where it was acquired, while leak detection is on. */
  readonly stack: string | undefined;
  /** @internal The request it belongs to; its end takes the lease back. */
  scope: LeaseKeeper | undefined;
  /** @internal The lease in whose `use` or `transaction` that of this one is. */
  readonly within: Lease<unknown> | undefined;

  /** @internal What the kind keeps about the lease's tenant. */
  readonly tenantMemory: TenantMemory;
  /** @internal Whether the lease is out while its tenant waits for another. */
  readonly tenantWaits: boolean;
  /** @internal Lets the oldest waiter of the same tenant share the lease, if it can. @returns whether it does. */
  shareWithNext(): boolean;
  /** @internal Takes the lease away from its borrower, whose own `release()` is then as it should be. */
  cut(): void;
  /** @internal Says that it serves a `use` or a `transaction`, which may be inside that of another lease. */
  serve(within: Lease<unknown> | undefined): void;
  /** @internal Counts a waiter that the lease's holder waits for, if it waits for this lease's own pool. */
  blockOn(pool: object): boolean;
  /** @internal */
  unblock(): void;
}

/** What a lease needs of the request whose end would take it back. */
export interface LeaseKeeper {
  /** The lease has ended, or leaves the request. */
  remove(lease: Lease<unknown>): void;
}

/** What a kind keeps about a tenant; it is forgotten with the tenant. */
export interface TenantMemory {
  memory: unknown;
}

/** What a lease needs of its pool. */
export interface LeaseOwner {
  readonly id: string;
  /** Leases that serve a `use` or a `transaction`. */
  servingLeases: number;
  /** Leases whose holders wait for this pool. */
  blockedLeases: number;
  reportDoubleRelease(lease: Lease<unknown>): void;
}

/** In place of what is lent: it is made when it is first read. */
export const ON_DEMAND = Symbol('on demand');

/** What a lease needs of its slot. */
export interface LeasedSlot<L> {
  readonly pool: LeaseOwner;
  readonly connection: unknown;
  /** What is lent of its connection. */
  readonly lent: L | typeof ON_DEMAND | undefined;
  /** Makes what is lent on demand. */
  lendTo(lease: PoolLease<L>): L;
  readonly tenant: { blockedLeases: number; readonly firstWaiting: unknown } & TenantMemory;
  /** Lets the tenant's oldest waiter share `lease`, if it can. @returns whether it does. */
  share(lease: PoolLease<L>): boolean;
  takeBack(lease: PoolLease<L>, error: unknown): void;
}

/** A lease that serves a `use` or a `transaction`, among others that do. */
interface Nesting {
  /** The lease in whose `use` or `transaction` this one is. */
  within: Lease<unknown> | undefined;
  /** Waiters that its holder waits for, of its own pool. */
  blockedWaiters: number;
}

/** `cut`: taken from its borrower, who may still release it once, to no effect. */
type LeaseState = 'out' | 'cut' | 'over';

/**
 * The engine's side of a lease; borrowers see it as {@link Lease}. One is made for every acquire, so there is no class
 * above it, whose constructor would be called, and its fields aren't #private, which cost more to define: but for the
 * one that leads to the connection and to what others wait for. Code that walks, spreads or clones a lease must not get
 * there.
 */
export class PoolLease<L> implements Lease<L> {
  /**
   * A lease is not a thenable. Each promise that is resolved with one looks for this up all its prototypes, unless it
   * finds it at once: a tenth of an acquire.
   */
  readonly then = undefined;
  readonly startedAtMs: number;
  stack: string | undefined = undefined;
  scope: LeaseKeeper | undefined = undefined;
  private nesting: Nesting | undefined = undefined;
  readonly tenantId: string | undefined;
  private state: LeaseState = 'out';
  readonly #slot: LeasedSlot<L>;

  constructor(slot: LeasedSlot<L>, tenantId: string | undefined, startedAtMs: number) {
    this.startedAtMs = startedAtMs;
    this.tenantId = tenantId;
    this.#slot = slot;
  }

  /**
   * The raw connection of a lease that is out, for the kind that opened it; `undefined` once the lease is over. Not a
   * member of the lease: what walks a lease would get there.
   */
  static connectionOf(lease: LeaseInfo): unknown {
    return #slot in lease && lease.state === 'out' ? lease.#slot.connection : undefined;
  }

  get poolId(): string {
    return this.#slot.pool.id;
  }

  get released(): boolean {
    return this.state !== 'out';
  }

  get connection(): L {
    if (this.state !== 'out') throw new LeaseReleasedError(this.poolId, { tenantId: this.tenantId });
    const { lent } = this.#slot;
    return lent === ON_DEMAND ? this.#slot.lendTo(this) : (lent as L);
  }

  release(error?: unknown): void {
    if (this.state === 'out') this.#slot.takeBack(this, error);
    else if (this.state === 'cut') this.state = 'over';
    else this.#slot.pool.reportDoubleRelease(this);
  }

  cut(): void {
    if (this.state !== 'out') return;
    this.markCut();
    this.#slot.takeBack(this, true);
  }

  /** The same for the pool itself, which then ends the lease on its own. */
  markCut(): void {
    this.state = 'cut';
  }

  /** Marks it as given back. The pool calls this first of all, so that nothing can use it meanwhile. */
  end(): void {
    if (this.state === 'out') this.state = 'over';
    this.scope?.remove(this);
    if (this.nesting === undefined) return;
    this.#slot.pool.servingLeases--;
    if (this.nesting.blockedWaiters > 0) this.countBlocked(-1);
  }

  get tenantMemory(): TenantMemory {
    return this.#slot.tenant;
  }

  get tenantWaits(): boolean {
    return this.state === 'out' && this.#slot.tenant.firstWaiting !== undefined;
  }

  shareWithNext(): boolean {
    return this.state === 'out' && this.#slot.share(this);
  }

  serve(within: Lease<unknown> | undefined): void {
    if (this.nesting !== undefined || this.state !== 'out') return;
    this.nesting = { within, blockedWaiters: 0 };
    this.#slot.pool.servingLeases++;
  }

  blockOn(pool: object): boolean {
    if (this.nesting === undefined || pool !== this.#slot.pool || this.state !== 'out') return false;
    if (this.nesting.blockedWaiters++ === 0) this.countBlocked(1);
    return true;
  }

  unblock(): void {
    if (this.nesting === undefined) return;
    if (--this.nesting.blockedWaiters === 0 && this.state === 'out') this.countBlocked(-1);
  }

  private countBlocked(change: 1 | -1): void {
    this.#slot.pool.blockedLeases += change;
    this.#slot.tenant.blockedLeases += change;
  }

  get acquiredAt(): number {
    return epochMs(this.startedAtMs);
  }

  get within(): Lease<unknown> | undefined {
    return this.nesting?.within;
  }

  detach(): this {
    this.scope?.remove(this);
    return this;
  }

  [Symbol.dispose](): void {
    if (!this.released) this.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this[Symbol.dispose]();
    return Promise.resolve();
  }

  /** Prints what {@link toJSON} says: neither the pool nor what is lent. */
  [inspect.custom](): string {
    return `Lease ${inspect(this.toJSON())}`;
  }

  toJSON(): Record<string, unknown> {
    return {
      poolId: this.poolId,
      tenantId: this.tenantId,
      acquiredAt: new Date(this.acquiredAt).toISOString(),
      released: this.released,
    };
  }
}
