/**
 * Which tenant gets the next slot, and whether a tenant may have one at all.
 *
 * Start-time fair queueing (Goyal, Vin & Cheng, 1996) over the slots of a pool, charged in slot-milliseconds divided by
 * weight. What a lease will cost isn't known when it is granted: the tenant's mean hold is charged as an estimate and
 * corrected when the lease ends, as Kubernetes' API Priority and Fairness does; a lease that outlives its estimate is
 * charged as it runs.
 *
 * Promises: a tenant's own requests are served first in, first out; no tenant gets more than its `max`; tenants below
 * their `reserved` come first; idleness banks no credit; debt outlives the lease that made it; tenants that may have
 * been invented have no more than their common share while known ones wait, however many they are. Pure: no timers, no
 * I/O, the time is passed in. Without contention every call is O(1), with it O(log waiting tenants).
 */
import type { TenantLimits, TenantPolicy } from '../limits.js';
import { KnownTenants } from './known-tenants.js';
import { RetainedTenants } from './retained-tenants.js';
import { type Standing, standingOf, standingOfKnown } from './standing.js';
import { type QueueLinks, Tenant, TenantGroup } from './tenant.js';

/** Weight of the newest hold in a moving average of holds. */
const HOLD_SMOOTHING = 0.1;

/** How far a tenant's virtual time may run ahead of the pool's: it bounds how long one very long lease counts. */
const MAX_DEBT_MS = 60_000;

/**
 * Under contention, each grant moves virtual time on by at least this share of the grant's cost divided by the weight
 * of all active tenants. With a share of 0, virtual time stands still while only new tenants are served: each new
 * tenant starts at the same virtual time as the one before it, the older of two is not preferred, and debts never
 * expire. With a share of 1, virtual time can pass the waiting tenants, and a new tenant then starts behind them.
 */
const LEAST_PACE = 0.5;

/** A waiter, as the scheduler sees it. */
export interface Waiting<W extends QueueLinks<W>, S> extends QueueLinks<W> {
  readonly tenant: Tenant<W, S>;
}

/** A slot in use, and what its tenant was charged for it so far. Owned by the scheduler. */
export interface Hold {
  /** Since when; a reading of the clock. */
  sinceMs: number;
  /** In slot-milliseconds; at first the estimate. */
  chargedMs: number;
}

/** Who hears of tenants that are forgotten: their counts are lost with them. */
export interface ForgettingWatch<T> {
  readonly forgotten: ((tenant: T) => void) | undefined;
}

const UNWATCHED = { forgotten: undefined };

const UNLIMITED: TenantLimits = { max: Infinity, weight: 1, reserved: 0, maxWaiting: Infinity, whenFull: 'queue' };

/**
 * No public field of it has an initializer: beside one, TypeScript has the constructor initialize the private fields
 * too, which exist by then, as `undefined`; V8 keeps a number in such a field in an object of its own, made anew for
 * each change. That cost a quarter of an acquire.
 */
export class TenantScheduler<W extends Waiting<W, S>, S> {
  #policy: TenantPolicy;
  readonly #tenants = new Map<string, Tenant<W, S>>();
  /** Work without a tenant. */
  readonly anonymous: Tenant<W, S>;
  /** Who was looked up last; never one that has been forgotten. */
  #last: Tenant<W, S>;
  /** Those that aren't known are a group of their own: each new one would come first among all. */
  readonly #known = new TenantGroup<W, S>();
  readonly #unknown = new TenantGroup<W, S>();
  readonly #remembered = new KnownTenants();
  readonly #retained = new RetainedTenants<Tenant<W, S>>();
  /** Of the tenants that hold or wait for something. */
  #activeWeight = 0;
  #virtualMs = 0;
  #meanHoldMs = 0;
  #waiting = 0;
  #grantable = 0;
  /** Since when no request has waited, or until when virtual time has been carried on. */
  #carriedOnMs = 0;
  #size = Infinity;
  readonly #watch: ForgettingWatch<Tenant<W, S>>;

