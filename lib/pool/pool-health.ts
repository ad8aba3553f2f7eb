/**
 * What is known of a pool's health: its status, what a health check is asked, and what it found.
 */
import type { ProbeOutcome } from '../engine/probe.js';

/**
 * - `starting`: nothing has been heard of the backend yet.
 * - `healthy`: the last sign was a good one.
 * - `degraded`: fewer failures in a row than `failureThreshold`, no slot came free for a probe, the server takes no
 *   more connections, or the backend answers, and says why it can't serve at the moment.
 * - `unhealthy`: `failureThreshold` failures in a row; the pool keeps trying.
 * - `draining`: closing; leases are being waited for.
 * - `closed`: nothing is lent any more.
 */
export type PoolStatus = 'starting' | 'healthy' | 'degraded' | 'unhealthy' | 'draining' | 'closed';

/** How a pool is probed in the background. */
export interface HealthCheckOptions {
  /** Time between two probes, varied at random by a tenth; 0: no background probes. */
  readonly intervalMs: number;
  /** How long a probe may take, waiting for a slot included. */
  readonly timeoutMs: number;
  /** Failures in a row that make a pool unhealthy. */
  readonly failureThreshold: number;
}

/**
 * What one health check found. `error` is not enumerable: it is for logs, and may name hosts that a public answer must
 * not.
 */
export interface HealthCheckResult {
  /** The state of the pool after the check. */
  readonly status: PoolStatus;
  /** Whether the backend can be expected to serve: `healthy` or `degraded`. */
  readonly available: boolean;
  /** Failed health checks and connects in a row; 0 after a success. */
  readonly consecutiveFailures: number;
  /** How the probe ended; undefined where there was none, because the pool isn't open. */
  readonly outcome?: ProbeOutcome | 'refused' | 'failed';
  /** When the probe ended, in epoch milliseconds. */
  readonly checkedAt?: number;
  /** How long the probe took, waiting for a slot included. */
  readonly durationMs?: number;
  /** Why the probe failed, or why the backend, which is there, refuses to serve. */
  readonly error?: unknown;
}

/** A change of the status of a pool. */
export interface StatusChange {
  /** The state before. */
  readonly from: PoolStatus;
  /** The state that it is in now. */
  readonly to: PoolStatus;
  /** The failure that led here, if one did. */
  readonly error: unknown;
}

/** How old the answer to a health check may be, and how long it may take. */
export interface HealthCheckRequest {
  /**
   * A result no older than this, in milliseconds, is good enough. Default 0: always probe; the same for what is no
   * duration (less, NaN). Keeps a busy health route from becoming load.
   */
  readonly maxAgeMs?: number;
  /**
   * How long to wait for the probe, in milliseconds; after that the answer is what is known already. Default, and with
   * `Infinity`: until it ends. What is no duration (0, less, NaN): not at all.
   */
  readonly waitMs?: number;
}
