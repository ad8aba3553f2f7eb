/**
 * What "as this tenant" means to the server.
 *
 * Every mode comes down to one setting: the policy's own (`rls`), `role`, or `search_path`. Set locally it lasts for
 * one transaction, and a one-shot query is one; set for the session it lasts for one lease and goes with the reset that
 * follows it. Names of tenants only ever travel as parameters of `set_config`, never as part of a statement's text.
 */
import { createHash } from 'node:crypto';

import { TenantInvalidError } from '../errors.js';
import { MAX_NAME_BYTES, roleProblem, schemaProblem } from './special-names.js';

/** One setting that makes a session, or a transaction, a tenant's. */
export interface TenantSetting {
  readonly name: string;
  readonly value: string;
}

/** How the tenants of one pool are kept apart. */
export interface TenantIsolation {
  readonly mode: 'rls' | 'role' | 'schema' | 'none';
  /** What binds work to `tenantId`; undefined in mode `none`, and for work that has no tenant. */
  settingFor(tenantId: string | undefined): TenantSetting | undefined;
  /** The name under which the server knows a caller's named statement while it serves `tenantId`. */
  statementName(name: string, tenantId: string | undefined): string;
}

export type IsolationOptions =
  | { readonly mode: 'rls'; readonly setting: string }
  | { readonly mode: 'role'; readonly role: (tenantId: string) => string }
  | { readonly mode: 'schema'; readonly schema: (tenantId: string) => string | readonly string[] }
  | { readonly mode: 'none' };

/** @param poolUser the user that the pool connects as. */
export function isolationOf(options: IsolationOptions, poolUser?: string): TenantIsolation {
  switch (options.mode) {
    case 'rls': {
      const { setting } = options;
      return {
        mode: 'rls',
        settingFor: (tenantId) => (tenantId === undefined ? undefined : { name: setting, value: tenantId }),
        statementName: uncutName,
      };
    }
    case 'role': {
      const roleOf = (tenantId: string): string => {
        const role = options.role(tenantId);
        return literal('role', role, tenantId, roleProblem(role, poolUser));
      };
      return {
        mode: 'role',
        settingFor: (tenantId) => (tenantId === undefined ? undefined : { name: 'role', value: roleOf(tenantId) }),
        statementName: (name, tenantId) =>
          tenantId === undefined ? uncutName(name) : nameApart(name, roleOf(tenantId)),
      };
    }
    case 'schema': {
      const { schema } = options;
      const pathOf = (tenantId: string): string => {
        const schemas = schema(tenantId);
        const names: readonly unknown[] = Array.isArray(schemas) ? schemas : [schemas];
        // An empty path would find nothing but the server's own.
        if (names.length === 0) return literal('schema', '', tenantId, schemaProblem(''));
        return searchPath(names.map((name) => literal('schema', name, tenantId, schemaProblem(name))));
      };
      return {
        mode: 'schema',
        settingFor: (tenantId) =>
          tenantId === undefined ? undefined : { name: 'search_path', value: pathOf(tenantId) },
        statementName: (name, tenantId) =>
          tenantId === undefined ? uncutName(name) : nameApart(name, pathOf(tenantId)),
      };
    }
    case 'none':
      return { mode: 'none', settingFor: () => undefined, statementName: uncutName };
  }
}

/** The value of `search_path` for schemas of any name. */
export function searchPath(schemas: string | readonly string[]): string {
  const names = typeof schemas === 'string' ? [schemas] : schemas;
  return names.map(quoteIdentifier).join(', ');
}

/**
 * The statement that makes a setting the session's, or undefined where only a parameter will do.
 *
 * SET takes a quoted identifier for a value, and costs the server a quarter of a `select set_config(…)`; identifiers
 * are cut, though, where parameters are not.
 */
export function sessionAssignment({ name, value }: TenantSetting): string | undefined {
  // Its value is a list of quoted identifiers already.
  if (name === 'search_path') return `SET search_path TO ${value}`;
  if (Buffer.byteLength(value) > MAX_NAME_BYTES) return undefined;
  return `SET ${name.split('.').map(quoteIdentifier).join('.')} TO ${quoteIdentifier(value)}`;
}

/**
 * Makes a setting hold for a transaction. Its parameters: the name, the value.
 *
 * `set_config` returns the new value, which is never null, so that there is no row: neither the server nor pg spends
 * time on one.
 */
export const SET_LOCALLY = 'select where pg_catalog.set_config($1, $2, true) is null';
/** Makes a setting hold for the session. */
export const SET_FOR_SESSION = 'select where pg_catalog.set_config($1, $2, false) is null';

/** An identifier as SQL spells it, with any characters in it. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** @throws TenantInvalidError when there is a `problem` with the name that the pool's owner gave the tenant. */
function literal(kind: 'role' | 'schema', name: unknown, tenantId: string, problem: string | undefined): string {
  if (problem === undefined && typeof name === 'string') return name;
  throw new TenantInvalidError(`The ${kind} of tenant "${tenantId}" ${problem ?? 'is no text'}`, { tenantId });
}

const DIGEST_CHARACTERS = 20;
/** The longest that a character of JavaScript's gets in UTF-8. */
const BYTES_PER_CHARACTER = 3;

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, DIGEST_CHARACTERS);
}

/** A name that the server would cut, and so could take for another's, is replaced by one of its own. */
function uncutName(name: string): string {
  const fits = name.length * BYTES_PER_CHARACTER <= MAX_NAME_BYTES || Buffer.byteLength(name) <= MAX_NAME_BYTES;
  return fits ? name : `pool_statement_${digest(name)}`;
}

/**
 * A plan made as one role, or with one search path, must not be run as another (CVE-2023-2455), so the same name means
 * another statement for each. Names that would be cut are replaced by their digest as a whole.
 */
function nameApart(name: string, owner: string): string {
  const apart = `${name}@${digest(owner)}`;
  return Buffer.byteLength(apart) <= MAX_NAME_BYTES ? apart : `${digest(name)}@${digest(owner)}`;
}
