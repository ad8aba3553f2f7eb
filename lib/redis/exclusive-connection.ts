/**
 * One connection that serves one borrower at a time.
 *
 * It doesn't reconnect (the engine replaces it) and queues nothing while it is down. Promise: it counts as clean only
 * while nothing is left on it and every command has been answered; what isn't can be undone in one round trip, or the
 * connection must go.
 */
import { once } from 'node:events';

import { toError } from '../engine/to-error.js';
import type { Credentials } from './credentials.js';
import {
  destroyClient,
  type IoredisModule,
  isWritable,
  owesReplies,
  type RedisClient,
  rejectUnanswered,
} from './redis-client.js';
import { isGenericCloseError, isOutOfStep, isReply, withoutSecrets } from './server-answers.js';
import { type Cleanup, SessionState } from './session-state.js';

export class ExclusiveConnection<C extends RedisClient> {
  readonly client: C;
  /** The database that the pool is configured with. */
  readonly #database: number;
  readonly #ioredis: IoredisModule;
  readonly #session = new SessionState();
  /** Commands of the present borrower that have not settled. */
  unsettled = 0;
  #lastError: Error | undefined;
  #endedByUs = false;
  #broken: Error | undefined;
  #onBroken: ((error: Error) => void) | undefined;
  #endLoan: (() => void) | undefined;
  #unfit: Error | undefined;

  constructor(client: C, database: number, ioredis: IoredisModule) {
    this.client = client;
    this.#ioredis = ioredis;
    this.#database = database;
    client.on('error', (error: Error) => this.#failed(error));
    client.on('node error', (error: Error) => this.#failed(error));
    client.on('end', () => this.#died());
    // A node's connection that comes back comes without the watches and subscriptions that were on it.
    client.on('-node', () => {
      if (this.#session.bound) this.break(new Error('A connection to a node of the cluster was lost.'));
    });
    if (!('nodes' in client))
      client.on('close', () =>
        rejectUnanswered(client, () => new Error('Connection is closed.', { cause: this.#lastError })),
      );
  }

  get session(): SessionState {
    return this.#session;
  }

  /** Connects; when `signal` aborts, or anything of the handshake fails, nothing stays open. */
  async open(signal: AbortSignal, credentials: Credentials): Promise<void> {
    if (credentials.rotate) await credentials.renew(this.client);
    signal.throwIfAborted();
    const abort = new AbortController();
    try {
      const aborted = once(signal, 'abort', { signal: abort.signal }).then(() =>
        Promise.reject(toError(signal.reason)),
      );
      // The connect of a cluster's client that found the cluster not ready to serve never settles: it only ends.
      const ended = new Promise<never>((_, reject) =>
        this.client.once('end', () => reject(new Error('The servers answered, but are not ready to serve.'))),
      );
      await Promise.race([this.client.connect(), aborted, ended]);
      // An error reply in the handshake, to SELECT for one, doesn't keep ioredis from calling the client ready.
      if (isReply(this.#lastError)) throw this.#lastError;
    } catch (error) {
      this.kill();
      // ioredis rejects with "Connection is closed."; why it closed is what the error event said.
      throw signal.aborted ? toError(signal.reason) : (this.#lastError ?? error);
    } finally {
      abort.abort();
    }
  }

  /** Tells, once, that the connection has died by itself. */
  onBroken(listener: (error: Error) => void): void {
    if (this.#broken !== undefined) listener(this.#broken);
    else this.#onBroken = listener;
  }

  /** A borrower has got it; `end` is called when it comes back, before anything else. */
  lent(end: () => void): void {
    this.#endLoan = end;
  }

  /** The server has said that it can't serve: the connection must not go to the next borrower. */
  markUnfit(error: Error): void {
    this.#unfit = error;
  }

  /**
   * Makes it indistinguishable from a new one: at once if nothing is left on it, else in one round trip.
   *
   * @throws when it can't be.
   */
  recycle(): void | Promise<void> {
    this.#endLoan?.();
    this.#endLoan = undefined;
    if (this.#unfit !== undefined) throw this.#unfit;
    if (!isWritable(this.client)) throw new Error('The connection is closed.', { cause: this.#lastError });
    if (this.unsettled > 0 || owesReplies(this.client))
      throw new Error('It was given back before every command on it was answered.');
    if (this.#session.lasting !== undefined)
      throw new Error(`${this.#session.lasting.toUpperCase()} changed it for good.`);
    const cleanups = this.#session.cleanups(this.#database);
    if (cleanups.length > 0) return this.#clean(cleanups);
  }

  /** Says goodbye: what has been written is sent, then the connection closes. */
  async close(): Promise<void> {
    this.#endedByUs = true;
    const { client } = this;
    if (client.status === 'end') return;
    const ended = once(client, 'end');
    client.disconnect();
    await ended;
  }

  /** Ends it now. */
  kill(): void {
    this.#endedByUs = true;
    destroyClient(this.client);
  }

  /** Ends it now, and tells the engine that it died: it can't be trusted any more. */
  break(error: Error): void {
    this.#lastError = error;
    destroyClient(this.client);
    this.#died();
  }

  async #clean(cleanups: readonly Cleanup[]): Promise<void> {
    const { client } = this;
    // A cluster client keeps its state on several connections. And in RESP2 a subscriber takes no other command.
    if ('nodes' in client) throw new Error('A client of a cluster is cleaned by replacing it.');
    if (client.mode !== 'normal' && !cleanups.every(({ name }) => name.endsWith('unsubscribe'))) {
      throw new Error('A subscriber under RESP2 can undo nothing but its subscriptions.');
    }
    client.stream.cork();
    const undone = cleanups.map(({ name, args }) => {
      // Made by hand: a client's own methods would put its key prefix before the channels once more.
      const command = new this.#ioredis.Command(name, [...args]);
      client.sendCommand(command);
      return command.promise;
    });
    client.stream.uncork();
    await Promise.all(undone);
    this.#session.forget();
  }

  #failed(error: Error): void {
    const outOfStep = isOutOfStep(error);
    withoutSecrets(error);
    // A reply came that belongs to no command: each that follows could reach the wrong caller.
    if (outOfStep) return this.break(error);
    if (this.#lastError === undefined || !isGenericCloseError(error)) this.#lastError = error;
  }

  #died(): void {
    if (this.#endedByUs || this.#broken !== undefined) return;
    this.#broken = this.#lastError ?? new Error('Connection is closed.');
    this.#onBroken?.(this.#broken);
  }
}
