/**
 * The client that everyone shares: one multiplexed connection (or one client of the cluster) for ordinary commands.
 *
 * Promises:
 *  - a command that would change or stall the connection for the others is refused, before anything of it is sent;
 *  - every command settles: answered, or by its deadline (`commandTimeoutMs`), or with the loss of the connection;
 *  - nothing is sent twice, and nothing that its caller was told had failed unsent is sent later;
 *  - while there is no connection, at most `maxQueue` commands wait for one, and none when there has been none for
 *    `failFastAfterMs`.
 * It reconnects by itself and for as long as the pool is open.
 */
import type { Command } from 'ioredis';

import { settleWithin } from '../engine/bounded.js';
import type { Clock, TimerHandle } from '../engine/clock.js';
import type { Deadlines } from '../engine/deadlines.js';
import { runOutside } from '../engine/outside-context.js';
import {
  BackendUnavailableError,
  CommandRefusedError,
  ConnectionLostError,
  OperationTimeoutError,
  PoolClosedError,
  QueueFullError,
} from '../errors.js';
import { ClientFacade, rejectedWith } from './client-facade.js';
import type { Credentials } from './credentials.js';
import type { DedicatedClients } from './dedicated-clients.js';
import { PendingCommand, type CommandKeeper } from './pending-command.js';
import {
  connectionsOf,
  end,
  isConnectionError,
  isEcho,
  isWritable,
  rejectUnanswered,
  sever,
  type IoredisModule,
  type RedisClient,
} from './redis-client.js';
import { effectOf, type CommandEffect } from './redis-commands.js';

export interface SharedClientParts<C extends RedisClient> {
  readonly poolId: string;
  readonly ioredis: IoredisModule;
  /** Makes a client that is not connected yet. */
  readonly make: () => C;
  readonly dedicated: DedicatedClients<C>;
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** How long a command may take; 0: as long as it likes while connected. */
  readonly commandTimeoutMs: number;
  /** Commands that may wait for a connection. */
  readonly maxQueue: number;
  readonly failFastAfterMs: number;
  readonly closeTimeoutMs: number;
  /** Whether ioredis sends again what was unanswered when the connection was lost. */
  readonly resends: boolean;
  /** A lost connection, and one that was found again. */
  readonly onLost?: ((error: Error | undefined) => void) | undefined;
  readonly onReady?: (() => void) | undefined;
}

/** What to do instead, by what the command would have done. */
const INSTEAD: Readonly<Record<Exclude<CommandEffect, 'ordinary'>, string>> = {
  blocking:
    'Run it on a connection of your own: pool.use((redis) => …), or client.duplicate() for a consumer that runs for ever.',
  watch: 'Watch, read and EXEC on a connection of your own: pool.use((redis) => …).',
  unwatch: 'Watch, read and EXEC on a connection of your own: pool.use((redis) => …).',
  multi:
    'Use the pipelined multi().….exec(), which is sent as one block, or a connection of your own: pool.use((redis) => …).',
  'end of transaction':
    'Use the pipelined multi().….exec(), which is sent as one block, or a connection of your own: pool.use((redis) => …).',
  select:
    'Use the database that the pool is configured with, another pool, or a connection of your own: pool.use((redis) => …).',
  subscribe: 'Subscribe on a connection of your own: client.duplicate(), or pool.use((redis) => …).',
  psubscribe: 'Subscribe on a connection of your own: client.duplicate(), or pool.use((redis) => …).',
  ssubscribe: 'Subscribe on a connection of your own: client.duplicate(), or pool.use((redis) => …).',
  unsubscribe: 'Call it on the connection that subscribed.',
  lasting: 'Run it on a connection of your own: pool.use((redis) => …), or client.duplicate().',
  ending:
    'The connection ends with the pool: call close() on the pool. Administration belongs on a connection of your own.',
};

/** When to ask for the password again after that failed, in milliseconds. */
const RETRY_MS = 1_000;

/** A command that waits for a connection. Those of one pipeline have one `stream` and are sent, or given up, together. */
interface Held {
  readonly stream: unknown;
  readonly node: unknown;
}

