/**
 * Tells the engine how to open, check, clean and end exclusive Redis connections.
 */
import type { LeaseInfo, PoolDriver } from '../engine/driver.js';
import { ConnectionLostError } from '../errors.js';
import { ExclusiveConnection } from './exclusive-connection.js';
import { type LendingOptions, LentClient } from './lent-client.js';
import type { RedisClient } from './redis-client.js';
import { isDropped, isMisconfigured, isServerFull, reasonNotToServe, serverFull } from './server-answers.js';
import type { ServerProbe } from './server-probe.js';
import type { SharedClient } from './shared-client.js';

export interface RedisDriverDependencies<C extends RedisClient> extends LendingOptions<C> {
  /** Ends with the slots. */
  readonly shared: SharedClient<C>;
  /** Asks the server whether it is full. */
  readonly probe: ServerProbe<C>;
  /** How long the server may take to say whether it is full. */
  readonly probeTimeoutMs: number;
  readonly closeTimeoutMs: number;
}

export class RedisDriver<C extends RedisClient> implements PoolDriver<ExclusiveConnection<C>, C> {
  /** The server has answered its handshake. */
  readonly openProvesAlive = true;
  readonly #dependencies: RedisDriverDependencies<C>;

  constructor(dependencies: RedisDriverDependencies<C>) {
    this.#dependencies = dependencies;
  }

  async open(signal: AbortSignal): Promise<ExclusiveConnection<C>> {
    const { deployment, ioredis, probe, probeTimeoutMs } = this.#dependencies;
    const connection = new ExclusiveConnection(deployment.exclusive(), deployment.database, ioredis);
    try {
      await connection.open(signal, deployment.credentials);
    } catch (error) {
      // A full server closes the connection at once: what it says is mostly lost with what ioredis has sent meanwhile.
      const mayBeFull = !signal.aborted && isDropped(error);
      if (mayBeFull && (await probe.isFull(probeTimeoutMs, signal))) throw serverFull(error);
      throw error;
    }
    return connection;
  }

  close(connection: ExclusiveConnection<C>): Promise<void> {
    return connection.close();
  }

  kill(connection: ExclusiveConnection<C>): void {
    connection.kill();
  }

  async ping(connection: ExclusiveConnection<C>): Promise<void> {
    try {
      await connection.client.ping();
    } catch (error) {
      const reason = reasonNotToServe(error);
      // A connection without a login is of no use to a borrower; every other reason goes for a new connection as well.
      if (reason?.message.startsWith('NOAUTH') === true) throw reason;
    }
  }

  lend(connection: ExclusiveConnection<C>, lease: LeaseInfo): C {
    return new LentClient(connection, lease, this.#dependencies).proxy;
  }

  recycle(connection: ExclusiveConnection<C>): void | Promise<void> {
    return connection.recycle();
  }

  onBroken(connection: ExclusiveConnection<C>, listener: (error: Error) => void): void {
    connection.onBroken(listener);
  }

  /**
   * A connection knows itself when it is lost, stuck, or leads to a server that can't serve; other pools' errors say
   * nothing about it.
   */
  isFatal(error: unknown): boolean {
    return error instanceof ConnectionLostError && error.poolId === this.#dependencies.poolId;
  }

  isServerFull(error: unknown): boolean {
    return isServerFull(error);
  }

  isMisconfigured(error: unknown): boolean {
    return isMisconfigured(error);
  }

  /** Ends what the pool has besides its slots. */
  async dispose(): Promise<void> {
    const { shared, dedicated, closeTimeoutMs, clock } = this.#dependencies;
    await Promise.all([shared.close(), dedicated.close(closeTimeoutMs, clock)]);
  }
}
