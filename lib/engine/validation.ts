/**
 * Pings idle connections: before one that was idle for long is lent, to keep it alive, and for health probes.
 *
 * Promise: what is pinged is in no other's hands, and is back among the idle ones, or destroyed, when its ping has
 * ended. After one has failed to answer no waiter waits for the pings of others.
 */
import type { PoolDriver } from './driver.js';
import { OperationTimeoutError, PoolClosedError } from './errors.js';
import type { PoolLimits } from './limits.js';
import type { NewConnections } from './new-connections.js';
import { type ProbeOptions, type ProbeOutcome, WaitingProbe } from './probe.js';
import type { BackendFailure } from './rejections.js';
import type { Slot } from './slot.js';
import type { Slots } from './slots.js';
import type { Clock } from './time/clock.js';
import type { Deadlines } from './time/deadlines.js';
import { type TimedOutcome, withTimeout } from './time/with-timeout.js';
import { toError } from './to-error.js';

/** A ping before lending must not eat the deadline of the acquire that waits for it. */
const VALIDATION_TIMEOUT_MS = 1_000;

/** Where a slot goes that has answered: it is lent next, or after those that served more recently. */
type PutBack = 'newest' | 'oldest';

/** What validation needs of its pool. */
export interface ValidatingPool {
  readonly id: string;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly limits: PoolLimits;
  /** Whether the pool is being closed, or is closed. */
  readonly draining: boolean;
  start(): void;
  dispatch(nowMs: number): void;
}

/** What looks after idle slots. */
export interface IdleCare {
  /** Sees to it that what may be due at `atMs` is looked at by then. */
  by(atMs: number): void;
  /** A slot has become idle. */
  idleSince(nowMs: number): void;
}

export class Validation<C, L> {
  readonly #pool: ValidatingPool;
  readonly #slots: Slots<C, L>;
  readonly #connections: NewConnections<C, L>;
  readonly #driver: PoolDriver<C, L>;
  readonly #idleCare: IdleCare;
  #waitingProbe: WaitingProbe | undefined;
  #lastError: Error | undefined;
  #lastErrorAtMs = -Infinity;

  constructor(
    pool: ValidatingPool,
    slots: Slots<C, L>,
    connections: NewConnections<C, L>,
    driver: PoolDriver<C, L>,
    idleCare: IdleCare,
  ) {
    this.#pool = pool;
    this.#slots = slots;
    this.#connections = connections;
    this.#driver = driver;
    this.#idleCare = idleCare;
  }

