/**
 * One undici client, which is one socket at a time to one origin.
 *
 * Promise: `destroy` closes the socket in whatever phase, a connect that nobody answers included, so that connects which
 * were given up never add up.
 */
import { Socket } from 'node:net';
import type { Client } from 'undici';
import { runOutside } from '../engine/outside-context.js';
import type { Undici } from './http-packages.js';

/** How sockets are opened and kept. */
export interface ConnectionSettings {
  readonly connectTimeoutMs: number;
  /** How long an idle socket is kept, unless the server says less. */
  readonly keepAliveTimeoutMs: number;
}

export class UndiciConnection {
  readonly client: Client;
  #socket: Socket | undefined;
  #requestsOnSocket = 0;

  constructor(undici: Undici, origin: string, settings: ConnectionSettings) {
    const connect = undici.buildConnector({ allowH2: false, timeout: settings.connectTimeoutMs });
    this.client = new undici.Client(origin, {
      connect: (options, callback) => {
        this.#requestsOnSocket = 0;
        // The connector returns the socket that it is opening, which is the only way to end a connect early.
        const opening: unknown = runOutside(() => connect(options, callback));
        this.#socket = opening instanceof Socket ? opening : undefined;
      },
      // A slot is one request on one socket; undici 8 would otherwise offer HTTP/2.
      allowH2: false,
      keepAliveTimeout: settings.keepAliveTimeoutMs,
      // The pool's own deadlines hold instead: they cover the connect and trickling bodies too, and are finer.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  get destroyed(): boolean {
    return this.client.destroyed;
  }

  /** A request is about to be written. Returns whether the socket has served another before. */
  begin(): boolean {
    return this.#requestsOnSocket++ > 0;
  }

  /** Ends what is under way politely: the socket closes after it. */
  async close(): Promise<void> {
    if (!this.client.closed && !this.client.destroyed) await this.client.close();
  }

  /** Closes the socket, opened or still opening, and fails what is under way on it. */
  destroy(reason?: Error): void {
    void this.client.destroy(reason ?? null);
    this.#socket?.destroy();
  }
}
