/**
 * What users hold: one pool, of any kind. What `@InjectPool` injects, what `create…Pool` returns and what
 * `getPool` finds is the same object.
 *
 * `forTenant` and `unscoped` are views of it: the same connections, limits and statistics, with the tenant fixed or
 * explicitly absent.
 */
import { inspect } from 'node:util';

import type { Lease } from '../engine/lease.js';
import type { LeaseScope } from '../engine/lease-scope.js';
import type { AcquireLimits, CloseReport, LendingEngine } from '../engine/lending-engine.js';
import { type AtScopeEnd, mayBeWithdrawn, requestWithin } from '../engine/scoped-request.js';
import { toError } from '../engine/to-error.js';
import { RequestEndedError } from '../errors.js';
import type { ContextFrame } from '../tenancy/tenant-context.js';
import { assertTenantId } from '../tenancy/tenant-id.js';
import type { PoolCore } from './pool-core.js';
import type { PoolEventMap } from './pool-events.js';
import type { HealthCheckRequest, HealthCheckResult, PoolStatus } from './pool-health.js';
import type { ResolvedBasePoolOptions } from './pool-options.js';
import { PoolStats, type StatsContext } from './pool-stats.js';
import type { PoolType } from './pool-type.js';
import { assertLimits, changedPolicy } from './running-limits.js';
import { FROM_CONTEXT, namedTenant, type TenantBinding, UNSCOPED } from './tenant-binding.js';
import { parseTenantLimits, type TenantLimitOptions } from './tenant-options.js';

export type { PoolCore } from './pool-core.js';
export { createPoolCore } from './pool-core.js';
export type { PoolLogger } from './pool-log.js';
export { createPoolRuntime } from './pool-runtime.js';
export type { PoolDependencies, PoolRuntime } from './pool-runtime.js';
export type { PoolType } from './pool-type.js';
export type { TenantBinding } from './tenant-binding.js';

/** A listener of an event with these arguments. */
export type PoolListener<A> = (...args: Extract<A, unknown[]>) => void;

/** For whom a slot is acquired, and how long that may take. */
export interface AcquireOptions extends AcquireLimits {
  /**
   * Whom the work is for. Default: the tenant of the view, else that of the running code's context. A tenant other than
   * those can only be named with `forTenant()`.
   */
  readonly tenantId?: string | undefined;
}

/** How long a pool that is closed by hand lets leases go on, in milliseconds. */
const DRAIN_MS = 10_000;

/**
 * One pool, of any kind: what `@InjectPool` injects, and what a manager creates and finds. Lends connections of the
 * type `L` and emits the events of `E`.
 */
export abstract class PoolHandle<L = unknown, E extends PoolEventMap = PoolEventMap> {
  /** @internal What all views of the pool share. */
  protected readonly core: PoolCore<L>;
  /** @internal Whose work this view does. */
  protected readonly binding: TenantBinding;

  /** @internal Pools are made by a manager. */
  constructor(core: PoolCore<L>, binding: TenantBinding = FROM_CONTEXT) {
    this.core = core;
    this.binding = binding;
  }

  /** The name that the pool was declared or created with. */
  get id(): string {
    return this.core.runtime.id;
  }

  /** What its connections lead to. */
  get type(): PoolType {
    return this.core.type;
  }

  /** The state that it is in. A change emits `status`. */
  get status(): PoolStatus {
    return this.core.monitor.status;
  }

  /** What it was configured with; prints without secrets. */
  get config(): ResolvedBasePoolOptions {
    return this.core.config;
  }

  /** The numbers of this moment. */
  stats(): PoolStats {
    return new PoolStats(this.core.engine, this.statsContext);
  }

  /**
   * Borrows a slot until the lease is released.
   *
   * Rejects with TenantRequiredError, TenantInvalidError, PoolClosedError, PoolSuspendedError, AcquireTimeoutError,
   * AcquireAbortedError, TenantLimitError, QueueFullError, BackendUnavailableError, NestedAcquireError, or, when the
   * request that it is for ends before a slot comes, RequestEndedError.
   *
   * @example
   * await using lease = await pool.acquire({ timeoutMs: 500 });
   */
  acquire(options?: AcquireOptions): Promise<Lease<L>> {
    return this.acquireFor('taken back', options, this.frame);
  }

  /** A slot if one can be had without waiting, else `undefined`. */
  tryAcquire(): Lease<L> | undefined {
    const { frame } = this;
    const lease = this.core.engine.tryAcquire(this.tenantFor(undefined, frame));
    if (lease === undefined) return undefined;
    frame?.scope?.add(lease);
    this.core.engine.watcher.acquired(lease);
    return lease;
  }

  /**
   * Borrows a slot for the duration of `fn`. An acquire from this pool inside `fn` that could never be granted, because
   * all slots are held this way, fails with NestedAcquireError. The end of the request doesn't cut it, because it ends
   * with `fn`; while it still waits for its slot, that withdraws it. A lazy query that `fn` returns is run inside, too.
   *
   * @returns what `fn` returns.
   */
  use<T>(fn: (connection: L, lease: Lease<L>) => T | PromiseLike<T>, options?: AcquireOptions): Promise<T> {
    const { frame } = this;
    const acquired = this.borrow(options, frame);
    const used = this.useLease(acquired, fn);
    return frame?.scope === undefined ? used : mayBeWithdrawn(acquired, used);
  }

