/**
 * The two places where requests get their slots: the pool, for each request one of its own, and a lease, whose one slot
 * its requests use one after the other.
 */
import type { AxiosInstance } from 'axios';

import type { LeaseInfo } from '../engine/driver.js';
import { type Lease, PoolLease } from '../engine/lease.js';
import type { LeaseScope } from '../engine/lease-scope.js';
import type { AcquireLimits, LendingEngine } from '../engine/lending-engine.js';
import type { LeaseReceiver } from '../engine/receivers.js';
import { requestWithin } from '../engine/scoped-request.js';
import { LeaseReleasedError } from '../errors.js';
import { HttpSlot } from './http-slot.js';
import type { SlotSource, SlotTaker } from './pooled-request.js';

export type HttpEngine = LendingEngine<AxiosInstance>;

/** A slot from the pool, for one request. */
export class PooledSlotSource implements SlotSource, LeaseReceiver<AxiosInstance> {
  readonly tenantId: string | undefined;
  readonly #engine: HttpEngine;
  readonly #scope: LeaseScope | undefined;
  #request: SlotTaker | undefined;
  #lease: Lease<AxiosInstance> | undefined;
  #cancel: AbortController | undefined;

  /** @param scope the incoming request that this one is made for; its end withdraws a wait, and takes back a stream. */
  constructor(engine: HttpEngine, tenantId: string | undefined, scope: LeaseScope | undefined) {
    this.#engine = engine;
    this.tenantId = tenantId;
    this.#scope = scope?.ended === true ? undefined : scope;
  }

  enter(request: SlotTaker): void {
    this.#request = request;
    const lease = this.#engine.tryAcquire(this.tenantId);
    if (lease !== undefined) {
      this.#engine.watcher.acquired(lease);
      // A request ends by itself; a body that is to be read may be forgotten, as a lease may.
      if (request.streams) this.#scope?.add(lease);
      return this.granted(lease);
    }
    this.#cancel = new AbortController();
    const limits: AcquireLimits = {
      signal: this.#cancel.signal,
      ...(request.waitMs !== undefined && { timeoutMs: request.waitMs }),
    };
    requestWithin(this.#engine, this.#scope, request.streams ? 'taken back' : 'left', this, this.tenantId, limits);
  }

  granted(lease: Lease<AxiosInstance>): void {
    this.#lease = lease;
    const request = this.#request;
    const slot = PoolLease.connectionOf(lease);
    if (!(slot instanceof HttpSlot) || request === undefined) {
      const { poolId, tenantId } = lease;
      lease.release();
      request?.refuse(new LeaseReleasedError(poolId, { tenantId }));
      return;
    }
    request.start(slot);
  }

  refused(error: Error): void {
    this.#request?.refuse(error);
  }

  forget(_request: SlotTaker, reason?: unknown): void {
    this.#cancel?.abort(reason);
  }

  leave(_request: SlotTaker, error: unknown): void {
    // The pool may have taken the slot back itself: cut at close.
    if (this.#lease?.released === false) this.#lease.release(error);
  }
}

/** The slot of a lease. Requests that are made at once are sent one after the other. */
export class LeaseSlotSource implements SlotSource {
  readonly #lease: LeaseInfo;
  readonly #slot: HttpSlot;
  readonly #waiting: SlotTaker[] = [];
  #current: SlotTaker | undefined;

  constructor(lease: LeaseInfo, slot: HttpSlot) {
    this.#lease = lease;
    this.#slot = slot;
  }

  get tenantId(): string | undefined {
    return this.#lease.tenantId;
  }

  enter(request: SlotTaker): void {
    this.#waiting.push(request);
    this.#next();
  }

  forget(request: SlotTaker): void {
    const place = this.#waiting.indexOf(request);
    if (place >= 0) this.#waiting.splice(place, 1);
  }

  leave(request: SlotTaker): void {
    if (this.#current !== request) return;
    this.#current = undefined;
    this.#next();
  }

  #next(): void {
    const { poolId, tenantId } = this.#lease;
    while (this.#current === undefined) {
      const request = this.#waiting.shift();
      if (request === undefined) return;
      if (this.#lease.released) {
        request.refuse(new LeaseReleasedError(poolId, { tenantId }));
        continue;
      }
      this.#current = request;
      request.start(this.#slot);
    }
  }
}
