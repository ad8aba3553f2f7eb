/**
 * A server session with the bookkeeping that decides what it owes before it serves the next borrower.
 *
 * Promise: nothing that a borrower left in the session reaches another one. What was used by a lease is reset before it
 * is used again; what served one-shot queries is reset before it serves another tenant; an open transaction is rolled
 * back at once. The reset travels with the next borrower's first statement (see session-preamble.ts), or by itself when
 * nobody comes.
 */
import { randomUUID } from 'node:crypto';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Client, Submittable, TransactionStatus } from 'pg';

import { Barrier, CancelFence, Ping, type Turn } from './session-turns.js';
import type { TenantIsolation, TenantSetting } from './isolation.js';
import type { LeasedClient } from './leased-client.js';
import { MessageWriter } from './message-writer.js';
import type { PgModule, ResultConstructor, TypeParsers, WireConnection, WireValue } from './pg-module.js';
import { backendKeyOf, wireOf } from './pg-module.js';
import { SessionPreamble, type PreambleParts } from './session-preamble.js';
import type { SetupStatement } from './setup-client.js';
import { Statement } from './statement.js';

/** How sessions of one pool are treated. */
export interface SessionRules {
  readonly isolation: TenantIsolation;
  /** One-shot queries leave nothing behind, says the pool's owner. */
  readonly trustOneShot: boolean;
  /** Counts a reset. */
  readonly onReset: () => void;
}

/**
 * PostgreSQL commits DISCARD ALL and its like within a pipeline at once since this version (and since August 2022 in the
 * ones before, which is not worth telling apart).
 */
const COMMITS_AT_ONCE_SINCE = 15;

/** Who may have left something in the session since it was last clean. */
type Residue = 'nothing' | 'oneShot' | 'lease';

export class PgSession {
  readonly client: Client;
  readonly wire: WireConnection;
  readonly writer = new MessageWriter();
  readonly rules: SessionRules;
  readonly Result: ResultConstructor;
  /** Results come in binary, unless a query says otherwise. */
  readonly binary: boolean;
  readonly #pg: PgModule;
  /** Whether the server commits what can't be part of a transaction as soon as it has been executed. */
  readonly #commitsAtOnce: boolean;
  readonly #socket: Duplex;
  #residue: Residue = 'nothing';
  #servedTenant: string | undefined = undefined;
  /** Something must go out before the next statement. */
  #owes = false;
  #owesReset = false;
  #pendingSetting: TenantSetting | undefined = undefined;
  #bindingError: Error | undefined = undefined;
  #bindStatement: string | undefined = undefined;
  /** The last query of the lease has failed; ReadyForQuery, and with it the transaction's status, may be still to come. */
  #lacksReady = false;
  /** Queries of the lease that haven't been answered, and who waits for the last of them. */
  #outstanding = 0;
  #quiet: (() => void) | undefined = undefined;
  /** Queries that came while a preamble was under way. */
  #held: Submittable[] | undefined = undefined;
  /** What waits last in pg's queue, if it is one of ours that others can wait with: pg dislikes a long queue. */
  #lastTurn: Turn | undefined = undefined;
  /** It is on its way back. */
  #settling = false;
  /** A reset that nobody waits for. */
  #resetting: Promise<void> | undefined = undefined;
  /** A cancel request that hasn't been dealt with. */
  #fence: CancelFence | undefined = undefined;
  /** What was done once, when it was opened. */
  setup: readonly SetupStatement[] = [];
  readonly openedAtMs: number;
  /** Who had it last. */
  lastBorrower: LeasedClient | undefined = undefined;
  /** Who has it at the moment. */
  borrower: LeasedClient | undefined = undefined;
  #ending = false;
  #broken: Error | undefined = undefined;
  #brokenListener: ((error: Error) => void) | undefined = undefined;

