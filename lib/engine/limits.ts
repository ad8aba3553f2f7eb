/**
 * The numbers an engine works with, already validated. Sizes are slots, durations milliseconds.
 */
export interface PoolLimits {
  /** Connections kept open while the pool is idle. */
  readonly minSize: number;
  /** Connections at most, in all states together. */
  readonly maxSize: number;
  /** Waiters of all tenants together, at most. */
  readonly maxQueue: number;
  /** How long an acquire waits unless it says otherwise. */
  readonly acquireTimeoutMs: number;
  /** Own time-out of each connect. */
  readonly connectTimeoutMs: number;
  /** Connects under way at once, at most. */
  readonly connectConcurrency: number;
  /** After an outage has lasted this long, waiters fail with the last connect error. */
  readonly failFastAfterMs: number;
  /** Idle connections above `minSize` are closed after this time; 0: never. */
  readonly idleTimeoutMs: number;
  /** Connections are replaced at this age, less up to 2.5 % at random; 0: never. */
  readonly maxLifetimeMs: number;
  /** Connections are replaced after this many leases; 0: never. */
  readonly maxUses: number;
  /** Idle connections are pinged this often; 0: never. */
  readonly keepaliveMs: number;
  /** A connection idle for longer is pinged before it is lent. */
  readonly validateAfterIdleMs: number;
  /** A lease out for longer is reported as leaked; 0: never. */
  readonly leakDetectionMs: number;
  /** A driver's `recycle` that takes longer costs the connection. */
  readonly recycleTimeoutMs: number;
  /** A driver's graceful `close` that takes longer is followed by `kill`. */
  readonly closeTimeoutMs: number;
  /** @internal Whether `connectConcurrency` is the default for `maxSize`. */
  readonly [FOLLOWS_MAX_SIZE]?: boolean;
}

/**
 * Set where `connectConcurrency` was left to its default, which follows `maxSize`. Spreads keep it, prints don't show
 * it.
 */
export const FOLLOWS_MAX_SIZE: unique symbol = Symbol('connectConcurrency follows maxSize');

/** How many connects may be under way at once unless the options say otherwise. */
export function defaultConnectConcurrency(maxSize: number): number {
  return Math.max(2, Math.floor(maxSize / 4));
}

/** The limits alone, in an object that is quick to read: options that hide their secrets from print are not. */
export function limitsAlone(options: PoolLimits): PoolLimits {
  return {
    minSize: options.minSize,
    maxSize: options.maxSize,
    maxQueue: options.maxQueue,
    acquireTimeoutMs: options.acquireTimeoutMs,
    connectTimeoutMs: options.connectTimeoutMs,
    connectConcurrency:
      options[FOLLOWS_MAX_SIZE] === true ? defaultConnectConcurrency(options.maxSize) : options.connectConcurrency,
    failFastAfterMs: options.failFastAfterMs,
    idleTimeoutMs: options.idleTimeoutMs,
    maxLifetimeMs: options.maxLifetimeMs,
    maxUses: options.maxUses,
    keepaliveMs: options.keepaliveMs,
    validateAfterIdleMs: options.validateAfterIdleMs,
    leakDetectionMs: options.leakDetectionMs,
    recycleTimeoutMs: options.recycleTimeoutMs,
    closeTimeoutMs: options.closeTimeoutMs,
    [FOLLOWS_MAX_SIZE]: options[FOLLOWS_MAX_SIZE] === true,
  };
}

/** What one tenant may take of one pool. */
export interface TenantLimits {
  /** Slots in use at once, at most; `Infinity`: no maximum of its own. */
  readonly max: number;
  /** Share of a contended pool, relative to other tenants'. */
  readonly weight: number;
  /** Slots that are this tenant's first as soon as they come free; lent to others until then. */
  readonly reserved: number;
  /** Waiters of this tenant, at most. */
  readonly maxWaiting: number;
  /** What an acquire does while the tenant is at its `max`. */
  readonly whenFull: 'queue' | 'reject';
}

/** The limits of every tenant of a pool: the common ones, and whose differ. */
export interface TenantPolicy extends TenantLimits {
  /** The limits of single tenants, by their ids; what is left out is as for all. */
  readonly overrides: Readonly<Record<string, Partial<TenantLimits>>>;
  /** Asked once for each tenant the pool gets to know; wins over `overrides`. */
  readonly resolve?: ((tenantId: string) => Partial<TenantLimits> | undefined) | undefined;
  /**
   * Whether there is such a tenant; asked once for each that has no limits of its own. Without it, those are known that
   * the pool has served for a while.
   */
  readonly known?: ((tenantId: string) => boolean) | undefined;
  /**
   * Slots that tenants which aren't known may have in use together while known ones wait. Default: half of them, at
   * least 1.
   */
  readonly maxUnknown?: number | undefined;
}
