/**
 * The client that everyone shares, for ordinary commands.
 *
 * Promises:
 *  - a command that would change or stall the connection for the others is refused, before anything of it is sent;
 *  - every command settles: answered, or by its deadline (`commandTimeoutMs`), or with the loss of the connection;
 *  - nothing is sent twice, and nothing that its caller was told had failed unsent is sent later;
 *  - while there is no connection, at most `maxQueue` commands wait for one, and none when there has been none for
 *    `failFastAfterMs`.
 */
import type { Command } from 'ioredis';

import type { Clock } from '../engine/clock.js';
import type { Deadlines } from '../engine/deadlines.js';
import { ConnectionLostError, OperationTimeoutError, PoolClosedError, QueueFullError } from '../errors.js';
import { ClientFacade, rejectedWith } from './client-facade.js';
import type { DedicatedClients } from './dedicated-clients.js';
import { HeldCommands } from './held-commands.js';
import { PendingCommand, type CommandKeeper } from './pending-command.js';
import { connectionsOf, isConnectionError, isWritable, type IoredisModule, type RedisClient } from './redis-client.js';
import type { SharedConnection } from './shared-connection.js';
import { refusalInPipeline, refusalOf, refusalToEnd } from './shared-refusals.js';

export interface SharedClientParts<C extends RedisClient> {
  readonly poolId: string;
  readonly ioredis: IoredisModule;
  readonly connection: SharedConnection<C>;
  readonly dedicated: DedicatedClients<C>;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** How long a command may take; 0: as long as it likes while connected. */
  readonly commandTimeoutMs: number;
  /** Commands that may wait for a connection. */
  readonly maxQueue: number;
  readonly failFastAfterMs: number;
}

export class SharedClient<C extends RedisClient> extends ClientFacade<C> implements CommandKeeper {
  readonly #parts: SharedClientParts<C>;
  readonly #connection: SharedConnection<C>;
  readonly #held = new HeldCommands();
  /** What callers have defined, for the next connection's client. */
  readonly #definitions = new Map<string, readonly unknown[]>();

  constructor(parts: SharedClientParts<C>) {
    super(parts.connection.client, parts.ioredis);
    this.#parts = parts;
    this.#connection = parts.connection;
  }

  /** Sends what has waited for the connection, which is there now. */
  sendHeld(): void {
    const { clock, deadlines } = this.#parts;
    for (const { pending, stream, node } of this.#held.takeAll()) {
      if (pending.timeoutMs > 0) deadlines.add(pending, clock.now() + pending.timeoutMs);
      else deadlines.remove(pending);
      this.#forward(pending, stream, node);
    }
  }

  /** Resolves when the server answers; rejects when it hasn't within `timeoutMs`. */
  async ping(timeoutMs: number): Promise<void> {
    const { clock, deadlines, ioredis } = this.#parts;
    const command = new ioredis.Command('ping', [], { replyEncoding: 'utf8' });
    const pending = new PendingCommand(command, this, timeoutMs);
    if (isWritable(this.client)) this.#forward(pending, undefined, undefined);
    else {
      this.#connection.start();
      this.#held.add({ pending, stream: undefined, node: undefined });
    }
    deadlines.add(pending, clock.now() + timeoutMs);
    await command.promise;
  }

