/**
 * What each of a pool's busiest tenants did, for metrics; invented ids can't raise the number of time series.
 *
 * The `top` busiest tenants are shown by name, all others together as `other`, and work without a tenant as `none`.
 * What a tenant did between two readings counts for its own name if it is shown in both, else for `other`.
 *
 * Promises: a counter never goes backwards between two readings in which its name is shown. A tenant that leaves the
 * top adds nothing to `other` of what it did before, and one that comes in takes nothing away from it. The increases of
 * all names together are those of the pool, because the first reading of a new name is 0. A name that comes back goes
 * on where it was, or from 0 when it was away for so long that others took its place among the candidates: a counter's
 * restart, as exporters know it.
 */
import type { LeaseVisitor, TenantNumbers } from '../engine/lending-engine.js';
import type { PoolCounters, TenantCounts } from '../engine/pool-counters.js';

/** Stands for the tenants that are not shown by name. */
export const OTHER_TENANTS = 'other';
/** Stands for work without a tenant. */
export const NO_TENANT = 'none';

/** What was counted for a name. */
interface Counted {
  slotMs: number;
  waitedMs: number;
  timeouts: number;
  rejections: number;
}

/** The numbers of one name. */
export interface TenantReading extends Readonly<Counted> {
  /** The tenant's id, made different from the fixed names; or {@link OTHER_TENANTS}, or {@link NO_TENANT}. */
  readonly name: string;
  /** Slots that it has in use now. */
  readonly used: number;
  /** Its acquires that wait now. */
  readonly waiting: number;
}

/** What the ledger needs of its pool. */
export interface LedgerPool {
  readonly counters: PoolCounters;
  readonly clock: { now(): number };
  readonly numbers: {
    tenants(): Iterable<TenantNumbers>;
    eachLease(visit: LeaseVisitor): void;
  };
}

/** A tenant that is shown, or may come to be shown. */
interface Candidate {
  readonly id: string;
  /** Slot-milliseconds of leases that had ended by the last reading; the older they are, the less they count. */
  score: number;
  isShown: boolean;
  /** What it did while it was shown. It goes on from here when it comes back. */
  readonly counted: Counted;
  /** What it did since the last reading. */
  fresh: Counted;
}

/** After this time slot-milliseconds count half. */
const HALF_LIFE_MS = 300_000;
/** A tenant has to be this much busier than one that is shown to take its place: series that come and go cost most. */
const LEAD_OF_SHOWN = 1.25;
/** How many tenants beyond those that are shown are remembered as candidates, at least. */
const LEAST_CANDIDATES = 100;

export class TenantLedger {
  readonly #pool: LedgerPool;
  readonly #top: number;
  readonly #mostCandidates: number;
  readonly #candidates = new Map<string, Candidate>();
  /** The counts of each tenant when it was read last. A tenant that was forgotten and comes back is another object. */
  readonly #seen = new WeakMap<TenantCounts, Counted>();
  readonly #none = nothing();
  readonly #other = nothing();
  #total = nothing();
  #readAtMs: number;
  readonly #stopListening: () => void;

  /** @param top how many tenants are shown by name. */
  constructor(pool: LedgerPool, top: number) {
    this.#pool = pool;
    this.#top = top;
    this.#mostCandidates = Math.max(LEAST_CANDIDATES, 4 * top);
    this.#readAtMs = pool.clock.now();
    this.#stopListening = pool.counters.onForgotten((tenant) => this.#note(tenant));
  }

