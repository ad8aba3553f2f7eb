/**
 * The calls that wait for a connection and are told when the database user is found unsafe.
 *
 * The links of the list are fields of the calls: the tables that a `Set` leaves behind keep calls alive that have left
 * it, and the garbage collector copies them (bench/README.md has the measurement). For the same reason a call that
 * leaves the list keeps no link to another one.
 */
import type { UnsafeRoleError } from '../errors.js';

/** A call that waits for a connection. The links belong to the list. */
export interface WaitingCall {
  isListed: boolean;
  previousListed: WaitingCall | undefined;
  nextListed: WaitingCall | undefined;
  /** The user was found unsafe. */
  unsafe(error: UnsafeRoleError): void;
}

export class WaitingCalls {
  #first: WaitingCall | undefined = undefined;
  #last: WaitingCall | undefined = undefined;

  add(call: WaitingCall): void {
    if (call.isListed) return;
    call.isListed = true;
    call.previousListed = this.#last;
    if (this.#last === undefined) this.#first = call;
    else this.#last.nextListed = call;
    this.#last = call;
  }

  /** @returns whether it was in the list. */
  delete(call: WaitingCall): boolean {
    if (!call.isListed) return false;
    const { previousListed: previous, nextListed: next } = call;
    if (previous === undefined) this.#first = next;
    else previous.nextListed = next;
    if (next === undefined) this.#last = previous;
    else next.previousListed = previous;
    call.isListed = false;
    call.previousListed = undefined;
    call.nextListed = undefined;
    return true;
  }

  /** Takes all of them out, the oldest first. */
  takeAll(): WaitingCall[] {
    const calls: WaitingCall[] = [];
    for (let call = this.#first; call !== undefined; call = this.#first) {
      calls.push(call);
      this.delete(call);
    }
    return calls;
  }
}
