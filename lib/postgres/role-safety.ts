/**
 * Looks whether row security binds the database user at all.
 *
 * Superusers, roles with BYPASSRLS and the owners of tables without FORCE see every row whatever the policies say: a
 * pool that isolates tenants by row security must not work as one of them.
 */
import { UnsafeRoleError } from '../errors.js';
import type { LeasedClient } from './leased-client.js';
import { quoteIdentifier } from './isolation.js';

const TABLES_NAMED = 20;

const ROLE =
  'select current_user::text as name, rolsuper as super, rolbypassrls as bypass from pg_catalog.pg_roles where rolname = current_user';

const OWN_TABLES = `
  select c.oid::pg_catalog.regclass::text as name
  from pg_catalog.pg_class c
  where c.relrowsecurity and not c.relforcerowsecurity and pg_catalog.pg_has_role(current_user, c.relowner, 'USAGE')
  order by 1 limit ${TABLES_NAMED}`;

/** @returns what is wrong with the user, or undefined. */
export async function findUnsafeRole(poolId: string, client: LeasedClient): Promise<UnsafeRoleError | undefined> {
  const [role] = (await client.query<{ name: string; super: boolean; bypass: boolean }>(ROLE)).rows;
  if (role === undefined) return undefined;
  if (role.super || role.bypass) {
    const power = role.super ? 'is a superuser' : 'has BYPASSRLS';
    return new UnsafeRoleError(
      poolId,
      `its user "${role.name}" ${power}, so that no policy binds it`,
      `ALTER ROLE ${quoteIdentifier(role.name)} NOSUPERUSER NOBYPASSRLS;`,
    );
  }
  const tables = (await client.query<{ name: string }>(OWN_TABLES)).rows;
  if (tables.length === 0) return undefined;
  return new UnsafeRoleError(
    poolId,
    `its user "${role.name}" owns tables whose row security isn't forced, so that their policies don't bind it (${tables.map(({ name }) => name).join(', ')})`,
    tables.map(({ name }) => `ALTER TABLE ${name} FORCE ROW LEVEL SECURITY;`).join('\n'),
  );
}

/** What is known about the database user of a pool. */
export class RoleSafety {
  /** Rejects as soon as a connection finds the user unsafe. */
  readonly refused: Promise<never>;
  #refuse: (error: UnsafeRoleError) => void = () => {};
  #error: UnsafeRoleError | undefined = undefined;
  #warned = false;

  constructor() {
    this.refused = new Promise((_, reject) => {
      this.#refuse = reject;
    });
    // Nobody may be waiting for the start.
    this.refused.catch(() => {});
  }

  /** Why the pool lends nothing, at the last look. */
  get error(): UnsafeRoleError | undefined {
    return this.#error;
  }

  /** A new connection has looked. @throws UnsafeRoleError, so that the connection is not used. */
  found(error: UnsafeRoleError | undefined): void {
    this.#error = error;
    if (error === undefined) return;
    this.#refuse(error);
    throw error;
  }

  /** @returns true the first time. */
  warnOnce(): boolean {
    const first = !this.#warned;
    this.#warned = true;
    return first;
  }
}
