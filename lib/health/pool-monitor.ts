/**
 * Watches one pool from the background and says what state it is in.
 *
 * Evidence comes from three sides: the monitor's own probes, connects that fail or succeed, and connections that die by themselves.
 * `failureThreshold` failures in a row make the pool `unhealthy`, fewer `degraded`; the first success clears them. A pool without a free slot is
 * `degraded`, never `unhealthy`: a saturated pool is not a dead backend.
 *
 * Promise: no check ever rejects, at most one probe is under way, and no status changes once the pool has closed. Timers are never referenced:
 * watching keeps no process alive.
 */
import type { Clock, TimerHandle } from '../engine/clock.js';
import { runOutside } from '../engine/outside-context.js';

/**
 * - `starting`: nothing has been heard of the backend yet.
 * - `healthy`: the last sign was a good one.
 * - `degraded`: fewer failures in a row than `failureThreshold`, or no slot came free for a probe.
 * - `unhealthy`: `failureThreshold` failures in a row; the pool keeps trying.
 * - `draining`: closing; leases are being waited for.
 * - `closed`: nothing is lent any more.
 */
export type PoolStatus = 'starting' | 'healthy' | 'degraded' | 'unhealthy' | 'draining' | 'closed';

/** How a probe ended that didn't fail: a connection answered, one had answered within the interval, or no slot came free in time. */
export type ProbeOutcome = 'alive' | 'recent' | 'saturated';

export interface ProbeResult {
  readonly outcome: ProbeOutcome;
}

export interface HealthCheckOptions {
  /** Time between two probes, jittered by a quarter either way; 0: no background probes. */
  readonly intervalMs: number;
  /** How long a probe may take, waiting for a slot included. */
  readonly timeoutMs: number;
  /** Failures in a row that make a pool unhealthy. */
  readonly failureThreshold: number;
}

/** What one health check found. `error` is not enumerable: it is for logs, and may name hosts that a public answer must not. */
export interface HealthCheckResult {
  readonly status: PoolStatus;
  /** Whether the backend can be expected to serve: `healthy` or `degraded`. */
  readonly available: boolean;
  /** How the probe ended; undefined where none was made because the pool is closing. */
  readonly outcome: ProbeOutcome | 'failed' | undefined;
  /** Epoch milliseconds of the probe's end. */
  readonly checkedAt: number;
  readonly durationMs: number;
  readonly consecutiveFailures: number;
  /** Why the probe failed. */
  readonly error?: unknown;
}

export interface StatusChange {
  readonly from: PoolStatus;
  readonly to: PoolStatus;
  /** The failure that led here, if one did. */
  readonly error: unknown;
}

export interface PoolMonitorParts {
  /** Rejects with the ping's or the connect's error; must settle within the time it is given. */
  readonly probe: (timeoutMs: number) => Promise<ProbeResult>;
  readonly options: HealthCheckOptions;
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** Called outside any tenant's context, once for each change. */
  readonly onStatus: (change: StatusChange) => void;
}

/** What breaks within one second is one failure: a server that restarts takes every connection with it at once. */
const BURST_MS = 1_000;

/** A pool that isn't well is probed ten times as often, but not more than once a second (unless its interval is shorter still). */
const FASTER = 10;
const FASTEST_INTERVAL_MS = 1_000;

/** Scheduled probes come up to this share of their interval early or late, so that pools and processes don't probe in step. */
const JITTER = 0.25;

type Phase = 'cold' | 'watching' | 'draining' | 'closed';

export class PoolMonitor {
  private readonly parts: PoolMonitorParts;
  private phase: Phase = 'cold';
  /** Whether the backend has ever been seen alive. */
  private everAlive = false;
  private saturated = false;
  private failures = 0;
  private failedAtMs = Number.NEGATIVE_INFINITY;
  private failure: unknown;
  private reported: PoolStatus = 'starting';
  private timer: TimerHandle | undefined;
  private dueAtMs = Number.POSITIVE_INFINITY;
  private underWay: Promise<HealthCheckResult> | undefined;
  private last: HealthCheckResult | undefined;

  constructor(parts: PoolMonitorParts) {
    this.parts = parts;
  }

  get status(): PoolStatus {
    if (this.phase === 'closed' || this.phase === 'draining') return this.phase;
    if (this.failures >= this.parts.options.failureThreshold) return 'unhealthy';
    if (!this.everAlive) return 'starting';
    return this.failures > 0 || this.saturated ? 'degraded' : 'healthy';
  }

  /** Failures since the last success. */
  get consecutiveFailures(): number {
    return this.failures;
  }

  /** The newest finished check, whoever asked for it. */
  get lastResult(): HealthCheckResult | undefined {
    return this.last;
  }

  /** The newest failure; cleared by a success. */
  get lastError(): unknown {
    return this.failure;
  }

  /** Begins to watch; the first probe comes after a short interval, because opening the pool says more and sooner. */
  start(): void {
    if (this.phase !== 'cold') return;
    this.phase = 'watching';
    this.schedule();
  }

  /** The pool has begun to close: no more probes. */
  drain(): void {
    if (this.phase === 'closed') return;
    this.phase = 'draining';
    this.unschedule();
    this.report();
  }

  /** The pool has closed. */
  close(): void {
    this.phase = 'closed';
    this.unschedule();
    this.report();
  }

