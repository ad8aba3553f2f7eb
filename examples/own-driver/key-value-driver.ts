/**
 * The driver: how a pool opens, checks, cleans and ends connections to the store, and what a borrower sees of them.
 */
import type { LeaseInfo, PoolDriver } from 'nestjs-pool-manager';

import { KeyValueConnection, ReplyError } from './key-value-connection.js';

/** What a borrower gets: the connection, until its lease is released. */
export class KeyValueClient {
  readonly #connection: KeyValueConnection;
  readonly #lease: LeaseInfo;

  constructor(connection: KeyValueConnection, lease: LeaseInfo) {
    this.#connection = connection;
    this.#lease = lease;
  }

  async use(namespace: string): Promise<void> {
    // Before it is sent: it may arrive although its reply doesn't.
    this.#own.hasNamespace = true;
    await this.#own.send(`USE ${namespace}`);
  }

  async set(key: string, value: string): Promise<void> {
    await this.#own.send(`SET ${key} ${value}`);
  }

  async get(key: string): Promise<string | undefined> {
    const reply = await this.#own.send(`GET ${key}`);
    return reply === 'NONE' ? undefined : reply.slice('VALUE '.length);
  }

  /** The connection may serve somebody else after the release. */
  get #own(): KeyValueConnection {
    if (this.#lease.released) throw new Error('This client was used after its lease had been released.');
    return this.#connection;
  }
}

export class KeyValueDriver implements PoolDriver<KeyValueConnection, KeyValueClient> {
  readonly #port: number;
  /** `open` waits for the server's greeting: what merely accepted the connection doesn't count as alive. */
  readonly openProvesAlive = true;

  constructor(port: number) {
    this.#port = port;
  }

  open(signal: AbortSignal): Promise<KeyValueConnection> {
    return KeyValueConnection.open(this.#port, signal);
  }

  close(connection: KeyValueConnection): Promise<void> {
    return connection.end();
  }

  kill(connection: KeyValueConnection): void {
    connection.destroy();
  }

  async ping(connection: KeyValueConnection): Promise<void> {
    await connection.send('PING');
  }

  lend(connection: KeyValueConnection, lease: LeaseInfo): KeyValueClient {
    return new KeyValueClient(connection, lease);
  }

  /** Nothing to do, and so synchronous, for a session that is as new; else one round trip. */
  recycle(connection: KeyValueConnection): void | Promise<void> {
    if (!connection.hasNamespace) return;
    return connection.send('RESET').then(() => {
      connection.hasNamespace = false;
    });
  }

  onBroken(connection: KeyValueConnection, listener: (error: Error) => void): void {
    connection.onGone(listener);
  }

  /** What the server answered costs no connection. */
  isFatal(error: unknown): boolean {
    return !(error instanceof ReplyError);
  }

  /** The server is up, and has no room: the pool is degraded then, and not dead. */
  isServerFull(error: unknown): boolean {
    return error instanceof ReplyError && error.message.includes('full');
  }
}
