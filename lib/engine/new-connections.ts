/**
 * Opens the connections that a pool lacks, and learns whether those that are new are of use.
 *
 * Promises: no caller opens more connections than the maximum; a connection that dies before it was of use is a failed
 * connect; no observer is told that the backend is there before a connection has shown it. What is missing is counted
 * anew before each connect: its start runs the driver's code, which may call the pool.
 */
import { Connector } from './connector.js';
import type { PoolDriver } from './driver.js';
import type { EngineWatcher } from './engine-watcher.js';
import { PoolClosedError } from './errors.js';
import type { LendingEngine } from './lending-engine.js';
import { lifetimeMs } from './lifetime.js';
import type { PoolLimits } from './limits.js';
import { runOutside } from './outside-context.js';
import type { DestroyReason, PoolCounters } from './pool-counters.js';
import type { GuardedObserver } from './pool-observer.js';
import { Probation, SETTLE_MS, YOUNG_MS } from './probation.js';
import { type PoolTenant, Slot, type SlotOwner } from './slot.js';
import type { RoomNumbers, Slots } from './slots.js';
import type { Clock } from './time/clock.js';
import { DeadlineEntry, type Deadlines } from './time/deadlines.js';
import { toError } from './to-error.js';

/** What new connections need of their pool. */
export interface OpeningPool<C, L> extends SlotOwner<C, L> {
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly counters: PoolCounters;
  readonly watcher: EngineWatcher;
  readonly limits: PoolLimits;
  readonly lifecycle: LendingEngine<L>['lifecycle'];
  /** Whether the pool is being closed, or is closed. */
  readonly draining: boolean;
  readonly numbers: RoomNumbers;
  /** Gives the tenant of a returned slot its share back, and destroys the slot. */
  discard(slot: Slot<C, L>, reason: DestroyReason, error: undefined, nowMs: number): void;
  /** A new slot can be lent. */
  takeIn(slot: Slot<C, L>, nowMs: number): void;
  dispatch(nowMs: number): void;
}

/** The acquires that wait, where an outage has lasted for too long. */
export interface FailingFast {
  /** Refuses all of them if there is such an outage. */
  failFast(nowMs: number): void;
}

export interface NewConnectionsOptions<C, L> {
  readonly driver: PoolDriver<C, L>;
  readonly observer: GuardedObserver<C, L>;
  /** The tenant of a slot that has served none. */
  readonly anonymous: PoolTenant<C, L>;
  /** Numbers in [0, 1). */
  readonly random: () => number;
}

export class NewConnections<C, L> {
  readonly #pool: OpeningPool<C, L>;
  readonly #slots: Slots<C, L>;
  readonly #waiters: FailingFast;
  readonly #options: NewConnectionsOptions<C, L>;
  readonly #openProvesAlive: boolean;
  readonly #connector: Connector<C, Slot<C, L>>;
  readonly #probation: Probation<Slot<C, L>>;
  readonly #failFast: FailFastDeadline;
  #ready = false;
  readonly #awaitingReady: PromiseFunctions[] = [];

