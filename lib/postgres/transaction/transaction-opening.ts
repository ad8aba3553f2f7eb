/**
 * The first statement of a transaction: BEGIN, the tenant's setting and the server's own time limit in one round trip.
 */
import { SET_LOCALLY, type TenantSetting } from '../isolation.js';
import type { ResultBuilder } from '../protocol/pg-module.js';
import type { LeasedClient } from '../session/leased-client.js';
import { LeaseStatement } from '../statement/lease-statement.js';
import type { StatementSession } from '../statement/statement.js';

export class TransactionOpening extends LeaseStatement {
  readonly #settings: readonly TenantSetting[];
  readonly #begin: string;
  readonly #tenant: TenantSetting | undefined;

  constructor(
    client: LeasedClient,
    begin: string,
    tenant: TenantSetting | undefined,
    settings: readonly TenantSetting[],
  ) {
    super(client, begin, undefined, undefined, 'begin');
    this.#begin = begin;
    this.#tenant = tenant;
    this.#settings = settings;
  }

  protected override encode(session: StatementSession): undefined {
    const { wire } = session;
    session.writeAhead(this);
    wire.command(this.#begin);
    if (this.#tenant !== undefined) wire.command(SET_LOCALLY, [this.#tenant.name, this.#tenant.value]);
    for (const { name, value } of this.#settings) wire.command(SET_LOCALLY, [name, value]);
    wire.sync();
    return undefined;
  }

  override handleRowDescription(): void {}
  override handleDataRow(): void {}

  protected override completed(result: ResultBuilder | ResultBuilder[]): void {
    this.session?.transactionBegan(this.#tenant);
    super.completed(result);
  }
}
