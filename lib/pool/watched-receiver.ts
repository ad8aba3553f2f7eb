/**
 * Publishes what becomes of an acquire.
 */
import type { TracingChannel } from 'node:diagnostics_channel';

import type { WaitReason } from '../engine/engine-watcher.js';
import type { Lease } from '../engine/lease.js';
import { grantTo, type LeaseReceiver, refuse, shareWith } from '../engine/receivers.js';
import type { Clock } from '../engine/time/clock.js';
import type { AcquireMessage } from './pool-channels.js';
import type { SlowLog } from './slow-log.js';

/**
 * Stands between the engine and who asked for a slot. What was decided while it was being asked for is passed on when
 * subscribers have been told: what a receiver does with its lease is no part of the acquire.
 */
export class WatchedReceiver<L> implements LeaseReceiver<L> {
  readonly #receiver: LeaseReceiver<L>;
  readonly #channels: TracingChannel<unknown, AcquireMessage>;
  readonly #message: AcquireMessage;
  readonly #clock: Clock;
  readonly #askedAtMs: number;
  readonly #slow: SlowLog | undefined;
  /** Made where the acquire was, for the log. */
  readonly #origin: Error | undefined;
  /** What was decided at once. */
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
    this.#channels = channels;
    this.#message = message;
    this.#clock = clock;
    this.#askedAtMs = clock.now();
    this.#slow = slow;
    this.#origin = slow && new Error();
  }

  /** The engine has been asked. */
  requested(whyItWaits: () => WaitReason): void {
    this.#isAsking = false;
    if (this.#decided === undefined) this.#message.waitReason = whyItWaits();
    this.#channels.end.publish(this.#message);
    this.#decided?.();
  }

  granted(lease: Lease<L>): void {
    this.#end(undefined, () => {
      const { waitedMs = 0, waitReason } = this.#message;
      if (this.#origin !== undefined) this.#slow?.granted(lease, this.#origin, waitedMs, waitReason);
      grantTo(this.#receiver, lease);
    });
  }

  refused(error: Error): void {
    this.#end(error, () => refuse(this.#receiver, error));
  }

  canShare(lease: Lease<L>): boolean {
    return !this.#isAsking && this.#receiver.canShare?.(lease) === true;
  }

  shared(lease: Lease<L>): void {
    this.#message.shared = true;
    this.#end(undefined, () => shareWith(this.#receiver, lease));
  }

  #end(error: Error | undefined, tell: () => void): void {
    const { error: failed, asyncStart, asyncEnd } = this.#channels;
    this.#message.waitedMs = this.#isAsking ? 0 : this.#clock.now() - this.#askedAtMs;
    this.#message.error = error;
    if (error !== undefined) failed.publish(this.#message);
    if (this.#isAsking) {
      this.#decided = tell;
      return;
    }
    asyncStart.publish(this.#message);
    asyncEnd.publish(this.#message);
    tell();
  }
}
