/**
 * Tells the engine how to open, check, clean and end exclusive Redis connections.
 */
import type { LeaseInfo, PoolDriver } from '../engine/driver.js';
import { ConnectionLostError } from '../errors.js';
import type { Credentials } from './credentials.js';
import { ExclusiveConnection } from './exclusive-connection.js';
import { LentClient, type LendingOptions } from './lent-client.js';
import type { RedisClient } from './redis-client.js';
import { isDropped, isServerFull, reasonNotToServe, serverFull } from './server-answers.js';

export interface RedisDriverDependencies<C extends RedisClient> extends LendingOptions<C> {
  readonly credentials: Credentials;
  /** Makes a client that is not connected yet and never reconnects. */
  readonly make: () => C;
  readonly database: number;
  /** Whether the server has as many clients as it takes, as far as the shared client can learn that. Never rejects. */
  readonly isFull: (signal: AbortSignal) => Promise<boolean>;
  /** Ends what the pool has besides its slots. */
  readonly dispose: () => Promise<void>;
}

export class RedisDriver<C extends RedisClient> implements PoolDriver<ExclusiveConnection<C>, C> {
  /** The server has answered its handshake. */
  readonly openProvesAlive = true;
  readonly #dependencies: RedisDriverDependencies<C>;

  constructor(dependencies: RedisDriverDependencies<C>) {
    this.#dependencies = dependencies;
  }

  async open(signal: AbortSignal): Promise<ExclusiveConnection<C>> {
    const connection = new ExclusiveConnection(
      this.#dependencies.make(),
      this.#dependencies.database,
      this.#dependencies.ioredis,
    );
    try {
      await connection.open(signal, this.#dependencies.credentials);
    } catch (error) {
      // A full server closes the connection at once: what it says is mostly lost with what ioredis has sent meanwhile.
      if (!signal.aborted && isDropped(error) && (await this.#dependencies.isFull(signal))) throw serverFull(error);
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

  dispose(): Promise<void> {
    return this.#dependencies.dispose();
  }
}
