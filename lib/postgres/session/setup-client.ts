/**
 * The client that `onConnect`, `verify` and listeners of `connect` get, before a connection is lent.
 *
 * What they set belongs to the connection: a new one would have it. So each statement that has worked is written down,
 * and sent again with every reset, in the same round trip; type parsers and listeners stay on the connection itself.
 */
import type { LeaseInfo } from '../../engine/driver.js';
import type { TypeParser } from '../protocol/pg-module.js';
import type { LeaseStatement } from '../statement/lease-statement.js';
import type { QueryRequest } from '../statement/query-arguments.js';
import { type ClientDependencies, LeasedClient } from './leased-client.js';
import type { PgSession } from './pg-session.js';
import type { SetupStatement } from './session-hygiene.js';

class SetupLease implements LeaseInfo {
  readonly tenantId = undefined;
  readonly acquiredAt = Date.now();
  released = false;

  constructor(readonly poolId: string) {}
}

export class SetupClient extends LeasedClient {
  readonly #lease: SetupLease;
  readonly #dependencies: ClientDependencies;
  readonly #statements: SetupStatement[] = [];
  #script: string | undefined = undefined;
  /** Queries that were asked for. */
  #asked = 0;

  private constructor(session: PgSession, lease: SetupLease, dependencies: ClientDependencies) {
    super(session, lease, dependencies);
    this.#lease = lease;
    this.#dependencies = dependencies;
    this.bindNothing();
  }

  /** Runs `work` on a connection that has just been opened, and makes what it did a part of the connection. */
  static async run(
    poolId: string,
    session: PgSession,
    dependencies: ClientDependencies,
    work: (client: LeasedClient) => Promise<void>,
  ): Promise<void> {
    const client = new SetupClient(session, new SetupLease(poolId), dependencies);
    try {
      await work(client);
      // What a listener began without returning its promise goes on from answer to answer, as it does in pg.
      let asked: number;
      do {
        asked = client.#asked;
        await session.quiet();
      } while (client.#asked > asked);
    } finally {
      client.#lease.released = true;
      client.retire();
    }
    await session.quiet();
    if (client.#script !== undefined) {
      throw new Error(
        `What is done once on each connection has to be one statement a query, so that it can be repeated after a reset; this was several: ${client.#script.slice(0, 80)}`,
      );
    }
    if (session.transactionStatus !== 'I')
      throw new Error('What is done once on each connection has left a transaction open');
    session.hygiene.adoptSetup(client.#statements);
  }

  override execute(request: QueryRequest): unknown {
    this.#asked++;
    return super.execute(request);
  }

  /** For the connection's whole life, through resets, as in pg. */
  override setTypeParser(oid: number, format: string | TypeParser, parser?: TypeParser): void {
    const { client } = this.session;
    this.#dependencies.parsers.added();
    if (typeof format === 'function') client.setTypeParser(oid, format);
    else if (parser === undefined) throw new TypeError('setTypeParser() needs a parser');
    else client.setTypeParser(oid, format === 'binary' ? 'binary' : 'text', parser);
  }

  /** What belongs to the connection hears all of it, whichever tenant it serves. */
  protected override get hearsConnection(): boolean {
    return true;
  }

  /** What was listened for while the connection was set up is heard as long as it lives. */
  protected override stopListening(): void {}

  override completed(statement: LeaseStatement): void {
    if (statement.isScript) this.#script = statement.text;
    else if (statement.text)
      this.#statements.push({ text: statement.text, values: statement.wireValues(this.session) });
  }
}
