/**
 * The two places where requests get their slots: the pool, for each request one of its own, and a lease, whose one slot
 * its requests use one after the other.
 */
import type { AxiosInstance } from 'axios';
import type { LeaseInfo } from '../engine/driver.js';
import type { Lease } from '../engine/lease.js';
import type { LeaseScope } from '../engine/lease-scope.js';
import type { AcquireLimits, LendingEngine } from '../engine/lending-engine.js';
import { requestWithin } from '../engine/scoped-request.js';
import type { LeaseReceiver } from '../engine/receivers.js';
import { LeaseReleasedError } from '../errors.js';
import type { Berth, Flight } from './flight.js';
import type { HttpSlot } from './http-slot.js';

export type HttpEngine = LendingEngine<AxiosInstance>;

/** A slot from the pool, for one request. */
export class PoolBerth implements Berth, LeaseReceiver<AxiosInstance> {
  readonly tenantId: string | undefined;
  readonly #engine: HttpEngine;
  readonly #slotOf: (lease: LeaseInfo) => HttpSlot | undefined;
  readonly #scope: LeaseScope | undefined;
  #flight: Flight | undefined;
  #lease: Lease<AxiosInstance> | undefined;
  #cancel: AbortController | undefined;

  /** @param scope the incoming request that this one is made for; its end withdraws a wait, and takes back a stream. */
  constructor(
    engine: HttpEngine,
    slotOf: (lease: LeaseInfo) => HttpSlot | undefined,
    tenantId: string | undefined,
    scope: LeaseScope | undefined,
  ) {
    this.#engine = engine;
    this.#slotOf = slotOf;
    this.tenantId = tenantId;
    this.#scope = scope?.ended === true ? undefined : scope;
  }

  enter(flight: Flight): void {
    this.#flight = flight;
    const lease = this.#engine.tryAcquire(this.tenantId);
    if (lease !== undefined) {
      // A request ends by itself; a body that is to be read may be forgotten, as a lease may.
      if (flight.streams) this.#scope?.add(lease);
      return this.granted(lease);
    }
    this.#cancel = new AbortController();
    const limits: AcquireLimits = {
      signal: this.#cancel.signal,
      ...(flight.waitMs !== undefined && { timeoutMs: flight.waitMs }),
    };
    requestWithin(this.#engine, this.#scope, flight.streams ? 'taken back' : 'left', this, this.tenantId, limits);
  }

  granted(lease: Lease<AxiosInstance>): void {
    this.#lease = lease;
    const flight = this.#flight;
    const slot = this.#slotOf(lease);
    if (slot === undefined || flight === undefined) {
      const { poolId, tenantId } = lease;
      lease.release();
      flight?.refuse(new LeaseReleasedError(poolId, { tenantId }));
      return;
    }
    flight.launch(slot);
  }

  refused(error: Error): void {
    this.#flight?.refuse(error);
  }

  forget(): void {
    this.#cancel?.abort();
  }

  leave(_flight: Flight, error: unknown): void {
    // The pool may have taken the slot back itself: cut at close.
    if (this.#lease?.released === false) this.#lease.release(error);
  }
}

/** The slot of a lease. Requests that are made at once are sent one after the other. */
export class LeaseBerth implements Berth {
  readonly #lease: LeaseInfo;
  readonly #slot: HttpSlot;
  readonly #waiting: Flight[] = [];
  #current: Flight | undefined;

  constructor(lease: LeaseInfo, slot: HttpSlot) {
    this.#lease = lease;
    this.#slot = slot;
  }

  get tenantId(): string | undefined {
    return this.#lease.tenantId;
  }

  enter(flight: Flight): void {
    this.#waiting.push(flight);
    this.#next();
  }

  forget(flight: Flight): void {
    const place = this.#waiting.indexOf(flight);
    if (place >= 0) this.#waiting.splice(place, 1);
  }

  leave(flight: Flight): void {
    if (this.#current !== flight) return;
    this.#current = undefined;
    this.#next();
  }

  #next(): void {
    const { poolId, tenantId } = this.#lease;
    while (this.#current === undefined) {
      const flight = this.#waiting.shift();
      if (flight === undefined) return;
      if (this.#lease.released) {
        flight.refuse(new LeaseReleasedError(poolId, { tenantId }));
        continue;
      }
      this.#current = flight;
      flight.launch(this.#slot);
    }
  }
}
