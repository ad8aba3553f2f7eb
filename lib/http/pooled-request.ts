/**
 * One request from its wait for a slot to the end of its body.
 *
 * Promises: the slot is held from the dispatch until the body has been read, closed or aborted; it comes back exactly
 * once, in every case; `response` settles exactly once; the total deadline and the caller's cancellation act in
 * every phase; a request that waited is sent in the async context of its caller, not of the caller that gave the slot
 * back.
 */
import { AsyncResource } from 'node:async_hooks';
import { finished, Readable } from 'node:stream';

import type { AxiosResponse, AxiosStatic, InternalAxiosRequestConfig } from 'axios';

import type { Clock } from '../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../engine/time/deadlines.js';
import { OperationTimeoutError } from '../errors.js';
import type { HttpRequestOptions } from './http-pool.options.js';
import type { Cancellable, HttpSlot } from './http-slot.js';
import { offAbort, offCancelToken, onAbort, onCancelToken } from './shared-cancellation.js';
import type { StreamedBody } from './streamed-body.js';
import { totalLimitMs, waitLimitMs } from './time-limits.js';
import { checkUpload, failedUpload, type Sent, type Transport } from './transport.js';

/** A request, as the source of its slot sees it. */
export interface SlotTaker {
  /** Whether the caller will get the body as a stream, and so may forget to read it. */
  readonly streams: boolean;
  /** How long it waits for a slot, in milliseconds, if it says so. */
  readonly waitMs: number | undefined;
  /** The slot is there. */
  start(slot: HttpSlot): void;
  /** There will be no slot. */
  refuse(error: Error): void;
}

/** Where a request gets its slot, and gives it back. */
export interface SlotSource<R extends SlotTaker = SlotTaker> {
  readonly tenantId: string | undefined;
  /** Calls `start` or `refuse` of the request, at once or later. */
  enter(request: R): void;
  /** The request no longer wants what it waits for; it is refused with `reason`, unless it is over already. */
  forget(request: R, reason?: unknown): void;
  /** The request is over; `error` is what the backend did wrong, if it did. */
  leave(request: R, error: unknown): void;
}

export interface PooledRequestDependencies {
  readonly poolId: string;
  readonly axios: AxiosStatic;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  /** The pool's total deadline of a request; 0: none. */
  readonly timeoutMs: number;
}

export class PooledRequest extends DeadlineEntry implements Cancellable, SlotTaker {
  override readonly keepsProcessAlive = true;
  readonly config: InternalAxiosRequestConfig & HttpRequestOptions;
  readonly response: Promise<AxiosResponse>;
  readonly #dependencies: PooledRequestDependencies;
  readonly #slotSource: SlotSource;
  readonly #transport: Transport;
  #resolve!: (response: AxiosResponse) => void;
  #reject!: (error: unknown) => void;
  readonly #totalMs: number;
  /** How long it waits for a slot, in milliseconds, if it says so. */
  readonly waitMs: number | undefined;
  #phase: 'waiting' | 'sent' | 'over' = 'waiting';
  /** The caller's, while the request waits. */
  #context: AsyncResource | undefined;
  #forgetUpload: (() => void) | undefined;
  #slot: HttpSlot | undefined;
  #sent: Sent | undefined;

