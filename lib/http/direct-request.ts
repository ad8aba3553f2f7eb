/**
 * One request of `pool.request(url, options)`, from its wait for a slot to the end of its body.
 *
 * Promises: the slot is held from the dispatch until the body has arrived, was destroyed or discarded, and comes back
 * exactly once; `response` settles exactly once; deadline, signal and the end of pool or incoming request act in every
 * phase; a request that waited is sent in the async context of its caller.
 */
import { AsyncResource } from 'node:async_hooks';
import { Readable } from 'node:stream';

import type { Clock } from '../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../engine/time/deadlines.js';
import { toError } from '../engine/to-error.js';
import { AcquireAbortedError, ConnectionLostError, OperationTimeoutError } from '../errors.js';
import { isConnectionError, isConnectionLost } from './connection-errors.js';
import { type BodySource, DirectBody } from './direct-body.js';
import type { DirectAnswer, DirectAttempt, DirectClient, DirectOptions } from './direct-client.js';
import {
  type DirectDefaults,
  type DirectMessage,
  directMessage,
  type HttpDirectOptions,
  type HttpDirectResponse,
  limitMs,
} from './direct-options.js';
import type { Cancellable, HttpSlot } from './http-slot.js';
import type { SlotSource, SlotTaker } from './pooled-request.js';
import { offAbort, onAbort } from './shared-cancellation.js';
import { isIdempotent } from './transport.js';
import type { UpstreamCheck } from './upstream-check.js';

export interface DirectDependencies {
  readonly poolId: string;
  readonly client: DirectClient;
  readonly defaults: DirectDefaults;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  /** The pool's total deadline of a request; 0: none. */
  readonly timeoutMs: number;
  /** The pool's longest body; -1: no limit. */
  readonly maxContentLength: number;
  readonly check: UpstreamCheck;
}

export class DirectRequest extends DeadlineEntry implements Cancellable, SlotTaker, DirectOptions {
  override readonly keepsProcessAlive = true;
  /** The body may be forgotten. */
  readonly streams = true;
  readonly waitMs: number | undefined;
  readonly response: Promise<HttpDirectResponse>;
  readonly #dependencies: DirectDependencies;
  readonly #slotSource: SlotSource<DirectRequest>;
  readonly #message: DirectMessage;
  /** The caller's stream. */
  readonly #upload: Readable | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #timeoutMs: number;
  readonly #maxBytes: number;
  #resolve!: (response: HttpDirectResponse) => void;
  #reject!: (error: Error) => void;
  #phase: 'waiting' | 'sent' | 'over' = 'waiting';
  /** The caller's, while the request waits. */
  #context: AsyncResource | undefined;
  #slot: HttpSlot | undefined;
  #attempt: DirectAttempt | undefined;
  #body: DirectBody | undefined;
  #aborted: Error | undefined;

  /** @throws TypeError, PoolConfigError for options that are none. */
  constructor(
    dependencies: DirectDependencies,
    slotSource: SlotSource<DirectRequest>,
    url: string,
    options: HttpDirectOptions,
  ) {
    super();
    const { poolId } = dependencies;
    this.#dependencies = dependencies;
    this.#slotSource = slotSource;
    this.waitMs = limitMs(poolId, options, 'acquireTimeoutMs');
    this.#timeoutMs = limitMs(poolId, options, 'timeoutMs') ?? dependencies.timeoutMs;
    this.#maxBytes = options.maxContentLength ?? dependencies.maxContentLength;
    this.#signal = options.signal;
    this.#upload = options.body instanceof Readable ? options.body : undefined;
    this.#message = directMessage(url, options, dependencies.defaults);
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#enter();
  }

