/**
 * Keeps the one connection (or the one client of the cluster) that everybody shares.
 *
 * Promise: from its start until it is closed it is connected, or tries to be, with backoff; what was under way over a
 * connection that died is rejected; one whose handshake failed in part is never used. It can be replaced by a new one
 * without losing a reply.
 */
import { runOutside } from '../engine/outside-context.js';
import type { Clock, TimerHandle } from '../engine/time/clock.js';
import type { Deadlines } from '../engine/time/deadlines.js';
import { withTimeout } from '../engine/time/with-timeout.js';
import { toError } from '../engine/to-error.js';
import { BackendUnavailableError, PoolClosedError } from '../errors.js';
import type { PoolLog } from '../pool/pool-log.js';
import { boundConnects } from './connect-deadline.js';
import type { Deployment } from './deployment.js';
import { destroyClient, dropConnection, end, isWritable, type RedisClient, rejectUnanswered } from './redis-client.js';
import { isGenericCloseError, isOutOfStep, isReply, withoutSecrets } from './server-answers.js';

export interface SharedConnectionDependencies<C extends RedisClient> {
  readonly poolId: string;
  readonly deployment: Deployment<C>;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly log: PoolLog;
  readonly connectTimeoutMs: number;
  readonly failFastAfterMs: number;
  readonly closeTimeoutMs: number;
}

/** What wants to know how the connection fares. */
export interface SharedConnectionListener {
  /** The connection was lost, or the first connect failed; once an outage. */
  connectionLost?(error: Error | undefined): void;
  connectionReady?(): void;
  /** A cluster's client has lost a node, and finds another one for what belonged there. */
  nodeLost?(): void;
}

/** When to ask for the password again after that failed, in milliseconds. */
const RETRY_MS = 1_000;

interface Awaiting {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class SharedConnection<C extends RedisClient> {
  readonly #dependencies: SharedConnectionDependencies<C>;
  readonly #listeners: SharedConnectionListener[] = [];
  readonly #awaitingReady: Awaiting[] = [];
  /** Who waits for no more than one attempt. */
  readonly #awaitingAttempt: Awaiting[] = [];
  #client: C;
  /** What takes the client's place as soon as it is connected. */
  #next: C | undefined;
  #everReady = false;
  #closed = false;
  #downSinceMs: number | undefined;
  #failures = 0;
  #lastError: Error | undefined;
  /** The clients that a connect of ours is under way for. */
  readonly #starting = new Set<C>();
  #retry: TimerHandle | undefined;

  constructor(dependencies: SharedConnectionDependencies<C>) {
    this.#dependencies = dependencies;
    this.#client = this.#make();
  }

  /** Tells `listener` from now on, after those that were added before it. */
  listen(listener: SharedConnectionListener): void {
    this.#listeners.push(listener);
  }

