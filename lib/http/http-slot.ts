/**
 * A slot of an HTTP pool: room for one request in flight, with the sockets that its requests use.
 *
 * Each slot owns its connections, so that the engine's rules hold for sockets as they do for database sessions: a pool
 * has no more sockets to an origin than slots, `evict()`, `maxLifetimeMs` and `idleTimeoutMs` close sockets, and what
 * is known of a socket (has it served before?) is known exactly. Nothing is opened before a request needs it.
 */
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';

import type { UndiciConnection } from './undici-connection.js';

/** Something under way in a slot that can be cut off. */
export interface Cancellable {
  abort(reason: Error): void;
}

/** A slot keeps sockets to this many origins; of more, the one unused for longest is closed. */
const ORIGINS_KEPT = 8;

export class HttpSlot {
  readonly #keepAliveTimeoutMs: number;
  /** Least recently used first. */
  readonly #connections = new Map<string, UndiciConnection>();
  #agents: KeepAliveAgents | undefined;
  /** The request in flight. Private, because leases lead to their slot: no borrower may find the next one's request. */
  #pooledRequest: Cancellable | undefined = undefined;
  /** Requests that the adapter of the one in flight passes on, and which may outlast it. */
  #passedOn: Set<Cancellable> | undefined = undefined;

  /** @param keepAliveTimeoutMs how long the agents keep an idle socket. */
  constructor(keepAliveTimeoutMs: number) {
    this.#keepAliveTimeoutMs = keepAliveTimeoutMs;
  }

  /** The undici connection to an origin; `make` is asked when there is none, or it has been destroyed. */
  connection(origin: string, make: (origin: string) => UndiciConnection): UndiciConnection {
    const known = this.#connections.get(origin);
    if (known?.stale === true) known.destroy();
    const connection = known === undefined || known.destroyed ? make(origin) : known;
    if (connection === known && this.#connections.size === 1) return connection;
    this.#connections.delete(origin);
    this.#connections.set(origin, connection);
    if (this.#connections.size > ORIGINS_KEPT) this.#dropOldest();
    return connection;
  }

  /** The agents for what goes through Node's own client. */
  agents(): KeepAliveAgents {
    this.#agents ??= new KeepAliveAgents(this.#keepAliveTimeoutMs);
    return this.#agents;
  }

  /** Closes the agents' sockets, so that the next request through Node's client opens a new one. */
  dropAgents(): void {
    this.#agents?.destroy();
    this.#agents = undefined;
  }

  get busy(): boolean {
    return this.#pooledRequest !== undefined || (this.#passedOn?.size ?? 0) > 0;
  }

  /** `pooledRequest` uses the slot from now on. */
  occupy(pooledRequest: Cancellable): void {
    if (this.#pooledRequest === undefined) this.#pooledRequest = pooledRequest;
    else (this.#passedOn ??= new Set()).add(pooledRequest);
  }

  /** `pooledRequest` is over. */
  vacate(pooledRequest: Cancellable): void {
    if (this.#pooledRequest === pooledRequest) this.#pooledRequest = undefined;
    else this.#passedOn?.delete(pooledRequest);
  }

  /** Cuts off the request in flight, if there is one, and what its adapter has passed on. */
  cut(reason: Error): void {
    const passedOn = this.#passedOn;
    const pooledRequest = this.#pooledRequest;
    this.#passedOn = undefined;
    this.#pooledRequest = undefined;
    pooledRequest?.abort(reason);
    for (const request of passedOn ?? []) request.abort(reason);
  }

  /** Closes every socket once what is under way on it has ended. */
  async close(): Promise<void> {
    this.dropAgents();
    await Promise.all([...this.#connections.values()].map((connection) => connection.close()));
  }

  /** Closes every socket now. */
  destroy(): void {
    for (const connection of this.#connections.values()) connection.destroy();
    this.#connections.clear();
    this.dropAgents();
  }

  #dropOldest(): void {
    for (const [origin, connection] of this.#connections) {
      this.#connections.delete(origin);
      connection.destroy();
      return;
    }
  }
}

/** What arrives on an idle socket belongs to no request, and would pass for a part of the next answer. */
function destroyOnData(this: Socket): void {
  this.destroy();
}

function watchIdle(agent: HttpAgent): void {
  agent.on('free', (socket: Socket) => {
    if (!socket.destroyed) socket.on('data', destroyOnData);
  });
  const reuse = agent.reuseSocket.bind(agent);
  agent.reuseSocket = (socket, request) => {
    socket.removeListener('data', destroyOnData);
    reuse(socket, request);
  };
}

function hasSocket({ sockets, freeSockets }: HttpAgent): boolean {
  return Object.keys(freeSockets).length > 0 || Object.keys(sockets).length > 0;
}

/**
 * Node's agents, with at most one idle socket an origin. Their sockets are opened in the context of the request that
 * needs one, and change to that of each further request: Node's agent does so itself.
 */
export class KeepAliveAgents {
  readonly http: HttpAgent;
  readonly https: HttpsAgent;

  constructor(keepAliveTimeoutMs: number) {
    const options = { keepAlive: true, maxFreeSockets: 1, timeout: keepAliveTimeoutMs };
    this.http = new HttpAgent(options);
    this.https = new HttpsAgent(options);
    watchIdle(this.http);
    watchIdle(this.https);
  }

  /** Bytes that have gone over the sockets at work, in both directions: a sign of life. */
  bytesMoved(): number {
    let bytes = 0;
    for (const agent of [this.http, this.https])
      for (const sockets of Object.values(agent.sockets))
        for (const socket of sockets ?? []) bytes += socket.bytesRead + socket.bytesWritten - socket.writableLength;
    return bytes;
  }

  /** Whether there is a socket: an idle one, or one whose last request Node has not yet reported as sent. */
  get connected(): boolean {
    return hasSocket(this.http) || hasSocket(this.https);
  }

  /** The sockets that wait for a next request. */
  idleSockets(): Socket[] {
    return [this.http.freeSockets, this.https.freeSockets].flatMap((byOrigin) =>
      Object.values(byOrigin).flatMap((sockets) => sockets ?? []),
    );
  }

  destroy(): void {
    this.http.destroy();
    this.https.destroy();
  }
}
