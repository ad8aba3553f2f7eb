/**
 * An acquire that has no slot yet. It settles exactly once: granted, timed out, aborted, or refused at close.
 */
import type { Lease } from './lease.js';
import type { LeaseReceiver } from './receivers.js';
import type { Tenant } from './scheduler/tenant.js';
import { type AbortListener, listenForAbort, stopListeningForAbort } from './signals.js';
import { DeadlineEntry } from './time/deadlines.js';
import type { InLine } from './time/shared-deadline.js';

/** Who ends a wait that isn't granted. */
export interface WaiterOwner<W> {
  /** The waiter's own time-out has passed. */
  expired(waiter: W, nowMs: number): void;
  /** Its signal has fired. */
  aborted(waiter: W, reason: unknown): void;
}

/**
 * Its fields aren't #private: one is made for every acquire that waits, and defining those costs a tenth of it. For the
 * same reason it is its own receiver when a promise is waited for, and what few waiters have is in an object apart.
 */
export class Waiter<L, S> implements LeaseReceiver<L>, InLine {
  readonly tenant: Tenant<Waiter<L, S>, S>;
  readonly enqueuedAtMs: number;
  /** Who is told. */
  receiver: LeaseReceiver<L> = this;
  private resolve: (lease: Lease<L> | PromiseLike<Lease<L>>) => void = ignore;
  /** What only some waiters have. */
  readonly cancellation: WaiterCancellation<L, S> | undefined;

  /** Place among those with the pool's own time-out. */
  place = -1;
  /** Links of the tenant's queue. */
  nextInQueue: Waiter<L, S> | undefined = undefined;
  previousInQueue: Waiter<L, S> | undefined = undefined;

  constructor(
    tenant: Tenant<Waiter<L, S>, S>,
    enqueuedAtMs: number,
    cancellation: WaiterCancellation<L, S> | undefined,
  ) {
    this.tenant = tenant;
    this.enqueuedAtMs = enqueuedAtMs;
    this.cancellation = cancellation;
  }

  /** A promise that the waiter settles. */
  promise(): Promise<Lease<L>> {
    const promise = new Promise<Lease<L>>(capture);
    this.resolve = captured.resolve;
    return promise;
  }

  granted(lease: Lease<L>): void {
    this.resolve(lease);
  }

  refused(error: Error): void {
    this.resolve(new Rejection(error));
  }
}

/** What may settle a waiter besides the pool's own time-out, and what its end concerns besides its caller. */
export class WaiterCancellation<L, S> extends DeadlineEntry implements AbortListener {
  /** The acquire's own time-out, if it has one. */
  readonly timeoutMs: number | undefined;
  /** Where the acquire was made, while leak detection is on. */
  readonly stack: string | undefined;
  /** The leases of this pool in whose `use` or `transaction` the acquire was made. */
  holders: readonly Lease<unknown>[] = [];
  readonly #owner: WaiterOwner<Waiter<L, S>>;
  readonly #signal: AbortSignal | undefined;
  #waiter: Waiter<L, S> | undefined;
  override readonly keepsProcessAlive = true;

  /** Listens to the signal; throws when it is none. */
  constructor(
    owner: WaiterOwner<Waiter<L, S>>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    stack: string | undefined,
  ) {
    super();
    this.#owner = owner;
    this.#signal = signal;
    this.timeoutMs = timeoutMs;
    this.stack = stack;
    if (signal !== undefined) listenForAbort(signal, this);
  }

  /** From now on it is `waiter` that they settle. */
  bind(waiter: Waiter<L, S>): void {
    this.#waiter = waiter;
  }

  /** A time-out of the waiter's own has passed. */
  override expire(nowMs: number): void {
    if (this.#waiter !== undefined) this.#owner.expired(this.#waiter, nowMs);
  }

  aborted(reason: unknown): void {
    if (this.#waiter !== undefined) this.#owner.aborted(this.#waiter, reason);
  }

  /** Lets go of everything that could settle the waiter a second time. */
  detach(): void {
    this.#waiter = undefined;
    if (this.#signal !== undefined) stopListeningForAbort(this.#signal, this);
    for (const holder of this.holders) holder.unblock();
  }
}

/**
 * Rejects a promise through its `resolve` function: resolving a promise with a thenable adopts the thenable's state,
 * and this one calls only its second callback. So a waiter stores one function of its promise, not two.
 */
class Rejection implements PromiseLike<never> {
  readonly #error: Error;

  constructor(error: Error) {
    this.#error = error;
  }

  then<G = never, R = never>(
    _granted?: ((lease: never) => G | PromiseLike<G>) | null,
    refused?: ((error: unknown) => R | PromiseLike<R>) | null,
  ): PromiseLike<G | R> {
    refused?.(this.#error);
    return this;
  }
}

function ignore(): void {
  // Replaced before anyone is told.
}

/** The function of the promise made last. One executor for all promises saves each a closure. */
const captured: Captured = { resolve: ignore };

interface Captured {
  resolve(lease: Lease<unknown> | PromiseLike<Lease<unknown>>): void;
}

function capture(resolve: (lease: never) => void): void {
  captured.resolve = resolve;
}
