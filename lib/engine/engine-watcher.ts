/**
 * The hook by which layers above see acquires, connects and releases while they happen.
 *
 * While nothing is watched it costs an acquire and a release the look at a property: no allocation, no reading of the
 * clock.
 */
import type { Lease } from './lease.js';
import type { RejectionReason } from './pool-counters.js';
import type { LeaseReceiver } from './receivers.js';

/** Why an acquire has to wait. */
export type WaitReason =
  | 'pool' // every slot is in use
  | 'tenant' // the tenant has as many slots as it may have
  | 'connecting' // its connection is being opened, or pinged
  | 'backend' // connects fail
  | 'suspended';

/** Why an acquire ended without a lease. */
export type RefusalReason = RejectionReason | 'timeout';

/** What is told of an engine's work. A watcher may call the pool from each of its methods. */
export interface EngineWatcher {
  /** Whether acquires are to be passed through {@link acquire}. */
  readonly watchesAcquires: boolean;
  /** Whether releases are to be told. */
  readonly watchesReleases: boolean;
  /**
   * Watches an acquire that may have to wait. It has to call `request` once, at once, with a receiver that passes to
   * `receiver` what it is told.
   *
   * @param whyItWaits tells, while the acquire waits, what for.
   */
  acquire<L>(
    receiver: LeaseReceiver<L>,
    tenantId: string | undefined,
    request: (receiver: LeaseReceiver<L>) => void,
    whyItWaits: () => WaitReason,
  ): void;
  /** An acquire that could not have waited was granted. */
  acquired(lease: Lease<unknown>): void;
  /** A lease has ended. @param error what its borrower returned it with. */
  released(lease: Lease<unknown>, heldMs: number, error: unknown): void;
  /** An acquire has ended without a lease. */
  refused(tenantId: string | undefined, reason: RefusalReason, waitedMs: number, error: Error): void;
  /** Watches a connect: returns what `open` returns. */
  connect<C>(open: () => Promise<C>): Promise<C>;
  /** Every connection is being replaced. @param generation of the new ones. */
  evicted(generation: number): void;
}

/** Watches nothing. */
export const NO_WATCHER: EngineWatcher = {
  watchesAcquires: false,
  watchesReleases: false,
  acquire: (receiver, _tenantId, request) => request(receiver),
  acquired() {},
  released() {},
  refused() {},
  connect: (open) => open(),
  evicted() {},
};
