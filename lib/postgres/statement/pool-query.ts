/**
 * `pool.query` on a pool whose database user must be bound by row security.
 */
import type { Lease } from '../../engine/lease.js';
import type { UnsafeRoleError } from '../../errors.js';
import type { RoleSafety } from '../role-safety.js';
import type { ClientDependencies, LeasedClient } from '../session/leased-client.js';
import type { WaitingCall } from '../waiting-calls.js';
import { OneShot } from './one-shot.js';
import type { StatementConfig } from './statement.js';

/** What a pool's statements have to obey. */
export interface StatementRules extends ClientDependencies {
  readonly safety: RoleSafety;
}

export class PoolQuery extends OneShot implements WaitingCall {
  isListed = false;
  previousListed: WaitingCall | undefined = undefined;
  nextListed: WaitingCall | undefined = undefined;
  readonly #rules: StatementRules;
  /** It has got a connection, or will get none. */
  #hasTurn = false;

  constructor(
    poolId: string,
    tenantId: string | undefined,
    rules: StatementRules,
    text: string | undefined,
    values: readonly unknown[] | undefined,
    config: StatementConfig | undefined,
  ) {
    super(poolId, tenantId, rules, text, values, config);
    this.#rules = rules;
  }

  /** It has been asked for: should it wait for a connection, it hears at once of a user that is unsafe. */
  requested(): void {
    const { safety } = this.#rules;
    if (!this.#hasTurn && !this.answered) safety.waiting.add(this);
  }

  unsafe(error: UnsafeRoleError): void {
    this.reject(error);
  }

  override granted(lease: Lease<LeasedClient>): void {
    const { safety } = this.#rules;
    this.#hasTurn = true;
    safety.waiting.delete(this);
    // Found since it began to wait; the connection may be an older one.
    if (safety.error !== undefined && !this.answered) this.reject(safety.error);
    super.granted(lease);
  }

  override canShare(lease: Lease<LeasedClient>): boolean {
    return this.#rules.safety.error === undefined && super.canShare(lease);
  }

  override shared(lease: Lease<LeasedClient>): void {
    this.#hasTurn = true;
    this.#rules.safety.waiting.delete(this);
    super.shared(lease);
  }

  override refused(error: Error): void {
    this.#hasTurn = true;
    this.#rules.safety.waiting.delete(this);
    super.refused(this.#rules.safety.error ?? error);
  }
}
