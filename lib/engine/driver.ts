/**
 * The one seam between the engine and a kind of resource.
 *
 * The engine calls every method outside any caller's async context, but for `lend`, `recycle` and `isFatal`: they are on
 * the path of every lease, and run in the context of whoever acquires or releases. Each promise is bounded by a time-out.
 */

/** What a driver may know of the lease it lends for. */
export interface LeaseInfo {
  readonly poolId: string;
  /** Whom the work is done for; `undefined`: nobody in particular. */
  readonly tenantId: string | undefined;
  /** Epoch milliseconds. */
  readonly acquiredAt: number;
  /** True from the moment the lease was given back, or was cut. */
  readonly released: boolean;
}

/** How to open, check, clean and end one kind of connection `C`, and what of it (`L`) a borrower sees. */
export interface PoolDriver<C, L = C> {
  /** Opens a connection. When `signal` aborts, whatever was begun is torn down and the promise rejects. */
  open(signal: AbortSignal): Promise<C>;
  /** Ends a connection politely. */
  close(connection: C): Promise<void>;
  /** Ends a connection now. Called at most once after `open`, also while `close` is still under way. */
  kill(connection: C): void;
  /** Resolves when the connection answers. */
  ping(connection: C, signal: AbortSignal): Promise<void>;
  /** What the borrower gets instead of the raw connection; it should refuse use once `lease.released`. */
  lend?(connection: C, lease: LeaseInfo): L;
  /** Makes a returned connection indistinguishable from a new one; synchronous when it already is. */
  recycle?(connection: C, from: LeaseInfo): void | Promise<void>;
  /** Tells the engine that a connection has died by itself. Asked once a connection. */
  onBroken(connection: C, listener: (error: Error) => void): void;
  /** Whether an error that a borrower hands back condemns its connection. */
  isFatal(error: unknown): boolean;
  /** Whether a failed `open` says that the server is up, and has no room for one more connection. Default: never. */
  isServerFull?(error: unknown): boolean;
  /** Ends what the kind shares between connections (clients, agents). Once, after the last connection of a closed pool. */
  dispose?(): Promise<void>;
}
