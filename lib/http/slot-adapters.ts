/**
 * Adapters of axios whose requests run in slots.
 *
 * The adapter is the seam because everything passes through it: observables, `axiosRef`, interceptors, retries.
 */
import type { AxiosAdapter, AxiosInstance, InternalAxiosRequestConfig } from 'axios';

import type { LeaseInfo } from '../engine/driver.js';
import { AdapterTransport } from './adapter-call.js';
import { type AdapterChoice, boundAxios } from './bound-axios.js';
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

/** Whose an adapter is. Not a WeakSet: each observable has an adapter of its own, and collecting those costs. */
const OWNER = Symbol('owner');

export class SlotAdapters {
  readonly #dependencies: SlotAdaptersDependencies;

  constructor(dependencies: SlotAdaptersDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * An adapter whose requests take their slots from `slotSource`, which is asked at each request; may throw.
   *
   * @param named the adapter that the request names itself, and that is to send it.
   */
  from(slotSource: () => SlotSource, named: AdapterChoice | undefined): AxiosAdapter {
    return this.asOwn(async (config) => this.start(config, slotSource(), named).response);
  }

  /** Marks an adapter as one whose requests take slots. */
  asOwn(adapter: AxiosAdapter): AxiosAdapter {
    return Object.assign(adapter, { [OWNER]: this });
  }

  start(config: InternalAxiosRequestConfig, slotSource: SlotSource, named: AdapterChoice | undefined): PooledRequest {
    const { axios, transport, configured } = this.#dependencies;
    const chosen = named ?? configured;
    const sender = chosen === undefined ? transport : new AdapterTransport(axios, chosen);
    return new PooledRequest(this.#dependencies, slotSource, sender, config);
  }

  /**
   * The adapter that a request names, or else the instance (a mock may have taken our place there), unless it is one of
   * ours.
   */
  callersAdapter(named: AdapterChoice | undefined): AdapterChoice | undefined {
    const choice = named ?? this.#dependencies.instance.defaults.adapter;
    return typeof choice === 'function' && OWNER in choice && choice[OWNER] === this ? undefined : choice;
  }

  /** The instance with adapters of its own, made for each request from the one that the request names. */
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
