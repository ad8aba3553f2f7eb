/**
 * A statement that runs in a lease: on a client that was lent, or in a transaction.
 */
import { AsyncResource } from 'node:async_hooks';

import type { LeaseInfo } from '../../engine/driver.js';
import { isStalePlan } from '../protocol/pg-errors.js';
import type { ResultBuilder, TypeParsers } from '../protocol/pg-module.js';
import { callsCaller } from './caller-code.js';
import { CallerStatement } from './caller-statement.js';
import type { StatementConfig } from './statement.js';

/** What a statement needs of the client that it runs on. */
export interface StatementClient extends TypeParsers {
  readonly lease: LeaseInfo;
  /** Parsers of the application's own may be among its. */
  readonly hasOwnParsers: boolean;
  /** It has worked. */
  completed(statement: LeaseStatement): void;
  /** Its caller has been told, the server hasn't answered yet. */
  awaitLastWordOf(statement: LeaseStatement): void;
}

/** What ends a transaction of the pool's, as errors name it. */
export const TRANSACTION_END = 'the COMMIT of a transaction';

export class LeaseStatement extends CallerStatement {
  readonly #client: StatementClient;
  /** What goes right behind it, without waiting for its answer. */
  follower: LeaseStatement | undefined = undefined;
  /** Nothing more will come for it. */
  #over = false;
  #preparedAgain = false;

  constructor(
    client: StatementClient,
    text: string | undefined,
    values: readonly unknown[] | undefined,
    config: StatementConfig | undefined,
    readonly kind: 'caller' | 'begin' | 'end' = 'caller',
  ) {
    super(text, values, config);
    this.#client = client;
    if (client.hasOwnParsers || callsCaller(values, config)) this.context = new AsyncResource('PostgresQuery');
  }

  protected override get poolId(): string {
    return this.#client.lease.poolId;
  }

  protected override get tenantId(): string | undefined {
    return this.#client.lease.tenantId;
  }

  protected override get operation(): string | undefined {
    return this.kind === 'end' && this.text === 'COMMIT' ? TRANSACTION_END : undefined;
  }

  protected override typeParsers(): TypeParsers {
    return this.#client;
  }

  override submit(): Error | null {
    // Asked again: what went ahead of it may have failed to bind the session.
    this.rejection ??= this.isSent ? undefined : this.session?.rejectionOf(this);
    return super.submit();
  }

  protected override completed(result: ResultBuilder | ResultBuilder[]): void {
    this.#over = true;
    this.lastWord();
    this.#client.completed(this);
    this.fulfil(result);
  }

  protected override failed(error: Error): void {
    if (this.#mayPrepareAgain(error)) return this.#prepareAgain();
    this.#over = true;
    this.lastWord();
    this.reject(this.session?.leaseRejection ?? error);
  }

  /** Outside a transaction: in one the failure has undone what came before. */
  #mayPrepareAgain(error: Error): boolean {
    if (this.#preparedAgain || this.answered || this.name === undefined) return false;
    return isStalePlan(error) && this.session?.wire.transactionStatus === 'I';
  }

  #prepareAgain(): void {
    this.#preparedAgain = true;
    this.rewind();
    this.session?.prepareAgain(this);
  }

  protected override abandoned(): void {
    const { session } = this;
    if (session === undefined || this.#over) return;
    // Not sent yet: it never will be.
    this.rejection = new Error('The query was given up before it was sent');
    if (!this.isSent) return;
    this.#client.awaitLastWordOf(this);
    session.interrupt();
  }

  protected override stuck(): void {
    this.session?.kill(new Error('The server did not obey a cancel request'));
  }
}
