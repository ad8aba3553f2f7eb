/**
 * The body of an answer to `pool.request()`: read at once, or as a stream.
 *
 * Promises: `ended` is called once, when the body has arrived, was destroyed or discarded; nothing more is taken from
 * the connection than the reader asks for, or 64 KiB where there is none; an unread body that is cut ends no process;
 * its events are in the context of the code that listens.
 */
import { AsyncResource } from 'node:async_hooks';
import { Readable } from 'node:stream';

/** What arrives before someone reads. */
const UNREAD_BYTES = 64 * 1024;

/** What a body needs to know of its connection. */
export interface BodySource {
  /** Goes on after `receive` has said no. */
  resume(): void;
  /** The body will not be read to its end. */
  abandoned(reason: Error | null): void;
}

/** A body that can be read once: with one of the methods, or as a stream. */
export abstract class HttpResponseBody extends Readable {
  /** Whether one of the methods has been called, or it is being read as a stream. */
  abstract get bodyUsed(): boolean;
  /** All of it, parsed. */
  abstract json<T = unknown>(): Promise<T>;
  /** All of it, read as UTF-8. */
  abstract text(): Promise<string>;
  /** All of it. */
  abstract bytes(): Promise<Buffer>;
  /** All of it. */
  abstract arrayBuffer(): Promise<ArrayBuffer>;
  /** Gives it up: its slot is free at once. What has not arrived is not waited for; its connection closes. */
  abstract discard(): void;
}

/** The body that an exchange fills. */
export class DirectBody extends HttpResponseBody {
  readonly #source: BodySource;
  readonly #maxBytes: number;
  readonly #ended: () => void;
  #context: AsyncResource | undefined;
  /** What has arrived for a reader that is still to come, or for one that wants it all. */
  #chunks: Buffer[] = [];
  #bytes = 0;
  #reader: 'none' | 'stream' | 'whole' = 'none';
  #state: 'arriving' | 'complete' | 'over' = 'arriving';
  #whole: { resolve(body: Buffer): void; reject(error: Error): void } | undefined;

  /** @param maxBytes a longer body fails; -1: no limit. */
  constructor(source: BodySource, maxBytes: number, ended: () => void) {
    super({ highWaterMark: UNREAD_BYTES });
    this.#source = source;
    this.#maxBytes = maxBytes;
    this.#ended = ended;
  }

  override get bodyUsed(): boolean {
    return this.#reader !== 'none';
  }

  override async json<T = unknown>(): Promise<T> {
    return JSON.parse(await this.text()) as T;
  }

  override async text(): Promise<string> {
    const text = (await this.bytes()).toString('utf8');
    return text.startsWith('\ufeff') ? text.slice(1) : text;
  }

  override async arrayBuffer(): Promise<ArrayBuffer> {
    return new Uint8Array(await this.bytes()).buffer;
  }

  override bytes(): Promise<Buffer> {
    if (this.bodyUsed) return Promise.reject(new TypeError('The body has been read, or is being read'));
    this.#reader = 'whole';
    if (this.#state === 'complete') return Promise.resolve(this.#taken());
    if (this.#state === 'over') return Promise.reject(this.errored ?? discarded());
    return new Promise((resolve, reject) => {
      this.#whole = { resolve, reject };
      this.#source.resume();
    });
  }

  override discard(): void {
    this.destroy();
  }

  /** The next part. Returns whether more may follow at once. */
  receive(chunk: Buffer): boolean {
    if (this.#state !== 'arriving') return true;
    this.#bytes += chunk.length;
    if (this.#maxBytes > -1 && this.#bytes > this.#maxBytes) {
      this.destroy(tooLarge(this.#maxBytes));
      return true;
    }
    if (this.#reader === 'stream') return this.push(chunk);
    this.#chunks.push(chunk);
    return this.#reader === 'whole' || this.#bytes < UNREAD_BYTES;
  }

  /** Nothing follows. */
  complete(): void {
    if (this.#state !== 'arriving') return;
    this.#state = 'complete';
    this.#whole?.resolve(this.#taken());
    if (this.#reader === 'stream') this.push(null);
    this.#ended();
  }

  override _read(): void {
    if (this.#reader === 'none') this.#reader = 'stream';
    for (const chunk of this.#chunks.splice(0)) this.push(chunk);
    if (this.#state === 'complete') this.push(null);
    else if (this.#state === 'arriving') this.#source.resume();
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    const wasArriving = this.#state === 'arriving';
    this.#state = 'over';
    this.#chunks = [];
    this.#whole?.reject(error ?? discarded());
    // A body may be cut before a caller looks at it; the caller that reads it later gets the error.
    if (this.listenerCount('error') === 0) super.on('error', () => {});
    if (wasArriving) {
      this.#source.abandoned(error);
      this.#ended();
    }
    callback(error);
  }

  override on(event: string | symbol, listener: (...args: never[]) => void): this {
    this.#context ??= new AsyncResource('HttpResponseBody', { requireManualDestroy: true });
    return super.on(event, listener as (...args: unknown[]) => void);
  }

  override addListener(event: string | symbol, listener: (...args: never[]) => void): this {
    return this.on(event, listener);
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    const context = this.#context;
    return context === undefined
      ? super.emit(event, ...args)
      : context.runInAsyncScope(() => super.emit(event, ...args));
  }

  #taken(): Buffer {
    const chunks = this.#chunks.splice(0);
    const [first] = chunks;
    return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
  }
}

function discarded(): Error {
  return new Error('The body was discarded before its end');
}

/** With the name and code that undici has for it. */
function tooLarge(maxBytes: number): Error {
  return Object.assign(new Error(`The body is longer than maxContentLength (${maxBytes} bytes)`), {
    name: 'ResponseExceededMaxSizeError',
    code: 'UND_ERR_RES_EXCEEDED_MAX_SIZE',
  });
}
