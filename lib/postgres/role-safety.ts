/**
 * Looks whether row security binds the database user at all, and keeps the pool from serving tenants while it doesn't.
 *
 * Superusers, roles with BYPASSRLS and the owners of tables without FORCE see every row in spite of the policies: a
 * pool that isolates tenants by row security must not work as one of them.
 *
 * The verdict belongs to a moment: a migration may be between two of its steps, a table may be created later, a role
 * may be given a power while the pool runs. Promise: every new connection looks, a pool in use looks again every half
 * minute, and one that was found unsafe looks again, with growing pauses, until it is mended; meanwhile it serves no
 * tenant, on no way in, and says why.
 */
import type { Lease } from '../engine/lease.js';
import { runOutside } from '../engine/outside-context.js';
import { requestWithin } from '../engine/scoped-request.js';
import type { Clock } from '../engine/time/clock.js';
import { toError } from '../engine/to-error.js';
import { UnsafeRoleError } from '../errors.js';
import type { PoolCore } from '../pool/pool-core.js';
import type { PoolLogger } from '../pool/pool-log.js';
import { quoteIdentifier } from './isolation.js';
import type { LeasedClient } from './session/leased-client.js';
import { type WaitingCall, WaitingCalls } from './waiting-calls.js';

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

/** A pool in use looks again after this time. */
const LOOK_AGAIN_MS = 30_000;
/** First pause after an unsafe verdict; doubled by each further one. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** How long a look may wait for a connection. */
const LOOK_WITHIN_MS = 10_000;

export interface RoleSafetyDependencies {
  readonly poolId: string;
  readonly clock: Clock;
  readonly logger: PoolLogger;
  /**
   * `refuse`: an unsafe pool serves no tenant; `warn`: it only says so; `ignore`: the application does not rely on row
   * security.
   */
  readonly policy: 'refuse' | 'warn' | 'ignore';
}

/** The pool whose user it is: the engine gives connections for looks, the monitor is told of an unsafe user. */
export type WatchedPool = Pick<PoolCore<LeasedClient>, 'engine' | 'monitor'>;

export class RoleSafety {
  readonly #dependencies: RoleSafetyDependencies;
  #pool: WatchedPool | undefined = undefined;
  /** Whether calls have to be kept from an unsafe pool. */
  readonly isEnforced: boolean;
  /** Those that are told at once, and not only when their wait is over. */
  readonly waiting = new WaitingCalls();
  #error: UnsafeRoleError | undefined = undefined;
  #warned = false;
  /** Looks that have begun, and the youngest of those that have ended: an older one knows less. */
  #begun = 0;
  #latest = 0;
  #lookedAtMs = -Infinity;
  #looking = false;
  #pauses = 0;

  constructor(dependencies: RoleSafetyDependencies) {
    this.#dependencies = dependencies;
    this.isEnforced = dependencies.policy === 'refuse';
  }

  /** Whose user it looks at from now on. Called before the first connection opens. */
  attach(pool: WatchedPool): void {
    this.#pool = pool;
  }

  /** Why the pool serves no tenant, at the last look. */
  get error(): UnsafeRoleError | undefined {
    return this.#error;
  }

  /** The pool is used: a verdict that is too old is renewed. */
  used(nowMs: number): void {
    if (nowMs - this.#lookedAtMs < LOOK_AGAIN_MS || this.#looking || this.#begun === 0) return;
    runOutside(() => void this.#look());
  }

  /**
   * Waits for `work`, and fails with UnsafeRoleError as soon as the user is found unsafe.
   *
   * @param undo is called with a result that comes in spite of that.
   */
  unlessUnsafe<T>(work: Promise<T>, undo: (result: T) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting: WaitingCall = {
        isListed: false,
        previousListed: undefined,
        nextListed: undefined,
        unsafe: reject,
      };
      this.waiting.add(waiting);
      work.then(
        (result) => {
          if (this.waiting.delete(waiting)) return resolve(result);
          undo(result);
        },
        (error: unknown) => {
          this.waiting.delete(waiting);
          reject(toError(this.#error ?? error));
        },
      );
    });
  }

  /** Looks over a connection that is not in use yet. @throws UnsafeRoleError when it must not be. */
  async inspect(client: LeasedClient): Promise<void> {
    const { policy, poolId, logger } = this.#dependencies;
    if (policy === 'ignore') return;
    const look = ++this.#begun;
    const unsafe = await findUnsafeRole(poolId, client);
    if (policy === 'refuse') {
      this.#found(look, unsafe);
      if (unsafe !== undefined) throw unsafe;
    } else if (unsafe !== undefined && !this.#warned) {
      this.#warned = true;
      logger.warn(unsafe.message, { poolId });
    }
  }

  #found(look: number, unsafe: UnsafeRoleError | undefined): void {
    if (look < this.#latest) return;
    this.#latest = look;
    this.#lookedAtMs = this.#dependencies.clock.now();
    const before = this.#error;
    this.#error = unsafe;
    if (before?.message !== unsafe?.message) this.#report(unsafe);
    if (unsafe === undefined) {
      this.#pauses = 0;
      return;
    }
    if (!this.#looking) this.#lookLater();
    for (const call of this.waiting.takeAll()) call.unsafe(unsafe);
  }

  /** The user was found unsafe, or for another reason than before; undefined: it is safe again. */
  #report(unsafe: UnsafeRoleError | undefined): void {
    const { poolId, logger } = this.#dependencies;
    const monitor = this.#pool?.monitor;
    monitor?.obstructed(unsafe);
    if (unsafe !== undefined) return logger.error(unsafe.message, { poolId });
    logger.log(`Pool "${poolId}": row security binds its user again; it serves its tenants`, { poolId });
    // The connects that were refused meanwhile say nothing against it any more.
    void monitor?.check();
  }

  /** One look at a time, and one pause. */
  #lookLater(): void {
    this.#looking = true;
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#pauses++);
    runOutside(() => this.#dependencies.clock.setTimer(() => void this.#look(), pauseMs));
  }

  /** By a connection that is open, or by opening one, which looks by itself. */
  async #look(): Promise<void> {
    const engine = this.#pool?.engine;
    if (engine === undefined || !isOpen(engine)) return;
    this.#looking = true;
    // Until the next half minute is over, should this one come to nothing.
    this.#lookedAtMs = this.#dependencies.clock.now();
    try {
      // Past the pool's own refusal of its user.
      const lease = await new Promise<Lease<LeasedClient>>((granted, refused) => {
        requestWithin(engine, undefined, 'left', { granted, refused }, undefined, { timeoutMs: LOOK_WITHIN_MS });
      });
      let failure: unknown;
      try {
        await this.inspect(lease.connection);
      } catch (error) {
        failure = error;
      } finally {
        if (!lease.released) lease.release(failure instanceof UnsafeRoleError ? undefined : failure);
      }
    } catch {
      // No connection could be had: the pool tells of that itself.
    }
    this.#looking = false;
    if (this.#error !== undefined && isOpen(engine)) this.#lookLater();
  }
}

/** Whether there is anything left to look at. */
function isOpen({ lifecycle }: WatchedPool['engine']): boolean {
  return lifecycle === 'open' || lifecycle === 'cold';
}
