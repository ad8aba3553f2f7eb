/**
 * A driver without I/O, whose every step a test can hold, fail or break.
 */
import type { LeaseInfo, PoolDriver } from '../../../lib/engine/driver.js';
import type { DestroyReason } from '../../../lib/engine/pool-counters.js';

export class FakeConnection {
  readonly serial: number;
  state: 'open' | 'closed' | 'killed' = 'open';
  listener: ((error: Error) => void) | undefined;
  /** What borrowers left behind. */
  readonly leftBy: (string | undefined)[] = [];

  constructor(serial: number) {
    this.serial = serial;
  }

  /** The server ends the connection. */
  breakNow(message = 'connection reset'): void {
    this.listener?.(new FatalError(message));
  }
}

/** An error of the connection class. */
export class FatalError extends Error {}

/** How a step behaves: at once, never, or with an error. */
export type Behaviour = 'ok' | 'hang' | Error;

export class FakeDriver implements PoolDriver<FakeConnection> {
  /** As with a handshake. */
  readonly openProvesAlive: boolean = true;
  readonly opened: FakeConnection[] = [];
  openBehaviour: Behaviour = 'ok';
  closeBehaviour: Behaviour = 'ok';
  pingBehaviour: Behaviour = 'ok';
  /** `undefined`: connections are clean when they come back. */
  recycleBehaviour: Behaviour | undefined;
  opens = 0;
  pings = 0;
  recycles = 0;
  disposals = 0;
  aborted = 0;
  /** Why connections were killed, in that order. */
  readonly killReasons: (DestroyReason | undefined)[] = [];
  readonly #held: (() => void)[] = [];

  /** Connections that are neither closed nor killed. */
  get live(): readonly FakeConnection[] {
    return this.opened.filter((connection) => connection.state === 'open');
  }

  /** Lets every step that hangs go on. */
  letGo(): void {
    for (const go of this.#held.splice(0)) go();
  }

  async open(signal: AbortSignal): Promise<FakeConnection> {
    this.opens++;
    signal.addEventListener('abort', () => this.aborted++);
    await this.behave(this.openBehaviour, signal);
    const connection = new FakeConnection(this.opened.length + 1);
    this.opened.push(connection);
    return connection;
  }

  async close(connection: FakeConnection): Promise<void> {
    await this.behave(this.closeBehaviour);
    if (connection.state === 'open') connection.state = 'closed';
  }

  kill(connection: FakeConnection, reason?: DestroyReason): void | Promise<void> {
    connection.state = 'killed';
    this.killReasons.push(reason);
  }

  async ping(_connection: FakeConnection, signal: AbortSignal): Promise<void> {
    this.pings++;
    await this.behave(this.pingBehaviour, signal);
  }

  recycle(connection: FakeConnection, from: LeaseInfo): void | Promise<void> {
    connection.leftBy.push(from.tenantId);
    if (this.recycleBehaviour === undefined) return undefined;
    this.recycles++;
    return this.behave(this.recycleBehaviour);
  }

  onBroken(connection: FakeConnection, listener: (error: Error) => void): void {
    connection.listener = listener;
  }

  isFatal(error: unknown): boolean {
    return error instanceof FatalError;
  }

  dispose(): Promise<void> {
    this.disposals++;
    return Promise.resolve();
  }

  protected behave(behaviour: Behaviour, signal?: AbortSignal): Promise<void> {
    if (behaviour === 'ok') return Promise.resolve();
    if (behaviour !== 'hang') return Promise.reject(behaviour);
    return new Promise((resolve, reject) => {
      this.#held.push(resolve);
      signal?.addEventListener('abort', () => reject(new Error('aborted')));
    });
  }
}

/** Lends a facade that is made when a borrower first reads it. */
export class OnDemandDriver extends FakeDriver {
  readonly lendsOnDemand = true;
  lends = 0;
  /** What else happens meanwhile. */
  lending: ((lease: LeaseInfo) => void) | undefined;

  lend(connection: FakeConnection, lease: LeaseInfo): FakeConnection {
    this.lends++;
    this.lending?.(lease);
    return new FakeConnection(connection.serial);
  }
}
