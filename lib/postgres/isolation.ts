/**
 * What "as this tenant" means to the server.
 *
 * Every mode comes down to one setting: the policy's own (`rls`), `role`, or `search_path`. Set locally it lasts for one
 * transaction, and a one-shot query is one; set for the session it lasts for one lease and goes with the reset that
 * follows it. Names of tenants only ever travel as parameters of `set_config`, never as part of a statement's text.
 */
import { createHash } from 'node:crypto';

import { TenantInvalidError } from '../errors.js';

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

export function isolationOf(options: IsolationOptions): TenantIsolation {
  switch (options.mode) {
    case 'rls': {
      const { setting } = options;
      return {
        mode: 'rls',
        settingFor: (tenantId) => (tenantId === undefined ? undefined : { name: setting, value: tenantId }),
        statementName: unchanged,
      };
    }
    case 'role': {
      const { role } = options;
      return {
        mode: 'role',
        settingFor: (tenantId) =>
          tenantId === undefined ? undefined : { name: 'role', value: realRole(role(tenantId), tenantId) },
        statementName: (name, tenantId) => (tenantId === undefined ? name : nameApart(name, role(tenantId))),
      };
    }
    case 'schema': {
      const { schema } = options;
      const pathOf = (tenantId: string): string => {
        const schemas = schema(tenantId);
        return searchPath((typeof schemas === 'string' ? [schemas] : schemas).map((name) => uncut(name, tenantId)));
      };
      return {
        mode: 'schema',
        settingFor: (tenantId) =>
          tenantId === undefined ? undefined : { name: 'search_path', value: pathOf(tenantId) },
        statementName: (name, tenantId) => (tenantId === undefined ? name : nameApart(name, pathOf(tenantId))),
      };
    }
    case 'none':
      return { mode: 'none', settingFor: () => undefined, statementName: unchanged };
  }
}

function unchanged(name: string): string {
  return name;
}

/** The value of `search_path` for schemas of any name. */
export function searchPath(schemas: string | readonly string[]): string {
  const names = typeof schemas === 'string' ? [schemas] : schemas;
  return names.map(quoteIdentifier).join(', ');
}

/**
 * The statement that makes a setting the session's, or undefined where only a parameter will do.
 *
 * SET takes a quoted identifier for a value, and costs the server a quarter of a `select set_config(…)`; identifiers are
 * cut, though, where parameters are not.
 */
export function sessionAssignment({ name, value }: TenantSetting): string | undefined {
  // Its value is a list of quoted identifiers already.
  if (name === 'search_path') return `SET search_path TO ${value}`;
  if (Buffer.byteLength(value) > MAX_NAME_BYTES) return undefined;
  return `SET ${name.split('.').map(quoteIdentifier).join('.')} TO ${quoteIdentifier(value)}`;
}

/** An identifier as SQL spells it, whatever it contains. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** PostgreSQL cuts names off after this many bytes, statements' names too. */
const MAX_NAME_BYTES = 63;
/** A word that stands for no role at all: as such a tenant would be whoever the pool is. */
const NO_ROLE = 'none';

function realRole(role: string, tenantId: string): string {
  if (role !== NO_ROLE) return uncut(role, tenantId);
  throw new TenantInvalidError(
    `The role of tenant "${tenantId}" is called "none", which PostgreSQL takes for no role`,
    { tenantId },
  );
}

/** @throws TenantInvalidError when the server would cut the name, and might take one tenant for another. */
function uncut(name: string, tenantId: string): string {
  const bytes = Buffer.byteLength(name);
  const hasEnd = name.includes('\0');
  if (bytes > 0 && bytes <= MAX_NAME_BYTES && !hasEnd) return name;
  const fault = hasEnd
    ? 'has a NUL in it, where PostgreSQL would end it'
    : bytes === 0
      ? 'is empty'
      : `has ${bytes} bytes, and PostgreSQL cuts names off after ${MAX_NAME_BYTES}`;
  throw new TenantInvalidError(`The role or schema of tenant "${tenantId}" ${fault}: it could be taken for another's`, {
    tenantId,
  });
}
const DIGEST_CHARACTERS = 20;

/**
 * A plan made as one role, or with one search path, must not be run as another (CVE-2023-2455), so the same name means
 * another statement for each. Names that would be cut are replaced by their digest as a whole.
 */
function nameApart(name: string, owner: string): string {
  const digest = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, DIGEST_CHARACTERS);
  const apart = `${name}@${digest(owner)}`;
  return Buffer.byteLength(apart) <= MAX_NAME_BYTES ? apart : `${digest(name)}@${digest(owner)}`;
}
