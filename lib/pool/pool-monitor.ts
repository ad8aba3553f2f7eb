/**
 * Watches one pool from the background and says what state it is in.
 *
 * Evidence comes from three sides: the monitor's own probes, connects that fail or succeed, and connections that die by
 * themselves. `failureThreshold` failures in a row make the pool `unhealthy`, fewer `degraded`; the first success
 * clears them. A pool without a free slot is `degraded`, never `unhealthy`: a saturated pool is not a dead backend. Nor
 * is a backend that answers why it can't serve, or a server that has no room for one more connection while those that
 * there are work.
 *
 * Promise: no check ever rejects, at most one probe is under way, and no status changes once the pool has closed.
 * Timers are never referenced: watching keeps no process alive.
 */
import type { Clock, TimerHandle } from '../engine/time/clock.js';
import { setDeadline } from '../engine/time/late-timer.js';
import { runOutside } from '../engine/outside-context.js';
import type { ProbeOptions, ProbeOutcome } from '../engine/probe.js';
import { toError } from '../engine/to-error.js';

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

export interface PoolMonitorDependencies {
  /**
   * Rejects with the ping's or the connect's error; must settle within the time it is given. Resolves with an error
   * when the backend is there, and says why it can't serve at the moment.
   */
  readonly probe: (options: ProbeOptions) => Promise<ProbeOutcome | Error>;
  readonly options: HealthCheckOptions;
  readonly clock: Clock;
  /** Evenly distributed in [0, 1). */
  readonly random: () => number;
  /** Called outside any tenant's context, once for each change. */
  readonly onStatus: (change: StatusChange) => void;
}

/** What breaks within one second is one failure: a server that restarts takes every connection with it at once. */
const BURST_MS = 1_000;

/**
 * A pool that isn't well is probed ten times as often, but not more than once a second (unless its interval is shorter
 * still).
 */
const FASTER = 10;
const FASTEST_INTERVAL_MS = 1_000;

/**
 * Scheduled probes come up to this share of their interval early or late, so that pools and processes don't probe in
 * step.
 */
const JITTER = 0.1;
/** Those of a pool that isn't well more so: an outage is what puts many processes in step. */
const FASTER_JITTER = 0.5;

/**
 * A server that was full counts as such for this long at least where there are no probes, else for an interval: it is
 * refused again and again.
 */
const FULL_MS = 1_000;

type Phase = 'cold' | 'watching' | 'draining' | 'closed';

/** What a probe brought to light. */
interface Finding {
  readonly outcome: ProbeOutcome | 'refused' | 'failed';
  readonly error: unknown;
  readonly checkedAt: number;
  readonly durationMs: number;
  readonly finishedAtMs: number;
}

export class PoolMonitor {
  private readonly dependencies: PoolMonitorDependencies;
  private phase: Phase = 'cold';
  /** Whether the backend has ever been seen alive. */
  private everAlive = false;
  private saturated = false;
  private failures = 0;
  private failedAtMs = Number.NEGATIVE_INFINITY;
  /** Failures counted so far, with or without successes between them. */
  private failuresEver = 0;
  private failure: unknown;
  private obstacle: Error | undefined;
  /** What the server last said when it had no room for another connection. */
  private full: Error | undefined;
  private fullAtMs = Number.NEGATIVE_INFINITY;
  /** Why the backend, which is there, can't serve. */
  private rejection: Error | undefined;
  private reported: PoolStatus = 'starting';
  private timer: TimerHandle | undefined;
  private dueAtMs = Number.POSITIVE_INFINITY;
  private underWay: Promise<HealthCheckResult> | undefined;
  private last: Finding | undefined;

  constructor(dependencies: PoolMonitorDependencies) {
    this.dependencies = dependencies;
  }

  get status(): PoolStatus {
    if (this.phase === 'closed' || this.phase === 'draining') return this.phase;
    if (this.obstacle !== undefined || this.failures >= this.dependencies.options.failureThreshold) return 'unhealthy';
    if (!this.everAlive) return 'starting';
    const refuses = this.full !== undefined || this.rejection !== undefined;
    return this.failures > 0 || this.saturated || refuses ? 'degraded' : 'healthy';
  }

  /** Failures since the last success. */
  get consecutiveFailures(): number {
    return this.failures;
  }

  /** The newest finished check, asked for or of the pool's own. */
  get lastResult(): HealthCheckResult | undefined {
    return this.last === undefined ? undefined : this.result(this.last);
  }