export class SharedClient<C extends RedisClient> extends ClientFacade<C> implements CommandKeeper {
  readonly #parts: SharedClientParts<C>;
  readonly #held = new Map<PendingCommand, Held>();
  readonly #definitions = new Map<string, readonly unknown[]>();
  #client: C;
  #closed = false;
  #downSinceMs: number | undefined;
  #failures = 0;
  #lastError: Error | undefined;
  /** The client that a connect of ours is under way for. */
  #starting: C | undefined;
  #retry: TimerHandle | undefined;
  readonly #awaitingReady: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  constructor(parts: SharedClientParts<C>) {
    const first = parts.make();
    super(first, parts.ioredis);
    this.#parts = parts;
    this.#client = first;
    this.#attend(first);
  }

  // ── Its life ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whether it is connected. */
  get ready(): boolean {
    return this.#client.status === 'ready';
  }

  /** The newest error of the connection; `undefined` while it is well. */
  get lastError(): Error | undefined {
    return this.#lastError;
  }

  /** Begins to connect. Without it, the first command does. */
  start(): void {
    const client = this.#client;
    if (this.#closed || (client.status !== 'wait' && client.status !== 'end')) return;
    if (this.#starting === client) return;
    this.#starting = client;
    this.#downSinceMs ??= this.#parts.clock.now();
    void runOutside(() => this.#connect(client));
  }

  async #connect(client: C): Promise<void> {
    const { credentials } = this.#parts;
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
    if (client.status === 'wait') this.#retry = this.#parts.clock.setTimer(() => this.start(), RETRY_MS);
  }

  /**
   * Resolves once it is connected, however often that has to be tried.
   *
   * @throws PoolClosedError when the pool closes first.
   */
  async whenReady(): Promise<void> {
    this.assertUsable();
    this.start();
    if (!this.ready) await new Promise<void>((resolve, reject) => this.#awaitingReady.push({ resolve, reject }));
  }

  /** Resolves when the server answers; rejects when it hasn't within `timeoutMs`, or when there is no connection that long. */
  async ping(timeoutMs: number): Promise<void> {
    const { Command } = this.#parts.ioredis;
    const { clock, deadlines } = this.#parts;
    const command = new Command('ping', [], { replyEncoding: 'utf8' });
    const pending = new PendingCommand(command, this);
    const dueMs = clock.now() + timeoutMs;
    if (isWritable(this.#client)) this.#forward(pending, undefined, undefined);
    else {
      this.start();
      this.#held.set(pending, { stream: undefined, node: undefined });
    }
    deadlines.add(pending, dueMs);
    await command.promise;
  }

  /** Moves to a new connection; the old one ends after its last reply. */
  renew(): void {
    if (this.#closed || this.#client.status === 'wait') return;
    const old = this.#client;
    const next = runOutside(() => this.#parts.make());
    this.#attend(next);
    this.#client = next;
    this.listenersIfAny?.moveTo(next);
    for (const definition of this.#definitions.values()) Reflect.apply(next.defineCommand, next, definition);
    this.#downSinceMs = undefined;
    this.start();
    void this.#end(old);
  }

  /** Refuses further commands, waits for the replies that are owed, and ends the connection. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    for (const { reject } of this.#awaitingReady.splice(0)) reject(new PoolClosedError(this.#parts.poolId));
    this.#giveUpHeld(() => new PoolClosedError(this.#parts.poolId));
    await this.#end(this.#client);
  }

  async #end(client: C): Promise<void> {
    const { clock, closeTimeoutMs } = this.#parts;
    const outcome = await settleWithin(clock, closeTimeoutMs, () => end(client, true));
    if (outcome.kind !== 'done') sever(client);
  }

  #attend(client: C): void {
    this.#parts.credentials.follow(client);
    client.on('error', (error: Error) => {
      if (this.#lastError === undefined || !isEcho(error)) this.#lastError = error;
      // An error reply before the client is ready is a handshake that failed in part, a SELECT for one: ioredis would
      // go on, in another database.
      if (!('nodes' in client) && client.status === 'connect' && error.name === 'ReplyError') client.disconnect(true);
    });
    client.on('node error', (error: Error) => {
      this.#lastError = error;
    });
    client.on('close', () => {
      if (!('nodes' in client) && !this.#parts.resends) {
        rejectUnanswered(client, () => new Error('Connection is closed.', { cause: this.#lastError }));
      }
      if (client === this.#client) this.#lost();
    });
    client.on('ready', () => {
      if (client === this.#client) this.#found();
    });
  }

  #lost(): void {
    if (this.#closed) return;
    const wasUp = this.#downSinceMs === undefined;
    this.#downSinceMs ??= this.#parts.clock.now();
    this.#failures++;
    if (wasUp || this.#failures === 1) this.#parts.onLost?.(this.#lastError);
  }

  #found(): void {
    // ioredis 5 calls a client ready although we have given its connection up during the handshake.
    if (!isWritable(this.#client)) return;
    this.#downSinceMs = undefined;
    this.#failures = 0;
    this.#lastError = undefined;
    this.#sendHeld();
    for (const { resolve } of this.#awaitingReady.splice(0)) resolve();
    this.#parts.onReady?.();
  }

  // ── Commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

  protected override get client(): C {
    return this.#client;
  }

  protected override send(command: Command, stream: unknown, node: unknown): unknown {
    // What comes with a stream is a part of a pipeline, which has been looked at as a whole.
    const refusal = this.#closed
      ? new PoolClosedError(this.#parts.poolId)
      : stream === undefined
        ? this.#refusal(command.name, command.args)
        : undefined;
    if (refusal !== undefined) {
      command.reject(refusal);
      return command.promise;
    }
    const client = this.#client;
    if (this.#held.size > 0 || !isWritable(client)) return this.#hold(command, stream, node);
    const pending = new PendingCommand(command, this);
    const { commandTimeoutMs, clock } = this.#parts;
    if (commandTimeoutMs > 0) this.#parts.deadlines.add(pending, clock.now() + commandTimeoutMs);
    return this.#forward(pending, stream, node);
  }

  #forward(pending: PendingCommand, stream: unknown, node: unknown): unknown {
    pending.sent = true;
    return Reflect.apply(this.#client.sendCommand, this.#client, [pending.command, stream, node]);
  }

  protected override refusalInPipeline(command: Command, bare: boolean): Error | undefined {
    switch (effectOf(command.name, command.args)) {
      case 'end of transaction':
        return undefined;
      case 'multi':
        return bare ? this.#refusal(command.name, command.args) : undefined;
      default:
        return this.#refusal(command.name, command.args);
    }
  }

  protected override refusalOfPipeline(length: number): Error | undefined {
    if (this.#closed) return new PoolClosedError(this.#parts.poolId);
    return isWritable(this.#client) ? undefined : this.#refusalToHold(length);
  }

  #refusal(name: string, args: readonly unknown[]): CommandRefusedError | undefined {
    const effect = effectOf(name, args);
    if (effect === 'ordinary') return undefined;
    return new CommandRefusedError(
      `${name.toUpperCase()} on the shared client of pool "${this.#parts.poolId}"`,
      INSTEAD[effect],
      {
        poolId: this.#parts.poolId,
      },
    );
  }

  protected override assertUsable(): void {
    if (this.#closed) throw new PoolClosedError(this.#parts.poolId);
  }

  protected override duplicate(args: readonly unknown[]): C {
    return this.#parts.dedicated.duplicate(args);
  }

  protected override replacement(key: string | symbol): unknown {
    switch (key) {
      case 'call':
      case 'callBuffer':
      case 'send_command':
        // Looked at here and not only in `send`: with auto-pipelining a refused command would fail its neighbours too.
        return (...args: readonly unknown[]): unknown => {
          const refusal = this.#refusal(String(args[0]), args.slice(1));
          return refusal === undefined ? this.#callOnClient(key, args) : rejectedWith(refusal, args.at(-1));
        };
      case 'defineCommand':
        return (...definition: readonly unknown[]): unknown => {
          this.#definitions.set(String(definition[0]), definition);
          return Reflect.apply(this.#client.defineCommand, this.#client, definition);
        };
      case 'connect':
        return (callback?: unknown) => {
          const ready = this.whenReady();
          if (typeof callback === 'function') void ready.then(() => void Reflect.apply(callback, undefined, []));
          return ready;
        };
      case 'quit':
        return (callback?: unknown) => rejectedWith(this.#endRefusal('quit()'), callback);
      case 'disconnect':
      case 'end':
        return () => {
          throw this.#endRefusal(`${key}()`);
        };
      default:
        return undefined;
    }
  }

  #callOnClient(key: 'call' | 'callBuffer' | 'send_command', args: readonly unknown[]): unknown {
    const method: unknown = Reflect.get(this.#client, key);
    return typeof method === 'function' ? Reflect.apply(method, this.proxy, args) : undefined;
  }

  #endRefusal(what: string): CommandRefusedError {
    const { poolId } = this.#parts;
    return new CommandRefusedError(
      `${what} on the shared client of pool "${poolId}"`,
      'It ends with the pool: call close() on the pool.',
      { poolId },
    );
  }

  // ── While there is no connection ─────────────────────────────────────────────────────────────────────────────────

  #hold(command: Command, stream: unknown, node: unknown): unknown {
    this.start();
    // A pipeline was let in as a whole.
    const refusal = stream === undefined ? this.#refusalToHold(1) : undefined;
    if (refusal !== undefined) {
      command.reject(refusal);
      return command.promise;
    }
    const pending = new PendingCommand(command, this);
    this.#held.set(pending, { stream, node });
    this.#parts.deadlines.add(pending, this.#heldUntilMs());
    return command.promise;
  }

  #refusalToHold(count: number): Error | undefined {
    const { poolId, maxQueue, failFastAfterMs, clock } = this.#parts;
    const nowMs = clock.now();
    if (this.#downSinceMs !== undefined && nowMs - this.#downSinceMs >= failFastAfterMs)
      return this.#unavailable(nowMs);
    return this.#held.size + count > maxQueue ? new QueueFullError(poolId, this.#held.size, maxQueue) : undefined;
  }

  #heldUntilMs(): number {
    const { commandTimeoutMs, failFastAfterMs, clock } = this.#parts;
    const nowMs = clock.now();
    return Math.min(
      commandTimeoutMs > 0 ? nowMs + commandTimeoutMs : Infinity,
      (this.#downSinceMs ?? nowMs) + failFastAfterMs,
    );
  }

  #sendHeld(): void {
    const { commandTimeoutMs, clock } = this.#parts;
    for (const [pending, { stream, node }] of this.#held) {
      this.#held.delete(pending);
      this.#parts.deadlines.remove(pending);
      if (commandTimeoutMs > 0) this.#parts.deadlines.add(pending, clock.now() + commandTimeoutMs);
      this.#forward(pending, stream, node);
    }
  }

  #giveUpHeld(error: () => Error): void {
    for (const pending of this.#held.keys()) {
      this.#held.delete(pending);
      pending.command.reject(error());
    }
  }

  #unavailable(nowMs: number): BackendUnavailableError {
    const downForMs = nowMs - (this.#downSinceMs ?? nowMs);
    return new BackendUnavailableError(this.#parts.poolId, downForMs, this.#failures, {
      cause: this.#lastError ?? new Error('no connect has finished yet'),
    });
  }

  // ── CommandKeeper ────────────────────────────────────────────────────────────────────────────────────────────────

  settled(pending: PendingCommand): void {
    this.#parts.deadlines.remove(pending);
  }

  overdue(pending: PendingCommand, nowMs: number): void {
    const { poolId, commandTimeoutMs, failFastAfterMs } = this.#parts;
    const held = this.#held.get(pending);
    if (held === undefined) {
      this.#reconnectIfStuck(pending.command);
      pending.command.reject(
        new OperationTimeoutError(`Redis command ${pending.command.name.toUpperCase()}`, commandTimeoutMs, { poolId }),
      );
      return;
    }
    const unavailable = this.#downSinceMs !== undefined && nowMs - this.#downSinceMs >= failFastAfterMs;
    for (const [other, { stream }] of this.#held) {
      if (other !== pending && (held.stream === undefined || stream !== held.stream)) continue;
      this.#held.delete(other);
      other.command.reject(
        unavailable
          ? this.#unavailable(nowMs)
          : new OperationTimeoutError(
              `Redis command ${other.command.name.toUpperCase()} (not sent: no connection)`,
              commandTimeoutMs,
              { poolId },
            ),
      );
    }
  }

  /** The oldest unanswered command is overdue: nothing that came after it can be answered here either. */
  #reconnectIfStuck(command: Command): void {
    for (const connection of connectionsOf(this.#client)) {
      if (connection.commandQueue.peekFront()?.command !== command) continue;
      this.#lastError = new Error('The server stopped answering.');
      connection.disconnect(true);
      connection.stream.destroy();
    }
  }

  explain(error: Error, pending: PendingCommand): Error {
    if (!isConnectionError(error)) return error;
    return new ConnectionLostError(
      this.#parts.poolId,
      `Redis command ${pending.command.name.toUpperCase()}`,
      pending.sent,
      { cause: error },
    );
  }
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
