/**
 * Tells the clients of an HTTP server that ends to take another connection: the next answer on each connection says
 * `Connection: close`, and the server closes it once that is sent.
 *
 * A client that keeps its connection may send at any moment, also while the server closes what it believes to be idle;
 * such a request is reset, and the client can't know whether it was carried out. Who was told has nothing to send.
 *
 * While the application serves, a connection costs an entry in a set, and a request nothing. Answers that are under way
 * when the end begins are found by what Node keeps at the socket; where a Node of the future keeps it elsewhere, they
 * stay as they are.
 *
 * Not touched are: answers whose head has been sent, those behind which the client had asked for more before the end
 * began (pipelining), those with a `Connection` header of the application's own, connections that were upgraded
 * (WebSocket), and HTTP/2, which has no such header.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';

import { systemClock, type TimerHandle } from '../engine/time/clock.js';
import { setDeadline } from '../engine/time/late-timer.js';
import { property } from '../tenancy/execution-arguments.js';

/** Published for each request, before a handler sees it; also while none listens for it, which costs nothing. */
const REQUEST_START = 'http.server.request.start';

interface ConnectionSource {
  on(event: string, listener: (socket: Socket) => void): unknown;
  off(event: string, listener: (socket: Socket) => void): unknown;
  listeners(event: string): readonly unknown[];
}

export class KeptAliveConnections {
  readonly #server: ConnectionSource | undefined;
  readonly #handlers: readonly unknown[];
  readonly #event: string;
  readonly #open = new Set<Socket>();
  /** The last answer on each connection that was told to close it, and would have kept it. */
  readonly #lastTold = new WeakMap<Socket, ServerResponse>();
  /** Connections that wait for a request, so that they can be told. */
  readonly #untold = new Set<Socket>();
  /** Since when connections were seen on which nothing was sent; a reading of the clock. */
  readonly #unusedSinceMs = new WeakMap<Socket, number>();
  #allTold: () => void = () => {};
  #lastToldAtMs = 0;
  #telling = false;

  /**
   * @param server Node's for HTTP, HTTPS or HTTP/2; anything else has no connections.
   * @param application what Express or Fastify made: how servers are known that the application, or Fastify for a name
   * with two addresses, has put beside the one that Nest knows.
   */
  constructor(server: unknown, application?: unknown) {
    this.#server = isConnectionSource(server) ? server : undefined;
    this.#handlers = [application, property(application, 'routing')].filter((handler) => typeof handler === 'function');
    this.#event = server instanceof TlsServer ? 'secureConnection' : 'connection';
    this.#server?.on(this.#event, this.#opened);
  }

  /** From now on answers end their connections. */
  tellToClose(): void {
    if (this.#telling || this.#server === undefined) return;
    this.#telling = true;
    this.#lastToldAtMs = systemClock.now();
    subscribe(REQUEST_START, this.#requestStarted);
    for (const socket of this.#open) {
      const answer = property(socket, '_httpMessage');
      if (isAnswer(answer)) {
        if (isLastRequest(socket, answer)) this.#tell(socket, answer);
      } else if (speaksHttp(socket)) this.#untold.add(socket);
    }
  }

  /**
   * Resolves when each connection that was open and idle when the telling began has closed or got a request; at the
   * latest after `atMostMs`, or when none of them got one for `silentMs`: these aren't just about to send.
   */
  async toldOrSilent(silentMs: number, atMostMs: number): Promise<void> {
    if (this.#untold.size === 0) return;
    const endAtMs = systemClock.now() + atMostMs;
    await new Promise<void>((resolve) => {
      let timer: TimerHandle;
      const wait = (): void => {
        const leftMs = Math.min(this.#lastToldAtMs + silentMs, endAtMs) - systemClock.now();
        if (leftMs <= 0) return resolve();
        timer = setDeadline(systemClock, wait, leftMs);
        timer.ref();
      };
      this.#allTold = () => {
        timer.cancel();
        resolve();
      };
      wait();
    });
  }

  /**
   * Closes connections on which nothing was ever sent, and was not either when a call found them `forMs` ago: a client
   * that is short of time sends its first request late. Browsers open such connections ahead of requests, and balancers
   * to see whether the port is open; Node counts them as busy (nodejs/node#63452), and a server would wait for them.
   */
  closeUnused(forMs: number): void {
    const nowMs = systemClock.now();
    for (const socket of this.#open) {
      if (socket.bytesRead > 0) continue;
      const sinceMs = this.#unusedSinceMs.get(socket);
      if (sinceMs === undefined) this.#unusedSinceMs.set(socket, nowMs);
      else if (nowMs - sinceMs >= forMs) socket.destroy();
    }
  }

  /** Leaves the server as it was. */
  stop(): void {
    this.#server?.off(this.#event, this.#opened);
    if (this.#telling) unsubscribe(REQUEST_START, this.#requestStarted);
  }

  readonly #opened = (socket: Socket): void => {
    this.#open.add(socket);
    socket.once('close', () => {
      this.#open.delete(socket);
      this.#told(socket);
    });
  };

  readonly #requestStarted = (message: unknown): void => {
    const { server, socket, response } = message as {
      readonly server: unknown;
      readonly socket: Socket;
      readonly response: unknown;
    };
    if (!isAnswer(response) || !this.#isOurs(server)) return;
    // The client has sent this request without waiting for the answer before: the last of them ends the connection.
    const before = this.#lastTold.get(socket);
    if (before !== undefined && !before.headersSent) before.shouldKeepAlive = true;
    this.#tell(socket, response);
    this.#told(socket);
  };

  #isOurs(server: unknown): boolean {
    if (server === this.#server) return true;
    return (
      isConnectionSource(server) && server.listeners('request').some((handler) => this.#handlers.includes(handler))
    );
  }

  #tell(socket: Socket, answer: ServerResponse): void {
    if (answer.headersSent || !answer.shouldKeepAlive) return;
    answer.shouldKeepAlive = false;
    this.#lastTold.set(socket, answer);
  }

  #told(socket: Socket): void {
    if (!this.#untold.delete(socket)) return;
    this.#lastToldAtMs = systemClock.now();
    if (this.#untold.size === 0) this.#allTold();
  }
}

/** Of HTTP/1: those of HTTP/2 are of another class. */
function isAnswer(value: unknown): value is ServerResponse {
  return value instanceof ServerResponse;
}

/**
 * Whether the client has sent no further request while it waits for this answer: Node sends nothing behind an answer
 * that says that the connection closes, and what is to be sent later can't be found from the socket.
 */
function isLastRequest(socket: Socket, answer: ServerResponse): boolean {
  return property(property(socket, 'parser'), 'incoming') === answer.req;
}

/** Node takes the parser away from a connection that is upgraded, and one of HTTP/2 never has one. */
function speaksHttp(socket: Socket): boolean {
  return property(socket, 'parser') != null;
}

function isConnectionSource(server: unknown): server is ConnectionSource {
  return ['on', 'off', 'listeners'].every((method) => typeof property(server, method) === 'function');
}
