/**
 * A statement that a caller waits for, by promise or by callback, perhaps within a time limit.
 *
 * Promise: the caller is answered exactly once. A promise costs the statement one closure; deadline and signal cost
 * nothing unless they are used (the deadline's links are in the statement itself). The stack of an error leads back to
 * the caller.
 */
import { AsyncResource } from 'node:async_hooks';

import { type AbortListener, listenForAbort, stopListeningForAbort } from '../../engine/signals.js';
import type { Deadlines } from '../../engine/time/deadlines.js';
import { OperationTimeoutError, QueryAbortedError } from '../../errors.js';
import type { QueryCallback } from '../protocol/pg-module.js';
import type { ObservedCall } from './instrumentation.js';
import { Statement, type StatementConfig, type StatementResult } from './statement.js';
import { throwLater } from './throw-later.js';
import { WatchedPromise } from './watched-promise.js';

/** How long a server may take to obey a cancel request before the connection is destroyed. */
const CANCEL_GRACE_MS = 2_000;

export abstract class CallerStatement extends Statement implements AbortListener {
  #resolve: ((result: StatementResult | StatementResult[] | Promise<never>) => void) | undefined = undefined;
  #callback: QueryCallback | undefined = undefined;
  #deadlines: Deadlines | undefined = undefined;
  /** The limit that holds, in milliseconds. */
  #limitMs = 0;
  #signal: AbortSignal | undefined = undefined;
  /** The caller has had its answer. */
  answered = false;
  /** What instrumentation makes of it, in a process that has some. */
  observed: ObservedCall | undefined = undefined;

  protected constructor(
    text: string | undefined,
    values: readonly unknown[] | undefined,
    config: StatementConfig | undefined,
  ) {
    super(text, values, config);
  }

  /** Whose pool and tenant, for errors. */
  protected abstract readonly poolId: string;
  protected abstract readonly tenantId: string | undefined;
  /** What it is, for errors; undefined: a query. */
  protected get operation(): string | undefined {
    return undefined;
  }
  /** The caller has been told; what is left of the statement is discarded. */
  protected abstract abandoned(): void;
  /** It was cancelled, and still the server hasn't answered. */
  protected abstract stuck(): void;

  promise(): Promise<StatementResult | StatementResult[]> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** As {@link promise}, and tells whether its caller waits for it. */
  watchedPromise(): WatchedPromise<StatementResult | StatementResult[]> {
    return new WatchedPromise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Answers by `callback`, in the async context of this call. */
  callBack(callback: QueryCallback): void {
    this.#callback = new AsyncResource('PostgresQuery').bind(callback);
  }

  /** Gives the statement up after `timeoutMs`, or when `signal` fires. */
  limit(deadlines: Deadlines, nowMs: number, timeoutMs: number | undefined, signal: AbortSignal | undefined): void {
    if (timeoutMs !== undefined) {
      this.#deadlines = deadlines;
      this.#limitMs = timeoutMs;
      deadlines.add(this, nowMs + timeoutMs);
    }
    if (signal !== undefined) {
      this.#signal = signal;
      listenForAbort(signal, this);
    }
  }

  override expire(): void {
    if (this.answered) return this.stuck();
    this.giveUp(new OperationTimeoutError('A query', this.#limitMs, { poolId: this.poolId, tenantId: this.tenantId }));
  }

  /** Its caller's signal has aborted. */
  aborted(reason: unknown): void {
    this.giveUp(new QueryAbortedError(this.poolId, { tenantId: this.tenantId, cause: reason }));
  }

  giveUp(error: Error): void {
    if (this.answered) return;
    this.reject(error);
    this.abandoned();
  }

  /** Waits for the server's last word, but no longer than `withinMs`: `expire` is called then. */
  awaitLastWord(deadlines: Deadlines, nowMs: number, withinMs = CANCEL_GRACE_MS): void {
    this.#deadlines = deadlines;
    deadlines.add(this, nowMs + withinMs);
  }

  /** The server has said its last word. */
  protected lastWord(): void {
    if (this.answered) this.#deadlines?.remove(this);
  }

  protected fulfil(result: StatementResult | StatementResult[]): void {
    if (!this.#markAnswered()) return;
    this.observed?.finish(undefined, result);
    if (this.#callback !== undefined) this.#callBack(this.#callback, undefined, result);
    else this.#resolve?.(result);
  }

  protected reject(cause: Error): void {
    if (!this.#markAnswered()) return;
    const error = this.session?.toCallersError(cause, this.isSent, this.operation) ?? cause;
    this.observed?.finish(error, undefined);
    if (this.#callback !== undefined) this.#callBack(this.#callback, error, undefined);
    else if (this.#resolve !== undefined) rejectAtCaller(this.#resolve, error);
  }

  #callBack(callback: QueryCallback, error: Error | undefined, result: unknown): void {
    throwLater(() => callback(error, result));
  }

  /** @returns false when its caller has had its answer already. */
  #markAnswered(): boolean {
    if (this.answered) return false;
    this.answered = true;
    this.#deadlines?.remove(this);
    if (this.#signal !== undefined) stopListeningForAbort(this.#signal, this);
    return true;
  }
}

/**
 * Rejects a promise by its `resolve`. Errors are made where the socket is read, so their stack says nothing. Taken
 * again in a reaction of the promise that the caller awaits, it leads through the caller's `await`s; only failures pay
 * for the second promise. It must be pending while the first one adopts it: the chain of promises is what V8 reads the
 * stack from.
 */
function rejectAtCaller(resolve: (rejection: Promise<never>) => void, error: Error): void {
  let reject: (error: Error) => void = () => {};
  const rejection = new Promise<never>((_, rejectIt) => {
    reject = rejectIt;
  });
  resolve(
    rejection.catch((thrown: Error) => {
      Error.captureStackTrace(thrown);
      throw thrown;
    }),
  );
  reject(error);
}
