/**
 * What the borrower of an exclusive connection holds: the client, for as long as the lease lasts.
 *
 * Promise: after release every command is rejected, and everything else that could act throws, with LeaseReleasedError;
 * what the borrower put on the object (listeners, defined commands, properties) goes with the lease; ordinary commands
 * settle by `commandTimeoutMs`, blocking ones that long after their own time is up, and a connection that let one go
 * overdue is never lent again.
 */
import type { Command, Redis } from 'ioredis';

import type { LeaseInfo } from '../engine/driver.js';
import type { Clock } from '../engine/time/clock.js';
import type { Deadlines } from '../engine/time/deadlines.js';
import { toError } from '../engine/to-error.js';
import { ConnectionLostError, LeaseReleasedError, OperationTimeoutError } from '../errors.js';
import { ClientFacade, type FacadeOptions } from './client-facade.js';
import { blockingMs } from './command-effects.js';
import type { DedicatedClients } from './dedicated-clients.js';
import type { DeferredWrites } from './deferred-writes.js';
import type { Deployment } from './deployment.js';
import type { ExclusiveConnection } from './exclusive-connection.js';
import type { Failover } from './failover.js';
import { type CommandKeeper, PendingCommand } from './pending-command.js';
import { type CommandSink, isWritable, type RedisClient } from './redis-client.js';
import { isConnectionError, isReadOnly, isReply, isUnfitServer, withoutSecrets } from './server-answers.js';

/** What all connections of a pool have in common for their borrowers. */
export interface LendingOptions<C extends RedisClient> extends FacadeOptions {
  readonly deployment: Deployment<C>;
  /** What a borrower sees of the client's options, where that differs. Made once: a copy costs more than a command. */
  readonly shown: object;
  readonly dedicated: DedicatedClients<C>;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  readonly writes: DeferredWrites;
  /** 0: as long as they like. */
  readonly commandTimeoutMs: number;
  /** Is told when the server refuses to write. */
  readonly failover: Failover;
}

export class LentClient<C extends RedisClient> extends ClientFacade<C> implements CommandKeeper {
  readonly #connection: ExclusiveConnection<C>;
  readonly #lease: LeaseInfo;
  readonly #options: LendingOptions<C>;
  constructor(connection: ExclusiveConnection<C>, lease: LeaseInfo, options: LendingOptions<C>) {
    super(connection.client, options, options.shown);
    this.#connection = connection;
    this.#lease = lease;
    this.#options = options;
    connection.lent(() => this.listenersIfAny?.removeAll());
  }

  protected override get client(): C {
    return this.#connection.client;
  }

  protected override send(command: Command, stream: unknown, node: unknown): unknown {
    return this.#sendTo(this.client, command, stream, node);
  }

  override sendToNode(node: CommandSink, command: Command, stream: unknown): unknown {
    return this.#sendTo(node, command, stream, undefined);
  }

  #sendTo(sink: CommandSink, command: Command, stream: unknown, node: unknown): unknown {
    if (this.#lease.released) {
      command.reject(this.#released());
      return command.promise;
    }
    const connection = this.#connection;
    const { client } = connection;
    const { commandTimeoutMs, clock, deadlines, writes } = this.#options;
    connection.session.observe(command.name, command.args);
    const timeoutMs = commandTimeoutMs > 0 ? commandTimeoutMs + blockingMs(command.name, command.args) : 0;
    const pending = new PendingCommand(command, this, timeoutMs);
    pending.sent = isWritable(client);
    connection.unsettled++;
    if (timeoutMs > 0 && timeoutMs < Infinity) deadlines.add(pending, clock.now() + timeoutMs);
    // With a stream it is part of a pipeline, which writes itself. A cluster's client has several sockets.
    if (stream === undefined && sink === client && pending.sent && !('nodes' in client))
      writes.next(client.stream, pending);
    try {
      return sink.sendCommand(command, stream, node);
    } catch (error) {
      // It could not be written: its text is longer than a text can be.
      command.reject(toError(error));
      return command.promise;
    }
  }

  override assertUsable(): void {
    if (this.#lease.released) throw this.#released();
  }

  override rejectionInPipeline(): undefined {}

  override rejectionOfPipeline(): Error | undefined {
    return this.#lease.released ? this.#released() : undefined;
  }

  protected override duplicate(args: readonly unknown[]): C {
    return this.#options.dedicated.duplicate(args);
  }

  override duplicateNode(node: Redis, args: readonly unknown[]): Redis {
    this.assertUsable();
    return this.#options.dedicated.duplicateNode(node, args);
  }

  override endNode(node: Redis): void {
    this.assertUsable();
    node.disconnect();
  }

  protected override replacement(key: string | symbol): unknown {
    switch (key) {
      case 'connect':
        return (callback?: unknown) => this.told(this.#connected(), callback);
      case 'quit':
        return (callback?: unknown): unknown => {
          if (this.#lease.released) return this.told(Promise.reject(this.#released()), callback);
          this.#connection.session.observe('quit', []);
          const quit: Promise<unknown> = this.client.quit();
          return this.told(quit, callback);
        };
      case 'disconnect':
      case 'end':
        return () => {
          this.assertUsable();
          this.client.disconnect();
        };
      default:
        return undefined;
    }
  }

  /** A lease is connected from its start, and never again once its connection is lost. */
  #connected(): Promise<void> {
    if (this.#lease.released) return Promise.reject(this.#released());
    if (isWritable(this.client)) return Promise.resolve();
    return Promise.reject(new ConnectionLostError(this.#lease.poolId, 'connect()', false));
  }

  #released(): LeaseReleasedError {
    return new LeaseReleasedError(this.#lease.poolId, { tenantId: this.#lease.tenantId });
  }

  #costsConnection(error: Error): boolean {
    const verdict = this.#options.deployment.reconnectOnError?.(error) ?? false;
    return verdict !== false;
  }

  // ── CommandKeeper ────────────────────────────────────────────────────────────────────────────────────────────────

  settled(pending: PendingCommand): void {
    this.#connection.unsettled--;
    this.#options.deadlines.remove(pending);
  }

  overdue(pending: PendingCommand, nowMs: number): void {
    const { answerDueAtMs } = pending;
    if (answerDueAtMs > nowMs) return this.#options.deadlines.add(pending, answerDueAtMs);
    const { poolId, tenantId } = this.#lease;
    const error = new OperationTimeoutError(pending.title, pending.timeoutMs, { poolId, tenantId });
    pending.command.reject(error);
    this.#connection.break(error);
  }

  explain(error: Error, pending: PendingCommand): Error {
    if (isReply(error)) {
      // A lease keeps its connection, which alone has what it did there; the next borrower gets another one.
      if (isUnfitServer(error) || this.#costsConnection(error)) this.#connection.markUnfit(error);
      if (isReadOnly(error)) this.#options.failover.writeRefused();
      return error;
    }
    if (!isConnectionError(error)) return error;
    const { poolId, tenantId } = this.#lease;
    return new ConnectionLostError(poolId, pending.title, pending.sent, { cause: withoutSecrets(error), tenantId });
  }
}
