/**
 * Publishes what one pool does. The engine's watcher: acquires and releases are looked at while there are subscribers.
 */
import { channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel';

import type { EngineWatcher, RefusalReason, WaitReason } from '../engine/engine-watcher.js';
import type { LeaseHolder } from '../engine/errors.js';
import type { Lease } from '../engine/lease.js';
import type { DestroyReason } from '../engine/pool-counters.js';
import type { LeaseReceiver } from '../engine/receivers.js';
import type { Clock } from '../engine/time/clock.js';
import {
  type AcquireMessage,
  type ConnectMessage,
  type DestroyMessage,
  type EvictMessage,
  type LeakMessage,
  POOL_CHANNELS,
  type PoolMessage,
  type RejectionMessage,
  type ReleaseMessage,
  type ResizeMessage,
  type StatusMessage,
} from './pool-channels.js';
import type { StatusChange } from './pool-health.js';
import type { SlowLog } from './slow-log.js';
import { traced, TracedWork } from './traced-work.js';
import { WatchedReceiver } from './watched-receiver.js';

export class PoolPublisher implements EngineWatcher {
  /** What every message says. */
  readonly pool: PoolMessage;
  readonly #clock: Clock;
  readonly #acquire: TracingChannel<unknown, AcquireMessage> = tracingChannel(POOL_CHANNELS.acquire);
  readonly #connect: TracingChannel<unknown, ConnectMessage> = tracingChannel(POOL_CHANNELS.connect);
  readonly #release = channel(POOL_CHANNELS.release);
  readonly #destroy = channel(POOL_CHANNELS.destroy);
  readonly #status = channel(POOL_CHANNELS.status);
  readonly #leak = channel(POOL_CHANNELS.leak);
  readonly #rejection = channel(POOL_CHANNELS.rejection);
  readonly #evict = channel(POOL_CHANNELS.evict);
  readonly #resize = channel(POOL_CHANNELS.resize);

  readonly #slow: SlowLog | undefined;

  /** @param slow logs what takes long, if that is wanted. */
  constructor(pool: PoolMessage, clock: Clock, slow: SlowLog | undefined) {
    this.pool = pool;
    this.#clock = clock;
    this.#slow = slow;
  }

  get watchesAcquires(): boolean {
    return this.#slow !== undefined || this.#acquire.hasSubscribers;
  }

  get watchesReleases(): boolean {
    return this.#slow !== undefined || this.#release.hasSubscribers;
  }

  acquire<L>(
    receiver: LeaseReceiver<L>,
    tenantId: string | undefined,
    request: (receiver: LeaseReceiver<L>) => void,
    whyItWaits: () => WaitReason,
  ): void {
    const message = this.#acquireMessage(tenantId, undefined);
    new WatchedReceiver<L>(receiver, this.#acquire, message, this.#clock, this.#slow).ask(request, whyItWaits);
  }

  acquired(lease: Lease<unknown>): void {
    if (this.#slow !== undefined) this.#slow.lent(lease, this.#slow.origin());
    if (!this.#acquire.hasSubscribers) return;
    const message = this.#acquireMessage(lease.tenantId, 0);
    new TracedWork(this.#acquire, message).begin(() => {});
  }

  released(lease: Lease<unknown>, heldMs: number, error: unknown): void {
    this.#slow?.released(lease, heldMs);
    const { tenantId } = lease;
    this.#release.publish({ ...this.pool, tenantId, heldMs, error } satisfies ReleaseMessage);
  }

  refused(tenantId: string | undefined, reason: RefusalReason, waitedMs: number, error: Error): void {
    if (this.#rejection.hasSubscribers)
      this.#rejection.publish({ ...this.pool, tenantId, reason, waitedMs, error } satisfies RejectionMessage);
  }

  connect<C>(open: () => Promise<C>): Promise<C> {
    if (!this.#connect.hasSubscribers) return open();
    const message: ConnectMessage = { ...this.pool, durationMs: undefined, error: undefined };
    return traced(this.#connect, message, this.#clock, open);
  }

  destroyed(reason: DestroyReason, error: unknown): void {
    if (this.#destroy.hasSubscribers) this.#destroy.publish({ ...this.pool, reason, error } satisfies DestroyMessage);
  }

  statusChanged(change: StatusChange): void {
    if (this.#status.hasSubscribers) this.#status.publish({ ...this.pool, ...change } satisfies StatusMessage);
  }

  leaked(holder: LeaseHolder): void {
    if (this.#leak.hasSubscribers) this.#leak.publish({ ...this.pool, ...holder } satisfies LeakMessage);
  }

  evicted(generation: number): void {
    if (this.#evict.hasSubscribers) this.#evict.publish({ ...this.pool, generation } satisfies EvictMessage);
  }

  resized(from: ResizeMessage['from'], to: ResizeMessage['to']): void {
    if (this.#resize.hasSubscribers) this.#resize.publish({ ...this.pool, from, to } satisfies ResizeMessage);
  }

  #acquireMessage(tenantId: string | undefined, waitedMs: number | undefined): AcquireMessage {
    return { ...this.pool, tenantId, waitReason: undefined, waitedMs, shared: false, error: undefined };
  }
}