  private async useLease<T>(
    acquired: Promise<Lease<L>>,
    fn: (connection: L, lease: Lease<L>) => T | PromiseLike<T>,
  ): Promise<T> {
    const lease = await acquired;
    let failure: unknown;
    try {
      return await this.holding(lease, () => fn(lease.connection, lease));
    } catch (error) {
      failure = error;
      throw error;
    } finally {
      if (!lease.released) lease.release(failure);
    }
  }

  /** The same pool, working for `tenantId`, not for the tenant of the running code's context. */
  forTenant(tenantId: string): this {
    assertTenantId(tenantId);
    return this.view({ kind: 'tenant', tenantId });
  }

  /** The same pool, explicitly working for no tenant: for migrations, guards, jobs over all tenants. */
  unscoped(): this {
    return this.view(UNSCOPED);
  }

  /** Asks the backend now. Never rejects. */
  healthCheck(request?: HealthCheckRequest): Promise<HealthCheckResult> {
    if (this.core.opensOnUse) this.core.monitor.start();
    return this.core.monitor.check(request);
  }

  /**
   * Changes the pool's size while it runs. Surplus connections go when they come back.
   *
   * @throws PoolConfigError when a size is no whole number, or the sizes contradict each other or what tenants have
   * reserved.
   */
  resize(sizes: { readonly minSize?: number; readonly maxSize?: number }): void {
    const { engine } = this.core;
    const { minSize = engine.limits.minSize, maxSize = engine.limits.maxSize } = sizes;
    assertLimits(this.id, { minSize, maxSize, tenants: engine.tenantPolicy });
    const { minSize: leastBefore, maxSize: mostBefore } = engine.limits;
    engine.changeLimits({ minSize, maxSize });
    this.core.runtime.publisher.resized({ minSize: leastBefore, maxSize: mostBefore }, { minSize, maxSize });
  }

  /**
   * Changes what tenants may take, at once and for those that are at work too.
   *
   * @param tenantId whose limits; without it, those of all tenants that have none of their own.
   * @throws PoolConfigError by the same rules as at the start, TenantInvalidError
   */
  limitTenants(limits: TenantLimitOptions, tenantId?: string): void {
    if (tenantId !== undefined) assertTenantId(tenantId);
    const change = parseTenantLimits(limits, ['pools', this.id, 'tenants']);
    const { engine } = this.core;
    const { minSize, maxSize } = engine.limits;
    const tenants = changedPolicy(engine.tenantPolicy, change, tenantId);
    assertLimits(this.id, { minSize, maxSize, tenants });
    engine.changeTenantPolicy(tenants);
  }

  /**
   * Replaces every connection: idle ones now, leased ones when they come back. For rotated credentials, or after a
   * failover.
   */
  evict(): void {
    this.core.engine.evict();
  }

  /** Stops lending: acquires wait for `resume()` (`queue`) or fail at once (`reject`). What is lent stays so. */
  suspend(mode: 'queue' | 'reject' = 'queue'): void {
    this.core.engine.suspend(mode);
  }

  /** Lends again after `suspend()`; harmless when the pool isn't suspended. */
  resume(): void {
    this.core.engine.resume();
  }

  /**
   * Closes the pool: new acquires and waiters are refused at once, leases get until the deadline, then their
   * connections are killed. Never rejects; called again, it can only bring the deadline forward.
   *
   * @param options.deadlineMs default 10 000. What is no duration (0, less, NaN): no time; at most a day.
   */
  async close({ deadlineMs = DRAIN_MS }: { readonly deadlineMs?: number } = {}): Promise<CloseReport> {
    const { engine, monitor, runtime } = this.core;
    const first = engine.lifecycle === 'cold' || engine.lifecycle === 'open';
    const closed = engine.close({ deadlineMs });
    // Its listeners may close the pool once more: by now that is not the first close.
    monitor.drain();
    const report = this.completed(await closed);
    monitor.close();
    if (first) runtime.events.emit('close', report);
    return report;
  }

  /** Listens to the pool. The listener runs in the async context of this call. */
  on<K extends keyof E & string>(event: K, listener: PoolListener<E[K]>): this {
    this.core.runtime.events.add(event, listener, { once: false });
    return this;
  }

  /** Listens to the next event of that name alone. The listener runs in the async context of this call. */
  once<K extends keyof E & string>(event: K, listener: PoolListener<E[K]>): this {
    this.core.runtime.events.add(event, listener, { once: true });
    return this;
  }

  /** Removes a listener that `on` or `once` added. */
  off<K extends keyof E & string>(event: K, listener: PoolListener<E[K]>): this {
    this.core.runtime.events.remove(event, listener);
    return this;
  }

  /** @internal Opens the pool; the manager's business. Resolves once the minimum is open. */
  start(): Promise<void> {
    this.core.monitor.start();
    return this.core.engine.whenReady();
  }

