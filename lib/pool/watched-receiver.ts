/**
 * Publishes and logs what becomes of an acquire.
 */
import type { TracingChannel } from 'node:diagnostics_channel';

import type { WaitReason } from '../engine/engine-watcher.js';
import type { Lease } from '../engine/lease.js';
import { grantTo, type LeaseReceiver, refuse, shareWith } from '../engine/receivers.js';
import type { Clock } from '../engine/time/clock.js';
import type { AcquireMessage } from './pool-channels.js';
import type { SlowLog } from './slow-log.js';
import { TracedWork } from './traced-work.js';

/**
 * Stands between the engine and the receiver of a lease. What is decided while the engine is asked reaches the receiver
 * after the subscribers: what it does with the lease is no part of the acquire.
 */
export class WatchedReceiver<L> implements LeaseReceiver<L> {
  readonly #receiver: LeaseReceiver<L>;
  readonly #message: AcquireMessage;
  readonly #trace: TracedWork<AcquireMessage>;
  readonly #clock: Clock;
  readonly #askedAtMs: number;
  readonly #slow: SlowLog | undefined;
  /** Made where the acquire was, for the log. */
  readonly #origin: Error | undefined;
  /** Tells the receiver what was decided at once. */
  #decided: (() => void) | undefined = undefined;
  #isAsking = true;

  constructor(
    receiver: LeaseReceiver<L>,
    channels: TracingChannel<unknown, AcquireMessage>,
    message: AcquireMessage,
    clock: Clock,
    slow: SlowLog | undefined,
  ) {
    this.#receiver = receiver;
    this.#message = message;
    this.#trace = new TracedWork(channels, message);
    this.#clock = clock;
    this.#askedAtMs = clock.now();
    this.#slow = slow;
    this.#origin = slow?.origin();
  }

  /** Asks the engine. */
  ask(request: (receiver: LeaseReceiver<L>) => void, whyItWaits: () => WaitReason): void {
    this.#trace.begin(() => {
      request(this);
      this.#isAsking = false;
      if (this.#decided === undefined) this.#message.waitReason = whyItWaits();
    });
    this.#decided?.();
  }

  granted(lease: Lease<L>): void {
    this.#end(undefined);
    if (this.#origin !== undefined) this.#slow?.lent(lease, this.#origin);
    this.#logIfSlow();
    this.#tell(() => grantTo(this.#receiver, lease));
  }

  refused(error: Error): void {
    this.#end(error);
    this.#tell(() => refuse(this.#receiver, error));
  }

  canShare(lease: Lease<L>): boolean {
    return !this.#isAsking && this.#receiver.canShare?.(lease) === true;
  }

  shared(lease: Lease<L>): void {
    this.#message.shared = true;
    this.#end(undefined);
    this.#logIfSlow();
    this.#tell(() => shareWith(this.#receiver, lease));
  }

  #end(error: Error | undefined): void {
    this.#message.waitedMs = this.#isAsking ? 0 : this.#clock.now() - this.#askedAtMs;
    this.#message.error = error;
    if (error !== undefined) this.#trace.fail();
    if (!this.#isAsking) this.#trace.end();
  }

  #tell(receiver: () => void): void {
    if (this.#isAsking) this.#decided = receiver;
    else receiver();
  }

  #logIfSlow(): void {
    const { tenantId, waitedMs = 0, waitReason } = this.#message;
    if (this.#slow?.isSlowAcquire(waitedMs) !== true) return;
    // The logger may read the context: that of the caller, not of the release that made room.
    this.#trace.inContext(() => this.#slow?.waited(tenantId, this.#origin, waitedMs, waitReason));
  }
}
