/**
 * One connection to the store, as any client library has one: it sends lines, and gives each reply to the request that
 * waits for it.
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

/** What the server answered: the connection is fine. */
export class ReplyError extends Error {}

/** The connection is gone. */
export class ConnectionGoneError extends Error {}

interface PendingReply {
  resolve(line: string): void;
  reject(error: Error): void;
}

export class KeyValueConnection {
  readonly #socket: Socket;
  readonly #pending: PendingReply[] = [];
  #goneBecause: Error | undefined;
  #listener: ((error: Error) => void) | undefined;
  /** Whether the session is other than a new one. */
  hasNamespace = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    createInterface({ input: socket })
      .on('line', (line) => this.#answered(line))
      // It repeats the socket's.
      .on('error', () => undefined);
    socket.on('error', (error) => this.#gone(error));
    socket.on('close', () => this.#gone(new ConnectionGoneError('The store closed the connection.')));
  }

  /** Resolves when the server has said that it is ready. When `signal` aborts, nothing is left open. */
  static async open(port: number, signal: AbortSignal): Promise<KeyValueConnection> {
    const socket = connect({ port, host: '127.0.0.1' });
    const abort = (): void => void socket.destroy(new ConnectionGoneError('The connect was given up.'));
    signal.addEventListener('abort', abort, { once: true });
    try {
      const connection = new KeyValueConnection(socket);
      const greeting = await connection.#reply();
      if (greeting !== 'READY') throw new ReplyError(greeting);
      return connection;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Sends a command; resolves with the reply. */
  async send(command: string): Promise<string> {
    // A second line would be a second command, and its reply would go to the next request.
    if (/[\r\n]/.test(command)) throw new ReplyError('A command is one line.');
    if (this.#goneBecause !== undefined) throw this.#goneBecause;
    this.#socket.write(`${command}\n`);
    const reply = await this.#reply();
    if (reply.startsWith('ERROR ')) throw new ReplyError(reply.slice('ERROR '.length));
    return reply;
  }

  /** Calls `listener` once, when the connection is gone. */
  onGone(listener: (error: Error) => void): void {
    this.#listener = listener;
  }

  /** Ends it when what was sent has been answered. */
  end(): Promise<void> {
    return new Promise((resolve) => this.#socket.end(() => resolve()));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #reply(): Promise<string> {
    return new Promise((resolve, reject) => this.#pending.push({ resolve, reject }));
  }

  /** A reply that was not asked for would be given to the next request, and each that follows to a wrong one. */
  #answered(line: string): void {
    const pending = this.#pending.shift();
    if (pending === undefined) this.#socket.destroy(new ConnectionGoneError('A reply came to no request.'));
    else pending.resolve(line);
  }

  #gone(error: Error): void {
    if (this.#goneBecause !== undefined) return;
    this.#goneBecause = error;
    for (const { reject } of this.#pending.splice(0)) reject(error);
    this.#listener?.(error);
  }
}
