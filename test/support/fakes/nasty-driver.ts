/**
 * A driver, an observer and receivers that throw, and call the pool, at every moment at which the pool calls them.
 */
import type { LeaseInfo } from '../../../lib/engine/driver.js';
import type { Lease } from '../../../lib/engine/lease.js';
import type { DestroyReason } from '../../../lib/engine/pool-counters.js';
import type { PoolObserver } from '../../../lib/engine/pool-observer.js';
import type { LeaseReceiver } from '../../../lib/engine/receivers.js';
import { type Behaviour, FakeConnection, FakeDriver } from './fake-driver.js';

/** What the others do beside their work. */
export interface Mischief {
  /** Does something to the pool, or throws, or does nothing. */
  at(where: string): void;
}

export class NastyDriver extends FakeDriver {
  mischief: Mischief | undefined;
  readonly lendsOnDemand: boolean;
  /** What a kill leaves to be done on the server. */
  killBehaviour: Behaviour | undefined;
  /** For whom what was lent was made. */
  readonly lentTo = new WeakMap<FakeConnection, LeaseInfo>();
  /** How many killed connections have that to do. */
  ending = 0;

  constructor(kind: { readonly lendsOnDemand?: boolean; readonly recycles?: boolean } = {}) {
    super();
    this.lendsOnDemand = kind.lendsOnDemand ?? false;
    if (kind.recycles === false) Object.assign(this, { recycle: undefined });
  }

  // Not async: what it throws is thrown at the engine, and not the rejection of a promise.
  override open(signal: AbortSignal): Promise<FakeConnection> {
    signal.addEventListener('abort', () => {
      // Node makes an uncaught exception of what an abort listener throws, whoever aborts.
      try {
        this.mischief?.at('abort');
      } catch {
        return;
      }
    });
    this.mischief?.at('open');
    return super.open(signal).then((connection) => {
      try {
        this.mischief?.at('opened');
      } catch (error) {
        connection.state = 'killed';
        throw error;
      }
      return connection;
    });
  }

  override close(connection: FakeConnection): Promise<void> {
    this.mischief?.at('close');
    return super.close(connection);
  }

  override kill(connection: FakeConnection, reason?: DestroyReason): void | Promise<void> {
    void super.kill(connection, reason);
    this.mischief?.at('kill');
    return this.killBehaviour === undefined ? undefined : this.#end(this.killBehaviour);
  }

  async #end(behaviour: Behaviour): Promise<void> {
    this.ending++;
    try {
      await this.behave(behaviour);
    } finally {
      this.ending--;
    }
  }

  override ping(connection: FakeConnection, signal: AbortSignal): Promise<void> {
    this.mischief?.at('ping');
    return super.ping(connection, signal);
  }

  lend(connection: FakeConnection, lease: LeaseInfo): FakeConnection {
    this.mischief?.at('lend');
    const lent = new FakeConnection(connection.serial);
    this.lentTo.set(lent, lease);
    return lent;
  }

  override recycle(connection: FakeConnection, from: LeaseInfo): void | Promise<void> {
    this.mischief?.at('recycle');
    return super.recycle(connection, from);
  }

  override onBroken(connection: FakeConnection, listener: (error: Error) => void): void {
    super.onBroken(connection, listener);
    this.mischief?.at('onBroken');
  }

  override isFatal(error: unknown): boolean {
    this.mischief?.at('isFatal');
    return super.isFatal(error);
  }

  override dispose(): Promise<void> {
    void super.dispose();
    this.mischief?.at('dispose');
    return Promise.resolve();
  }
}

export function nastyObserver(mischief: Mischief): Required<PoolObserver<FakeConnection, FakeConnection>> {
  return {
    opened: () => mischief.at('opened'),
    proved: () => mischief.at('proved'),
    connectFailed: () => mischief.at('connectFailed'),
    destroyed: () => mischief.at('destroyed'),
    acquired: () => mischief.at('acquired'),
    released: () => mischief.at('released'),
    releasedTwice: () => mischief.at('releasedTwice'),
    leaked: () => mischief.at('leaked'),
    driverFailed: () => mischief.at('driverFailed'),
  };
}

/** What a receiver tells the test. */
export interface ReceiverLog {
  /** It has been called: it waits no longer. Told before anything else is done. */
  called(lease: Lease<FakeConnection> | undefined, how: 'granted' | 'shared' | 'refused'): void;
  /** It has had its answer. */
  settled(): void;
}

/** Keeps what it is granted in `leases`, and lets others of its tenant share it. */
export class NastyReceiver implements LeaseReceiver<FakeConnection> {
  readonly #mischief: Mischief;
  readonly #leases: Lease<FakeConnection>[];
  readonly #log: ReceiverLog;
  readonly #sharesWith: number;

  /** @param sharesWith how many may share its lease; one that has none to share shares no other's. */
  constructor(mischief: Mischief, leases: Lease<FakeConnection>[], log: ReceiverLog, sharesWith: number) {
    this.#mischief = mischief;
    this.#leases = leases;
    this.#log = log;
    this.#sharesWith = sharesWith;
  }

  granted(lease: Lease<FakeConnection>): void {
    this.#log.called(lease, 'granted');
    // It may throw before it has kept the lease; nobody would give it back then.
    this.#mischief.at('granted');
    for (let left = this.#sharesWith; left > 0 && lease.shareWithNext(); left--);
    this.#mischief.at('gathered');
    this.#log.settled();
    this.#leases.push(lease);
  }

  canShare(): boolean {
    this.#mischief.at('canShare');
    return this.#sharesWith > 0;
  }

  /** The lease is not its own to release. */
  shared(lease: Lease<FakeConnection>): void {
    this.#log.called(lease, 'shared');
    this.#mischief.at('shared');
    this.#log.settled();
  }

  refused(_error: Error): void {
    this.#log.called(undefined, 'refused');
    this.#log.settled();
    this.#mischief.at('refused');
  }
}
