/**
 * Which pools a manager has, by id.
 *
 * Promise: an id is taken in the same step in which it is found free, so of two creations that race exactly one wins;
 * it is free again when a creation fails or its pool has closed. A declared pool is built at most once, and only when
 * it is asked for.
 */
import { PoolExistsError, PoolNotFoundError } from '../errors.js';
import type { PoolHandle } from '../pool/pool-handle.js';

type Entry =
  /** Named in the options, and not asked for yet. */
  | { readonly state: 'declared'; readonly create: () => Promise<PoolHandle> }
  | { readonly state: 'creating'; readonly pool: Promise<PoolHandle> }
  | { readonly state: 'present'; readonly pool: PoolHandle }
  /** A test put something else in its place, which is not ours to open, watch or close. */
  | { readonly state: 'replaced'; readonly pool: PoolHandle };

export class PoolTable {
  readonly #entries = new Map<string, Entry>();

  /** Takes an id for a pool that is built when it is first asked for. */
  declare(id: string, create: () => Promise<PoolHandle>): void {
    this.#entries.set(id, { state: 'declared', create });
  }

  /**
   * Creates a pool under an id that is free.
   *
   * @throws {PoolExistsError} when the id is taken, be it by a pool that is still being created.
   */
  async add<P extends PoolHandle>(id: string, create: () => Promise<P>): Promise<P> {
    const taken = this.#entries.get(id);
    if (taken !== undefined && !(taken.state === 'present' && taken.pool.status === 'closed'))
      throw new PoolExistsError(id);
    return this.#create(id, create);
  }

  /**
   * The pool of that id; a declared one is built if it wasn't yet.
   *
   * @throws {PoolNotFoundError}
   */
  build(id: string): Promise<PoolHandle> {
    const entry = this.#entries.get(id);
    switch (entry?.state) {
      case 'declared':
        return this.#create(id, entry.create);
      case 'creating':
        return entry.pool;
      case 'present':
      case 'replaced':
        return Promise.resolve(entry.pool);
      case undefined:
        return Promise.reject(new PoolNotFoundError(id, this.#ids()));
    }
  }

  /** Builds the declared pools that have not been asked for. When one fails, the others have settled by then. */
  async buildAll(): Promise<void> {
    const outcomes = await Promise.allSettled([...this.#entries.keys()].map((id) => this.build(id)));
    const failure = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
  }

  /** Whether the pool is declared and still unbuilt. */
  isUnbuilt(id: string): boolean {
    return this.#entries.get(id)?.state === 'declared';
  }

  /** Puts a test's own object where a declared pool would have been. */
  replace(id: string, pool: PoolHandle): void {
    this.#entries.set(id, { state: 'replaced', pool });
  }

  /**
   * The pool of that id.
   *
   * @throws {PoolNotFoundError} also while it is still being created.
   */
  get(id: string): PoolHandle {
    const entry = this.#entries.get(id);
    if (entry?.state === 'present' || entry?.state === 'replaced') return entry.pool;
    throw new PoolNotFoundError(id, this.#ids(), entry === undefined ? 'unknown' : 'unbuilt');
  }

  /** The pools that this manager opens, watches and closes. */
  pools(): readonly PoolHandle[] {
    return [...this.#entries.values()].flatMap((entry) => (entry.state === 'present' ? [entry.pool] : []));
  }

  /** Frees the id, if `pool` still has it. */
  remove(pool: PoolHandle): void {
    const entry = this.#entries.get(pool.id);
    if (entry?.state === 'present' && entry.pool === pool) this.#entries.delete(pool.id);
  }

  #ids(): readonly string[] {
    return [...this.#entries.keys()];
  }

  #create<P extends PoolHandle>(id: string, create: () => Promise<P>): Promise<P> {
    const pool = create().then(
      (created) => {
        this.#entries.set(id, { state: 'present', pool: created });
        return created;
      },
      (error: unknown) => {
        this.#entries.delete(id);
        throw error;
      },
    );
    this.#entries.set(id, { state: 'creating', pool });
    return pool;
  }
}
