/**
 * The one seam between the engine and a kind of resource.
 *
 * The engine calls every method outside any caller's async context, but for `lend`, `recycle` and `isFatal`: they are
 * on the path of every lease, and run in the async context of the call that acquires, reads or releases it. Each
 * promise is bounded by a time-out.
 *
 * What a driver throws costs the connection at most: `open`, `onBroken` and `lend` end as the rejection of the call
 * that needed the connection, `recycle` and `ping` replace it, and of the others the pool's log is told. Each method
 * may call the pool.
 */
import type { DestroyReason } from './pool-counters.js';

/** What a driver may know of the lease it lends for. */
export interface LeaseInfo {
  /** The id of the pool. */
  readonly poolId: string;
  /** Whom the work is done for; `undefined`: no tenant. */
  readonly tenantId: string | undefined;
  /** Epoch milliseconds. */
  readonly acquiredAt: number;
  /** True from the moment the lease was given back, or was cut. */
  readonly released: boolean;
}

/** How to open, check, clean and end one kind of connection `C`, and what of it (`L`) a borrower sees. */
export interface PoolDriver<C, L = C> {
  /**
   * Whether `open` resolves only once the server itself has answered: a handshake, a login. Default: false; a new
   * connection then has to serve, to answer a ping or to stay alive for 50 ms before `start()` resolves and the pool is
   * called healthy, because something else, a proxy, may have accepted it.
   */
  readonly openProvesAlive?: boolean;
  /** Opens a connection. When `signal` aborts, what was begun is torn down and the promise rejects. */
  open(signal: AbortSignal): Promise<C>;
  /** Ends a connection gracefully. */
  close(connection: C): Promise<void>;
  /**
   * Ends a connection now. Called at most once after `open`, also while `close` is still under way.
   *
   * Where the server may go on working for it, a driver cancels that work and returns a promise: the connection takes
   * up its place in the pool until that settles, for `closeTimeoutMs` at most, and 250 ms while an acquire waits.
   *
   * @param reason why it ends, also when `close` has taken too long; `undefined`: it has never been in the pool,
   * because it arrived after its connect had been given up.
   */
  kill(connection: C, reason?: DestroyReason): void | Promise<void>;
  /** Resolves when the connection answers. */
  ping(connection: C, signal: AbortSignal): Promise<void>;
  /**
   * What the borrower gets instead of the raw connection; it should refuse use once `lease.released`. Called once a
   * lease, before the lease is granted, unless {@link lendsOnDemand} says otherwise.
   */
  lend?(connection: C, lease: LeaseInfo): L;
  /**
   * Whether `lend` is called when the borrower first reads `lease.connection`: for what many borrowers don't use. What
   * it throws goes to the reader then, costs no connection, and the next read calls it again. Looked at once a pool.
   * Default: false.
   */
  readonly lendsOnDemand?: boolean;
  /** Makes a returned connection indistinguishable from a new one; synchronous when it already is. */
  recycle?(connection: C, from: LeaseInfo): void | Promise<void>;
  /** Tells the engine that a connection has died by itself. Asked once a connection. */
  onBroken(connection: C, listener: (error: Error) => void): void;
  /** Whether an error that a borrower hands back costs its connection. */
  isFatal(error: unknown): boolean;
  /** Whether a failed `open` says that the server is up, and has no room for one more connection. Default: never. */
  isServerFull?(error: unknown): boolean;
  /**
   * Whether a failed `open` says that waiting mends nothing: a wrong password, a database that does not exist, a
   * certificate that is not trusted. A start that waits for the pool ends with it at once; `startup: 'background'` goes
   * on trying. A server that starts up or fails over, and a host without an address, which it may get, are none of it.
   * Default: never.
   */
  isMisconfigured?(error: unknown): boolean;
  /**
   * Ends what the kind shares between connections (clients, agents). Once, after the last connection of a closed pool.
   */
  dispose?(): Promise<void>;
}