  constructor(
    dependencies: PooledRequestDependencies,
    slotSource: SlotSource,
    transport: Transport,
    config: InternalAxiosRequestConfig,
  ) {
    super();
    this.#dependencies = dependencies;
    this.#slotSource = slotSource;
    this.#transport = transport;
    this.config = config;
    this.#totalMs = totalLimitMs(dependencies.axios, config, dependencies.timeoutMs);
    this.waitMs = waitLimitMs(dependencies.axios, config);
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#listen();
    if (this.#waits) slotSource.enter(this);
    if (this.#waits) this.#prepareToWait();
  }

  get #waits(): boolean {
    return this.#phase === 'waiting';
  }

  /** Whether the caller will get the body as a stream, and so may forget to read it. */
  get streams(): boolean {
    return this.config.responseType === 'stream';
  }

  /** The slot is there: sends the request. */
  start(slot: HttpSlot): void {
    if (!this.#waits) {
      this.#slotSource.leave(this, undefined);
      return;
    }
    const context = this.#context;
    if (context === undefined) this.#send(slot);
    else context.runInAsyncScope(() => this.#send(slot));
  }

  #send(slot: HttpSlot): void {
    this.#phase = 'sent';
    this.#slot = slot;
    slot.occupy(this);
    if (this.#totalMs > 0) this.#dependencies.deadlines.add(this, this.#dependencies.clock.now() + this.#totalMs);
    let sent: Sent;
    try {
      checkUpload(this.#dependencies.axios, this.config);
      this.#guardUpload();
      sent = this.#transport.send(this.config, slot, () => this.#forgetUpload?.());
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#sent = sent;
    sent.response.then(
      (response) => {
        this.#finishAfter(sent.body, undefined);
        this.#resolve(response);
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /** What a request that has to wait needs, and no other. */
  #prepareToWait(): void {
    this.#context = new AsyncResource('HttpRequest', { requireManualDestroy: true });
    this.#guardUpload();
  }

  /** axios listens only once it sends the request: until then an error of the stream would be an uncaught exception. */
  #guardUpload(): void {
    const upload: unknown = this.config.data;
    if (this.#forgetUpload !== undefined || !(upload instanceof Readable)) return;
    this.#forgetUpload = finished(upload, { writable: false }, (error) => {
      if (error !== undefined && error !== null)
        this.abort(failedUpload(this.#dependencies.axios, this.config, error.code === CLOSED_EARLY ? null : error));
    });
  }

  /** There will be no slot. */
  refuse(error: Error): void {
    if (!this.#waits) return;
    this.#phase = 'over';
    this.#forgetUpload?.();
    this.#unlisten();
    this.#reject(error);
  }

  /** Ends it in any phase. Without effect once it is over. */
  abort(reason: Error): void {
    if (this.#waits) {
      this.refuse(reason);
      this.#slotSource.forget(this);
    } else if (this.#phase === 'sent') this.#sent?.abort(reason);
  }

  /** The caller no longer wants the answer. */
  abandon(): void {
    this.abort(new this.#dependencies.axios.CanceledError(undefined, this.config));
  }

  /** The total deadline has passed. */
  override expire(): void {
    const { poolId } = this.#dependencies;
    const { tenantId } = this.#slotSource;
    this.abort(new OperationTimeoutError(describe(this.config), this.#totalMs, { poolId, tenantId }));
  }

  #fail(error: unknown): void {
    this.#finishAfter(this.#sent?.body, this.#sent?.countsAsFailure === false ? undefined : error);
    this.#reject(error);
  }

  /** Gives the slot back, after `body` if it is still to be read. */
  #finishAfter(body: StreamedBody | undefined, error: unknown): void {
    if (body === undefined) this.#finish(error);
    else body.onEnd(() => this.#finish(undefined));
  }

  #finish(error: unknown): void {
    if (this.#phase === 'over') return;
    this.#phase = 'over';
    this.#forgetUpload?.();
    this.#dependencies.deadlines.remove(this);
    this.#unlisten();
    this.#slot?.vacate(this);
    this.#slotSource.leave(this, error);
  }

  /** axios has two ways to cancel; both reject with the same error. */
  #listen(): void {
    const { cancelToken, signal } = this.config;
    if (signal?.aborted === true) return this.#onCancel();
    if (signal) onAbort(signal, this.#onCancel);
    if (cancelToken) onCancelToken(cancelToken, this.#onCancel);
  }

  #unlisten(): void {
    const { cancelToken, signal } = this.config;
    if (signal) offAbort(signal, this.#onCancel);
    if (cancelToken) offCancelToken(cancelToken, this.#onCancel);
  }

  readonly #onCancel = (reason?: unknown): void => {
    // A CancelToken brings the error itself, an AbortSignal an event.
    if (this.#dependencies.axios.isCancel(reason)) this.abort(reason);
    else this.abandon();
  };
}

/** What `finished` says of a stream that was destroyed before its end. */
const CLOSED_EARLY = 'ERR_STREAM_PREMATURE_CLOSE';

/** Method and path; a query may hold secrets. */
function describe({ method = 'get', url = '/' }: InternalAxiosRequestConfig): string {
  return `${method.toUpperCase()} ${url.replace(/[?#].*$/s, '')}`;
}