  constructor(pool: OpeningPool<C, L>, slots: Slots<C, L>, waiters: FailingFast, options: NewConnectionsOptions<C, L>) {
    const { driver, random } = options;
    this.#pool = pool;
    this.#slots = slots;
    this.#waiters = waiters;
    this.#options = options;
    this.#openProvesAlive = driver.openProvesAlive === true;
    this.#connector = new Connector<C, Slot<C, L>>(
      {
        poolId: pool.id,
        clock: pool.clock,
        random,
        timeoutMs: pool.limits.connectTimeoutMs,
        openProvesAlive: this.#openProvesAlive,
        open: (signal) => pool.watcher.connect(() => driver.open(signal)),
        discard: (connection) => slots.discard(connection),
        discardLate: (connection) => slots.discardLate(connection),
        admit: (connection, generation) => this.#slotOf(connection, generation),
        opened: (slot, tookMs) => this.#opened(slot, tookMs),
        failed: (error) => this.#connectFailed(error),
        mayRetry: () => pool.dispatch(pool.clock.now()),
      },
      pool.limits.connectConcurrency,
    );
    this.#probation = new Probation<Slot<C, L>>(pool.deadlines, (slot, nowMs) => this.#keptAlive(slot, nowMs));
    this.#failFast = new FailFastDeadline(waiters);
  }

  get connecting(): number {
    return this.#connector.connecting;
  }
  /** Failed connects since the last success, and the last error. */
  get failures(): number {
    return this.#connector.failures;
  }
  get lastError(): Error | undefined {
    return this.#connector.lastError;
  }
  /** When that was; a reading of the clock. */
  get lastErrorAtMs(): number {
    return this.#connector.lastErrorAtMs;
  }
  /** How long the backend has been failing; 0 while it isn't. */
  downForMs(nowMs: number): number {
    return this.#connector.downForMs(nowMs);
  }

  // ── What is missing ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Opens what waiters need and what the minimum lacks, as far as the maximum, the connector and backoff allow. */
  openMissing(nowMs: number): void {
    while (this.#pool.lifecycle === 'open') {
      if (this.#missing() <= 0 || !this.#mayConnect()) return;
      const room = this.#pool.limits.maxSize - this.#pool.numbers.total;
      if (room <= 0 && !(this.#slots.isRoomAwaited() && this.#slots.makeRoom(1 - room, nowMs) > -room)) return;
      this.#connector.start(this.#slots.generation);
    }
  }

  /** Opens one if there is room and nothing speaks against it. */
  openOne(): void {
    const { limits, numbers } = this.#pool;
    if (numbers.total < limits.maxSize && this.#mayConnect()) this.#connector.start(this.#slots.generation);
  }

  /** Whether backoff and the bound on connects let one be started. */
  #mayConnect(): boolean {
    // After a failure one is tried at a time, and has to be of use first.
    if (this.#connector.failures > 0 && this.#slots.unproven > 0) return false;
    return this.#connector.allowance > 0;
  }

  /** How many connects are wanted, if there is room. */
  #missing(): number {
    const { limits, numbers } = this.#pool;
    // Until the backend has shown itself, and again after it has failed, one connect goes on trying, even if
    // no acquire waits.
    const unproven = !this.#ready || (this.#connector.failures > 0 && this.#slots.open === 0);
    const floor = Math.max(limits.minSize, unproven ? 1 : 0);
    return Math.max(numbers.unmetDemand, floor - numbers.total);
  }

  // ── A new connection ─────────────────────────────────────────────────────────────────────────────────────────────

  #slotOf(connection: C, generation: number): Slot<C, L> {
    const nowMs = this.#pool.clock.now();
    const { driver, anonymous, random } = this.#options;
    const expiresAtMs = nowMs + lifetimeMs(this.#pool.limits, random);
    const slot = new Slot<C, L>(this.#pool, connection, anonymous, generation, nowMs, expiresAtMs);
    driver.onBroken(connection, (error?: unknown) =>
      this.#broke(slot, error === undefined ? new Error('The connection broke.') : toError(error)),
    );
    return slot;
  }

  #opened(slot: Slot<C, L>, tookMs: number): void {
    const nowMs = this.#pool.clock.now();
    const { counters } = this.#pool;
    counters.connects++;
    counters.connect.record(tookMs);
    // It has its place before an observer is told: the observer may acquire, or close the pool, at once.
    this.#slots.add(slot);
    this.#options.observer.opened(slot.connection);
    if (this.#openProvesAlive && slot.broken === undefined && this.#slots.isValidating(slot)) {
      slot.steady = !this.#connector.unsteady;
      this.#prove(slot);
    }
    if (!this.#slots.endValidation(slot)) return;
    const reason = this.#slots.destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) {
      this.#slots.destroy(slot, reason, slot.broken);
      // Were another one opened at once, a backend that drops what it accepts would be met by a storm.
      const error = slot.broken ?? new Error(`The connection was replaced as it was opened (${reason}).`);
      if (reason !== 'resize') this.diedUseless(error);
      return this.#pool.dispatch(nowMs);
    }
    if (!slot.steady) this.#probation.add(slot, nowMs + (slot.proven ? YOUNG_MS : SETTLE_MS));
    // During an outage it is pinged before it is lent.
    if (!slot.proven && this.#connector.failures > 0) slot.aliveAtMs = -Infinity;
    this.#pool.takeIn(slot, nowMs);
  }

  /** A ping was answered: the backend is there, and so is `slot`. */
  answered(slot: Slot<C, L>): void {
    this.#connector.proveUp();
    if (!slot.proven) this.#prove(slot);
  }

  /** A connection has shown for the first time that its backend is there. */
  #prove(slot: Slot<C, L>): void {
    this.#slots.prove(slot);
    this.#connector.proveUp();
    runOutside(() => this.#options.observer.proved(slot.connection));
    this.#becomeReady();
  }

  /** A new connection was not dropped at once, or has lasted. */
  #keptAlive(slot: Slot<C, L>, nowMs: number): void {
    if (!slot.proven) this.#prove(slot);
    // Observers were told: it may have died meanwhile.
    if (slot.state === 'closing') return;
    if (nowMs - slot.openedAtMs >= YOUNG_MS) this.#proveSteady(slot);
    else this.#probation.add(slot, slot.openedAtMs + YOUNG_MS);
    this.#pool.dispatch(nowMs);
  }

  /**
   * A new connection has served a lease, and has shown by that that it is of use, unless it had no time to be dropped.
   *
   * @returns whether it can be lent again; if it can't, it was destroyed.
   */
  outlasts(slot: Slot<C, L>, nowMs: number): boolean {
    const { proven } = slot;
    if (nowMs - slot.openedAtMs < SETTLE_MS) return true;
    this.#probation.remove(slot);
    if (!proven) this.#prove(slot);
    this.#proveSteady(slot);
    if (proven) return true;
    // Observers were told: they may have closed the pool.
    const reason = this.#slots.destroyReason(slot, undefined, nowMs);
    if (reason !== undefined) this.#pool.discard(slot, reason, undefined, nowMs);
    return reason === undefined;
  }

  #proveSteady(slot: Slot<C, L>): void {
    slot.steady = true;
    this.#connector.proveSteady();
  }

  /** A connection that never was of use has ended: as good as a failed connect. */
  diedUseless(error: unknown): void {
    if (!this.#pool.draining) this.#connector.diedYoung(toError(error));
  }

  #broke(slot: Slot<C, L>, error: Error): void {
    if (slot.state === 'closing') return;
    slot.broken = error;
    // Its borrower finds out by itself, and the slot goes when the lease comes back; a new one before it is lent at
    // all.
    if (slot.state === 'leased' || slot.state === 'new') return;
    const nowMs = this.#pool.clock.now();
    const cleaning = this.#slots.cleaningOf(slot);
    if (cleaning !== undefined) return cleaning.ended(error);
    this.#slots.destroy(slot, 'broken', error);
    // If that was at once, it was as good as a failed connect.
    if (nowMs - slot.openedAtMs < YOUNG_MS) this.diedUseless(error);
    this.#pool.dispatch(nowMs);
  }

  #connectFailed(error: Error): void {
    const { clock, counters, deadlines } = this.#pool;
    const nowMs = clock.now();
    counters.connectFailures++;
    runOutside(() => this.#options.observer.connectFailed(error));
    // Observers were told: they may have changed the limits.
    const dueAtMs = (this.#connector.downSinceMs ?? nowMs) + this.#pool.limits.failFastAfterMs;
    if (nowMs >= dueAtMs) this.#waiters.failFast(nowMs);
    else if (this.#failFast.dueTick < 0) deadlines.add(this.#failFast, dueAtMs);
    if (this.#pool.draining) this.#pool.dispatch(nowMs);
  }

  // ── The minimum ──────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Resolves once the minimum (at least one connection) has been opened. Failing connects are retried meanwhile.
   * Rejects with PoolClosedError when the pool closes first.
   */
  whenReady(): Promise<void> {
    if (this.#ready) return Promise.resolve();
    if (this.#pool.draining) return Promise.reject(new PoolClosedError(this.#pool.id));
    return new Promise((resolve, reject) => this.#awaitingReady.push({ resolve, reject }));
  }

  #becomeReady(): void {
    if (this.#ready || this.#slots.open - this.#slots.unproven < this.#pool.limits.minSize) return;
    this.#ready = true;
    for (const { resolve } of this.#awaitingReady.splice(0)) resolve();
  }

  // ── What the pool's controls do here ─────────────────────────────────────────────────────────────────────────────

  set concurrency(connects: number) {
    this.#connector.concurrency = connects;
  }

  /** The minimum may be lower than before: what is open may be enough. */
  minimumChanged(): void {
    if (this.#slots.open > this.#slots.unproven) this.#becomeReady();
  }

  /** Gives up the connects under way: what they would open isn't wanted any more. New ones may be. */
  evict(): void {
    this.#connector.abandonAll();
    this.#connector.hurry();
  }

  /** Opens nothing more, for good. */
  stop(): void {
    this.#pool.deadlines.remove(this.#failFast);
    this.#connector.stop();
  }

  /** The pool is being closed: tells those who wait for it to be ready. */
  refuseReady(): void {
    for (const { reject } of this.#awaitingReady.splice(0)) reject(new PoolClosedError(this.#pool.id));
  }
}

/** The moment at which an outage has lasted for `failFastAfterMs`. */
class FailFastDeadline extends DeadlineEntry {
  readonly #waiters: FailingFast;
  override readonly keepsProcessAlive = false;

  constructor(waiters: FailingFast) {
    super();
    this.#waiters = waiters;
  }

  override expire(nowMs: number): void {
    this.#waiters.failFast(nowMs);
  }
}

interface PromiseFunctions {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}
