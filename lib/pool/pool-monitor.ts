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
import { runOutside } from '../engine/outside-context.js';
import type { ProbeOptions, ProbeOutcome } from '../engine/probe.js';
import type { Clock } from '../engine/time/clock.js';
import { setDeadline } from '../engine/time/late-timer.js';
import { toError } from '../engine/to-error.js';
import type {
  HealthCheckOptions,
  HealthCheckRequest,
  HealthCheckResult,
  PoolStatus,
  StatusChange,
} from './pool-health.js';
import { ProbeSchedule } from './probe-schedule.js';

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
  readonly #dependencies: PoolMonitorDependencies;
  readonly #probes: ProbeSchedule;
  #phase: Phase = 'cold';
  /** Whether the backend has ever been seen alive. */
  #everAlive = false;
  #saturated = false;
  #failures = 0;
  #failedAtMs = Number.NEGATIVE_INFINITY;
  /** Failures counted so far, with or without successes between them. */
  #failuresEver = 0;
  #failure: unknown;
  #obstacle: Error | undefined;
  /** What the server last said when it had no room for another connection. */
  #full: Error | undefined;
  #fullAtMs = Number.NEGATIVE_INFINITY;
  /** Why the backend, which is there, can't serve. */
  #rejection: Error | undefined;
  #reported: PoolStatus = 'starting';
  #underWay: Promise<HealthCheckResult> | undefined;
  #last: Finding | undefined;

  constructor(dependencies: PoolMonitorDependencies) {
    this.#dependencies = dependencies;
    const { clock, random, options } = dependencies;
    this.#probes = new ProbeSchedule({ clock, random, intervalMs: options.intervalMs }, () => void this.check());
  }

  get status(): PoolStatus {
    if (this.#phase === 'closed' || this.#phase === 'draining') return this.#phase;
    if (this.#obstacle !== undefined || this.#failures >= this.#dependencies.options.failureThreshold)
      return 'unhealthy';
    if (!this.#everAlive) return 'starting';
    const refuses = this.#full !== undefined || this.#rejection !== undefined;
    return this.#failures > 0 || this.#saturated || refuses ? 'degraded' : 'healthy';
  }

  /** Failures since the last success. */
  get consecutiveFailures(): number {
    return this.#failures;
  }

  /** The newest finished check, asked for or of the pool's own. */
  get lastResult(): HealthCheckResult | undefined {
    return this.#last === undefined ? undefined : this.#result(this.#last);
  }

  /** The newest failure; cleared by a success. Or why the pool serves nothing although its backend answers. */
  get lastError(): unknown {
    return this.#obstacle ?? this.#failure ?? this.#rejection;
  }

  /** Begins to watch; the first probe comes after a short interval, because opening the pool says more and sooner. */
  start(): void {
    if (this.#phase !== 'cold') return;
    this.#phase = 'watching';
    this.#schedule();
  }

  /** The pool has begun to close: no more probes. */
  drain(): void {
    if (this.#phase === 'closed') return;
    this.#phase = 'draining';
    this.#probes.cancel();
    this.#report();
  }

  /** The pool has closed. */
  close(): void {
    this.#phase = 'closed';
    this.#probes.cancel();
    this.#report();
  }

  /**
   * A connection was opened. Enough to call a starting pool healthy; a failing one is probed at once, for a server may
   * accept and still not serve.
   */
  connected(): void {
    if (this.#phase !== 'watching') return;
    if (this.#failures > 0) void this.check();
    else if (!this.#everAlive || this.#full !== undefined) this.#succeeded();
  }

  /** A connect was refused because the server has no room for one more connection, while others to it are alive. */
  serverFull(error: Error): void {
    if (this.#phase !== 'watching') return;
    this.#full = error;
    this.#fullAtMs = this.#dependencies.clock.now();
    this.#failure = error;
    this.#report();
    this.#schedule();
  }

  /** A connect failed. */
  connectFailed(error: unknown): void {
    this.#failedInPassing(error);
  }

  /** A connection died by itself, or a borrower handed one back with a fatal error. */
  connectionBroken(error: unknown): void {
    this.#failedInPassing(error);
  }

  /** The pool serves nothing, although its backend may answer, until this is called with undefined. */
  obstructed(obstacle: Error | undefined): void {
    this.#obstacle = obstacle;
    this.#report();
  }

  /** Probes now, or joins the probe under way. A pool that isn't open is not probed. Never rejects. */
  check({ maxAgeMs = 0, waitMs }: HealthCheckRequest = {}): Promise<HealthCheckResult> {
    const { clock } = this.#dependencies;
    if (this.#phase !== 'watching') return Promise.resolve(this.#result(undefined));
    const last = this.#last;
    if (maxAgeMs > 0 && last !== undefined && clock.now() - last.finishedAtMs <= maxAgeMs) {
      return Promise.resolve(this.#result(last));
    }
    const probe = (this.#underWay ??= runOutside(() => this.#probe()));
    return waitMs === undefined ? probe : this.#whicheverIsFirst(probe, waitMs);
  }

  #whicheverIsFirst(probe: Promise<HealthCheckResult>, waitMs: number): Promise<HealthCheckResult> {
    return new Promise((resolve) => {
      const timer = setDeadline(this.#dependencies.clock, () => resolve(this.#result(this.#last)), waitMs);
      timer.ref();
      void probe.then((result) => {
        timer.cancel();
        resolve(result);
      });
    });
  }

  async #probe(): Promise<HealthCheckResult> {
    const { probe, options, clock } = this.#dependencies;
    const startedAtMs = clock.now();
    const failuresBefore = this.#failuresEver;
    let outcome: Finding['outcome'] = 'failed';
    let error: unknown;
    try {
      const answer = await probe({ timeoutMs: options.timeoutMs, recentMs: this.#recentMs(startedAtMs) });
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
    this.#last = finding;
    this.#underWay = undefined;
    this.#judge(finding, failuresBefore);
    this.#schedule();
    return this.#result(finding);
  }

  /**
   * How old a success may be to say that the backend is alive now: it counts for an interval, but never from before the
   * last failure.
   */
  #recentMs(nowMs: number): number {
    const { intervalMs } = this.#dependencies.options;
    return this.#failures === 0 ? intervalMs : Math.min(intervalMs, nowMs - this.#failedAtMs);
  }

  #judge(finding: Finding, failuresBefore: number): void {
    switch (finding.outcome) {
      case 'alive':
      case 'recent':
        this.#succeeded();
        break;
      case 'refused':
        this.#succeeded(toError(finding.error));
        break;
      case 'saturated':
        this.#saturated = true;
        this.#report();
        break;
      case 'failed':
        // A connect that failed on behalf of this probe has been counted already.
        if (this.#failuresEver > failuresBefore) this.#failure = finding.error;
        else this.#failed(finding.error);
    }
  }

  #succeeded(rejection?: Error): void {
    const { clock, options } = this.#dependencies;
    this.#rejection = rejection;
    this.#everAlive = true;
    this.#saturated = false;
    this.#failures = 0;
    if (clock.now() - this.#fullAtMs >= Math.max(FULL_MS, options.intervalMs)) this.#full = undefined;
    this.#failure = this.#full;
    this.#report();
  }

  #failed(error: unknown): void {
    if (this.#phase !== 'watching') return;
    this.#failure = error;
    this.#failedAtMs = this.#dependencies.clock.now();
    this.#failures += 1;
    this.#failuresEver += 1;
    this.#report();
  }

  /**
   * A failure that no probe asked for. Unlike probes, which come one at a time, these come in bursts; a burst counts
   * once.
   */
  #failedInPassing(error: unknown): void {
    const { clock, options } = this.#dependencies;
    const burstMs = options.intervalMs > 0 ? Math.min(BURST_MS, options.intervalMs) : BURST_MS;
    if (this.#failures > 0 && clock.now() - this.#failedAtMs < burstMs) {
      this.#failure = error;
      return;
    }
    this.#failed(error);
    this.#schedule();
  }

  #report(): void {
    const to = this.status;
    const from = this.#reported;
    if (to === from) return;
    this.#reported = to;
    const change: StatusChange = { from, to, error: this.lastError };
    runOutside(() => this.#dependencies.onStatus(change));
  }

  #schedule(): void {
    if (this.#phase === 'watching' && this.#underWay === undefined) this.#probes.schedule(this.status === 'healthy');
  }

  /** A finding, with the status of this moment. */
  #result(finding: Finding | undefined): HealthCheckResult {
    const { status } = this;
    const result: HealthCheckResult = {
      status,
      available: status === 'healthy' || status === 'degraded',
      consecutiveFailures: this.#failures,
      ...(finding !== undefined && {
        outcome: finding.outcome,
        checkedAt: finding.checkedAt,
        durationMs: finding.durationMs,
      }),
    };
    const error: unknown = this.#obstacle ?? finding?.error;
    if (error !== undefined) Object.defineProperty(result, 'error', { value: error, enumerable: false });
    return result;
  }
}