  /** Moves to a new connection. What is under way is answered over the old one. */
  renew(): void {
    const next = this.#connection.renew();
    if (next === undefined) return;
    this.listenersIfAny?.moveTo(next);
    for (const definition of this.#definitions.values()) Reflect.apply(next.defineCommand, next, definition);
  }

  /** Refuses further commands, waits for the replies that are owed, and ends the connection. */
  async close(): Promise<void> {
    const closed = this.#connection.close();
    for (const { pending } of this.#held.takeAll()) pending.command.reject(new PoolClosedError(this.#parts.poolId));
    await closed;
  }

  // ── ClientFacade ─────────────────────────────────────────────────────────────────────────────────────────────────

  protected override get client(): C {
    return this.#connection.client;
  }

  protected override send(command: Command, stream: unknown, node: unknown): unknown {
    const { poolId, commandTimeoutMs, clock, deadlines } = this.#parts;
    if (this.#connection.closed) return reject(command, new PoolClosedError(poolId));
    // What comes with a stream is a part of a pipeline, which has been looked at as a whole.
    const refusal = stream === undefined ? refusalOf(poolId, command.name, command.args) : undefined;
    if (refusal !== undefined) return reject(command, refusal);
    // In turn: what is held goes first, also when the connection has just come back.
    if (this.#held.size > 0 || !isWritable(this.client)) return this.#hold(command, stream, node);
    const pending = new PendingCommand(command, this, commandTimeoutMs);
    if (commandTimeoutMs > 0) deadlines.add(pending, clock.now() + commandTimeoutMs);
    return this.#forward(pending, stream, node);
  }

  protected override refusalInPipeline(command: Command, bare: boolean): Error | undefined {
    return refusalInPipeline(this.#parts.poolId, command, bare);
  }

  protected override refusalOfPipeline(length: number): Error | undefined {
    if (this.#connection.closed) return new PoolClosedError(this.#parts.poolId);
    return isWritable(this.client) ? undefined : this.#refusalToHold(length);
  }

  protected override assertUsable(): void {
    if (this.#connection.closed) throw new PoolClosedError(this.#parts.poolId);
  }

  protected override duplicate(args: readonly unknown[]): C {
    return this.#parts.dedicated.duplicate(args);
  }

  protected override replacement(key: string | symbol): unknown {
    const { poolId } = this.#parts;
    switch (key) {
      case 'call':
      case 'callBuffer':
      case 'send_command':
        // Looked at here and not only in `send`: with auto-pipelining a refused command would fail its neighbours too.
        return (...args: readonly unknown[]): unknown => {
          const refusal = refusalOf(poolId, String(args[0]), args.slice(1));
          if (refusal !== undefined) return rejectedWith(refusal, args.at(-1));
          const method: unknown = Reflect.get(this.client, key);
          return typeof method === 'function' ? Reflect.apply(method, this.proxy, args) : undefined;
        };
      case 'defineCommand':
        return (...definition: readonly unknown[]): unknown => {
          this.#definitions.set(String(definition[0]), definition);
          return Reflect.apply(this.client.defineCommand, this.client, definition);
        };
      case 'connect':
        return (callback?: unknown) => {
          const ready = this.#connection.whenReady();
          if (typeof callback === 'function')
            ready.then(() => void Reflect.apply(callback, undefined, []), callError(callback));
          return ready;
        };
      case 'quit':
        return (callback?: unknown) => rejectedWith(refusalToEnd(poolId, 'quit()'), callback);
      case 'disconnect':
      case 'end':
        return () => {
          throw refusalToEnd(poolId, `${key}()`);
        };
      default:
        return undefined;
    }
  }

  #forward(pending: PendingCommand, stream: unknown, node: unknown): unknown {
    pending.sent = true;
    return Reflect.apply(this.client.sendCommand, this.client, [pending.command, stream, node]);
  }

  #hold(command: Command, stream: unknown, node: unknown): unknown {
    const { commandTimeoutMs, failFastAfterMs, clock, deadlines } = this.#parts;
    this.#connection.start();
    // A pipeline was let in as a whole.
    const refusal = stream === undefined ? this.#refusalToHold(1) : undefined;
    if (refusal !== undefined) return reject(command, refusal);
    const pending = new PendingCommand(command, this, commandTimeoutMs);
    this.#held.add({ pending, stream, node });
    const nowMs = clock.now();
    const outageEndsMs = (this.#connection.downSinceMs ?? nowMs) + failFastAfterMs;
    deadlines.add(pending, commandTimeoutMs > 0 ? Math.min(nowMs + commandTimeoutMs, outageEndsMs) : outageEndsMs);
    return command.promise;
  }

  #refusalToHold(count: number): Error | undefined {
    const { poolId, maxQueue, clock } = this.#parts;
    const unavailable = this.#connection.unavailable(clock.now());
    if (unavailable !== undefined) return unavailable;
    return this.#held.size + count > maxQueue ? new QueueFullError(poolId, this.#held.size, maxQueue) : undefined;
  }

  // ── CommandKeeper ────────────────────────────────────────────────────────────────────────────────────────────────

  settled(pending: PendingCommand): void {
    this.#parts.deadlines.remove(pending);
  }

  overdue(pending: PendingCommand, nowMs: number): void {
    const { poolId } = this.#parts;
    if (pending.sent) {
      this.#reconnectIfStuck(pending.command);
      pending.command.reject(new OperationTimeoutError(pending.title, pending.timeoutMs, { poolId }));
      return;
    }
    for (const { command, title, timeoutMs } of this.#held.takeWithPipeline(pending)) {
      command.reject(
        this.#connection.unavailable(nowMs) ??
          new OperationTimeoutError(`${title} (not sent: no connection)`, timeoutMs, { poolId }),
      );
    }
  }

  explain(error: Error, pending: PendingCommand): Error {
    if (!isConnectionError(error)) return error;
    return new ConnectionLostError(this.#parts.poolId, pending.title, pending.sent, { cause: error });
  }

  /** The oldest unanswered command is overdue: nothing that came after it can be answered over this connection either. */
  #reconnectIfStuck(command: Command): void {
    for (const connection of connectionsOf(this.client)) {
      if (connection.commandQueue.peekFront()?.command !== command) continue;
      connection.disconnect(true);
      connection.stream.destroy(new Error('The server stopped answering.'));
    }
  }
}

function reject(command: Command, error: Error): unknown {
  command.reject(error);
  return command.promise;
}

function callError(callback: unknown): (error: unknown) => void {
  return (error) => void (typeof callback === 'function' && Reflect.apply(callback, undefined, [error]));
}