  /** @internal Leaves the pool for its first use to open, which a pool that was never started does. */
  openOnUse(): void {
    this.core.opensOnUse = true;
  }

  /** @internal Whether a failed connect says that waiting mends nothing. */
  isMisconfigured(error: Error): boolean {
    return this.core.isMisconfigured(error);
  }

  /** Id, type, status and whose work this view does. */
  toJSON(): Record<string, unknown> {
    return { id: this.id, type: this.type, status: this.status, binding: this.binding };
  }

  /** The class, the id, whose work this view does, and how many slots are in use; no secrets. */
  [inspect.custom](): string {
    const { engine } = this.core;
    const whose =
      this.binding.kind === 'tenant'
        ? ` for tenant "${this.binding.tenantId}"`
        : this.binding.kind === 'unscoped'
          ? ' unscoped'
          : '';
    return `${this.constructor.name} "${this.id}"${whose} { ${this.status}, ${engine.numbers.active} of ${engine.limits.maxSize} in use, ${engine.numbers.waiting} waiting }`;
  }

  /** @internal For exporters: what the engine counts and statistics only summarise. */
  get engine(): LendingEngine<L> {
    return this.core.engine;
  }

  /** @internal What statistics show beside the engine's numbers. */
  protected get statsContext(): StatsContext {
    const { monitor, type, unscopedUses } = this.core;
    return {
      type,
      status: monitor.status,
      lastHealthCheck: monitor.lastResult,
      consecutiveFailures: monitor.consecutiveFailures,
      lastError: monitor.lastError,
      unscopedUses,
    };
  }

  /** @internal The report of a close, with what the kind had in use besides its slots. */
  protected completed(report: CloseReport): CloseReport {
    return report;
  }

  /** @internal A handle of the same kind over the same core. */
  protected abstract view(binding: TenantBinding): this;

  /**
   * @internal Acquires for what is sure to give the lease back by itself: the end of the request only withdraws the
   * wait for it.
   */
  protected borrow(options: AcquireOptions | undefined, frame: ContextFrame | undefined): Promise<Lease<L>> {
    return this.acquireFor('left', options, frame);
  }

  /** @internal Acquires, and says what the end of the request does with the lease. */
  protected acquireFor(
    atEnd: AtScopeEnd,
    options: AcquireOptions | undefined,
    frame: ContextFrame | undefined,
  ): Promise<Lease<L>> {
    let tenantId: string | undefined;
    try {
      tenantId = this.tenantFor(options, frame);
    } catch (error) {
      return Promise.reject(toError(error));
    }
    const scope = frame?.scope;
    const { engine } = this.core;
    return scope === undefined && !engine.watcher.watchesAcquires
      ? engine.acquire(tenantId, options)
      : this.acquireWithin(scope, atEnd, tenantId, options);
  }

  /**
   * Apart, because the variables that a closure shares with its function cost each call of that function an allocation.
   */
  private acquireWithin(
    scope: LeaseScope | undefined,
    atEnd: AtScopeEnd,
    tenantId: string | undefined,
    options: AcquireOptions | undefined,
  ): Promise<Lease<L>> {
    const acquired = new Promise<Lease<L>>((resolve, reject) => {
      const refused = (error: Error): void => {
        reject(error);
        if (error instanceof RequestEndedError) queueMicrotask(() => void acquired.catch(ignore));
      };
      requestWithin(this.core.engine, scope, atEnd, { granted: resolve, refused }, tenantId, options);
    });
    return acquired;
  }

  /** @internal What is known about the running code. Looked up once a call. */
  protected get frame(): ContextFrame | undefined {
    return this.core.runtime.tenants.frame();
  }

  /** @internal Whom a call works for that names no tenant itself. */
  protected fixedTenant(frame: ContextFrame | undefined): string | undefined {
    return this.binding.kind === 'context' ? frame?.tenantId : this.binding.tenantId;
  }

  /** @internal Whom a call works for. @throws TenantRequiredError, TenantInvalidError */
  protected tenantFor(options: AcquireOptions | undefined, frame: ContextFrame | undefined): string | undefined {
    const { binding } = this;
    const fixed = this.fixedTenant(frame);
    // Nearly always the tenant is known and the call names no other.
    return fixed !== undefined && options?.tenantId === undefined
      ? fixed
      : namedTenant(this.core, binding, options?.tenantId, fixed);
  }

  /** @internal Runs `fn` as the holder of `lease`, so that an acquire inside it is known to be nested. */
  protected holding<T>(lease: Lease<L>, fn: () => T): T {
    const { tenants } = this.core.runtime;
    const { frame } = this;
    // Work that outlives its use is in none: without the look, jobs that begin each other would hold on to every lease
    // there was.
    let within = frame?.holding;
    while (within?.released === true) within = within.within;
    lease.serve(within);
    return tenants.runFrame({ tenantId: frame?.tenantId, scope: frame?.scope, holding: lease }, fn);
  }
}

/** For what has been reported by the request's scope. */
function ignore(): void {}
