/**
 * What goes over one connection, as the rest of the kind speaks of it: queries, commands, prepared statements. Which
 * messages of the protocol they are is known in this folder alone.
 *
 * What is written is gathered until {@link Wire.send}, and goes out in one piece. Everything up to a Sync is one
 * implicit transaction, of which the server executes nothing behind what has failed.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

import type { Client, TransactionStatus } from 'pg';

import { MessageWriter } from './message-writer.js';
import {
  backendKeyOf,
  type PgModule,
  type ResultConstructor,
  type TypeParsers,
  type WireConnection,
  wireOf,
  type WireValue,
} from './pg-module.js';

const NO_VALUES: readonly WireValue[] = [];

export class Wire {
  readonly client: Client;
  readonly Result: ResultConstructor;
  /** Results come in binary, unless a query says otherwise. */
  readonly binary: boolean;
  readonly #pg: PgModule;
  readonly #connection: WireConnection;
  readonly #socket: Duplex;
  readonly #writer = new MessageWriter();

  /**
   * @param client has connected just now.
   * @throws Error when this version of pg lacks what is needed.
   */
  constructor(pg: PgModule, client: Client) {
    this.client = client;
    this.Result = pg.Result;
    this.binary = 'binary' in client && client.binary === true;
    this.#pg = pg;
    this.#connection = wireOf(client);
    this.#socket = this.#connection.stream;
    this.forgetStatements();
  }

  get typeParsers(): TypeParsers {
    return this.client;
  }

  get transactionStatus(): TransactionStatus {
    return this.client.getTransactionStatus();
  }

  /** Of the server's process; undefined when the server has not told (poolers in front of it may not). */
  get processID(): number | undefined {
    return backendKeyOf(this.client)?.processID;
  }

  /** Whether the server has told what a cancel request must show. */
  get canCancel(): boolean {
    return backendKeyOf(this.client) !== undefined;
  }

  /** A value of a caller's as it goes over the wire; throws when it can't. */
  prepareValue(value: unknown): WireValue {
    return this.#pg.prepareValue(value);
  }

  // ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** `text` by the simple protocol: it may hold several statements. */
  query(text: string): void {
    this.#writer.query(text);
  }

  /** One statement by the extended protocol, its result described; parsed unless the server knows it by `name`. */
  execute(
    name: string | undefined,
    text: string | undefined,
    values: readonly WireValue[],
    binaryResults: boolean,
  ): void {
    const writer = this.#writer;
    const known = name ?? '';
    if (name === undefined || this.preparedText(name) === undefined) writer.parse(known, text ?? '');
    writer.bind(known, values, binaryResults || this.binary);
    writer.describePortal();
    writer.execute();
    writer.sync();
  }

  /** A whole statement, its result undescribed; no Sync behind it. */
  command(text: string, values: readonly WireValue[] = NO_VALUES): void {
    this.#writer.command(text, values);
  }

  /** Prepares `text` as statement `name`; no Sync behind it. */
  prepare(name: string, text: string): void {
    this.#writer.parse(name, text);
  }

  /** Runs statement `name`, its result undescribed; no Sync behind it. */
  executePrepared(name: string, values: readonly WireValue[]): void {
    this.#writer.bind(name, values, false);
    this.#writer.execute();
  }

  /** Fails, and everything behind it up to Sync with it, unless statement `name` has been prepared; drops it. */
  guard(name: string): void {
    this.#writer.guard(name);
  }

  /** The server answers ReadyForQuery. @param drops the name of a prepared statement to drop ahead of it. */
  sync(drops?: string): void {
    if (drops !== undefined) this.#writer.closeStatement(drops);
    this.#writer.sync();
  }

  /**
   * Refuses to send the rows that a COPY … FROM STDIN asks for.
   *
   * @param isExtended whether the COPY came by the extended protocol: it has swallowed the Sync sent with it.
   */
  refuseCopy(reason: string, isExtended: boolean): void {
    this.#writer.copyFail(reason);
    if (isExtended) this.#writer.sync();
  }

  /** How much has been written; {@link rewind} takes back what comes behind it. */
  get length(): number {
    return this.#writer.length;
  }

  /** Takes back everything behind `length`: a message that could not be written to its end must not be sent. */
  rewind(length: number): void {
    this.#writer.rewind(length);
  }

  /** Whether the network takes less than is sent: what has been written waits in this process. */
  get isCongested(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Sends what has been written, in one piece. */
  send(): void {
    const batch = this.#writer.take();
    if (this.#socket.writable) this.#socket.write(batch);
  }

  // ── Prepared statements of callers ───────────────────────────────────────────────────────────────────────────────

  /** The text that the server knows by `name`. */
  preparedText(name: string): string | undefined {
    return this.#connection.parsedStatements[name];
  }

  /** The server drops the statement: it has to be parsed again. */
  forgetStatement(name: string): void {
    Reflect.deleteProperty(this.#connection.parsedStatements, name);
  }

  /** The server drops every prepared statement: each has to be parsed again. */
  forgetStatements(): void {
    // Without a prototype: a caller may call a statement "constructor".
    this.#connection.parsedStatements = Object.create(null) as Record<string, string>;
  }

  // ── The socket ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whether pg reads what the server sends. A COPY stream takes the socket over, and may never give it back. */
  get isRead(): boolean {
    return this.#socket.listenerCount('data') > 0;
  }

  /** Whether the open connection alone keeps the process alive. */
  ref(): void {
    if (this.#socket instanceof Socket) this.#socket.ref();
  }

  unref(): void {
    if (this.#socket instanceof Socket) this.#socket.unref();
  }

  destroy(): void {
    this.#socket.destroy();
  }
}
