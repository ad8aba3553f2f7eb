/**
 * One request from its wait for a slot to the end of its body.
 *
 * Promises: the slot is held from the dispatch until the body has been read, closed or aborted; it comes back exactly once,
 * whatever happens; `response` settles exactly once; the total deadline and the caller's cancellation act in every phase.
 */
import { finished, Readable } from 'node:stream';
import type { AxiosResponse, AxiosStatic, InternalAxiosRequestConfig } from 'axios';
import type { Clock } from '../engine/clock.js';
import { DeadlineEntry, type Deadlines } from '../engine/deadlines.js';
import { OperationTimeoutError } from '../errors.js';
import type { Cancellable, HttpSlot } from './http-slot.js';
import type { Sent, Transport } from './transport.js';

/** What can be said of one request beyond axios' own options. */
export interface HttpRequestOptions {
  /** Total time of this request, from dispatch to the end of its body, in milliseconds; 0: as long as it likes. Default: the pool's. */
  timeoutMs?: number;
  /** How long this request waits for a slot, in milliseconds. Default: the pool's. */
  acquireTimeoutMs?: number;
}

/** Where a request gets its slot, and gives it back. */
export interface Berth {
  readonly tenantId: string | undefined;
  /** Calls `launch` or `refuse` of the flight, at once or later. */
  enter(flight: Flight): void;
  /** The flight no longer wants what it waits for. */
  forget(flight: Flight): void;
  /** The request is over; `error` is what the backend did wrong, if it did. */
  leave(flight: Flight, error: unknown): void;
}

export interface FlightParts {
  readonly poolId: string;
  readonly axios: AxiosStatic;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
  /** The pool's total deadline of a request; 0: none. */
  readonly timeoutMs: number;
}

export class Flight extends DeadlineEntry implements Cancellable {
  override readonly keepsProcessAlive = true;
  readonly config: InternalAxiosRequestConfig & HttpRequestOptions;
  readonly response: Promise<AxiosResponse>;
  readonly #parts: FlightParts;
  readonly #berth: Berth;
  readonly #transport: Transport;
  #resolve!: (response: AxiosResponse) => void;
  #reject!: (error: unknown) => void;
  #phase: 'waiting' | 'sent' | 'over' = 'waiting';
  #slot: HttpSlot | undefined;
  #sent: Sent | undefined;

  constructor(parts: FlightParts, berth: Berth, transport: Transport, config: InternalAxiosRequestConfig) {
    super();
    this.#parts = parts;
    this.#berth = berth;
    this.#transport = transport;
    this.config = config;
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#listen();
    if (this.#phase === 'waiting') berth.enter(this);
  }

  /** The slot is there: sends the request. */
  launch(slot: HttpSlot): void {
    if (this.#phase !== 'waiting') {
      this.#berth.leave(this, undefined);
      return;
    }
    this.#phase = 'sent';
    this.#slot = slot;
    slot.flight = this;
    const timeoutMs = this.config.timeoutMs ?? this.#parts.timeoutMs;
    if (timeoutMs > 0) this.#parts.deadlines.add(this, this.#parts.clock.now() + timeoutMs);
    try {
      this.#sent = this.#transport.send(this.config, slot);
    } catch (error) {
      this.#fail(error);
      return;
    }
    this.#sent.response.then(
      (response) => {
        this.#landAfter(response.data, undefined);
        this.#resolve(response);
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /** There will be no slot. */
  refuse(error: Error): void {
    if (this.#phase !== 'waiting') return;
    this.#phase = 'over';
    this.#unlisten();
    this.#reject(error);
  }

  /** Ends it in whatever phase. Without effect once it is over. */
  abort(reason: Error): void {
    if (this.#phase === 'waiting') {
      this.refuse(reason);
      this.#berth.forget(this);
    } else if (this.#phase === 'sent') this.#sent?.abort(reason);
  }

  /** Nobody wants the answer any more. */
  abandon(): void {
    this.abort(new this.#parts.axios.CanceledError(undefined, this.config));
  }

  /** The total deadline has passed. */
  override expire(): void {
    const { poolId, timeoutMs } = this.#parts;
    const { tenantId } = this.#berth;
    this.abort(
      new OperationTimeoutError(describe(this.config), this.config.timeoutMs ?? timeoutMs, { poolId, tenantId }),
    );
  }

  #fail(error: unknown): void {
    const body: unknown = this.#parts.axios.isAxiosError(error) ? error.response?.data : undefined;
    this.#landAfter(body, this.#sent?.blameless === true ? undefined : error);
    this.#reject(error);
  }

  /** Gives the slot back, after `body` if it is still to be read. */
  #landAfter(body: unknown, error: unknown): void {
    if (!(body instanceof Readable) || body.destroyed) this.#land(error);
    else finished(body, { writable: false }, () => this.#land(undefined));
  }

  #land(error: unknown): void {
    if (this.#phase === 'over') return;
    this.#phase = 'over';
    this.#parts.deadlines.remove(this);
    this.#unlisten();
    if (this.#slot?.flight === this) this.#slot.flight = undefined;
    this.#berth.leave(this, error);
  }

  /** axios has two ways to cancel; both reject with the same error. */
  #listen(): void {
    const { cancelToken, signal } = this.config;
    if (signal?.aborted === true) this.#onCancel();
    signal?.addEventListener?.('abort', this.#onCancel);
    cancelToken?.subscribe(this.#onCancel);
  }

  #unlisten(): void {
    const { cancelToken, signal } = this.config;
    signal?.removeEventListener?.('abort', this.#onCancel);
    cancelToken?.unsubscribe(this.#onCancel);
  }

  readonly #onCancel = (reason?: unknown): void => {
    // A CancelToken brings the error itself, an AbortSignal an event.
    if (this.#parts.axios.isCancel(reason)) this.abort(reason);
    else this.abandon();
  };
}

/** Method and path; a query may hold secrets. */
function describe({ method = 'get', url = '/' }: InternalAxiosRequestConfig): string {
  return `${method.toUpperCase()} ${url.replace(/[?#].*$/s, '')}`;
}
