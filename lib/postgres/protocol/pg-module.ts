/**
 * Loads the optional package `pg` when the first PostgreSQL pool is created.
 *
 * The library uses some members of `pg` that its types and its documentation don't describe. This file declares all of
 * them, and checks at run time that they exist. If a version of `pg` has changed one, creating the pool fails with an
 * error that names it; without the check, a query would fail later.
 */
import type { Duplex } from 'node:stream';

import type { Client, ClientConfig, Connection, FieldDef, QueryResult, Submittable } from 'pg';

import { MissingDriverError } from '../../errors.js';

/**
 * Turns PostgreSQL's text or binary form of a type into a JavaScript value. Taken from a method, so that a parser of
 * one of the two forms is one, too: which form it gets is decided by the format it is registered for.
 */
export type TypeParser = { parse(value: string | Buffer): unknown }['parse'];

/** Where the parsers of a result's columns come from. */
export interface TypeParsers {
  getTypeParser(oid: number, format?: string): TypeParser;
}

/** pg's `Result` while it is being filled. */
export interface ResultBuilder extends QueryResult {
  /** What it is built with; of no use once it is complete. */
  _types: TypeParsers | undefined;
  _parsers: unknown;
  addFields(fields: readonly FieldDef[]): void;
  parseRow(fields: readonly (string | Buffer | null)[]): unknown;
  addRow(row: unknown): void;
  addCommandComplete(message: { readonly text: string }): void;
}

export type ResultConstructor = new (rowMode: string | undefined, types: TypeParsers | undefined) => ResultBuilder;

/** A parameter as it goes over the wire. */
export type WireValue = string | Buffer | null | undefined;

/** How pg answers a call that was given a function. */
export type QueryCallback = (error: Error | null | undefined, result?: unknown) => void;

/** What the kind uses of the package `pg`. */
export interface PgModule {
  readonly Client: new (config?: ClientConfig) => Client;
  readonly Result: ResultConstructor;
  /** Turns a JavaScript value into a parameter; throws when it can't. */
  prepareValue(value: unknown): WireValue;
  /** The whole module, for those who expect one (`asPgModule`). */
  readonly exports: object;
}

/** The live connection below a client: the socket, and which named statements the server has been told. */
export interface WireConnection {
  readonly stream: Duplex;
  /** Name → text of the statements that the server knows. Ours to replace when the server forgets them all. */
  parsedStatements: Record<string, string>;
}

/** A message of the server as pg's client hands it on. */
export interface RowDescriptionMessage {
  readonly fields: readonly FieldDef[];
}
export interface DataRowMessage {
  readonly fields: readonly (string | Buffer | null)[];
}
export interface ParameterStatusMessage {
  readonly parameterName: string;
  readonly parameterValue: string;
}
export interface CommandCompleteMessage {
  readonly text: string;
}

/** Everything that pg's client may call on what is being executed. */
export interface ActiveQuery extends Submittable {
  handleRowDescription(message: RowDescriptionMessage): void;
  handleDataRow(message: DataRowMessage): void;
  handleCommandComplete(message: CommandCompleteMessage, connection: Connection): void;
  handleEmptyQuery(connection: Connection): void;
  handlePortalSuspended(connection: Connection): void;
  handleCopyInResponse(connection: Connection): void;
  handleCopyData(message: unknown, connection: Connection): void;
  handleReadyForQuery(connection: Connection): void;
  /** Without a connection when it never got as far. */
  handleError(error: Error, connection?: Connection): void;
}

/**
 * @throws MissingDriverError when the package is absent.
 * @throws Error when its version lacks what we need.
 */
export async function loadPg(poolId: string): Promise<PgModule> {
  let loaded: object;
  try {
    const imported = await import('pg');
    // Without a default where a Jest compiles this to CommonJS, and the application has no esModuleInterop.
    loaded = 'default' in imported ? imported.default : imported;
  } catch (error) {
    throw new MissingDriverError(poolId, 'pg', error);
  }
  return pgModuleOf(loaded);
}

/** Narrows the module to the parts in use. */
export function pgModuleOf(loaded: object): PgModule {
  if (!hasClient(loaded) || !hasResult(loaded) || !hasPrepareValue(loaded)) throw unsupported();
  const { Client, Result, utils } = loaded;
  return { Client, Result, prepareValue: (value) => utils.prepareValue(value), exports: loaded };
}

/** Narrows the connection of a client that has just connected. */
export function wireOf(client: Client): WireConnection {
  const connection: unknown = client.connection;
  if (!isWire(connection) || typeof client.getTransactionStatus !== 'function') throw unsupported();
  return connection;
}

/** What a cancel request must show to be obeyed. */
export interface BackendKey {
  readonly processID: number;
  readonly secretKey: number;
}

/** @returns undefined when the server has told none, which the protocol allows. */
export function backendKeyOf(client: Client): BackendKey | undefined {
  return hasBackendKey(client) ? client : undefined;
}

function hasBackendKey(client: object): client is BackendKey {
  return (
    'processID' in client &&
    typeof client.processID === 'number' &&
    'secretKey' in client &&
    typeof client.secretKey === 'number'
  );
}

function unsupported(): Error {
  return new Error(
    'This version of the package "pg" lacks what PostgreSQL pools need (its JavaScript client, version 8.21 or later). ' +
      'Install a current "pg", and leave NODE_PG_FORCE_NATIVE unset.',
  );
}

function hasClient(module: object): module is { Client: PgModule['Client'] } {
  return 'Client' in module && typeof module.Client === 'function';
}

function hasResult(module: object): module is { Result: ResultConstructor } {
  if (!('Result' in module) || typeof module.Result !== 'function') return false;
  const prototype: unknown = module.Result.prototype;
  return (
    typeof prototype === 'object' && prototype !== null && 'addFields' in prototype && 'addCommandComplete' in prototype
  );
}

function hasPrepareValue(module: object): module is { utils: { prepareValue(value: unknown): WireValue } } {
  if (!('utils' in module)) return false;
  const utils: unknown = module.utils;
  return (
    typeof utils === 'object' && utils !== null && 'prepareValue' in utils && typeof utils.prepareValue === 'function'
  );
}

function isWire(connection: unknown): connection is WireConnection {
  return (
    typeof connection === 'object' && connection !== null && 'stream' in connection && 'parsedStatements' in connection
  );
}
