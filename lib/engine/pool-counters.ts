/**
 * What a pool counts: plain numbers for events, histograms for durations.
 *
 * What can be read off a collection (how many are idle, leased, waiting) is not counted here, so it can't drift.
 */
import { DurationHistogram } from './duration-histogram.js';

/** Why a connection ended. */
export type DestroyReason =
  | 'broken' // it died by itself
  | 'fatal' // its borrower met a connection-class error
  | 'borrower' // its borrower asked for it, or its request's scope ended first
  | 'lifetime'
  | 'uses'
  | 'idle'
  | 'generation' // evict()
  | 'resize'
  | 'validation' // it did not answer a ping
  | 'cleaning' // it could not be made clean in time
  | 'closing'
  | 'cut'; // still lent at the deadline of close()

/** Why an acquire was refused at once. */
export type RejectionReason =
  'closed' | 'suspended' | 'queueFull' | 'tenantLimit' | 'backendDown' | 'nested' | 'aborted';

/** What was counted of one tenant since the pool came to know it. */
export interface TenantCounts {
  /** `undefined`: work without a tenant. */
  readonly id: string | undefined;
  readonly acquisitions: number;
  readonly timeouts: number;
  readonly rejections: number;
  /** Milliseconds over all its leases that have ended. */
  readonly heldMs: number;
  /** Milliseconds that its granted waiters had waited. */
  readonly waitedMs: number;
}

export class PoolCounters {
  /** Acquisitions that did not have to wait; they are not in `wait`. */
  immediate = 0;
  doubleReleases = 0;
  leaks = 0;
  connects = 0;
  connectFailures = 0;
  /** Connections that were made clean after use: on return, while idle, or ahead of the next borrower's statement. */
  resets = 0;
  readonly timeouts = { pool: 0, tenant: 0, backend: 0 };
  readonly rejections: Record<RejectionReason, number> = {
    closed: 0,
    suspended: 0,
    queueFull: 0,
    tenantLimit: 0,
    backendDown: 0,
    nested: 0,
    aborted: 0,
  };
  readonly destroyed: Record<DestroyReason, number> = {
    broken: 0,
    fatal: 0,
    borrower: 0,
    lifetime: 0,
    uses: 0,
    idle: 0,
    generation: 0,
    resize: 0,
    validation: 0,
    cleaning: 0,
    closing: 0,
    cut: 0,
  };
  /** How long granted waiters had waited. */
  readonly wait = new DurationHistogram();
  /** How long leases lasted. */
  readonly use = new DurationHistogram();
  /** How long connects took. */
  readonly connect = new DurationHistogram();
  /**
   * Called with counts of tenants that are kept nowhere else: those of a tenant that the pool forgets, and a rejection
   * of a tenant that it doesn't know. `undefined`: nothing listens.
   */
  forgotten: ((tenant: TenantCounts) => void) | undefined = undefined;
  readonly #forgottenListeners = new Set<(tenant: TenantCounts) => void>();

  get acquisitions(): number {
    return this.immediate + this.wait.count;
  }

  /**
   * Lets an exporter hear of counts of tenants that the pool doesn't keep: see {@link forgotten}.
   *
   * @param listener must not throw, and must not call the pool, which is in the middle of an acquire or a release.
   * @returns what ends it.
   */
  onForgotten(listener: (tenant: TenantCounts) => void): () => void {
    const listeners = this.#forgottenListeners;
    listeners.add(listener);
    this.forgotten = (tenant) => {
      for (const each of listeners) each(tenant);
    };
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.forgotten = undefined;
    };
  }
}
