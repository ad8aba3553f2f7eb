/**
 * The beginning of a transaction: BEGIN, the tenant's setting and the server's own time limit, in the round trip of the
 * transaction's first statement.
 *
 * They are one implicit transaction up to that statement's Sync: where any of them fails, the server executes nothing
 * of the statement. A statement that can't take them along (several in one text, a Submittable, one that is prepared or
 * that instrumentation has seen) gets them ahead of it, in a round trip of their own: opening-statement.ts.
 */
import { SET_LOCALLY, type TenantSetting } from '../isolation.js';
import type { Wire } from '../protocol/wire.js';
import type { TransactionOpening } from '../session/lease-binding.js';

export class Opening implements TransactionOpening {
  readonly tenant: TenantSetting | undefined;
  readonly #begin: string;
  readonly #settings: () => readonly TenantSetting[];

  /** @param settings asked for when it is sent. */
  constructor(begin: string, tenant: TenantSetting | undefined, settings: () => readonly TenantSetting[]) {
    this.#begin = begin;
    this.tenant = tenant;
    this.#settings = settings;
  }

  write(wire: Wire): number {
    const settings = this.#settings();
    wire.command(this.#begin);
    if (this.tenant !== undefined) wire.command(SET_LOCALLY, [this.tenant.name, this.tenant.value]);
    for (const { name, value } of settings) wire.command(SET_LOCALLY, [name, value]);
    return 1 + (this.tenant === undefined ? 0 : 1) + settings.length;
  }
}
