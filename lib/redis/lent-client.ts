/**
 * What the borrower of an exclusive connection holds: the client, for as long as the lease lasts.
 *
 * Promise: after release every command is rejected, and everything else that could act throws, with LeaseReleasedError;
 * what the borrower put on the object (listeners, defined commands, properties) goes with the lease; ordinary commands
 * settle by `commandTimeoutMs`, blocking ones that long after their own time is up, and a connection that let one go
 * overdue is never lent again.
 */
import type { Command } from 'ioredis';
import type { Clock } from '../engine/clock.js';
import type { Deadlines } from '../engine/deadlines.js';
import type { LeaseInfo } from '../engine/driver.js';
import { ConnectionLostError, LeaseReleasedError, OperationTimeoutError } from '../errors.js';
import { ClientFacade, rejectedWith } from './client-facade.js';
import type { DedicatedClients } from './dedicated-clients.js';
import type { ExclusiveConnection } from './exclusive-connection.js';
import { PendingCommand, type CommandKeeper } from './pending-command.js';
import { isConnectionError, isUnfitServer, isWritable, type IoredisModule, type RedisClient } from './redis-client.js';
import { blockingMs } from './redis-commands.js';

/** What all connections of a pool have in common for their borrowers. */
export interface LendingTerms<C extends RedisClient> {
  readonly ioredis: IoredisModule;
  readonly dedicated: DedicatedClients<C>;
  readonly clock: Clock;
  readonly deadlines: Deadlines;
  /** 0: as long as they like. */
  readonly commandTimeoutMs: number;
}

export class LentClient<C extends RedisClient> extends ClientFacade<C> implements CommandKeeper {
  readonly #connection: ExclusiveConnection<C>;
  readonly #lease: LeaseInfo;
  readonly #terms: LendingTerms<C>;
  /** What the borrower has set on the object; the client behind never sees it. */
  #own: Map<string | symbol, unknown> | undefined;

  constructor(connection: ExclusiveConnection<C>, lease: LeaseInfo, terms: LendingTerms<C>) {
    super(connection.client, terms.ioredis);
    this.#connection = connection;
    this.#lease = lease;
    this.#terms = terms;
    connection.lent(() => this.listenersIfAny?.removeAll());
  }

  protected override get client(): C {
    return this.#connection.client;
  }

  protected override read(key: string | symbol): unknown {
    const own = this.#own;
    return own?.has(key) === true ? own.get(key) : super.read(key);
  }

  protected override write(key: string | symbol, value: unknown): void {
    this.#own ??= new Map();
    this.#own.set(key, value);
  }

  protected override send(command: Command, stream: unknown, node: unknown): unknown {
    if (this.#lease.released) {
      command.reject(this.#released());
      return command.promise;
    }
    const connection = this.#connection;
    const { client } = connection;
    const { commandTimeoutMs, clock, deadlines } = this.#terms;
    connection.session.observe(command.name, command.args);
    const timeoutMs = commandTimeoutMs > 0 ? commandTimeoutMs + blockingMs(command.name, command.args) : 0;
    const pending = new PendingCommand(command, this, timeoutMs);
    pending.sent = isWritable(client);
    connection.unsettled++;
    if (timeoutMs > 0 && timeoutMs < Infinity) deadlines.add(pending, clock.now() + timeoutMs);
    return Reflect.apply(client.sendCommand, client, [command, stream, node]);
  }

  protected override assertUsable(): void {
    if (this.#lease.released) throw this.#released();
  }

  protected override refusalInPipeline(): undefined {}

  protected override refusalOfPipeline(): Error | undefined {
    return this.#lease.released ? this.#released() : undefined;
  }

  protected override duplicate(args: readonly unknown[]): C {
    return this.#terms.dedicated.duplicate(args);
  }

  protected override replacement(key: string | symbol): unknown {
    switch (key) {
      case 'scriptsSet':
        // defineCommand() adds to it.
        return { ...this.client.scriptsSet };
      case 'addedBuiltinSet':
        return new Set(this.client.addedBuiltinSet);
      case 'connect':
        return (callback?: unknown) => {
          if (typeof callback === 'function') Reflect.apply(callback, undefined, []);
          return Promise.resolve();
        };
      case 'quit':
        return (callback?: unknown): unknown => {
          if (this.#lease.released) return rejectedWith(this.#released(), callback);
          this.#connection.session.observe('quit', []);
          return Reflect.apply(this.client.quit, this.client, [callback]);
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

  #released(): LeaseReleasedError {
    return new LeaseReleasedError(this.#lease.poolId, { tenantId: this.#lease.tenantId });
  }

  // ── CommandKeeper ────────────────────────────────────────────────────────────────────────────────────────────────

  settled(pending: PendingCommand): void {
    this.#connection.unsettled--;
    this.#terms.deadlines.remove(pending);
  }

  overdue(pending: PendingCommand): void {
    const { poolId, tenantId } = this.#lease;
    const error = new OperationTimeoutError(pending.title, pending.timeoutMs, { poolId, tenantId });
    pending.command.reject(error);
    this.#connection.break(error);
  }

  explain(error: Error, pending: PendingCommand): Error {
    if (isUnfitServer(error)) this.#connection.condemn(error);
    if (!isConnectionError(error)) return error;
    const { poolId, tenantId } = this.#lease;
    return new ConnectionLostError(poolId, pending.title, pending.sent, { cause: error, tenantId });
  }
}
