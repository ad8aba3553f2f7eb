/**
 * Adapters of axios whose requests run in slots.
 *
 * The adapter is the seam because everything passes through it: observables, `axiosRef`, interceptors, retries.
 */
import type { AxiosAdapter, AxiosInstance, AxiosResponse, InternalAxiosRequestConfig } from 'axios';

import type { LeaseInfo } from '../engine/driver.js';
import { AdapterTransport } from './adapter-call.js';
import type { AdapterFamily } from './adapter-guard.js';
import { type AdapterChoice, boundAxios } from './bound-axios.js';
import { HeldSlot } from './held-slot.js';
import type { HttpSlot } from './http-slot.js';
import { PooledRequest, type PooledRequestDependencies, type SlotSource } from './pooled-request.js';
import { LeaseSlotSource } from './slot-sources.js';
import type { Transport } from './transport.js';

export interface SlotAdaptersDependencies extends PooledRequestDependencies {
  /** What sends requests that name no adapter. */
  readonly transport: Transport;
  /** The instance that users know as `axiosRef`. */
  readonly instance: AxiosInstance;
  /** The adapter that the pool was configured with, if it was. */
  readonly configured: AdapterChoice | undefined;
}

/** Sends a request in a slot of an adapter's slot source; `named` is the adapter that sends it. */
type StartRequest = (config: InternalAxiosRequestConfig, named: AdapterChoice | undefined) => Promise<AxiosResponse>;

/** On the adapters themselves. A WeakMap would cost more: each observable has an adapter of its own. */
const SLOTS = Symbol('slots');

interface SlotsOfAdapter {
  readonly adapters: SlotAdapters;
  readonly start: StartRequest;
  readonly named: AdapterChoice | undefined;
}

export class SlotAdapters implements AdapterFamily {
  readonly #dependencies: SlotAdaptersDependencies;
  /**
   * The slots of requests that are with an adapter of the caller's, by the signals that it gets. Not by the requests,
   * which an adapter may copy before it passes them on.
   */
  readonly #held = new WeakMap<object, HeldSlot>();

  constructor(dependencies: SlotAdaptersDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * An adapter whose requests take their slots from `slotSource`, which is asked at each request; may throw.
   *
   * @param named the adapter that the request names itself, and that is to send it.
   */
  from(slotSource: () => SlotSource, named: AdapterChoice | undefined): AxiosAdapter {
    return this.asOwn(async (config, chosen) => this.start(config, slotSource, chosen).response, named);
  }

  /** An adapter that starts requests by `start`, which takes slots for them. */
  asOwn(start: StartRequest, named: AdapterChoice | undefined): AxiosAdapter {
    const slots: SlotsOfAdapter = { adapters: this, start, named };
    return Object.assign((config: InternalAxiosRequestConfig) => start(config, named), { [SLOTS]: slots });
  }

  isOwn(adapter: unknown): adapter is AxiosAdapter {
    return this.#slotsOf(adapter) !== undefined;
  }

  through(own: AxiosAdapter, named: AdapterChoice | undefined): AxiosAdapter {
    const slots = this.#slotsOf(own);
    return slots === undefined ? own : this.asOwn(slots.start, named);
  }

  #slotsOf(adapter: unknown): SlotsOfAdapter | undefined {
    return hasSlots(adapter) && adapter[SLOTS].adapters === this ? adapter[SLOTS] : undefined;
  }

  /** @param slotSource asked for a request that no adapter of the caller's passes on; may throw. */
  start(
    config: InternalAxiosRequestConfig,
    slotSource: () => SlotSource,
    named: AdapterChoice | undefined,
  ): PooledRequest {
    const { transport, configured } = this.#dependencies;
    const source = this.#heldSlot(config) ?? slotSource();
    const chosen = named ?? configured;
    if (chosen === undefined) return new PooledRequest(this.#dependencies, source, transport, config);
    const held = new HeldSlot(this.#dependencies.poolId, source);
    return new PooledRequest(this.#dependencies, held, this.#callersTransport(chosen, held), config);
  }

  /** The slot of the request which the caller's adapter that passes `config` on is sending. */
  #heldSlot({ signal }: InternalAxiosRequestConfig): HeldSlot | undefined {
    return signal ? this.#held.get(signal) : undefined;
  }

  #callersTransport(choice: AdapterChoice, held: HeldSlot): Transport {
    return new AdapterTransport(this.#dependencies.axios, choice, (signal, slot) => {
      this.#held.set(signal, held);
      held.open(slot, () => this.#held.delete(signal));
    });
  }

  /** The adapter that is to send the requests of an adapter: itself, unless it is one of ours. */
  callersAdapter(choice: AdapterChoice | undefined): AdapterChoice | undefined {
    const slots = this.#slotsOf(choice);
    return slots === undefined ? choice : slots.named;
  }

  /** The instance with adapters of its own, made for each request from the one that it would have. */
  bound(adapter: (named: AdapterChoice | undefined) => AxiosAdapter): AxiosInstance {
    const { axios, instance } = this.#dependencies;
    return boundAxios(axios, instance, (named) => adapter(this.callersAdapter(named)));
  }

  /** What the borrower of a slot gets: the instance, with requests that go through this slot, one after the other. */
  lend(slot: HttpSlot, lease: LeaseInfo): AxiosInstance {
    const slotSource = new LeaseSlotSource(lease, slot);
    return this.bound((named) => this.from(() => slotSource, named));
  }
}

function hasSlots(adapter: unknown): adapter is { readonly [SLOTS]: SlotsOfAdapter } {
  return typeof adapter === 'function' && SLOTS in adapter;
}
