/**
 * The one seam between the engine and a kind of resource.
 *
 * The engine calls every method outside any caller's async context, but for `lend`, `recycle` and `isFatal`: they are
 * on the path of every lease, and run in the async context of the call that acquires or releases. Each promise is
 * bounded by a time-out.
 *
 * What a driver throws costs the connection at most: `open`, `onBroken` and `lend` end as the rejection of the call
 * that needed the connection, `recycle` and `ping` replace it, and of the others the pool's log is told. Each method
 * may call the pool.
 */

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
   */
  kill(connection: C): void | Promise<void>;
  /** Resolves when the connection answers. */
  ping(connection: C, signal: AbortSignal): Promise<void>;
  /** What the borrower gets instead of the raw connection; it should refuse use once `lease.released`. */
  lend?(connection: C, lease: LeaseInfo): L;
  /** Makes a returned connection indistinguishable from a new one; synchronous when it already is. */
  recycle?(connection: C, from: LeaseInfo): void | Promise<void>;
  /** Tells the engine that a connection has died by itself. Asked once a connection. */
  onBroken(connection: C, listener: (error: Error) => void): void;
  /** Whether an error that a borrower hands back costs its connection. */
  isFatal(error: unknown): boolean;
  /** Whether a failed `open` says that the server is up, and has no room for one more connection. Default: never. */
  isServerFull?(error: unknown): boolean;
  /**
   * Ends what the kind shares between connections (clients, agents). Once, after the last connection of a closed pool.
   */
  dispose?(): Promise<void>;
}