  /** Reads the pool: `none`, `other`, and the tenants that are shown. */
  read(): TenantReading[] {
    const tenants = [...this.#pool.numbers.tenants()];
    let none: TenantNumbers | undefined;
    for (const tenant of tenants) {
      if (tenant.id === undefined) none = tenant;
      else this.#note(tenant);
    }
    this.#age();
    const before = new Set(this.#shown());
    this.#rank();
    this.#account(before, none === undefined ? nothing() : this.#sinceSeen(none));
    return this.#readings(tenants, none);
  }

  /** Stops listening to the pool. */
  close(): void {
    this.#stopListening();
  }

  /** Adds what a tenant did since it was last looked at. Called in the middle of an acquire or a release, too. */
  #note(tenant: TenantCounts): void {
    const { id } = tenant;
    if (id === undefined) return;
    const fresh = this.#sinceSeen(tenant);
    if (fresh.slotMs + fresh.waitedMs + fresh.timeouts + fresh.rejections === 0) return;
    add(this.#candidate(id).fresh, fresh);
  }

  #sinceSeen(tenant: TenantCounts): Counted {
    const { heldMs: slotMs, waitedMs, timeouts, rejections } = tenant;
    const counts = { slotMs, waitedMs, timeouts, rejections };
    const seen = this.#seen.get(tenant);
    this.#seen.set(tenant, counts);
    return seen === undefined ? { ...counts } : difference(counts, seen);
  }

  #candidate(id: string): Candidate {
    const known = this.#candidates.get(id);
    if (known !== undefined) return known;
    // Half of them at a time, so that invented ids cost each acquire next to nothing.
    if (this.#candidates.size >= 2 * this.#mostCandidates) this.#forgetLeast();
    const candidate = { id, score: 0, isShown: false, counted: nothing(), fresh: nothing() };
    this.#candidates.set(id, candidate);
    return candidate;
  }

  /** Forgets the least busy of those that are not shown. What they did since the last reading goes to `other`. */
  #forgetLeast(): void {
    const hidden = [...this.#candidates.values()]
      .filter(({ isShown }) => !isShown)
      .sort((a, b) => scoreOf(b) - scoreOf(a));
    for (const { id } of hidden.slice(this.#mostCandidates - this.#top)) this.#candidates.delete(id);
  }

  /** Lets what was done before the last reading count less, and adds what was done since. */
  #age(): void {
    const nowMs = this.#pool.clock.now();
    const left = 0.5 ** (Math.max(0, nowMs - this.#readAtMs) / HALF_LIFE_MS);
    this.#readAtMs = nowMs;
    for (const candidate of this.#candidates.values()) {
      candidate.score = candidate.score * left + candidate.fresh.slotMs;
    }
  }

  /** Chooses who is shown. Leases that are still out count by how long they have lasted. */
  #rank(): void {
    const runningMs = new Map<string, number>();
    this.#pool.numbers.eachLease((tenantId, heldMs) => {
      if (tenantId === undefined) return;
      this.#candidate(tenantId);
      runningMs.set(tenantId, (runningMs.get(tenantId) ?? 0) + heldMs);
    });
    const rankOf = ({ id, score, isShown }: Candidate): number =>
      (score + (runningMs.get(id) ?? 0)) * (isShown ? LEAD_OF_SHOWN : 1);
    const ranked = [...this.#candidates.values()]
      .map((candidate) => ({ candidate, rank: rankOf(candidate) }))
      .sort((a, b) => b.rank - a.rank);
    for (const [place, { candidate, rank }] of ranked.entries()) {
      candidate.isShown = place < this.#top && (rank > 0 || candidate.isShown);
    }
  }

  #shown(): Candidate[] {
    return [...this.#candidates.values()].filter(({ isShown }) => isShown);
  }

  /**
   * @param before those that were shown in the last reading.
   * @param none what was done without a tenant since then.
   */
  #account(before: ReadonlySet<Candidate>, none: Counted): void {
    const { counters } = this.#pool;
    const total = {
      slotMs: counters.use.sumMs,
      waitedMs: counters.wait.sumMs,
      timeouts: sum(Object.values(counters.timeouts)),
      rejections: sum(Object.values(counters.rejections)),
    };
    const rest = difference(total, this.#total);
    this.#total = total;
    for (const candidate of this.#candidates.values()) {
      if (candidate.isShown && before.has(candidate)) {
        add(candidate.counted, candidate.fresh);
        subtract(rest, candidate.fresh);
      }
      candidate.fresh = nothing();
    }
    add(this.#none, none);
    subtract(rest, none);
    // Sums of durations are rounded: the rest of two large ones may be a little less than nothing.
    add(this.#other, atLeastNothing(rest));
  }

  #readings(tenants: readonly TenantNumbers[], none: TenantNumbers | undefined): TenantReading[] {
    const shown = this.#shown();
    const ids = new Set(shown.map(({ id }) => id));
    const now = new Map(tenants.map((tenant) => [tenant.id, tenant]));
    const hidden = tenants.filter(({ id }) => id !== undefined && !ids.has(id));
    return [
      { name: NO_TENANT, ...this.#none, used: none?.inUse ?? 0, waiting: none?.waiting ?? 0 },
      {
        name: OTHER_TENANTS,
        ...this.#other,
        used: sum(hidden.map(({ inUse }) => inUse)),
        waiting: sum(hidden.map(({ waiting }) => waiting)),
      },
      ...shown.map(({ id, counted }) => ({
        name: nameOf(id),
        ...counted,
        used: now.get(id)?.inUse ?? 0,
        waiting: now.get(id)?.waiting ?? 0,
      })),
    ];
  }
}

/**
 * A tenant's id as a name: different for each id, and never one of the fixed names. An id that is a fixed name, or a
 * fixed name with tildes, gets one more tilde.
 */
function nameOf(id: string): string {
  return RESERVED.test(id) ? `${id}~` : id;
}

const RESERVED = new RegExp(`^(?:${OTHER_TENANTS}|${NO_TENANT})~*$`);

function scoreOf({ score, fresh }: Candidate): number {
  return score + fresh.slotMs;
}

function nothing(): Counted {
  return { slotMs: 0, waitedMs: 0, timeouts: 0, rejections: 0 };
}

function add(to: Counted, more: Counted): void {
  to.slotMs += more.slotMs;
  to.waitedMs += more.waitedMs;
  to.timeouts += more.timeouts;
  to.rejections += more.rejections;
}

function subtract(from: Counted, less: Counted): void {
  from.slotMs -= less.slotMs;
  from.waitedMs -= less.waitedMs;
  from.timeouts -= less.timeouts;
  from.rejections -= less.rejections;
}

function difference(a: Counted, b: Counted): Counted {
  const rest = { ...a };
  subtract(rest, b);
  return rest;
}

function atLeastNothing({ slotMs, waitedMs, timeouts, rejections }: Counted): Counted {
  return {
    slotMs: Math.max(0, slotMs),
    waitedMs: Math.max(0, waitedMs),
    timeouts: Math.max(0, timeouts),
    rejections: Math.max(0, rejections),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
