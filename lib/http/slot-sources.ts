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
import type { PooledRequest, SlotSource } from './pooled-request.js';

export type HttpEngine = LendingEngine<AxiosInstance>;

/** A slot from the pool, for one request. */
export class PooledSlotSource implements SlotSource, LeaseReceiver<AxiosInstance> {
  readonly tenantId: string | undefined;
  readonly #engine: HttpEngine;
  readonly #scope: LeaseScope | undefined;
  #pooledRequest: PooledRequest | undefined;
  #lease: Lease<AxiosInstance> | undefined;
  #cancel: AbortController | undefined;

  /** @param scope the incoming request that this one is made for; its end withdraws a wait, and takes back a stream. */
  constructor(engine: HttpEngine, tenantId: string | undefined, scope: LeaseScope | undefined) {
    this.#engine = engine;
    this.tenantId = tenantId;
    this.#scope = scope?.ended === true ? undefined : scope;
  }

  enter(pooledRequest: PooledRequest): void {
    this.#pooledRequest = pooledRequest;
    const lease = this.#engine.tryAcquire(this.tenantId);
    if (lease !== undefined) {
      // A request ends by itself; a body that is to be read may be forgotten, as a lease may.
      if (pooledRequest.streams) this.#scope?.add(lease);
      return this.granted(lease);
    }
    this.#cancel = new AbortController();
    const limits: AcquireLimits = {
      signal: this.#cancel.signal,
      ...(pooledRequest.waitMs !== undefined && { timeoutMs: pooledRequest.waitMs }),
    };
    requestWithin(
      this.#engine,
      this.#scope,
      pooledRequest.streams ? 'taken back' : 'left',
      this,
      this.tenantId,
      limits,
    );
  }

  granted(lease: Lease<AxiosInstance>): void {
    this.#lease = lease;
    const pooledRequest = this.#pooledRequest;
    const slot = PoolLease.connectionOf(lease);
    if (!(slot instanceof HttpSlot) || pooledRequest === undefined) {
      const { poolId, tenantId } = lease;
      lease.release();
      pooledRequest?.refuse(new LeaseReleasedError(poolId, { tenantId }));
      return;
    }
    pooledRequest.start(slot);
  }

  refused(error: Error): void {
    this.#pooledRequest?.refuse(error);
  }

  forget(): void {
    this.#cancel?.abort();
  }

  leave(_request: PooledRequest, error: unknown): void {
    // The pool may have taken the slot back itself: cut at close.
    if (this.#lease?.released === false) this.#lease.release(error);
  }
}

/** The slot of a lease. Requests that are made at once are sent one after the other. */
export class LeaseSlotSource implements SlotSource {
  readonly #lease: LeaseInfo;
  readonly #slot: HttpSlot;
  readonly #waiting: PooledRequest[] = [];
  #current: PooledRequest | undefined;

  constructor(lease: LeaseInfo, slot: HttpSlot) {
    this.#lease = lease;
    this.#slot = slot;
  }

  get tenantId(): string | undefined {
    return this.#lease.tenantId;
  }

  enter(pooledRequest: PooledRequest): void {
    this.#waiting.push(pooledRequest);
    this.#next();
  }

  forget(pooledRequest: PooledRequest): void {
    const place = this.#waiting.indexOf(pooledRequest);
    if (place >= 0) this.#waiting.splice(place, 1);
  }

  leave(pooledRequest: PooledRequest): void {
    if (this.#current !== pooledRequest) return;
    this.#current = undefined;
    this.#next();
  }

  #next(): void {
    const { poolId, tenantId } = this.#lease;
    while (this.#current === undefined) {
      const pooledRequest = this.#waiting.shift();
      if (pooledRequest === undefined) return;
      if (this.#lease.released) {
        pooledRequest.refuse(new LeaseReleasedError(poolId, { tenantId }));
        continue;
      }
      this.#current = pooledRequest;
      pooledRequest.start(this.#slot);
    }
  }
}