  #enter(): void {
    const signal = this.#signal;
    if (signal?.aborted === true) {
      const { tenantId } = this.#slotSource;
      return this.refuse(new AcquireAbortedError(this.#dependencies.poolId, 0, { tenantId, cause: signal.reason }));
    }
    if (signal !== undefined) onAbort(signal, this.#onAbort);
    // Until it is read, an error of it would be an uncaught exception.
    this.#upload?.on('error', this.#uploadFailed);
    this.#slotSource.enter(this);
    if (this.#phase !== 'waiting') return;
    this.#context = new AsyncResource('HttpRequest', { requireManualDestroy: true });
  }

  /** The slot is there: sends the request. */
  start(slot: HttpSlot): void {
    if (this.#phase !== 'waiting') return this.#slotSource.leave(this, undefined);
    this.#phase = 'sent';
    this.#slot = slot;
    slot.occupy(this);
    const { deadlines, clock } = this.#dependencies;
    if (this.#timeoutMs > 0) deadlines.add(this, clock.now() + this.#timeoutMs);
    if (this.#context === undefined) this.#send(slot);
    else this.#context.runInAsyncScope(() => this.#send(slot));
  }

  /** There will be no slot. */
  refuse(error: Error): void {
    if (this.#phase !== 'waiting') return;
    this.#phase = 'over';
    this.#unlisten();
    this.#upload?.destroy();
    this.#reject(error);
  }

  /** Ends it in any phase. Without effect once it is over. */
  abort(reason: Error): void {
    if (this.#phase !== 'sent' || this.#aborted !== undefined) return;
    this.#aborted = reason;
    // The body first: what its connection would say of the end doesn't say why.
    if (this.#body !== undefined) this.#body.destroy(reason);
    this.#attempt?.abort(reason);
  }

  /** The total deadline has passed. */
  override expire(): void {
    const { poolId } = this.#dependencies;
    const { tenantId } = this.#slotSource;
    this.abort(new OperationTimeoutError(this.#operation, this.#timeoutMs, { poolId, tenantId }));
  }

  makeBody(source: BodySource): DirectBody {
    const body = new DirectBody(source, this.#maxBytes, () => this.#finish(undefined));
    this.#body = body;
    return body;
  }

  explain(error: Error): Error {
    if (this.#aborted !== undefined) return this.#aborted;
    if (!isConnectionError(error)) return error;
    const { poolId } = this.#dependencies;
    const { tenantId } = this.#slotSource;
    return new ConnectionLostError(poolId, this.#operation, this.#attempt?.sent === true, { tenantId, cause: error });
  }

  #send(slot: HttpSlot, isRepeated = false): void {
    const attempt = this.#dependencies.client.send(this.#message, slot, this);
    this.#attempt = attempt;
    attempt.answer.then(
      (answer) => this.#answered(answer),
      (error: unknown) => {
        if (isRepeated || !this.#mayRepeat(attempt, error)) return this.#fail(attempt, toError(error));
        this.#dependencies.client.reconnect(this.#message, slot);
        this.#send(slot, true);
      },
    );
  }

  /** The server closed an idle connection just as an idempotent request set out on it. */
  #mayRepeat(attempt: DirectAttempt, error: unknown): boolean {
    const { method, body } = this.#message;
    if (this.#aborted !== undefined || attempt.answered || !attempt.reusedSocket) return false;
    return isIdempotent(method) && isConnectionLost(error) && !(body instanceof Readable);
  }

  #answered({ head, body }: DirectAnswer): void {
    this.#dependencies.check.answered(this.#message.url.origin);
    if (this.#aborted !== undefined) return this.#reject(this.#aborted);
    if (!(body instanceof DirectBody)) return;
    this.#resolve({ statusCode: head.status, statusText: head.statusText, headers: head.headers, body });
  }

  #fail(attempt: DirectAttempt, error: Error): void {
    const isOfIdleSocket = attempt.reusedSocket && !attempt.answered;
    const counts = this.#dependencies.check.watches(this.#message.url.origin) && !isOfIdleSocket;
    this.#reject(this.explain(error));
    this.#finish(counts && this.#aborted === undefined ? error : undefined);
  }

  #finish(error: unknown): void {
    if (this.#phase === 'over') return;
    this.#phase = 'over';
    this.#dependencies.deadlines.remove(this);
    this.#unlisten();
    this.#slot?.vacate(this);
    this.#slotSource.leave(this, error);
  }

  #unlisten(): void {
    if (this.#signal !== undefined) offAbort(this.#signal, this.#onAbort);
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#signal?.reason;
    if (this.#phase === 'waiting') this.#slotSource.forget(this, reason);
    else this.abort(toError(reason));
  };

  readonly #uploadFailed = (error: Error): void => {
    if (this.#phase !== 'waiting') return;
    this.refuse(error);
    this.#slotSource.forget(this);
  };

  /** Method and path; a query may hold secrets. */
  get #operation(): string {
    return `${this.#message.method} ${this.#message.url.pathname}`;
  }
}
