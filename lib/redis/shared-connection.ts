/**
 * Keeps the one connection (or the one client of the cluster) that everybody shares.
 *
 * Promise: from its start until it is closed it is connected, or tries to be, with backoff; what was under way over a
 * connection that died is rejected; one whose handshake failed in part is never used. It can be replaced by a new one
 * without losing a reply.
 */
import { settleWithin } from '../engine/bounded.js';
import type { Clock, TimerHandle } from '../engine/clock.js';
import { runOutside } from '../engine/outside-context.js';
import { toError } from '../engine/thrown.js';
import { BackendUnavailableError, PoolClosedError } from '../errors.js';
import type { Credentials } from './credentials.js';
import { end, isEcho, isWritable, rejectUnanswered, sever, type RedisClient } from './redis-client.js';

export interface SharedConnectionParts<C extends RedisClient> {
  readonly poolId: string;
  /** Makes a client that is not connected yet and reconnects by itself. */
  readonly make: () => C;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly failFastAfterMs: number;
  readonly closeTimeoutMs: number;
  /** Whether ioredis sends again what was unanswered when the connection was lost. */
  readonly resends: boolean;
  /** The connection was lost, or the first connect failed; once an outage. */
  readonly onLost: (error: Error | undefined) => void;
  readonly onReady: () => void;
}

/** When to ask for the password again after that failed, in milliseconds. */
const RETRY_MS = 1_000;

export class SharedConnection<C extends RedisClient> {
  readonly #parts: SharedConnectionParts<C>;
  readonly #awaitingReady: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];
  #client: C;
  #closed = false;
  #downSinceMs: number | undefined;
  #failures = 0;
  #lastError: Error | undefined;
  /** The client that a connect of ours is under way for. */
  #starting: C | undefined;
  #retry: TimerHandle | undefined;

  constructor(parts: SharedConnectionParts<C>) {
    this.#parts = parts;
    this.#client = parts.make();
    this.#attend(this.#client);
  }

  get client(): C {
    return this.#client;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Since when there has been no connection, as a reading of the clock; `undefined`: there is one, or none was wanted yet. */
  get downSinceMs(): number | undefined {
    return this.#downSinceMs;
  }

  /** Begins to connect, unless that has been done. */
  start(): void {
    const client = this.#client;
    if (this.#closed || (client.status !== 'wait' && client.status !== 'end') || this.#starting === client) return;
    this.#starting = client;
    this.#downSinceMs ??= this.#parts.clock.now();
    void runOutside(() => this.#connect(client));
  }

  /**
   * Resolves once it is connected, however often that has to be tried.
   *
   * @throws PoolClosedError when it is closed first.
   */
  whenReady(): Promise<void> {
    if (this.#closed) return Promise.reject(new PoolClosedError(this.#parts.poolId));
    this.start();
    if (this.#client.status === 'ready') return Promise.resolve();
    return new Promise((resolve, reject) => this.#awaitingReady.push({ resolve, reject }));
  }

  /** Why nobody should wait for it, when it has been away for `failFastAfterMs`. */
  unavailable(nowMs: number): BackendUnavailableError | undefined {
    const { poolId, failFastAfterMs } = this.#parts;
    if (this.#downSinceMs === undefined || nowMs - this.#downSinceMs < failFastAfterMs) return undefined;
    const cause = this.#lastError ?? new Error('no connect has finished yet');
    return new BackendUnavailableError(poolId, nowMs - this.#downSinceMs, this.#failures, { cause });
  }

  /** Moves to a new connection; the old one ends after its last reply. @returns the new client, if there is need of one. */
  renew(): C | undefined {
    const old = this.#client;
    if (this.#closed || old.status === 'wait') return undefined;
    this.#client = runOutside(() => this.#parts.make());
    this.#attend(this.#client);
    this.#downSinceMs = undefined;
    this.start();
    void this.#end(old);
    return this.#client;
  }

  /** Waits for the replies that are owed, and ends the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    for (const { reject } of this.#awaitingReady.splice(0)) reject(new PoolClosedError(this.#parts.poolId));
    await this.#end(this.#client);
  }

  async #connect(client: C): Promise<void> {
    const { credentials, clock } = this.#parts;
    try {
      if (credentials.rotate) await credentials.renew(client);
      if (!this.#closed) await client.connect();
    } catch (error) {
      // The error event has said more than ioredis' rejection does.
      this.#lastError ??= toError(error);
    } finally {
      this.#starting = undefined;
    }
    // There was no password: ioredis has not even begun, so it won't try again either.
    if (client.status === 'wait' && !this.#closed) this.#retry = clock.setTimer(() => this.start(), RETRY_MS);
  }

  async #end(client: C): Promise<void> {
    const { clock, closeTimeoutMs } = this.#parts;
    const outcome = await settleWithin(clock, closeTimeoutMs, () => end(client, true));
    if (outcome.kind !== 'done') sever(client);
  }

  #attend(client: C): void {
    this.#parts.credentials.follow(client);
    client.on('error', (error: Error) => {
      this.#failed(error);
      // An error reply before the client is ready is a handshake that failed in part, a SELECT for one: ioredis would
      // go on, in another database.
      if (!('nodes' in client) && client.status === 'connect' && error.name === 'ReplyError') client.disconnect(true);
    });
    client.on('node error', (error: Error) => this.#failed(error));
    client.on('close', () => {
      if (!('nodes' in client) && !this.#parts.resends) {
        rejectUnanswered(client, () => new Error('Connection is closed.', { cause: this.#lastError }));
      }
      if (client === this.#client) this.#lost();
    });
    client.on('ready', () => {
      // ioredis 5 calls a client ready although we have given its connection up during the handshake.
      if (client === this.#client && isWritable(client)) this.#found();
    });
  }

  #failed(error: Error): void {
    if (this.#lastError === undefined || !isEcho(error)) this.#lastError = error;
  }

  #lost(): void {
    if (this.#closed) return;
    const wasUp = this.#downSinceMs === undefined;
    this.#downSinceMs ??= this.#parts.clock.now();
    this.#failures++;
    if (wasUp || this.#failures === 1) this.#parts.onLost(this.#lastError);
  }

  #found(): void {
    this.#downSinceMs = undefined;
    this.#failures = 0;
    this.#lastError = undefined;
    for (const { resolve } of this.#awaitingReady.splice(0)) resolve();
    this.#parts.onReady();
  }
}