  /**
   * @param client has connected just now.
   * @param serverVersion of PostgreSQL, the major one; 0 when it isn't known.
   */
  constructor(pg: PgModule, client: Client, rules: SessionRules, openedAtMs: number, serverVersion: number) {
    this.openedAtMs = openedAtMs;
    this.#commitsAtOnce = serverVersion >= COMMITS_AT_ONCE_SINCE;
    this.#pg = pg;
    this.client = client;
    this.wire = wireOf(client);
    this.rules = rules;
    this.Result = pg.Result;
    this.binary = 'binary' in client && client.binary === true;
    this.#socket = this.wire.stream;
    // Without a listener an error event would end the process (node-postgres #2762).
    client.on('error', (error) => this.#died(error));
    client.on('end', () => this.#died(new Error('The server closed the connection')));
  }

  get typeParsers(): TypeParsers {
    return this.client;
  }

  prepareValue(value: unknown): WireValue {
    return this.#pg.prepareValue(value);
  }

  get processID(): number {
    return backendKeyOf(this.client).processID;
  }

  get transactionStatus(): TransactionStatus {
    return this.client.getTransactionStatus();
  }

  /** Whether a lease may have left something in it. */
  get servedLease(): boolean {
    return this.#residue === 'lease';
  }

  /** Nobody has it, and nothing of the last borrower's is still under way. */
  get isIdle(): boolean {
    return this.borrower === undefined && !this.#settling;
  }

  /** Why statements of this lease are refused: it could not be bound to its tenant. */
  get bindingError(): Error | undefined {
    return this.#bindingError;
  }

  // ── From borrower to borrower ────────────────────────────────────────────────────────────────────────────────────

  /** A lease for `tenantId` begins. */
  lend(tenantId: string | undefined): void {
    // Not when the lease before ended: what it had sent by then was still to be refused.
    this.#pendingSetting = undefined;
    this.#bindingError = undefined;
    const isForeign = this.#residue === 'oneShot' && this.#servedTenant !== tenantId && !this.rules.trustOneShot;
    if (this.#residue === 'lease' || isForeign) {
      this.#owesReset = true;
      this.#owes = true;
    }
    this.#servedTenant = tenantId;
  }

  /** The lease is over. @returns a promise when the session isn't ready for the next one yet. */
  retire(): void | Promise<void> {
    const isReady = this.#outstanding === 0 && !this.#lacksReady && this.#fence === undefined;
    if (isReady && this.transactionStatus === 'I') return undefined;
    return this.#settle();
  }

  async #settle(): Promise<void> {
    this.#settling = true;
    try {
      await this.quiet();
      if (this.transactionStatus !== 'I') await this.reset();
    } finally {
      this.#settling = false;
    }
  }

  /** Resets it now, in a round trip of its own, and rolls back what is open. */
  reset(): Promise<void> {
    return new Promise((resolve, reject) => {
      const preamble = this.#takePreamble({
        rollback: this.transactionStatus !== 'I',
        discard: true,
        done: (error) => (error === undefined ? resolve() : reject(error)),
      });
      this.#enqueue(preamble);
    });
  }

  /** Resolves when everything sent has been answered to the end. */
  async quiet(): Promise<void> {
    if (this.#outstanding > 0) {
      await new Promise<void>((resolve) => {
        this.#quiet = resolve;
      });
      this.#quiet = undefined;
    }
    await new Promise<void>((resolve) => this.whenReady(resolve));
    this.#lacksReady = false;
  }

  /** Makes `setup` a part of the connection: it is repeated after each reset. */
  adoptSetup(setup: readonly SetupStatement[]): void {
    this.setup = setup;
    this.#residue = 'nothing';
  }

  /** Resets it while nobody has it. Whoever comes meanwhile waits for it. */
  resetIdle(): void {
    const over = (): void => {
      this.#resetting = undefined;
    };
    // It answers for its own failure: the session is destroyed then.
    this.#resetting = this.reset().then(over, over);
  }

  /** Resolves when the server answers. Changes nothing, whatever state the session is in. */
  ping(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#enqueue(new Ping(this, resolve, reject));
    });
  }

  // ── Statements ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs what is all there is to a lease. */
  runOneShot(statement: Statement): void {
    statement.session = this;
    if (this.#mayResetInPassing(statement)) {
      statement.resetsSession = true;
      this.#lastTurn = undefined;
      this.#enqueue(statement);
    } else {
      this.#send(statement);
    }
    if (this.#residue === 'nothing') this.#residue = 'oneShot';
  }

  /**
   * Whether the reset can go out as a part of `statement`, which saves an answer of the server's: DISCARD ALL commits at
   * once, and should it fail nothing behind it is executed. On servers that don't commit it at once a failing statement
   * would take it back.
   */
  #mayResetInPassing(statement: Statement): boolean {
    return (
      this.#owesReset &&
      this.#commitsAtOnce &&
      this.#held === undefined &&
      this.#pendingSetting === undefined &&
      this.setup.length === 0 &&
      // pg would take the answers to what goes ahead for those to the preparation of a named statement.
      statement.name === undefined &&
      !statement.isScript
    );
  }

  /** Writes the reset that `statement` takes along. */
  resetInPassing(): void {
    this.writer.command('DISCARD ALL');
    this.forgetStatements();
    this.rules.onReset();
    this.#residue = 'oneShot';
    this.#owesReset = false;
    this.#owes = false;
  }

  /** What took a reset along has failed. The reset itself has not, but another one is cheaper than the proof of it. */
  oweReset(): void {
    this.#owesReset = true;
    this.#owes = true;
  }

  /** Binds the session to `setting` ahead of the lease's first statement. */
  bind(setting: TenantSetting): void {
    this.#pendingSetting = setting;
    this.#owes = true;
  }

  /** Runs a statement of a lease. {@link finished} or {@link failed} must be called for it. */
  runInLease(query: Submittable): void {
    this.#outstanding++;
    if (query instanceof Statement) query.session = this;
    if (this.#resetting === undefined) this.#sendInLease(query);
    else void this.#resetting.then(() => this.#sendInLease(query));
  }

  #sendInLease(query: Submittable): void {
    this.#send(query);
    this.#residue = 'lease';
  }

  /** In the order of the calls; ahead of the first goes what is owed. */
  #send(query: Submittable): void {
    this.#lastTurn = undefined;
    if (this.#held === undefined && (this.#owes || this.lacksBindStatement(query))) {
      const preamble = this.#takePreamble({ discard: this.#owesReset, next: query });
      this.#held = [];
      this.client.query(preamble);
    } else {
      this.#enqueue(query);
    }
  }

  /**
   * Everything goes to pg through here. What is written behind a preamble is on the wire already, though pg doesn't know
   * of it until the preamble is over: until then nothing may get in between.
   */
  #enqueue(query: Submittable): void {
    if (this.#held === undefined) this.client.query(query);
    else this.#held.push(query);
  }

  /** The server is done with a preamble, for better or worse: on with what came behind it. */
  preambleOver(next: Submittable | undefined): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    if (next !== undefined) this.client.query(next);
    for (const query of held) this.client.query(query);
  }

  /** A query of the lease has reached ReadyForQuery. */
  finished(): void {
    this.#lacksReady = false;
    this.#answered();
  }

  /** A query of the lease has failed; ReadyForQuery is still to come. */
  failed(): void {
    this.#lacksReady = true;
    this.#answered();
  }

  #answered(): void {
    if (--this.#outstanding === 0) this.#quiet?.();
  }

  /** Calls `reached` when everything sent so far has been answered to the end, or the connection is gone. */
  whenReady(reached: () => void): void {
    if (this.#lastTurn?.join(reached) === true) return;
    const barrier = new Barrier(reached);
    this.#lastTurn = barrier;
    this.#enqueue(barrier);
  }

  /**
   * Cancels what is running. Nothing else runs before the cancel request has been dealt with: late, it would hit the
   * next statement.
   */
  interrupt(): void {
    if (this.#fence !== undefined) return;
    this.#fence = new CancelFence(this, () => {
      this.#fence = undefined;
    });
    this.#lastTurn = this.#fence;
    this.#enqueue(this.#fence);
  }

  #takePreamble(parts: Pick<PreambleParts, 'discard' | 'next' | 'done'> & { rollback?: boolean }): SessionPreamble {
    const preamble = new SessionPreamble(this, {
      ...parts,
      rollback: parts.rollback ?? false,
      mark: `pool_mark_${randomUUID()}`,
      setting: this.#pendingSetting,
    });
    // From here on the preamble answers for it: should it fail, the connection dies or the lease is refused.
    if (parts.discard) {
      // What is reset on its way back the engine counts itself.
      if (!this.#settling) this.rules.onReset();
      this.#residue = 'nothing';
      this.#owesReset = false;
    }
    this.#pendingSetting = undefined;
    this.#owes = false;
    return preamble;
  }

  // ── What the server knows ────────────────────────────────────────────────────────────────────────────────────────

  /** Whether `query` is bound by a prepared statement that the server hasn't got. */
  lacksBindStatement(query: Submittable | undefined): boolean {
    return this.#bindStatement === undefined && query instanceof Statement && query.binding !== undefined;
  }

  /** Writes its preparation, under a name that nobody could foresee: not even SQL of the borrower before can have used it. */
  prepareBinding(): void {
    this.#bindStatement = `pool_bind_${randomUUID()}`;
    this.writer.parse(this.#bindStatement, 'select pg_catalog.set_config($1, $2, true)');
  }

  /** The prepared statement that binds a transaction to a tenant. */
  get bindStatement(): string {
    // One that was never prepared: the server refuses it, and the statement is sent again.
    return this.#bindStatement ?? `pool_bind_${randomUUID()}`;
  }

  /** The server drops every prepared statement: pg has to parse each again. */
  forgetStatements(): void {
    this.wire.parsedStatements = {};
    this.#bindStatement = undefined;
  }

  /** The lease could not be bound to its tenant: nothing may run in it. */
  bindingFailed(error: Error): void {
    this.#bindingError = error;
    this.#residue = 'lease';
  }

  // ── The socket ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends what has been written, in one piece. */
  flush(): void {
    const batch = this.writer.take();
    if (this.#socket.writable) this.#socket.write(batch);
  }

  onBroken(listener: (error: Error) => void): void {
    this.#brokenListener = listener;
    if (this.#broken !== undefined) listener(this.#broken);
  }

  #died(error: Error): void {
    if (this.#broken !== undefined) return;
    this.#broken = error;
    if (!this.#ending) this.#brokenListener?.(error);
  }

  /** Whether the open connection alone keeps the process alive. */
  ref(): void {
    if (this.#socket instanceof Socket) this.#socket.ref();
  }

  unref(): void {
    if (this.#socket instanceof Socket) this.#socket.unref();
  }

  /** Ends the session politely. */
  async end(): Promise<void> {
    this.#ending = true;
    this.ref();
    await this.client.end();
  }

  /** Ends it now. @param reason given when the session has condemned itself. */
  kill(reason?: Error): void {
    if (reason === undefined) this.#ending = true;
    else this.#died(reason);
    this.#socket.destroy();
  }
}
