/**
 * Which tenant the running code works for.
 *
 * There is one context per manager: it owns an AsyncLocalStorage of its own, so two applications in one process never
 * see each other's tenants. The tenant is only ever set with `run`, for the duration of a function and everything it
 * starts. There is no `enterWith`: that leaks into what else the same call chain does, another request
 * included (nestjs-cls #404).
 */
import { AsyncLocalStorage } from 'node:async_hooks';

import type { Lease } from '../engine/lease.js';
import type { LeaseScope } from '../engine/lease-scope.js';
import { started } from './lazy-thenable.js';
import { assertTenantId } from './tenant-id.js';

/** What is known about the work in hand. Frames are never changed, only replaced for an inner function. */
export interface ContextFrame {
  /** Whose work it is; undefined where no tenant was named. */
  readonly tenantId: string | undefined;
  /** The request whose end gives back what was leased on its behalf. */
  readonly scope: LeaseScope | undefined;
  /**
   * The lease that the surrounding `use` or `transaction` holds, by which a deadlock of nested acquires is recognised.
   */
  readonly holding: Lease<unknown> | undefined;
}

/**
 * The tenant of the current call.
 *
 * @example
 * // In a job, where no request names the tenant:
 * await tenants.run('acme', () => this.orders.closeMonth());
 */
export class TenantContext {
  private readonly storage = new AsyncLocalStorage<ContextFrame>();

  /**
   * Runs `fn`, and everything asynchronous that it starts, as the given tenant. Inside a request the leases that `fn`
   * takes still belong to that request's scope.
   *
   * A thenable that runs when it is awaited (a Drizzle, Knex or Mongoose query, a Prisma promise) is started here, as
   * this tenant: `run` calls its `then` and returns a native promise. So finish building a query inside `fn`.
   *
   * @returns what `fn` returns; a native promise in place of any other thenable.
   * @throws {TenantInvalidError} when the id is malformed; `fn` is not called then.
   */
  run<T>(tenantId: string, fn: () => PromiseLike<T>): Promise<T>;
  /**
   * Runs `fn` as the given tenant.
   *
   * @throws {TenantInvalidError} when the id is malformed; `fn` is not called then.
   */
  run<T>(tenantId: string, fn: () => T): T;
  run(tenantId: string, fn: () => unknown): unknown {
    assertTenantId(tenantId);
    const outer = this.storage.getStore();
    return this.runFrame({ tenantId, scope: outer?.scope, holding: outer?.holding }, fn);
  }

  /**
   * Runs `fn`, and everything asynchronous that it starts, as the given tenant and as part of no request: what it
   * acquires, queries or waits for is not taken back when the response ends. For work that is meant to go on after it,
   * where the lease that would be `detach()`ed is hidden inside an ORM. Lazy thenables are started as in {@link run}.
   *
   * @param tenantId undefined: for no tenant. To keep the tenant of the request, pass `current()`.
   * @returns what `fn` returns.
   * @throws {TenantInvalidError} when the id is malformed; `fn` is not called then.
   * @example
   * // The response doesn't wait for it; a failure is the job's own to log.
   * const recorded = tenants.runDetached(tenants.current(), () => this.audit.record(order));
   * recorded.catch((error) => this.logger.error(error));
   */
  runDetached<T>(tenantId: string | undefined, fn: () => PromiseLike<T>): Promise<T>;
  /**
   * Runs `fn` as the given tenant, and as part of no request.
   *
   * @throws {TenantInvalidError} when the id is malformed; `fn` is not called then.
   */
  runDetached<T>(tenantId: string | undefined, fn: () => T): T;
  runDetached(tenantId: string | undefined, fn: () => unknown): unknown {
    if (tenantId !== undefined) assertTenantId(tenantId);
    // The surrounding `use` doesn't wait for it: an acquire in here is not nested in that lease.
    return this.runFrame({ tenantId, scope: undefined, holding: undefined }, fn);
  }

  /** The tenant of the running code, or undefined when none was named. */
  current(): string | undefined {
    return this.storage.getStore()?.tenantId;
  }

  /** @internal Everything that is known about the running code, with one look-up. */
  frame(): ContextFrame | undefined {
    return this.storage.getStore();
  }

  /**
   * @internal Runs `fn` in a frame that the caller made: a request's scope, or a `use` that records the lease it holds.
   * Lazy thenables are started as in {@link run}.
   */
  runFrame<T>(frame: ContextFrame, fn: () => PromiseLike<T>): Promise<T>;
  /** @internal */
  runFrame<T>(frame: ContextFrame, fn: () => T): T;
  runFrame(frame: ContextFrame, fn: () => unknown): unknown {
    return this.storage.run(frame, () => started(fn()));
  }
}
