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
import type { Command, Redis } from 'ioredis';

import type { Clock } from '../engine/time/clock.js';
import type { Deadlines } from '../engine/time/deadlines.js';
import { toError } from '../engine/to-error.js';
import { ConnectionLostError, OperationTimeoutError, PoolClosedError, QueueFullError } from '../errors.js';
import type { PoolLog } from '../pool/pool-log.js';
import { isFunction } from './caller-code.js';
import { ClientFacade, type FacadeOptions } from './client-facade.js';
import type { DedicatedClients } from './dedicated-clients.js';
import type { Deployment } from './deployment.js';
import type { Failover } from './failover.js';
import { GatheredWrites } from './gathered-writes.js';
import { HeldCommands } from './held-commands.js';
import { type CommandKeeper, PendingCommand } from './pending-command.js';
import {
  type CommandSink,
  connectionsOf,
  dropConnection,
  isWritable,
  markAsCallers,
  type RedisClient,
} from './redis-client.js';
import { isConnectionError, isReadOnly, isReply, withoutSecrets } from './server-answers.js';
import type { SharedConnection, SharedConnectionListener } from './shared-connection.js';
import { rejectionInPipeline, rejectionOf } from './shared-rejections.js';

export interface SharedClientDependencies<C extends RedisClient> extends FacadeOptions {
  readonly deployment: Deployment<C>;
  readonly connection: SharedConnection<C>;
  readonly dedicated: DedicatedClients<C>;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** How long a command may take; 0: as long as it likes while connected. */
  readonly commandTimeoutMs: number;
  /** Commands that may wait for a connection; less than 0: none, not even for the first. */
  readonly maxQueue: number;
  readonly failFastAfterMs: number;
  readonly connectTimeoutMs: number;
  /** Is told when the server refuses to write. */
  readonly failover: Failover;
  readonly log: PoolLog;
}

const TRANSACTION: ReadonlySet<string> = new Set(['multi', 'exec', 'discard']);

/** Commands that may wait for the first connect of a pool that is to have no queue. */
const COLD_QUEUE = 10_000;

