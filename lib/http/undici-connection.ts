/**
 * One undici client, which is one socket at a time to one origin.
 *
 * Promises: `destroy` closes the socket in any phase, an unanswered connect included, so that connects
 * which were given up never add up; no socket carries a second request while bytes of the first are on their way in
 * either direction, or after `keepAliveTimeoutMs` without a request.
 */
import { Socket } from 'node:net';

import type { buildConnector, Client } from 'undici';

import { runOutside } from '../engine/outside-context.js';
import type { Clock } from '../engine/time/clock.js';
import { DeadlineEntry, type Deadlines } from '../engine/time/deadlines.js';
import type { Undici } from './http-packages.js';
import { InterimAnswers } from './interim-answers.js';
import { dataAfterClose, strayBytes } from './parser-errors.js';

/** How sockets are opened and kept. */
export interface ConnectionSettings {
  /** One for all connections of a pool, because it keeps their TLS sessions: a next handshake is then a short one. */
  readonly connect: buildConnector.connector;
  readonly connectTimeoutMs: number;
  /** How long an idle socket is kept; a server can only shorten it. */
  readonly keepAliveTimeoutMs: number;
  readonly deadlines: Deadlines;
  readonly clock: Clock;
}

/** How the incoming direction of a socket stands: a server may end it, which can be the end of a body, or break it. */
type Incoming = 'open' | 'ended' | 'broken';

/** It is itself the deadline of its connect: undici's own timer would fire first after a blocked event loop. */
export class UndiciConnection extends DeadlineEntry {
  override readonly keepsProcessAlive = true;
  readonly client: Client;
  readonly #settings: ConnectionSettings;
  #socket: Socket | undefined;
  #interim: InterimAnswers | undefined;
  #requestsOnSocket = 0;
  #idleSinceMs: number | undefined;
  #retired = false;
  /** Whether bytes came after the last answer of the present socket. */
  #leftOver = false;
  /** Of the present socket. */
  incoming: Incoming = 'open';

  constructor(undici: Undici, origin: string, settings: ConnectionSettings) {
    super();
    this.#settings = settings;
    this.client = new undici.Client(origin, {
      connect: (options, callback) => {
        const { clock, connect, deadlines, connectTimeoutMs } = settings;
        this.#requestsOnSocket = 0;
        deadlines.add(this, clock.now() + connectTimeoutMs);
        // The connector returns the socket that it is opening, which is the only way to end a connect early.
        const opening: unknown = runOutside(() =>
          connect(options, (...result) => {
            deadlines.remove(this);
            const [, socket] = result;
            // An error comes alone.
            if (socket instanceof Socket) this.#opened(socket);
            callback(...result);
          }),
        );
        this.#socket = opening instanceof Socket ? opening : undefined;
      },
      // A slot is one request on one socket; undici 8 would otherwise offer HTTP/2.
      allowH2: false,
      keepAliveTimeout: settings.keepAliveTimeoutMs,
      // What the server says may be longer, but not count for more.
      keepAliveMaxTimeout: settings.keepAliveTimeoutMs,
      // The pool's own deadlines hold instead: they cover the connect and trickling bodies too, and are finer.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  get destroyed(): boolean {
    return this.#retired || this.client.destroyed;
  }

  /** Whether the socket has served a request, and so may be about to be closed by the server. */
  get warm(): boolean {
    return this.#requestsOnSocket > 0 && this.#socket?.destroyed === false;
  }

  /** Whether it has been idle for too long. The timer that closes it is late when the event loop was blocked. */
  get stale(): boolean {
    const { clock, keepAliveTimeoutMs } = this.#settings;
    return this.#idleSinceMs !== undefined && clock.now() - this.#idleSinceMs > keepAliveTimeoutMs;
  }

  /** Whether all that was written has left for the server. */
  get flushed(): boolean {
    return (this.#socket?.writableLength ?? 0) === 0;
  }

  /** What is wrong with the bytes that came with the end of an answer, if anything is. */
  get fault(): Error | undefined {
    return this.#leftOver ? dataAfterClose() : strayBytes(this.#socket?.errored ?? undefined);
  }

  /** A request is about to be written. Returns whether the socket has served another before. */
  begin(): boolean {
    this.#idleSinceMs = undefined;
    this.#interim?.expectHead();
    return this.#requestsOnSocket++ > 0;
  }

  /** An answer has been read to its end, and its request has been written. */
  rest(): void {
    this.#idleSinceMs = this.#settings.clock.now();
  }

  /** Not to be used again. Its socket closes once undici has come back from telling us of the answer's end. */
  retire(): void {
    this.#retired = true;
    queueMicrotask(() => this.destroy());
  }

  /** Ends what is under way gracefully: the socket closes after it. */
  async close(): Promise<void> {
    if (!this.client.closed && !this.client.destroyed) await this.client.close();
  }

  /** Closes the socket, opened or still opening, and fails what is under way on it. */
  destroy(reason?: Error): void {
    this.#settings.deadlines.remove(this);
    void this.client.destroy(reason ?? null);
    this.#socket?.destroy();
  }

  /** The connect has taken too long. */
  override expire(): void {
    const message = `A connect took longer than ${this.#settings.connectTimeoutMs} ms`;
    this.#socket?.destroy(Object.assign(new Error(message), { code: 'UND_ERR_CONNECT_TIMEOUT' }));
  }

  #opened(socket: Socket): void {
    this.#socket = socket;
    this.incoming = 'open';
    this.#leftOver = false;
    this.#interim = new InterimAnswers(socket);
    // undici puts back what its parser has not taken, and on a socket that it has closed that is lost without a word.
    const unshift = socket.unshift.bind(socket);
    socket.unshift = (chunk: Buffer) => {
      if (socket.destroyed && !isBlank(chunk)) this.#leftOver = true;
      unshift(chunk);
    };
    // Before undici's own listeners, which may take the end of the connection for the end of the body.
    socket.once('end', () => this.#incomingOver('ended'));
    socket.once('error', () => this.#incomingOver('broken'));
    socket.once('close', () => this.#incomingOver('broken'));
  }

  #incomingOver(how: Incoming): void {
    if (this.incoming === 'open') this.incoming = how;
  }
}

/** Line breaks behind an answer are no fault of it. */
function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x0d || byte === 0x0a);
}
