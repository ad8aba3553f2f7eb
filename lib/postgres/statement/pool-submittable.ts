/**
 * `pool.query` of a caller's Submittable: it waits for a connection, runs there, and gives the connection back.
 *
 * Promise: what keeps it from running it is told, on a later tick: what listens to it isn't there before its caller has
 * it. One that is given up while it waits leaves the queue, and never takes a connection.
 */
import { AsyncResource } from 'node:async_hooks';

import type { Lease } from '../../engine/lease.js';
import type { LeaseReceiver } from '../../engine/receivers.js';
import { toError } from '../../engine/to-error.js';
import { RequestEndedError, type UnsafeRoleError } from '../../errors.js';
import type { QueryCallback } from '../protocol/pg-module.js';
import type { RoleSafety } from '../role-safety.js';
import type { LeasedClient } from '../session/leased-client.js';
import type { WaitingCall } from '../waiting-calls.js';
import { type CallerSubmittable, ignoreErrors } from './caller-submittable.js';
import { SubmittableEnd } from './submittable-end.js';
import { SubmittableTask } from './submittable-task.js';
import { throwLater } from './throw-later.js';

export class PoolSubmittable implements LeaseReceiver<LeasedClient>, WaitingCall {
  isListed = false;
  previousListed: WaitingCall | undefined = undefined;
  nextListed: WaitingCall | undefined = undefined;
  readonly #query: CallerSubmittable;
  readonly #callback: QueryCallback | undefined;
  readonly #safety: RoleSafety;
  readonly #context = new AsyncResource('PostgresSubmittable');
  readonly #withdrawal = new AbortController();
  readonly #end: SubmittableEnd;
  /** It has been refused, or has got a connection. */
  #isOver = false;

  constructor(query: CallerSubmittable, callback: QueryCallback | undefined, safety: RoleSafety) {
    this.#query = query;
    this.#callback = callback;
    this.#safety = safety;
    this.#end = new SubmittableEnd(query, () => this.#withdrawal.abort());
  }

  /** Aborts when it is given up. */
  get signal(): AbortSignal {
    return this.#withdrawal.signal;
  }

  /** It has been asked for: should it wait for a connection, it hears at once of a user that is unsafe. */
  requested(): void {
    if (this.#safety.isEnforced && !this.#isOver) this.#safety.waiting.add(this);
  }

  granted(lease: Lease<LeasedClient>): void {
    const over = (error: Error | undefined): void => {
      if (!lease.released) lease.release(error);
    };
    if (this.#safety.error !== undefined) this.refused(this.#safety.error);
    if (this.#isOver) return over(undefined);
    this.#leave();
    try {
      this.#context.runInAsyncScope(() => lease.connection.runSubmittable(this.#query, this.#callback, over));
    } catch (error) {
      over(undefined);
      this.#tell(toError(error));
    }
  }

  refused(error: Error): void {
    if (this.#isOver) return;
    this.#leave();
    this.#tell(this.#safety.error ?? error);
  }

  unsafe(error: UnsafeRoleError): void {
    this.refused(error);
  }

  #leave(): void {
    this.#isOver = true;
    this.#end.stop();
    this.#safety.waiting.delete(this);
  }

  #tell(error: Error): void {
    // A stream that was destroyed has told of its end already.
    if (this.#withdrawal.signal.aborted && 'destroyed' in this.#query) return;
    process.nextTick(() => {
      // The reader has gone with its request: an error that nothing listens for would end the process.
      if (error instanceof RequestEndedError) ignoreErrors(this.#query);
      this.#context.runInAsyncScope(() => throwLater(() => SubmittableTask.refuse(this.#query, error, this.#callback)));
    });
  }
}
