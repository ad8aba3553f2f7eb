/**
 * One request (or message) while it is served: whose it is, and what was leased on its behalf.
 *
 * Promise: it ends exactly once, when its response is over and the body that was being sent has let go of what it reads
 * from; a body that doesn't let go is waited for only so long. Leases that are still out then are reported, and their
 * connections destroyed; acquires that still wait are reported and withdrawn.
 */
import type { Logger } from '@nestjs/common';

import { whereAcquired } from '../engine/acquire-stack.js';
import { LeaseScope, type TakenBack } from '../engine/lease-scope.js';
import { runOutside } from '../engine/outside-context.js';
import { describeError } from '../engine/redact.js';
import { type Clock, epochMs, systemClock, type TimerHandle } from '../engine/time/clock.js';
import { setDeadline } from '../engine/time/late-timer.js';

/**
 * How long the end of a scope waits for a stopped body, in milliseconds. A cursor that is closed when its stream is
 * destroyed needs a round trip before it gives its connection back, and that comes after the response has closed.
 */
const STOP_GRACE_MS = 1_000;

export class RequestScope {
  readonly leases = new LeaseScope();
  /** Whose request it is, as far as is known; of a route only. */
  tenantId: string | undefined = undefined;
  /** Whether an interceptor has settled that, after all guards. What a middleware found before is provisional. */
  guarded = false;
  /** The handler, once it is known: what a report names. */
  handler = 'a request';
  readonly #openBodies = new Set<() => void>();
  readonly #logger: Logger;
  readonly #clock: Clock;
  #over = false;
  #clientGone = false;
  #grace: TimerHandle | undefined;

  constructor(logger: Logger, clock: Clock = systemClock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** Whether the response is over. */
  get over(): boolean {
    return this.#over;
  }

  /**
   * Keeps the scope open for a body that is being sent.
   *
   * @param stop called when the response is over before the body is: the rest is not read.
   * @returns what to call when the body has let go of everything.
   */
  hold(stop: () => void): () => void {
    // The client has gone before there was anything to send; Nest gives up what it doesn't send.
    if (this.#over) return () => {};
    this.#openBodies.add(stop);
    return () => {
      if (this.#openBodies.delete(stop) && this.#over && this.#openBodies.size === 0) this.#end();
    };
  }

  /** The response has been sent, or its client has gone before that. */
  responseOver(end: 'sent' | 'client gone'): void {
    if (this.#over) return;
    this.#over = true;
    this.#clientGone = end === 'client gone';
    for (const stop of [...this.#openBodies]) stop();
    if (this.#openBodies.size === 0) return this.#end();
    this.#grace = setDeadline(this.#clock, () => this.#end(), STOP_GRACE_MS);
  }

  /** The handler is done, and there is no response whose end could be awaited: it ends with the last body, or now. */
  handlerDone(): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#openBodies.size === 0) this.#end();
  }

  #end(): void {
    this.#grace?.cancel();
    this.#openBodies.clear();
    // The event that ends a request may run in any async context; a report belongs to none.
    runOutside(() => {
      for (const left of this.leases.end()) this.#report(left);
    });
  }

  #report(left: TakenBack): void {
    const message = this.#clientGone ? this.#clientGoneReport(left) : this.#forgottenReport(left);
    const failure = left.failure === undefined ? '' : ` Ending it failed: ${describeError(left.failure)}.`;
    try {
      // What was under way when a client went away is no mistake: the handler may have been about to end it.
      this.#logger[this.#clientGone ? 'warn' : 'error'](`${message}${failure}`);
    } catch {
      // An application's logger that throws must not keep the next report from being made.
    }
  }

  #clientGoneReport(left: TakenBack): string {
    switch (left.state) {
      case 'waiting':
        return `The client of ${this.handler} went away. An acquire from ${placeOf(left)}, waiting for ${ageOf(left)}, was withdrawn.`;
      case 'open':
        return `The client of ${this.handler} went away. An operation on ${placeOf(left)}, open for ${ageOf(left)}, was ended.`;
      case 'leased':
        return `The client of ${this.handler} went away. The connection of a lease of ${placeOf(left)}, acquired ${ageOf(left)} ago, was destroyed.`;
    }
  }

  #forgottenReport(left: TakenBack): string {
    switch (left.state) {
      case 'waiting':
        return (
          `An acquire from ${placeOf(left)} was still waiting, for ${ageOf(left)}, when ${this.handler} had answered. It was withdrawn. ` +
          OUTLIVE
        );
      case 'open':
        return `An operation on ${placeOf(left)} was still open, for ${ageOf(left)}, when ${this.handler} had answered. It was ended. ${OUTLIVE}`;
      case 'leased':
        return (
          `A lease of ${placeOf(left)}, acquired ${ageOf(left)} ago, was still out when ${this.handler} had answered. Its connection was ` +
          `destroyed. Release it before the response ends, or detach() it for work that outlives the response.${whereAcquired(left.stack)}`
        );
    }
  }
}

const OUTLIVE =
  'Await it before the response ends, or start work that outlives the response with TenantContext.runDetached().';

function placeOf({ poolId, tenantId }: TakenBack): string {
  return `pool "${poolId}" (${tenantId === undefined ? 'no tenant' : `tenant "${tenantId}"`})`;
}

function ageOf({ since }: TakenBack): string {
  // By the clock that leases are dated by: the wall clock may have been set meanwhile.
  return `${Math.round(epochMs(systemClock.now()) - since)} ms`;
}