  // ── Pings ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Pings an idle slot and puts it back, or destroys it. Resolves with what was wrong. */
  async validate(slot: Slot<C, L>, putBack: PutBack, timeoutMs = VALIDATION_TIMEOUT_MS): Promise<Error | undefined> {
    this.#slots.startValidation(slot);
    const controller = new AbortController();
    const outcome = await withTimeout(this.#pool.clock, timeoutMs, () =>
      this.#driver.ping(slot.connection, controller.signal),
    );
    controller.abort();
    const error = this.#errorOf(outcome, timeoutMs);
    // It may have died, or the pool may have been closed, meanwhile.
    if (!this.#slots.endValidation(slot)) return slot.broken ?? error;
    const nowMs = this.#pool.clock.now();
    if (error === undefined) {
      this.#slots.alive(slot, nowMs);
      this.#connections.answered(slot);
      // Observers were told: it may have died meanwhile.
      if (slot.state !== 'closing') this.#putBack(slot, putBack, nowMs);
    } else {
      this.#lastError = error;
      this.#lastErrorAtMs = nowMs;
      this.#slots.destroy(slot, 'validation', error);
      if (!slot.proven) this.#connections.diedUseless(error);
      this.#checkIdle(nowMs);
    }
    // Others may be due, and were left to serve meanwhile.
    if (this.#pool.limits.keepaliveMs > 0) this.#idleCare.by(nowMs);
    this.#pool.dispatch(nowMs);
    return error;
  }

  /** Makes a connection idle again, unless it has become superfluous meanwhile. */
  #putBack(slot: Slot<C, L>, where: PutBack, nowMs: number): void {
    const reason = this.#slots.destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) return this.#slots.destroy(slot, reason, slot.broken);
    this.#slots.putBack(slot, where);
    this.#idleCare.idleSince(nowMs);
  }

  #errorOf(outcome: TimedOutcome, timeoutMs: number): Error | undefined {
    if (outcome.kind === 'done') return undefined;
    return outcome.kind === 'late'
      ? new OperationTimeoutError('A ping', timeoutMs, { poolId: this.#pool.id })
      : toError(outcome.error);
  }

  /**
   * One has failed to answer; others that were idle for as long may be as dead. All of them are pinged at once, and
   * those who wait rely on none: were each pinged in its turn, an acquire would wait for one time-out after the other.
   */
  #checkIdle(nowMs: number): void {
    for (const slot of this.#slots.idle) {
      if (!slot.isStale(nowMs, this.#pool.limits.validateAfterIdleMs) || this.#pool.draining) continue;
      this.#slots.discount(slot);
      void this.validate(slot, 'oldest');
    }
    this.#slots.discountValidating();
  }

  /** For an acquire that couldn't wait: one connection is being made ready at a time. */
  prepareNext(nowMs: number): void {
    this.#pool.start();
    if (this.#pool.draining || this.#connections.connecting > 0 || this.#slots.validating > 0) return;
    const slot = this.#slots.idle.newest;
    if (slot === undefined) this.#connections.openOne();
    else if (slot.isStale(nowMs, this.#pool.limits.validateAfterIdleMs)) void this.validate(slot, 'newest');
  }

  /** What last failed for want of a backend, if anything has since `sinceMs`, or still does. */
  backendFailure(sinceMs: number): BackendFailure | undefined {
    const { lastError, lastErrorAtMs, failures } = this.#connections;
    if (this.#lastError !== undefined && this.#lastErrorAtMs >= Math.max(sinceMs, lastErrorAtMs)) {
      return { step: 'ping', error: this.#lastError };
    }
    if (lastError === undefined || (failures === 0 && lastErrorAtMs < sinceMs)) return undefined;
    return { step: 'connect', error: lastError };
  }

  // ── Health probes ────────────────────────────────────────────────────────────────────────────────────────────────

  /** The probe that waits for a connection, ahead of the queue. */
  get waitingProbe(): WaitingProbe | undefined {
    return this.#waitingProbe;
  }

  /**
   * Looks whether the backend answers, on an idle connection if there is one. Else a recent success counts; else the
   * probe waits for a connection ahead of the queue.
   *
   * Rejects with the ping's error, the last connect error, or PoolClosedError.
   */
  async probe({ timeoutMs, recentMs }: ProbeOptions): Promise<ProbeOutcome> {
    this.#pool.start();
    if (this.#pool.draining) throw new PoolClosedError(this.#pool.id);
    const nowMs = this.#pool.clock.now();
    const slot = this.#slots.idle.oldest;
    if (slot !== undefined) {
      const error = await this.validate(slot, 'oldest', timeoutMs);
      if (error !== undefined) throw error;
      return 'alive';
    }
    if (nowMs - this.#slots.aliveAtMs <= recentMs) return 'recent';
    const waiting = this.#waitingProbe ?? new WaitingProbe(nowMs, timeoutMs, (probe) => this.#probeExpired(probe));
    if (this.#waitingProbe === undefined) {
      this.#waitingProbe = waiting;
      this.#pool.deadlines.add(waiting, waiting.dueAtMs);
      this.#pool.dispatch(nowMs);
    }
    return waiting.outcome;
  }

  /** Answers a waiting probe with an idle slot. */
  probeWith(slot: Slot<C, L> | undefined, probe: WaitingProbe, nowMs: number): void {
    if (slot === undefined) return;
    this.#forgetProbe(probe);
    this.validate(slot, 'newest', Math.max(1, probe.dueAtMs - nowMs)).then(
      (error) => (error === undefined ? probe.settle('alive') : probe.fail(error)),
      (error: unknown) => probe.fail(toError(error)),
    );
  }

  /** A new connection has shown that the backend is there: that is what the waiting probe asks. */
  proved(): void {
    const probe = this.#waitingProbe;
    if (probe === undefined) return;
    this.#forgetProbe(probe);
    probe.settle('alive');
  }

  /** The pool is being closed. */
  stop(): void {
    const probe = this.#waitingProbe;
    if (probe === undefined) return;
    this.#forgetProbe(probe);
    probe.fail(new PoolClosedError(this.#pool.id));
  }

  #probeExpired(probe: WaitingProbe): void {
    this.#forgetProbe(probe);
    const { id } = this.#pool;
    if (this.#slots.open > 0) probe.settle('saturated');
    else
      probe.fail(
        this.#connections.lastError ?? new OperationTimeoutError('A health probe', probe.timeoutMs, { poolId: id }),
      );
  }

  #forgetProbe(probe: WaitingProbe): void {
    this.#pool.deadlines.remove(probe);
    if (this.#waitingProbe === probe) this.#waitingProbe = undefined;
  }
}
