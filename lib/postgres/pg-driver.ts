/**
 * Opens, checks, cleans and ends PostgreSQL sessions for the engine.
 *
 * Sockets are unreferenced while no lease holds them, so that an idle process can exit; one timer, referenced while
 * anything is lent, keeps it alive for all of them (a reference per socket and query would cost more).
 */
import type { Client, ClientConfig } from 'pg';

import type { LeaseInfo, PoolDriver } from '../engine/driver.js';
import { toError } from '../engine/to-error.js';
import { ConnectionLostError } from '../errors.js';
import type { Failover } from './failover.js';
import { ProcessHold } from './process-hold.js';
import { isFatalError, isMisconfigured, isServerFull } from './protocol/pg-errors.js';
import type { ParameterStatusMessage, PgModule } from './protocol/pg-module.js';
import { type ClientDependencies, LeasedClient, type PoolSession } from './session/leased-client.js';
import { PgSession } from './session/pg-session.js';
import { ResetSchedule } from './session/reset-schedule.js';
import type { SessionRules } from './session/session-hygiene.js';

/** A password, or a function that knows the current one. */
export type Password = string | (() => string | Promise<string>);

export interface PgDriverOptions {
  readonly pg: PgModule;
  readonly clientConfig: ClientConfig;
  /** Wins over the connection string's. */
  readonly password: Password | undefined;
  readonly rules: SessionRules;
  /** Has a new client obey the pool's options, before it connects. */
  readonly prepare: (client: Client) => void;
  readonly failover: Failover;
  /** Of what the sessions are lent as. */
  readonly clients: ClientDependencies;
  /** Does what is to be done once on each new connection. */
  readonly setUp: (session: PoolSession) => Promise<void>;
}

export class PgDriver implements PoolDriver<PoolSession, LeasedClient> {
  /** The server has authenticated it. */
  readonly openProvesAlive = true;
  readonly #options: PgDriverOptions;
  readonly #hold = new ProcessHold();
  /** Every session that is open. */
  readonly sessions = new Set<PoolSession>();
  readonly #resets: ResetSchedule;

  constructor(options: PgDriverOptions) {
    this.#options = options;
    this.#resets = new ResetSchedule(this.sessions, options.clients);
  }

  /** How many sessions were opened before a moment of the pool's clock. */
  openedBefore(atMs: number): number {
    let count = 0;
    for (const { openedAtMs } of this.sessions) if (openedAtMs < atMs) count++;
    return count;
  }

  async open(signal: AbortSignal): Promise<PoolSession> {
    const { pg, clientConfig, password, rules, clients, setUp, prepare, failover } = this.#options;
    signal.throwIfAborted();
    const client = new pg.Client(clientConfig);
    prepare(client);
    // pg's own connection strings win over its password option, even when they have none.
    if (password !== undefined)
      Object.defineProperty(client, 'password', { value: password, writable: true, configurable: true });
    const tearDown = (): void => void client.connection.stream.destroy(toError(signal.reason));
    signal.addEventListener('abort', tearDown, { once: true });
    // Until the session listens: an error event without a listener would end the process.
    const ignore = (): void => {};
    client.on('error', ignore);
    const reports: Record<string, string> = {};
    const report = ({ parameterName, parameterValue }: ParameterStatusMessage): void => {
      reports[parameterName] = parameterValue;
    };
    client.connection.on('parameterStatus', report);
    try {
      await client.connect();
      client.connection.removeListener('parameterStatus', report);
      failover.opened(reports);
      const serverVersion = Number.parseInt(reports.server_version ?? '', 10) || 0;
      const session = new PgSession<LeasedClient>(pg, client, rules, clients, serverVersion);
      client.removeListener('error', ignore);
      await setUp(session);
      signal.throwIfAborted();
      session.wire.unref();
      this.sessions.add(session);
      return session;
    } catch (error) {
      client.connection.stream.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', tearDown);
    }
  }

  async close(session: PoolSession): Promise<void> {
    this.#end(session);
    await session.end();
  }

  kill(session: PoolSession): Promise<void> | undefined {
    this.#end(session);
    session.kill();
    return session.abandonment;
  }

  ping(session: PoolSession): Promise<void> {
    this.#hold.acquire();
    return session.ping().finally(() => this.#hold.release());
  }

  lend(session: PoolSession, lease: LeaseInfo): LeasedClient {
    session.lend(lease.tenantId);
    const client = new LeasedClient(session, lease, this.#options.clients);
    session.borrower = client;
    this.#resets.lent(session);
    this.#hold.acquire();
    return client;
  }

  recycle(session: PoolSession): void | Promise<void> {
    this.#takeBack(session);
    const ready = session.retire();
    if (ready === undefined && !session.hasRefusedWrite) return this.#resets.returned(session);
    return this.#clean(session, ready);
  }

  async #clean(session: PoolSession, ready: void | Promise<void>): Promise<void> {
    await ready;
    const { failover } = this.#options;
    if (session.hasRefusedWrite && failover.isWatching && failover.told(await session.writeAccess()))
      throw new Error('The session takes no writes');
    this.#resets.returned(session);
  }

  onBroken(session: PoolSession, listener: (error: Error) => void): void {
    session.onBroken(listener);
  }

  dispose(): Promise<void> {
    this.#hold.dispose();
    this.#resets.stop();
    return Promise.resolve();
  }

  isFatal(error: unknown): boolean {
    // The server has said the last word, and the socket may be open still.
    const isOurLoss = error instanceof ConnectionLostError && error.poolId === this.#options.rules.poolId;
    return isFatalError(isOurLoss ? error.cause : error);
  }

  isServerFull(error: unknown): boolean {
    return isServerFull(error);
  }

  isMisconfigured(error: unknown): boolean {
    return isMisconfigured(error);
  }

  #end(session: PoolSession): void {
    this.sessions.delete(session);
    this.#takeBack(session);
  }

  #takeBack(session: PoolSession): void {
    const client = session.borrower;
    if (client === undefined) return;
    session.borrower = undefined;
    session.lastBorrower = client;
    client.retire();
    this.#hold.release();
  }
}
