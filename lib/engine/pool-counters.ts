/**
 * What a pool counts: plain numbers for events, histograms for durations.
 *
 * What can be read off a collection (how many are idle, leased, waiting) is not counted here, so it can't drift.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';

/** Why a connection ended. */
export type DestroyReason =
  | 'broken' // it died by itself
  | 'fatal' // its borrower met a connection-class error
  | 'borrower' // its borrower asked for it, or its request's scope ended first
  | 'lifetime'
  | 'uses'
  | 'idle'
  | 'generation' // recycle()
  | 'resize'
  | 'validation' // it did not answer a ping
  | 'cleaning' // it could not be made clean in time
  | 'closing'
  | 'cut'; // still lent at the deadline of close()

/** Why an acquire was refused at once. */
export type RejectionReason =
  'closed' | 'suspended' | 'queueFull' | 'tenantLimit' | 'backendDown' | 'nested' | 'aborted';

/** Microseconds in a millisecond: histograms take whole numbers. */
const US = 1_000;
/** Longest duration a histogram tells apart: one hour. */
const LONGEST_US = 3_600_000_000;

function durations(): RecordableHistogram {
  // Two significant digits: 1 % of precision at a tenth of the memory of three.
  return createHistogram({ lowest: 1, highest: LONGEST_US, figures: 2 });
}

/** Adds a duration in milliseconds to a histogram of microseconds. */
export function record(histogram: RecordableHistogram, durationMs: number): void {
  const us = Math.round(durationMs * US);
  histogram.record(us < 1 ? 1 : us > LONGEST_US ? LONGEST_US : us);
}

export class PoolCounters {
  acquisitions = 0;
  /** Acquisitions that did not have to wait; they are not in `wait`. */
  immediate = 0;
  releases = 0;
  doubleReleases = 0;
  leaks = 0;
  connects = 0;
  connectFailures = 0;
  /** Returned connections that needed cleaning. */
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
  readonly wait = durations();
  /** How long leases lasted. */
  readonly use = durations();
  /** How long connects took. */
  readonly connect = durations();
}