  /** A connection was opened. Enough to call a starting pool healthy; a failing one is probed at once, for a server may accept and still not serve. */
  connected(): void {
    if (this.phase === 'closed' || this.phase === 'draining') return;
    if (!this.everAlive && this.failures === 0) {
      this.succeeded(false);
    } else if (this.failures > 0) {
      void this.check();
    } else {
      this.everAlive = true;
    }
  }

  /** A connect failed. */
  connectFailed(error: unknown): void {
    this.failed(error, 'passing');
  }

  /** A connection died by itself, or a borrower handed one back with a fatal error. */
  connectionBroken(error: unknown): void {
    this.failed(error, 'passing');
  }

  /**
   * Probes now, or joins the probe under way.
   *
   * @param maxAgeMs a result no older than this is good enough; default 0: always probe. Keeps a busy health route from becoming load.
   */
  check(maxAgeMs = 0): Promise<HealthCheckResult> {
    if (this.underWay !== undefined) return this.underWay;
    if (this.phase === 'draining' || this.phase === 'closed') {
      return Promise.resolve(this.result(undefined, this.parts.clock.now(), undefined));
    }
    const { last } = this;
    if (maxAgeMs > 0 && last !== undefined && Date.now() - last.checkedAt <= maxAgeMs) {
      return Promise.resolve(this.withPresentStatus(last));
    }
    this.underWay = runOutside(() => this.probe());
    return this.underWay;
  }

  private async probe(): Promise<HealthCheckResult> {
    const { probe, options, clock } = this.parts;
    const startedAtMs = clock.now();
    let outcome: ProbeOutcome | 'failed';
    let error: unknown;
    try {
      outcome = (await probe(options.timeoutMs)).outcome;
      if (outcome === 'saturated') this.foundSaturated();
      else this.succeeded(true);
    } catch (cause) {
      outcome = 'failed';
      error = cause;
      this.failed(cause, 'probe');
    }
    this.underWay = undefined;
    this.last = this.result(outcome, startedAtMs, error);
    this.schedule();
    return this.last;
  }

  private succeeded(answered: boolean): void {
    this.everAlive = true;
    this.failures = 0;
    this.failedAtMs = Number.NEGATIVE_INFINITY;
    this.failure = undefined;
    if (answered) this.saturated = false;
    this.report();
  }

  private foundSaturated(): void {
    this.saturated = true;
    this.report();
  }

  /** A probe always counts: probes come one at a time. What happens in passing comes in bursts, and a burst is one failure. */
  private failed(error: unknown, source: 'probe' | 'passing'): void {
    if (this.phase === 'draining' || this.phase === 'closed') return;
    const now = this.parts.clock.now();
    const burstMs = Math.min(BURST_MS, this.parts.options.intervalMs);
    this.failure = error;
    if (source === 'passing' && now - this.failedAtMs < burstMs) return;
    this.failedAtMs = now;
    this.failures += 1;
    this.report();
    if (source === 'passing') this.schedule();
  }

  private report(): void {
    const to = this.status;
    const from = this.reported;
    if (to === from) return;
    this.reported = to;
    const change: StatusChange = { from, to, error: this.failure };
    runOutside(() => this.parts.onStatus(change));
  }

  /** Puts the next probe where the present status wants it, never later than it already was to come. */
  private schedule(): void {
    const { options, clock, random } = this.parts;
    if (this.phase !== 'watching' || options.intervalMs <= 0 || this.underWay !== undefined) return;
    const faster = Math.min(options.intervalMs, Math.max(FASTEST_INTERVAL_MS, options.intervalMs / FASTER));
    const intervalMs = this.status === 'healthy' ? options.intervalMs : faster;
    const delayMs = intervalMs * (1 - JITTER + 2 * JITTER * random());
    const dueAtMs = clock.now() + delayMs;
    if (this.timer !== undefined) {
      if (this.dueAtMs <= dueAtMs) return;
      this.timer.cancel();
    }
    this.dueAtMs = dueAtMs;
    this.timer = runOutside(() =>
      clock.setTimer(() => {
        this.timer = undefined;
        void this.check();
      }, delayMs),
    );
  }

  private unschedule(): void {
    this.timer?.cancel();
    this.timer = undefined;
  }

  private result(outcome: HealthCheckResult['outcome'], startedAtMs: number, error: unknown): HealthCheckResult {
    const { status } = this;
    const result: HealthCheckResult = {
      status,
      available: status === 'healthy' || status === 'degraded',
      outcome,
      checkedAt: Date.now(),
      durationMs: this.parts.clock.now() - startedAtMs,
      consecutiveFailures: this.failures,
    };
    if (error !== undefined) Object.defineProperty(result, 'error', { value: error, enumerable: false });
    return result;
  }

  /** An earlier result, with what has been learnt since. */
  private withPresentStatus(earlier: HealthCheckResult): HealthCheckResult {
    const { status } = this;
    const result: HealthCheckResult = {
      ...earlier,
      status,
      available: status === 'healthy' || status === 'degraded',
      consecutiveFailures: this.failures,
    };
    if (earlier.error !== undefined) Object.defineProperty(result, 'error', { value: earlier.error, enumerable: false });
    return result;
  }
}