  get client(): C {
    return this.#client;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Since when there has been no connection, as a reading of the clock; `undefined`: there is one, or none was wanted
   * yet.
   */
  get downSinceMs(): number | undefined {
    return this.#downSinceMs;
  }

  /** Whether it has neither been connected nor failed to. */
  get isNew(): boolean {
    return !this.#everReady && this.#failures === 0;
  }

  /** Begins to connect, unless that has been done. */
  start(): void {
    this.#begin(this.#client);
  }

  /**
   * Resolves once it is connected, however often that has to be tried.
   *
   * @throws PoolClosedError when it is closed first.
   */
  whenReady(): Promise<void> {
    if (this.#closed) return Promise.reject(new PoolClosedError(this.#dependencies.poolId));
    this.start();
    if (this.#client.status === 'ready') return Promise.resolve();
    return new Promise((resolve, reject) => this.#awaitingReady.push({ resolve, reject }));
  }

  /**
   * Resolves when it is connected; rejects when the connect that is under way, or the next one, fails.
   *
   * @throws BackendUnavailableError, PoolClosedError
   */
  attempt(): Promise<void> {
    if (this.#closed) return Promise.reject(new PoolClosedError(this.#dependencies.poolId));
    if (this.#client.status === 'ready') return Promise.resolve();
    this.start();
    return new Promise((resolve, reject) => this.#awaitingAttempt.push({ resolve, reject }));
  }

  /** Why a caller should not wait for it, when it has been away for `failFastAfterMs`. */
  unavailable(nowMs: number): BackendUnavailableError | undefined {
    // Before the first connect has failed there is no outage, however little patience there is with one.
    if (this.#downSinceMs === undefined || this.isNew) return undefined;
    if (nowMs - this.#downSinceMs < this.#dependencies.failFastAfterMs) return undefined;
    return this.#down(nowMs);
  }

  /**
   * Moves to a new connection, once it is there: until then the old one goes on serving. It ends after its last reply.
   *
   * @returns the new client, if there is need of one.
   */
  renew(): C | undefined {
    const old = this.#client;
    if (this.#closed || old.status === 'wait') return undefined;
    const next = this.#make();
    // One that is on its way already may still have what is to be replaced: an old password, an old address.
    const late = this.#next;
    this.#next = next;
    if (late !== undefined) destroyClient(late);
    if (isWritable(old)) this.#begin(next);
    else this.#promote(next);
    return next;
  }

  /** Waits for the replies that are owed, and ends the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    const waiting = [...this.#awaitingReady.splice(0), ...this.#awaitingAttempt.splice(0)];
    for (const { reject } of waiting) reject(new PoolClosedError(this.#dependencies.poolId));
    if (this.#next !== undefined) destroyClient(this.#next);
    await this.#end(this.#client);
  }

  #begin(client: C): void {
    if (this.#closed || (client.status !== 'wait' && client.status !== 'end') || this.#starting.has(client)) return;
    this.#starting.add(client);
    if (client === this.#client) this.#downSinceMs ??= this.#dependencies.clock.now();
    void runOutside(() => this.#connect(client));
  }

  /** Puts the client that is to replace the present one in its place. */
  #promote(next: C): void {
    const old = this.#client;
    this.#client = next;
    this.#next = undefined;
    this.#begin(next);
    void this.#end(old);
  }

  async #connect(client: C): Promise<void> {
    const { clock, deployment } = this.#dependencies;
    const { credentials } = deployment;
    try {
      if (credentials.rotate) await credentials.renew(client);
      if (!this.#closed) await client.connect();
    } catch (error) {
      // The error event has said more than ioredis' rejection does.
      if (client === this.#client) {
        this.#lastError ??= toError(error);
        this.#attemptFailed();
      }
    } finally {
      this.#starting.delete(client);
    }
    // There was no password, or no address to be had: ioredis doesn't try again by itself.
    const gaveUp = client.status === 'wait' || client.status === 'end';
    if (!gaveUp || this.#closed || (client !== this.#client && client !== this.#next)) return;
    this.#retry = clock.setTimer(() => this.#begin(client), RETRY_MS);
  }

  async #end(client: C): Promise<void> {
    const { clock, closeTimeoutMs } = this.#dependencies;
    const outcome = await withTimeout(clock, closeTimeoutMs, () => end(client, true));
    if (outcome.kind !== 'done') destroyClient(client);
  }

  /** A client that is not connected yet, and reconnects by itself. */
  #make(): C {
    const { deployment, connectTimeoutMs } = this.#dependencies;
    const client = deployment.shared();
    boundConnects(client, connectTimeoutMs, this.#dependencies);
    this.#listenTo(client);
    return client;
  }

  #listenTo(client: C): void {
    const { credentials, resends } = this.#dependencies.deployment;
    credentials.follow(client);
    client.on('error', (error: Error) => {
      const outOfStep = isOutOfStep(error);
      this.#failed(client, withoutSecrets(error));
      if ('nodes' in client) return;
      // A reply came that belongs to no command: each that follows could reach the wrong caller.
      if (outOfStep) dropConnection(client, error);
      // An error reply before the client is ready is a handshake that failed in part, a SELECT for one: ioredis would
      // go on, in another database.
      else if (client.status === 'connect' && isReply(error)) client.disconnect(true);
    });
    client.on('node error', (error: Error) => this.#failed(client, withoutSecrets(error)));
    client.on('-node', () => {
      if (client !== this.#client) return;
      for (const listener of this.#listeners) listener.nodeLost?.();
    });
    client.on('close', () => {
      if (!('nodes' in client) && !resends) {
        rejectUnanswered(client, () => new Error('Connection is closed.', { cause: this.#lastError }));
      }
      if (client !== this.#client) return;
      this.#lost();
      if (this.#next !== undefined) this.#promote(this.#next);
    });
    client.on('ready', () => {
      // ioredis 5 calls a client ready although we have given its connection up during the handshake.
      if (!isWritable(client)) return;
      if (client === this.#next) this.#promote(client);
      if (client === this.#client) this.#found();
    });
  }

  #failed(client: C, error: Error): void {
    if (client === this.#client && (this.#lastError === undefined || !isGenericCloseError(error)))
      this.#lastError = error;
  }

  #lost(): void {
    if (this.#closed) return;
    const wasUp = this.#downSinceMs === undefined;
    this.#downSinceMs ??= this.#dependencies.clock.now();
    this.#failures++;
    this.#attemptFailed();
    if (!wasUp && this.#failures > 1) return;
    const error = this.#lastError;
    this.#dependencies.log.connectionLost('the shared client', error);
    for (const listener of this.#listeners) listener.connectionLost?.(error);
  }

  #found(): void {
    this.#everReady = true;
    this.#downSinceMs = undefined;
    this.#failures = 0;
    this.#lastError = undefined;
    for (const { resolve } of [...this.#awaitingReady.splice(0), ...this.#awaitingAttempt.splice(0)]) resolve();
    this.#dependencies.log.restored();
    for (const listener of this.#listeners) listener.connectionReady?.();
  }

  #attemptFailed(): void {
    const waiting = this.#awaitingAttempt.splice(0);
    if (waiting.length === 0) return;
    const error = this.#down(this.#dependencies.clock.now());
    for (const { reject } of waiting) reject(error);
  }

  #down(nowMs: number): BackendUnavailableError {
    const cause = this.#lastError ?? new Error('no connect has finished yet');
    const downForMs = nowMs - (this.#downSinceMs ?? nowMs);
    return new BackendUnavailableError(this.#dependencies.poolId, downForMs, this.#failures, { cause });
  }
}
