/**
 * Tells those who asked for a slot. A receiver that throws does not affect the waiters behind it.
 */
import { warn } from './guard.js';
import type { Lease } from './lease.js';
import { toError } from './to-error.js';

/**
 * Who gets the lease, or the error. Exactly one of the two is called, once; unless `granted` throws: the lease is taken
 * back then, its connection destroyed, and `refused` is told of what was thrown.
 */
export interface LeaseReceiver<L> {
  granted(lease: Lease<L>): void;
  refused(error: Error): void;
  /**
   * Asked of the oldest waiter of a tenant while `lease` is granted to another one of it: whether it can be served
   * within that lease, without a slot of its own. Without the method it can't. It changes nothing.
   */
  canShare?(lease: Lease<L>): boolean;
  /** In place of `granted`, after `canShare`: it is served within `lease`, which it doesn't release. */
  shared?(lease: Lease<L>): void;
}

/**
 * Hands a lease over. If the receiver throws, the state of the connection is unknown: the lease is taken
 * back, its connection destroyed, and the receiver is refused with what it threw.
 */
export function grantTo<L>(receiver: LeaseReceiver<L>, lease: Lease<L>): void {
  try {
    receiver.granted(lease);
  } catch (error) {
    lease.cut();
    refuse(receiver, toError(error));
  }
}

/** Whether a receiver can share a lease. One that throws can't: it goes on waiting. */
export function canShareWith<L>(receiver: LeaseReceiver<L>, lease: Lease<L>): boolean {
  try {
    return receiver.canShare?.(lease) === true;
  } catch (error) {
    warn('PoolReceiverWarning', 'A receiver that was asked whether it can share a lease', error);
    return false;
  }
}

/** Lets a receiver share a lease. If it throws, the state of the connection is unknown, as with {@link grantTo}. */
export function shareWith<L>(receiver: LeaseReceiver<L>, lease: Lease<L>): void {
  try {
    receiver.shared?.(lease);
  } catch (error) {
    lease.cut();
    refuse(receiver, toError(error));
  }
}

/** Tells a receiver that it gets no slot. What it throws then becomes a warning of the process: it has been told. */
export function refuse(receiver: LeaseReceiver<never>, error: Error): void {
  try {
    receiver.refused(error);
  } catch (thrown) {
    warn('PoolReceiverWarning', 'A receiver that was refused a slot', thrown);
  }
}
