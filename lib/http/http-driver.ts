/**
 * The slots of an HTTP pool, as the engine sees them.
 *
 * Opening a slot costs nothing and asks no server while the upstream is believed to be alive. Once a request has found
 * it unreachable, and at the start of a pool with `healthCheck.path` or whose start is waited for, a slot opens only
 * after the upstream check has passed: so the engine's backoff, its single prober, its fast failure and its slow start
 * hold for HTTP too, and no request is sent where none can be answered.
 */
import type { AxiosInstance } from 'axios';

import type { LeaseInfo, PoolDriver } from '../engine/driver.js';
import type { DestroyReason } from '../engine/pool-counters.js';
import { LeaseReleasedError, PoolClosedError } from '../errors.js';
import { isCertificateError } from '../pool/certificate-errors.js';
import { isConnectionError } from './connection-errors.js';
import { HttpSlot } from './http-slot.js';
import type { SlotAdapters } from './slot-adapters.js';
import type { Transport } from './transport.js';
import type { UpstreamCheck } from './upstream-check.js';

export interface HttpDriverDependencies {
  readonly poolId: string;
  readonly keepAliveTimeoutMs: number;
  /** Whether the application's start waits for the pool, and so for a proof that the upstream is there. */
  readonly isWaitedFor: boolean;
  readonly check: UpstreamCheck;
  /** Sends the check's request. */
  readonly transport: Transport;
  /** Makes what is lent of a slot. */
  readonly adapters: SlotAdapters;
}

export class HttpDriver implements PoolDriver<HttpSlot, AxiosInstance> {
  /** A slot has no connection of its own that could be dropped. */
  readonly openProvesAlive = true;
  /** Most leases are those of single requests, which use the slot itself. */
  readonly lendsOnDemand = true;
  readonly #dependencies: HttpDriverDependencies;
  /** Whether the upstream must show that it is alive; undecided before the first slot. */
  #checkRequired: boolean | undefined;

  constructor(dependencies: HttpDriverDependencies) {
    this.#dependencies = dependencies;
  }

  async open(signal: AbortSignal): Promise<HttpSlot> {
    const slot = new HttpSlot(this.#dependencies.keepAliveTimeoutMs);
    this.#checkRequired ??= this.#mustShowItself();
    if (!this.#checkRequired) return slot;
    try {
      await this.ping(slot, signal);
    } catch (error) {
      slot.destroy();
      throw error;
    }
    return slot;
  }

  async ping(slot: HttpSlot, signal: AbortSignal): Promise<void> {
    const { check, transport } = this.#dependencies;
    await check.run(slot, transport, signal);
    this.#checkRequired = false;
  }

  #mustShowItself(): boolean {
    const { check, isWaitedFor } = this.#dependencies;
    return check.asks || (isWaitedFor && check.reaches);
  }

  /** A request found the upstream unreachable. */
  requireCheck(): void {
    this.#checkRequired = true;
    this.#dependencies.check.requireCheck();
  }

  async close(slot: HttpSlot): Promise<void> {
    // A graceful end waits for what is under way, which a borrower may have left there with its lease.
    if (slot.busy) slot.cut(new LeaseReleasedError(this.#dependencies.poolId));
    await slot.close();
  }

  kill(slot: HttpSlot, reason?: DestroyReason): void {
    const { poolId } = this.#dependencies;
    const isClosing = reason === 'cut' || reason === 'closing';
    if (slot.busy) slot.cut(isClosing ? new PoolClosedError(poolId) : new LeaseReleasedError(poolId));
    slot.destroy();
  }

  lend(slot: HttpSlot, lease: LeaseInfo): AxiosInstance {
    return this.#dependencies.adapters.lend(slot, lease);
  }

  /** What a borrower left under way must not go on in the next one's slot. */
  recycle(slot: HttpSlot, from: LeaseInfo): void {
    if (slot.busy) slot.cut(new LeaseReleasedError(this.#dependencies.poolId, { tenantId: from.tenantId }));
  }

  /** A socket that closes is no loss: the next request opens another. */
  onBroken(): void {}

  isFatal(error: unknown): boolean {
    return isConnectionError(error);
  }

  isMisconfigured(error: unknown): boolean {
    return isCertificateError(error);
  }
}