export class SharedClient<C extends RedisClient>
  extends ClientFacade<C>
  implements CommandKeeper, SharedConnectionListener
{
  readonly #dependencies: SharedClientDependencies<C>;
  readonly #connection: SharedConnection<C>;
  readonly #held = new HeldCommands();
  readonly #writes: GatheredWrites;
  #ignoredEnds = 0;

  constructor(dependencies: SharedClientDependencies<C>) {
    const { client } = dependencies.connection;
    // Commands that may be refused are never sent together with others.
    const { autoPipeliningIgnoredCommands } = client.options;
    super(client, dependencies, { ...dependencies.deployment.shown, autoPipeliningIgnoredCommands });
    this.#dependencies = dependencies;
    this.#writes = new GatheredWrites(dependencies.clock);
    this.#connection = dependencies.connection;
    this.#connection.listen(this);
  }

  /**
   * Sends a command of the pool's own, at once or over the next connection, and past what callers may not send. Rejects
   * when it hasn't been answered within `timeoutMs`.
   */
  async ask(name: string, args: string[], timeoutMs: number): Promise<unknown> {
    const { clock, deadlines } = this.#dependencies;
    const command = new this.#dependencies.ioredis.Command(name, args, { replyEncoding: 'utf8' });
    markAsCallers(command);
    const pending = new PendingCommand(command, this, timeoutMs);
    pending.limitAtMs = clock.now() + timeoutMs;
    if (isWritable(this.client) || name === 'info') this.#forward(pending, undefined, undefined);
    else {
      this.#connection.start();
      this.#held.add({ pending, stream: undefined, node: undefined });
    }
    deadlines.add(pending, pending.limitAtMs);
    return command.promise;
  }

  /** Moves to a new connection. What is under way is answered over the old one. */
  renew(): void {
    const next = this.#connection.renew();
    if (next !== undefined) this.listenersIfAny?.moveTo(next);
  }

  /** Refuses further commands, waits for the replies that are owed, and ends the connection. */
  async close(): Promise<void> {
    const closed = this.#connection.close();
    for (const { pending } of this.#held.takeAll())
      pending.command.reject(new PoolClosedError(this.#dependencies.poolId));
    await closed;
  }

  /** How often a library has ended it, or believes so. */
  get ignoredEnds(): number {
    return this.#ignoredEnds;
  }

  #ignoreEnd(method: string): void {
    this.#dependencies.log[this.#ignoredEnds++ === 0 ? 'warn' : 'debug'](
      `${method} was called on the shared client, and ended nothing: it ends with the pool.`,
    );
  }

  // ── ClientFacade ─────────────────────────────────────────────────────────────────────────────────────────────────

  protected override get client(): C {
    return this.#connection.client;
  }

  protected override send(command: Command, stream: unknown, node: unknown): unknown {
    if (!this.#isForServer(command, stream)) return command.promise;
    // In turn: what is held goes first, also when the connection has just come back.
    if (this.#held.size > 0 || !isWritable(this.client)) return this.#hold(command, stream, node);
    return this.#forward(this.#timed(command), stream, node);
  }

  override sendToNode(node: CommandSink, command: Command, stream: unknown): unknown {
    if (!this.#isForServer(command, stream)) return command.promise;
    return this.#forward(this.#timed(command), stream, undefined, node);
  }

  /** Whether the server is to get the command; if not, it has been answered here. */
  #isForServer(command: Command, stream: unknown): boolean {
    const { poolId, noAddress } = this.#dependencies;
    if (stream === undefined && isQuit(command.name)) {
      this.#ignoreEnd('QUIT');
      command.resolve(Buffer.from('OK'));
      return false;
    }
    // What comes with a stream is a part of a pipeline, which has been looked at as a whole.
    const rejection = this.#connection.closed
      ? new PoolClosedError(poolId)
      : (noAddress ?? (stream === undefined ? rejectionOf(poolId, command.name, command.args) : undefined));
    if (rejection !== undefined) command.reject(rejection);
    return rejection === undefined;
  }

  #timed(command: Command): PendingCommand {
    const { commandTimeoutMs, clock, deadlines } = this.#dependencies;
    const pending = new PendingCommand(command, this, commandTimeoutMs);
    if (commandTimeoutMs > 0) {
      pending.limitAtMs = clock.now() + commandTimeoutMs;
      deadlines.add(pending, pending.limitAtMs);
    }
    return pending;
  }

  override rejectionInPipeline(command: Command, bare: boolean): Error | undefined {
    return rejectionInPipeline(this.#dependencies.poolId, command, bare);
  }

  override rejectionOfPipeline(length: number): Error | undefined {
    const { poolId, noAddress } = this.#dependencies;
    if (this.#connection.closed) return new PoolClosedError(poolId);
    if (noAddress !== undefined) return noAddress;
    return isWritable(this.client) ? undefined : this.#rejectionToHold(length);
  }

  override assertUsable(): void {
    if (this.#connection.closed) throw new PoolClosedError(this.#dependencies.poolId);
  }

  protected override duplicate(args: readonly unknown[]): C {
    return this.#dependencies.dedicated.duplicate(args);
  }

  override duplicateNode(node: Redis, args: readonly unknown[]): Redis {
    return this.#dependencies.dedicated.duplicateNode(node, args);
  }

  override endNode(_node: Redis, method: string): void {
    this.#ignoreEnd(`${method}() of a node`);
  }

  protected override replacement(key: string | symbol): unknown {
    const { poolId } = this.#dependencies;
    switch (key) {
      case 'call':
      case 'callBuffer':
      case 'send_command': {
        const method: unknown = Reflect.get(this.client, key);
        if (!isFunction(method)) return undefined;
        const send = this.guardingCallback(method);
        // Looked at here and not only in `send`: with auto-pipelining a refused command would fail its neighbours too.
        return (...args: readonly unknown[]): unknown => {
          const rejection = isQuit(args[0]) ? undefined : rejectionOf(poolId, String(args[0]), args.slice(1));
          if (rejection !== undefined) return this.told(Promise.reject(rejection), args.at(-1));
          return Reflect.apply(send, this.proxy, args);
        };
      }
      case 'connect':
        return (callback?: unknown) => this.told(this.#connection.attempt(), callback);
      case 'quit':
        return (callback?: unknown) => {
          this.#ignoreEnd('quit()');
          return this.told(Promise.resolve('OK'), callback);
        };
      case 'disconnect':
      case 'end':
        return (): void => this.#ignoreEnd(`${key}()`);
      default:
        return undefined;
    }
  }

  #forward(pending: PendingCommand, stream: unknown, node: unknown, sink: CommandSink = this.client): unknown {
    const { command } = pending;
    const { client } = this;
    pending.sent = true;
    // What comes with a stream is written by its pipeline, and to a cluster by the client of a node.
    if (stream === undefined && sink === client && !('nodes' in client)) this.#writes.next(client.stream, pending);
    try {
      return sink.sendCommand(command, stream, node);
    } catch (error) {
      // It could not be written: its text is longer than a text can be.
      return reject(command, toError(error));
    }
  }

  #hold(command: Command, stream: unknown, node: unknown): unknown {
    const { commandTimeoutMs, clock, deadlines } = this.#dependencies;
    this.#connection.start();
    // A pipeline was let in as a whole.
    const rejection = stream === undefined ? this.#rejectionToHold(1) : undefined;
    if (rejection !== undefined) return reject(command, rejection);
    const pending = new PendingCommand(command, this, commandTimeoutMs);
    const nowMs = clock.now();
    if (commandTimeoutMs > 0) pending.limitAtMs = nowMs + commandTimeoutMs;
    this.#held.add({ pending, stream, node });
    deadlines.add(pending, Math.min(pending.limitAtMs, this.#waitEndsMs(nowMs)));
    return command.promise;
  }

  /** Until when a command waits for the connection. Before the first connect has failed there is no outage. */
  #waitEndsMs(nowMs: number): number {
    const { failFastAfterMs, connectTimeoutMs } = this.#dependencies;
    if (this.#connection.isNew) return nowMs + Math.max(failFastAfterMs, connectTimeoutMs);
    return (this.#connection.downSinceMs ?? nowMs) + failFastAfterMs;
  }

  #rejectionToHold(count: number): Error | undefined {
    const { poolId, maxQueue, clock } = this.#dependencies;
    const unavailable = this.#connection.unavailable(clock.now());
    if (unavailable !== undefined) return unavailable;
    // Before its first connect, and unless ioredis' own queue was switched off, a pool without a queue serves too.
    const queue = maxQueue === 0 && this.#connection.isNew ? COLD_QUEUE : maxQueue;
    return this.#held.size + count > queue
      ? new QueueFullError(poolId, this.#held.size, Math.max(0, maxQueue))
      : undefined;
  }

  // ── SharedConnectionListener ─────────────────────────────────────────────────────────────────────────────────────

  /** What waits for the connection does so as long as the outage may last. */
  connectionLost(): void {
    const { clock, deadlines } = this.#dependencies;
    const waitEndsMs = this.#waitEndsMs(clock.now());
    for (const { pending } of this.#held) deadlines.add(pending, Math.min(pending.limitAtMs, waitEndsMs));
  }

  connectionReady(): void {
    this.#sendHeld();
  }

  /** What was to be sent again waits for no connection: the client finds another node. */
  nodeLost(): void {
    this.#sendHeld();
  }

  #sendHeld(): void {
    const { clock, deadlines } = this.#dependencies;
    for (const { pending, stream, node } of this.#held.takeAll()) {
      // What is repeated has no more time than it had at first: a server could refuse it again and again.
      if (pending.timeoutMs > 0 && !pending.repeated) pending.limitAtMs = clock.now() + pending.timeoutMs;
      if (pending.timeoutMs > 0) deadlines.add(pending, pending.limitAtMs);
      else deadlines.remove(pending);
      this.#forward(pending, stream, node);
    }
  }

  // ── CommandKeeper ────────────────────────────────────────────────────────────────────────────────────────────────

  settled(pending: PendingCommand): void {
    this.#dependencies.deadlines.remove(pending);
  }

  overdue(pending: PendingCommand, nowMs: number): void {
    const { poolId, deadlines } = this.#dependencies;
    if (pending.sent) {
      const { answerDueAtMs } = pending;
      if (answerDueAtMs > nowMs) return deadlines.add(pending, answerDueAtMs);
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

  repeats(error: Error, pending: PendingCommand): boolean {
    const { repeatable } = this.#dependencies.deployment;
    const { command } = pending;
    // A part of a transaction alone would be another transaction, or none.
    const isPart = command.inTransaction || TRANSACTION.has(command.name.toLowerCase());
    if (!repeatable.delete(error) || isPart || this.#connection.closed) return false;
    pending.sent = false;
    pending.repeated = true;
    this.#held.add({ pending, stream: undefined, node: undefined });
    return true;
  }

  explain(error: Error, pending: PendingCommand): Error {
    if (isReadOnly(error)) this.#dependencies.failover.writeRefused();
    if (isReply(error) || !isConnectionError(error)) return error;
    return new ConnectionLostError(this.#dependencies.poolId, pending.title, pending.sent, {
      cause: withoutSecrets(error),
    });
  }

  /**
   * The oldest unanswered command is overdue: nothing that came after it can be answered over this connection either.
   */
  #reconnectIfStuck(command: Command): void {
    for (const connection of connectionsOf(this.client)) {
      if (connection.commandQueue.peekFront()?.command === command)
        dropConnection(connection, new Error('The server stopped answering.'));
    }
  }
}

function reject(command: Command, error: Error): unknown {
  command.reject(error);
  return command.promise;
}

function isQuit(name: unknown): boolean {
  return typeof name === 'string' && name.toLowerCase() === 'quit';
}