  constructor(policy: TenantPolicy, watch: ForgettingWatch<Tenant<W, S>> = UNWATCHED) {
    this.#policy = policy;
    this.#watch = watch;
    this.anonymous = new Tenant<W, S>(undefined, UNLIMITED, this.#known, Infinity, 0, 0);
    this.#last = this.anonymous;
  }

  get policy(): TenantPolicy {
    return this.#policy;
  }

  /** Slots of the pool. */
  set size(slots: number) {
    this.#size = slots;
  }

  /** Requests waiting, of all tenants. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Waiters that could be given a slot now, were there one. */
  get grantable(): number {
    return this.#grantable;
  }

  /** Mean hold over all tenants. */
  get meanHoldMs(): number {
    return this.#meanHoldMs;
  }

  /** Tenants remembered, whether they do anything or not. */
  get known(): number {
    return this.#tenants.size;
  }

  /** The pool's virtual time: where a tenant that has been away starts. */
  get virtualMs(): number {
    return this.#virtualMs;
  }

  /**
   * The tenant with the longest queue: it gives way when the whole queue, of `maxQueue` places, is full. When those
   * that aren't known take up more than half of it, it is one of them.
   */
  longestQueue(maxQueue: number): Tenant<W, S> | undefined {
    const unknown = this.#unknown.longestQueue(this.tenants());
    if (2 * this.#unknown.waiting > maxQueue) return unknown;
    const known = this.#known.longestQueue(this.tenants());
    return (known?.waiting ?? 0) >= (unknown?.waiting ?? 0) ? known : unknown;
  }

  /** Whether a tenant may have been invented. */
  isUnknown(tenant: Tenant<W, S>): boolean {
    return tenant.group === this.#unknown;
  }

  /** Everyone the scheduler knows. */
  *tenants(): IterableIterator<Tenant<W, S>> {
    yield this.anonymous;
    yield* this.#tenants.values();
  }

  find(id: string | undefined): Tenant<W, S> | undefined {
    return id === undefined ? this.anonymous : this.#tenants.get(id);
  }

  /** The tenant of that id; made if it is new. */
  tenant(id: string | undefined, nowMs: number): Tenant<W, S> {
    // Who has just been here often comes again at once.
    if (id === this.#last.id) return this.#last;
    this.#last = id === undefined ? this.anonymous : (this.#tenants.get(id) ?? this.#newcomer(id, nowMs));
    return this.#last;
  }

  #newcomer(id: string, nowMs: number): Tenant<W, S> {
    if (this.#grantable === 0) this.#carryOn(nowMs);
    this.#forgetSome();
    const policy = this.#policy;
    const standing = standingOf(id, policy, this.#remembered);
    // The application's functions have run: they may have asked for the same tenant, or changed the limits.
    const same = this.#tenants.get(id);
    if (same !== undefined) return same;
    if (policy !== this.#policy) return this.#newcomer(id, nowMs);
    const group = standing.known ? this.#known : this.#unknown;
    const knownAtMs = standing.known ? Infinity : -Infinity;
    const tenant = new Tenant<W, S>(id, standing.limits, group, knownAtMs, this.#virtualMs, this.#meanHoldMs);
    this.#tenants.set(id, tenant);
    return tenant;
  }

  /** Takes over new limits, for tenants that are known as well as for those to come. */
  changePolicy(policy: TenantPolicy): void {
    // First the application's functions: if one throws, nothing has changed.
    const standings = new Map<string, Standing>();
    // Tenants that those functions bring along are asked about as well.
    for (const id of this.#tenants.keys()) standings.set(id, standingOf(id, policy, this.#remembered));
    this.#policy = policy;
    for (const [id, standing] of standings) {
      const tenant = this.#tenants.get(id);
      if (tenant !== undefined) this.#place(tenant, standing);
    }
  }

  #place(tenant: Tenant<W, S>, { limits, known }: Standing): void {
    tenant.limits = limits;
    tenant.changeGroup(known ? this.#known : this.#unknown, known ? Infinity : -Infinity);
    this.#weigh(tenant);
    this.#refresh(tenant);
  }

  enqueue(waiter: W, nowMs: number): void {
    const { tenant } = waiter;
    tenant.link(waiter);
    this.#waiting++;
    if (tenant.waiting === 1) this.#beginToWait(tenant, nowMs);
    const { lengths } = tenant.group;
    if (lengths.kept) lengths.grown(tenant);
    if (tenant.grantable < tenant.limits.max - tenant.inUse) this.#refresh(tenant);
  }

  /** Takes a waiter that gets nothing out of its queue, wherever in it it stands. `forgetIfIdle` comes next. */
  dequeue(waiter: W, nowMs: number): void {
    this.#unlink(waiter);
    if (waiter.tenant.waiting === 0) this.#weigh(waiter.tenant);
    this.#refresh(waiter.tenant);
    if (this.#grantable === 0) this.#carriedOnMs = nowMs;
  }

  /** Takes a waiter that is served within a lease of its tenant out of its queue: that lease's slot is charged. */
  share(waiter: W, nowMs: number): void {
    waiter.tenant.acquisitions++;
    this.dequeue(waiter, nowMs);
  }

  /** Who should have the next slot: the first waiter of the tenant with the least virtual time. */
  get next(): W | undefined {
    const { ready } = this.#unknown.ready.size === 0 || this.#knownComeFirst ? this.#known : this.#unknown;
    return ready.first?.firstWaiting;
  }

  /** Whether known tenants have a claim to the next slot before all others. */
  get #knownComeFirst(): boolean {
    if (this.#known.ready.size === 0) return false;
    const most = this.#policy.maxUnknown ?? Math.max(1, Math.floor(this.#size / 2));
    return this.#unknown.inUse >= most || this.#known.ready.firstKey <= this.#unknown.ready.firstKey;
  }

  /** Takes a waiter that gets a slot out of its queue, and charges its tenant in advance. */
  grant(waiter: W, hold: Hold, nowMs: number): void {
    const { tenant } = waiter;
    this.#unlink(waiter);
    this.#chargeAhead(tenant, hold, nowMs);
    this.#refresh(tenant);
    this.#keepPace(tenant);
    if (this.#grantable === 0) this.#carriedOnMs = nowMs;
  }

  /** Counts a slot that `tenant` was given without waiting, and charges it in advance. */
  granted(tenant: Tenant<W, S>, hold: Hold, nowMs: number): void {
    if (this.#grantable === 0) this.#carryOn(nowMs);
    if (tenant.inUse === 0 && tenant.waiting === 0) this.#join(tenant);
    this.#chargeAhead(tenant, hold, nowMs);
    if (tenant.waiting > 0) this.#refresh(tenant);
    if (this.#grantable > 0) this.#keepPace(tenant);
  }

  /** Charges `tenant` for a slot that it still has, if it has had it for longer than it was charged. */
  chargeRunning(tenant: Tenant<W, S>, hold: Hold, nowMs: number): void {
    const dueMs = nowMs - hold.sinceMs - hold.chargedMs;
    if (dueMs <= 0) return;
    hold.chargedMs += dueMs;
    this.#owe(tenant, dueMs);
    if (tenant.waiting > 0) this.#refresh(tenant);
  }

  /** Counts a slot that came back. */
  released(tenant: Tenant<W, S>, hold: Hold, nowMs: number): void {
    this.#settle(tenant, hold, nowMs);
    if (tenant.waiting > 0) this.#refresh(tenant);
    else if (tenant.inUse === 0) this.#leave(tenant);
  }

  /**
   * The next waiter of the tenant that is about to give a slot back, if no other tenant's waiter may have the slot.
   */
  nextOfSameTenant(tenant: Tenant<W, S>): W | undefined {
    const othersMay = this.#known.ready.size > 0 || this.#unknown.ready.size > 0;
    return othersMay || tenant.inUse > tenant.limits.max ? undefined : tenant.firstWaiting;
  }

  /**
   * `released` and `grant` at once, for the next waiter of the same tenant: its tenant is at its maximum before and
   * after, so it needs no place among those that may have one.
   */
  transfer(next: W, hold: Hold, nowMs: number): void {
    const { tenant } = next;
    this.#settle(tenant, hold, nowMs);
    this.#unlink(next);
    this.#chargeAhead(tenant, hold, nowMs);
    // Known by the lease that has just ended, it was placed among those below their maximum.
    if (tenant.grantable > 0) this.#refresh(tenant);
    this.#keepPace(tenant);
  }

  /** Forgets `tenant` if nothing about it matters any more: after a rejection, or when its last warm slot has gone. */
  forgetIfIdle(tenant: Tenant<W, S>): void {
    if (tenant.inUse > 0 || tenant.waiting > 0 || tenant.id === undefined) return;
    if (tenant.virtualMs > this.#virtualMs || tenant.warmest !== undefined) this.#retained.add(tenant);
    else this.#forget(tenant);
  }

  /** `tenant` neither holds nor waits for anything any more. */
  #leave(tenant: Tenant<W, S>): void {
    this.#weigh(tenant);
    this.forgetIfIdle(tenant);
  }

  #beginToWait(tenant: Tenant<W, S>, nowMs: number): void {
    if (this.#grantable === 0) this.#carryOn(nowMs);
    this.#join(tenant);
    this.#weigh(tenant);
  }

  #unlink(waiter: W): void {
    waiter.tenant.unlink(waiter);
    this.#waiting--;
  }

  #settle(tenant: Tenant<W, S>, { sinceMs, chargedMs }: Hold, nowMs: number): void {
    if (this.#grantable === 0) this.#carryOn(nowMs);
    const heldMs = nowMs - sinceMs;
    tenant.inUse--;
    tenant.group.inUse--;
    tenant.heldMs += heldMs;
    tenant.meanHoldMs += HOLD_SMOOTHING * (heldMs - tenant.meanHoldMs);
    this.#meanHoldMs += HOLD_SMOOTHING * (heldMs - this.#meanHoldMs);
    this.#owe(tenant, heldMs - chargedMs);
    if (nowMs >= tenant.knownAtMs) this.#servedUnknown(tenant, nowMs);
  }

  /** A tenant that isn't known has been served for the first time since it came, or for long. */
  #servedUnknown(tenant: Tenant<W, S>, nowMs: number): void {
    // With a function of the application's it is for that to say.
    if (this.#policy.known !== undefined || tenant.id === undefined) {
      tenant.knownAtMs = Infinity;
      return;
    }
    tenant.knownAtMs = this.#remembered.served(tenant.id, nowMs);
    if (nowMs >= tenant.knownAtMs) this.#place(tenant, standingOfKnown(this.#policy));
  }

  /** What a lease will cost isn't known yet: the tenant's mean hold. */
  #chargeAhead(tenant: Tenant<W, S>, hold: Hold, nowMs: number): void {
    hold.sinceMs = nowMs;
    hold.chargedMs = tenant.meanHoldMs;
    // A grant out of turn, to a tenant below its reserve, says nothing about where the others are.
    if (tenant.virtualMs > this.#virtualMs && !tenant.belowReserve) this.#virtualMs = tenant.virtualMs;
    tenant.virtualMs += tenant.meanHoldMs / tenant.limits.weight;
    tenant.inUse++;
    tenant.group.inUse++;
    tenant.acquisitions++;
    if (tenant.inUse === 1) this.#weigh(tenant);
  }

  /** Moves the pool's virtual time on by the least step of a grant under contention. */
  #keepPace({ meanHoldMs }: Tenant<W, S>): void {
    this.#virtualMs += (LEAST_PACE * meanHoldMs) / this.#activeWeight;
  }

  #owe(tenant: Tenant<W, S>, slotMs: number): void {
    const owed = tenant.virtualMs + slotMs / tenant.limits.weight;
    // A tenant whose virtual time is behind the pool's has been served too little, and keeps that claim.
    const leastMs = Math.min(tenant.virtualMs, this.#virtualMs);
    tenant.virtualMs = Math.min(Math.max(owed, leastMs), this.#virtualMs + MAX_DEBT_MS);
  }

  /** A tenant that comes back starts where the pool is now, or behind its debt. */
  #join(tenant: Tenant<W, S>): void {
    if (tenant.virtualMs < this.#virtualMs) tenant.virtualMs = this.#virtualMs;
  }

  /**
   * While no request waits for a slot every tenant gets what it asks for, and the virtual time of the pool passes with
   * the clock. Otherwise debts of that time would be remembered for ever: only grants to busier tenants move it on.
   */
  #carryOn(nowMs: number): void {
    if (nowMs > this.#carriedOnMs) this.#virtualMs += nowMs - this.#carriedOnMs;
    this.#carriedOnMs = nowMs;
  }

  /** Brings the weight of all active tenants up to date with one tenant's numbers. */
  #weigh(tenant: Tenant<W, S>): void {
    const weight = tenant.inUse > 0 || tenant.waiting > 0 ? tenant.limits.weight : 0;
    if (weight === tenant.activeWeight) return;
    this.#activeWeight += weight - tenant.activeWeight;
    tenant.activeWeight = weight;
  }

  /** Brings the heap and the count of grantable waiters up to date with a tenant's numbers. */
  #refresh(tenant: Tenant<W, S>): void {
    const grantable = Math.max(0, Math.min(tenant.waiting, tenant.limits.max - tenant.inUse));
    this.#grantable += grantable - tenant.grantable;
    tenant.grantable = grantable;
    // At its own maximum a tenant is parked outside the heap, so that it costs the others nothing.
    const { ready } = tenant.group;
    if (grantable > 0) ready.place(tenant);
    else ready.remove(tenant);
  }

  /** A step of the clean-up for each newcomer: the number of tenants remembered stays in step with those that count. */
  #forgetSome(): void {
    for (let steps = 0; steps < 2 && this.#retained.size > 0; steps++) {
      const tenant = this.#retained.takeNext();
      if (tenant !== undefined) this.forgetIfIdle(tenant);
    }
  }

  #forget(tenant: Tenant<W, S>): void {
    this.#retained.remove(tenant);
    if (this.#last === tenant) this.#last = this.anonymous;
    // Links of lists that were given up: without them a reference to this tenant keeps no other tenant alive.
    tenant.nextOfLength = undefined;
    tenant.previousOfLength = undefined;
    // A slot may still name a tenant that was forgotten and has come back as another object since.
    if (tenant.id === undefined || this.#tenants.get(tenant.id) !== tenant) return;
    this.#tenants.delete(tenant.id);
    this.#watch.forgotten?.(tenant);
    if (this.#remembered.has(tenant.id)) this.#remembered.refresh(tenant.id);
  }
}
