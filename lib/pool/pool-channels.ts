/**
 * What pools publish on Node's diagnostics channels: for tracing, metrics and logs of an application's own.
 *
 * The channels are the process's: a message says of which pool it is. What becomes of an acquire, a statement or a
 * transaction is published in the async context of its caller. Promises: without a subscriber a pool makes no
 * message; messages are published once the pool's own state is up to date, so that a subscriber may call it; a
 * subscriber that throws ends the process as Node has it (`uncaughtException`), and loses no slot.
 */
import type { RefusalReason, WaitReason } from '../engine/engine-watcher.js';
import type { LeaseHolder } from '../engine/errors.js';
import type { DestroyReason } from '../engine/pool-counters.js';
import type { StatusChange } from './pool-health.js';
import type { PoolType } from './pool-type.js';

/**
 * Names of the channels. `acquire`, `connect`, `query` and `transaction` are tracing channels, for
 * `diagnostics_channel.tracingChannel(name)`; the others are plain ones, for `diagnostics_channel.subscribe(name, …)`.
 *
 * @example
 * import { subscribe } from 'node:diagnostics_channel';
 *
 * subscribe(POOL_CHANNELS.rejection, (message) => console.warn(message));
 * subscribe(`tracing:${POOL_CHANNELS.acquire}:asyncEnd`, (message) => console.log(message));
 */
export const POOL_CHANNELS = {
  /** An acquire ({@link AcquireMessage}), queries and requests included; with `asyncEnd` if it had to wait. */
  acquire: 'nestjs-pool-manager:acquire',
  /** A connection being opened ({@link ConnectMessage}). */
  connect: 'nestjs-pool-manager:connect',
  /** A statement of the application on a PostgreSQL connection ({@link QueryMessage}). */
  query: 'nestjs-pool-manager:query',
  /** A call of `transaction` ({@link TransactionMessage}). */
  transaction: 'nestjs-pool-manager:transaction',
  /** A lease has ended ({@link ReleaseMessage}). */
  release: 'nestjs-pool-manager:release',
  /** A connection has ended ({@link DestroyMessage}). */
  destroy: 'nestjs-pool-manager:destroy',
  /** The status of a pool has changed ({@link StatusMessage}). */
  status: 'nestjs-pool-manager:status',
  /** A lease has been out for longer than `leakDetectionMs` ({@link LeakMessage}). */
  leak: 'nestjs-pool-manager:leak',
  /** An acquire has ended without a lease ({@link RejectionMessage}). */
  rejection: 'nestjs-pool-manager:rejection',
  /** Every connection is being replaced ({@link EvictMessage}). */
  evict: 'nestjs-pool-manager:evict',
  /** The size of a pool has been changed ({@link ResizeMessage}). */
  resize: 'nestjs-pool-manager:resize',
} as const;

/** What every message says: of which pool it is. */
export interface PoolMessage {
  /** The id of the pool. */
  readonly poolId: string;
  /** What its connections lead to. */
  readonly poolType: PoolType;
  /** The application's name, by which pools of two applications in one process are told apart. */
  readonly application: string;
}

/** What a message about one tenant's work says. */
export interface TenantMessage extends PoolMessage {
  /** `undefined`: work without a tenant. */
  readonly tenantId: string | undefined;
}

/** An acquire. The fields that can change are set by the time of the event that they belong to. */
export interface AcquireMessage extends TenantMessage {
  /** What it waits for, as found when it began to wait; `undefined`: it was granted or refused at once. */
  waitReason: WaitReason | undefined;
  /** How long it had waited, in milliseconds, once it has ended. */
  waitedMs: number | undefined;
  /** Whether it is served within the lease of another statement of its tenant. */
  shared: boolean;
  /** Why it ended without a lease. */
  error: Error | undefined;
}

/** A connection being opened. */
export interface ConnectMessage extends PoolMessage {
  /** How long it took, in milliseconds, once it has ended. */
  durationMs: number | undefined;
  /** Why it could not be opened. May name hosts. */
  error: unknown;
}

/** A statement of the application: of `pool.query`, of a lease, or of a transaction; never one of the pool's own. */
export interface QueryMessage extends TenantMessage {
  /** The text as it is sent, without values; `undefined`: the statement is named, and prepared already. */
  readonly text: string | undefined;
  /** The name of a prepared statement. */
  readonly name: string | undefined;
  /** From being given to its connection to being answered, in milliseconds, once it has ended. */
  durationMs: number | undefined;
  /** Why it failed. */
  error: unknown;
}

/** A call of `transaction`. */
export interface TransactionMessage extends TenantMessage {
  /** How often a connection has been asked for so far: its function is called once for each that was granted. */
  attempts: number;
  /** How long the call took, in milliseconds, once it has ended: waiting for a connection and retries included. */
  durationMs: number | undefined;
  /** Why it was rolled back, or could not begin. */
  error: unknown;
}

/**
 * A lease that has ended. One that is cut when its pool closes is told by `destroy` alone. Where an acquire waits for
 * the slot, that acquire ends first.
 */
export interface ReleaseMessage extends TenantMessage {
  /** How long it lasted, in milliseconds. */
  readonly heldMs: number;
  /** What its borrower released it with: an error, `true` for a connection to be closed, or undefined. */
  readonly error: unknown;
}

/** A connection that has ended. */
export interface DestroyMessage extends PoolMessage {
  /** Why it ended. */
  readonly reason: DestroyReason;
  /** The error that it ended with, if there was one. May name hosts. */
  readonly error: unknown;
}

/** A change of a pool's status. */
export interface StatusMessage extends PoolMessage, StatusChange {}

/** A lease that is out for too long. */
export interface LeakMessage extends PoolMessage, LeaseHolder {}

/** An acquire that has ended without a lease. */
export interface RejectionMessage extends TenantMessage {
  /** Why: `timeout`, or as in the statistics. */
  readonly reason: RefusalReason;
  /** How long it had waited, in milliseconds. */
  readonly waitedMs: number;
  /** What the caller is told. */
  readonly error: Error;
}

/** Every connection is being replaced. */
export interface EvictMessage extends PoolMessage {
  /** How often that has been asked for. */
  readonly generation: number;
}

/** A change of a pool's size. */
export interface ResizeMessage extends PoolMessage {
  /** Slots at least, and at most, until now. */
  readonly from: { readonly minSize: number; readonly maxSize: number };
  /** Slots at least, and at most, from now on. */
  readonly to: { readonly minSize: number; readonly maxSize: number };
}
