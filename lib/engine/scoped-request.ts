/**
 * Asks for a slot on behalf of a request whose end withdraws what is still waited for.
 *
 * Promises: what is free is granted at once, at no cost but a look-up; a wait that the scope's end withdraws is refused
 * with {@link RequestEndedError} and never granted after it; a lease that is meant to end with the scope is in it
 * before its receiver is told.
 */
import { RequestEndedError } from './errors.js';
import type { Lease } from './lease.js';
import type { LeaseScope, ScopedWork } from './lease-scope.js';
import type { AcquireLimits, LendingEngine } from './lending-engine.js';
import type { LeaseReceiver } from './receivers.js';
import { type AbortListener, listenForAbort, stopListeningForAbort } from './signals.js';
import { epochMs } from './time/clock.js';
import { toError } from './to-error.js';

/**
 * What becomes of the lease at the end of the scope. `taken back`: it is forgotten otherwise. `left`: it ends by
 * itself, with a function or a statement, and only the wait for it is withdrawn.
 */
export type AtScopeEnd = 'taken back' | 'left';

/** As {@link LendingEngine.request}, within `scope`, if there is one. */
export function requestWithin<L>(
  engine: LendingEngine<L>,
  scope: LeaseScope | undefined,
  atEnd: AtScopeEnd,
  receiver: LeaseReceiver<L>,
  tenantId: string | undefined,
  limits: AcquireLimits | undefined,
): void {
  const { watcher } = engine;
  if (!watcher.watchesAcquires) return request(engine, scope, atEnd, receiver, tenantId, limits);
  watcher.acquire(
    receiver,
    tenantId,
    (watched) => request(engine, scope, atEnd, watched, tenantId, limits),
    () => engine.numbers.whyItWaits(tenantId),
  );
}

function request<L>(
  engine: LendingEngine<L>,
  scope: LeaseScope | undefined,
  atEnd: AtScopeEnd,
  receiver: LeaseReceiver<L>,
  tenantId: string | undefined,
  limits: AcquireLimits | undefined,
): void {
  if (scope === undefined || scope.ended) return engine.request(receiver, tenantId, limits);
  let lease: Lease<L> | undefined;
  try {
    if (limits?.signal?.aborted !== true) lease = engine.takeIdle(tenantId);
    if (lease === undefined) {
      new ScopedWait(engine, scope, atEnd, receiver, tenantId, limits?.signal).begin(limits);
      return;
    }
  } catch (error) {
    return receiver.refused(toError(error));
  }
  if (atEnd === 'taken back') scope.add(lease);
  receiver.granted(lease);
}

/**
 * Lets `answer`, which comes of `acquired`, go unhandled when the end of a request has withdrawn the wait: a client
 * that goes away must not be able to end the process with an unhandled rejection. The scope reports the withdrawal.
 */
export function mayBeWithdrawn<T>(acquired: Promise<unknown>, answer: Promise<T>): Promise<T> {
  acquired.catch((error: unknown) => {
    if (error instanceof RequestEndedError) answer.catch(() => {});
  });
  return answer;
}

/** One acquire that may have to wait, in its scope until it is granted or refused. */
class ScopedWait<L> implements LeaseReceiver<L>, ScopedWork, AbortListener {
  readonly poolId: string;
  readonly tenantId: string | undefined;
  readonly state = 'waiting';
  readonly #engine: LendingEngine<L>;
  readonly #sinceMs: number;
  readonly #scope: LeaseScope;
  readonly #atEnd: AtScopeEnd;
  readonly #receiver: LeaseReceiver<L>;
  readonly #signal: AbortSignal | undefined;
  readonly #withdrawal = new AbortController();

  constructor(
    engine: LendingEngine<L>,
    scope: LeaseScope,
    atEnd: AtScopeEnd,
    receiver: LeaseReceiver<L>,
    tenantId: string | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.poolId = engine.id;
    this.#engine = engine;
    this.#sinceMs = engine.clock.now();
    this.tenantId = tenantId;
    this.#scope = scope;
    this.#atEnd = atEnd;
    this.#receiver = receiver;
    this.#signal = signal;
  }

  get since(): number {
    return epochMs(this.#sinceMs);
  }

  begin(limits: AcquireLimits | undefined): void {
    if (this.#signal?.aborted === true) this.aborted(this.#signal.reason);
    else if (this.#signal !== undefined) listenForAbort(this.#signal, this);
    this.#scope.join(this);
    this.#engine.request(this, this.tenantId, { ...limits, signal: this.#withdrawal.signal });
  }

  granted(lease: Lease<L>): void {
    this.#settle();
    if (this.#atEnd === 'taken back') this.#scope.add(lease);
    this.#receiver.granted(lease);
  }

  canShare(lease: Lease<L>): boolean {
    return this.#atEnd === 'left' && this.#receiver.canShare?.(lease) === true;
  }

  shared(lease: Lease<L>): void {
    this.#settle();
    this.#receiver.shared?.(lease);
  }

  refused(error: Error): void {
    this.#settle();
    this.#receiver.refused(error.cause instanceof RequestEndedError ? error.cause : error);
  }

  takeBack(): void {
    const { poolId, tenantId } = this;
    const waitedMs = this.#engine.clock.now() - this.#sinceMs;
    this.#withdrawal.abort(new RequestEndedError(poolId, waitedMs, { tenantId }));
  }

  /** The caller's own signal has fired. */
  aborted(reason: unknown): void {
    this.#withdrawal.abort(reason);
  }

  #settle(): void {
    this.#scope.leave(this);
    if (this.#signal !== undefined) stopListeningForAbort(this.#signal, this);
  }
}
