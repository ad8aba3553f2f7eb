/**
 * Sends what goes round axios over a slot's undici connections.
 */
import type { DirectAnswer, DirectAttempt, DirectClient, DirectOptions } from './direct-client.js';
import type { DirectMessage } from './direct-options.js';
import { Exchange } from './exchange.js';
import type { Undici } from './http-packages.js';
import type { HttpSlot } from './http-slot.js';
import { type ConnectionSettings, UndiciConnection } from './undici-connection.js';

export class DirectOverUndici implements DirectClient {
  readonly #undici: Undici;
  readonly #settings: ConnectionSettings;
  readonly #make = (origin: string): UndiciConnection => new UndiciConnection(this.#undici, origin, this.#settings);

  constructor(undici: Undici, settings: ConnectionSettings) {
    this.#undici = undici;
    this.#settings = settings;
  }

  send(message: DirectMessage, slot: HttpSlot, options: DirectOptions): DirectAttempt {
    return new UndiciAttempt(slot.connection(message.url.origin, this.#make), message, options);
  }

  reconnect({ url }: DirectMessage, slot: HttpSlot): void {
    slot.connection(url.origin, this.#make).destroy();
  }
}

class UndiciAttempt implements DirectAttempt {
  readonly #exchange: Exchange;

  constructor(connection: UndiciConnection, message: DirectMessage, options: DirectOptions) {
    this.#exchange = new Exchange(connection, {
      followRedirects: false,
      streams: true,
      wantsStream: () => true,
      makeBody: (source) => options.makeBody(source),
      maxBytes: -1,
      tooLong: () => new Error('A stream has a limit of its own'),
      explain: (error) => options.explain(error),
      progress: () => {},
    });
    this.#exchange.send(message);
  }

  get answer(): Promise<DirectAnswer> {
    return this.#exchange.answer;
  }

  get sent(): boolean {
    return this.#exchange.sent;
  }

  get answered(): boolean {
    return this.#exchange.answered;
  }

  get reusedSocket(): boolean {
    return this.#exchange.reusedSocket;
  }

  abort(reason: Error): void {
    this.#exchange.abort(reason);
  }
}