  /** The newest failure; cleared by a success. Or why the pool serves nothing although its backend answers. */
  get lastError(): unknown {
    return this.obstacle ?? this.failure ?? this.rejection;
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

  /**
   * A connection was opened. Enough to call a starting pool healthy; a failing one is probed at once, for a server may
   * accept and still not serve.
   */
  connected(): void {
    if (this.phase !== 'watching') return;
    if (this.failures > 0) void this.check();
    else if (!this.everAlive || this.full !== undefined) this.succeeded();
  }

  /** A connect was refused because the server has no room for one more connection, while others to it are alive. */
  serverFull(error: Error): void {
    if (this.phase !== 'watching') return;
    this.full = error;
    this.fullAtMs = this.dependencies.clock.now();
    this.failure = error;
    this.report();
    this.schedule();
  }

  /** A connect failed. */
  connectFailed(error: unknown): void {
    this.failedInPassing(error);
  }

  /** A connection died by itself, or a borrower handed one back with a fatal error. */
  connectionBroken(error: unknown): void {
    this.failedInPassing(error);
  }

  /** The pool serves nothing, although its backend may answer, until this is called with undefined. */
  obstructed(obstacle: Error | undefined): void {
    this.obstacle = obstacle;
    this.report();
  }

  /** Probes now, or joins the probe under way. A pool that isn't open is not probed. Never rejects. */
  check({ maxAgeMs = 0, waitMs }: HealthCheckRequest = {}): Promise<HealthCheckResult> {
    const { clock } = this.dependencies;
    if (this.phase !== 'watching') return Promise.resolve(this.result(undefined));
    const { last } = this;
    if (maxAgeMs > 0 && last !== undefined && clock.now() - last.finishedAtMs <= maxAgeMs) {
      return Promise.resolve(this.result(last));
    }
    const probe = (this.underWay ??= runOutside(() => this.probe()));
    return waitMs === undefined ? probe : this.whicheverIsFirst(probe, waitMs);
  }

  private whicheverIsFirst(probe: Promise<HealthCheckResult>, waitMs: number): Promise<HealthCheckResult> {
    return new Promise((resolve) => {
      const timer = setDeadline(this.dependencies.clock, () => resolve(this.result(this.last)), waitMs);
      timer.ref();
      void probe.then((result) => {
        timer.cancel();
        resolve(result);
      });
    });
  }

  private async probe(): Promise<HealthCheckResult> {
    const { probe, options, clock } = this.dependencies;
    const startedAtMs = clock.now();
    const failuresBefore = this.failuresEver;
    let outcome: Finding['outcome'] = 'failed';
    let error: unknown;
    try {
      const answer = await probe({ timeoutMs: options.timeoutMs, recentMs: this.recentMs(startedAtMs) });
      if (typeof answer === 'string') outcome = answer;
      else [outcome, error] = ['refused', answer];
    } catch (cause) {
      error = cause;
    }
    const finishedAtMs = clock.now();
    const finding: Finding = {
      outcome,
      error,
      checkedAt: Date.now(),
      durationMs: finishedAtMs - startedAtMs,
      finishedAtMs,
    };
    this.last = finding;
    this.underWay = undefined;
    this.judge(finding, failuresBefore);
    this.schedule();
    return this.result(finding);
  }

  /**
   * How old a success may be to say that the backend is alive now: it counts for an interval, but never from before the
   * last failure.
   */
  private recentMs(nowMs: number): number {
    const { intervalMs } = this.dependencies.options;
    return this.failures === 0 ? intervalMs : Math.min(intervalMs, nowMs - this.failedAtMs);
  }

  private judge(finding: Finding, failuresBefore: number): void {
    switch (finding.outcome) {
      case 'alive':
      case 'recent':
        this.succeeded();
        break;
      case 'refused':
        this.succeeded(toError(finding.error));
        break;
      case 'saturated':
        this.saturated = true;
        this.report();
        break;
      case 'failed':
        // A connect that failed on behalf of this probe has been counted already.
        if (this.failuresEver > failuresBefore) this.failure = finding.error;
        else this.failed(finding.error);
    }
  }

  private succeeded(rejection?: Error): void {
    const { clock, options } = this.dependencies;
    this.rejection = rejection;
    this.everAlive = true;
    this.saturated = false;
    this.failures = 0;
    if (clock.now() - this.fullAtMs >= Math.max(FULL_MS, options.intervalMs)) this.full = undefined;
    this.failure = this.full;
    this.report();
  }

  private failed(error: unknown): void {
    if (this.phase !== 'watching') return;
    this.failure = error;
    this.failedAtMs = this.dependencies.clock.now();
    this.failures += 1;
    this.failuresEver += 1;
    this.report();
  }

  /**
   * A failure that no probe asked for. Unlike probes, which come one at a time, these come in bursts; a burst counts
   * once.
   */
  private failedInPassing(error: unknown): void {
    const { clock, options } = this.dependencies;
    const burstMs = options.intervalMs > 0 ? Math.min(BURST_MS, options.intervalMs) : BURST_MS;
    if (this.failures > 0 && clock.now() - this.failedAtMs < burstMs) {
      this.failure = error;
      return;
    }
    this.failed(error);
    this.schedule();
  }

  private report(): void {
    const to = this.status;
    const from = this.reported;
    if (to === from) return;
    this.reported = to;
    const change: StatusChange = { from, to, error: this.lastError };
    runOutside(() => this.dependencies.onStatus(change));
  }

  /** Puts the next probe where the present status wants it, never later than it already was to come. */
  private schedule(): void {
    const { options, clock, random } = this.dependencies;
    if (this.phase !== 'watching' || options.intervalMs <= 0 || this.underWay !== undefined) return;
    const well = this.status === 'healthy';
    const fasterMs = Math.min(options.intervalMs, Math.max(FASTEST_INTERVAL_MS, options.intervalMs / FASTER));
    const jitter = well ? JITTER : FASTER_JITTER;
    const delayMs = (well ? options.intervalMs : fasterMs) * (1 - jitter + 2 * jitter * random());
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

  /** A finding, with the status of this moment. */
  private result(finding: Finding | undefined): HealthCheckResult {
    const { status } = this;
    const result: HealthCheckResult = {
      status,
      available: status === 'healthy' || status === 'degraded',
      consecutiveFailures: this.failures,
      ...(finding !== undefined && {
        outcome: finding.outcome,
        checkedAt: finding.checkedAt,
        durationMs: finding.durationMs,
      }),
    };
    const error: unknown = this.obstacle ?? finding?.error;
    if (error !== undefined) Object.defineProperty(result, 'error', { value: error, enumerable: false });
    return result;
  }
}
