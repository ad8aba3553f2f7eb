/**
 * The slots of an HTTP pool, as the engine sees them.
 *
 * Opening a slot costs nothing and asks nobody, except that with `healthCheck.path` the first one waits until the upstream
 * has shown that it is alive: so `startup: 'wait'` means something, and without a path the upstream gets no request that
 * nobody made.
 */
import type { AxiosInstance } from 'axios';
import type { LeaseInfo, PoolDriver } from '../engine/driver.js';
import { LeaseReleasedError, PoolClosedError } from '../errors.js';
import { HttpSlot } from './http-slot.js';
import { isConnectionError } from './transport.js';
import type { UpstreamCheck } from './upstream-check.js';

/** What the slots are for. It needs the engine, which needs the driver: so it comes later than this. */
export interface SlotUse {
  readonly lend: (slot: HttpSlot, lease: LeaseInfo) => AxiosInstance;
  readonly check: UpstreamCheck;
  /** Whether the pool is closing, which is then why slots are cut. */
  readonly closing: () => boolean;
}

export interface HttpDriverParts {
  readonly poolId: string;
  readonly keepAliveTimeoutMs: number;
  readonly use: () => SlotUse;
}

export class HttpDriver implements PoolDriver<HttpSlot, AxiosInstance> {
  readonly #parts: HttpDriverParts;
  #seenAlive = false;

  constructor(parts: HttpDriverParts) {
    this.#parts = parts;
  }

  async open(signal: AbortSignal): Promise<HttpSlot> {
    const slot = new HttpSlot(this.#parts.keepAliveTimeoutMs);
    const { check } = this.#parts.use();
    if (!check.asks || this.#seenAlive) return slot;
    try {
      await this.ping(slot, signal);
    } catch (error) {
      slot.destroy();
      throw error;
    }
    return slot;
  }

  async ping(slot: HttpSlot, signal: AbortSignal): Promise<void> {
    await this.#parts.use().check.run(slot, signal);
    this.#seenAlive = true;
  }

  async close(slot: HttpSlot): Promise<void> {
    await slot.close();
  }

  kill(slot: HttpSlot): void {
    slot.cut(this.#cutReason(undefined));
    slot.destroy();
  }

  lend(slot: HttpSlot, lease: LeaseInfo): AxiosInstance {
    return this.#parts.use().lend(slot, lease);
  }

  /** What a borrower left under way must not go on in the next one's slot. */
  recycle(slot: HttpSlot, from: LeaseInfo): void {
    if (slot.flight !== undefined) slot.cut(this.#cutReason(from.tenantId));
  }

  /** A socket that closes is no loss: the next request opens another. */
  onBroken(): void {}

  isFatal(error: unknown): boolean {
    return isConnectionError(error);
  }

  #cutReason(tenantId: string | undefined): Error {
    const { poolId, use } = this.#parts;
    return use().closing() ? new PoolClosedError(poolId, { tenantId }) : new LeaseReleasedError(poolId, { tenantId });
  }
}
