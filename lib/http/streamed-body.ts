/**
 * A response body that its caller reads: when it ends, how it is cut, and in whose async context its events are.
 *
 * A body is read long after its request was made, on a connection that another tenant may have opened, and is cut by
 * timers that belong to no tenant: so its events are bound to the context of the caller that asked for it.
 */
import type { AsyncResource } from 'node:async_hooks';
import { finished, type Readable } from 'node:stream';
import {
  ReadableStream,
  type ReadableStreamDefaultController,
  type ReadableStreamDefaultReader,
} from 'node:stream/web';

export interface StreamedBody {
  /** What the caller gets. */
  readonly data: unknown;
  /** Calls `listener` once: when the body has been read to its end, has failed, or was destroyed or cancelled. */
  onEnd(listener: () => void): void;
  /** Cuts it: its reader gets `reason`. */
  destroy(reason: Error): void;
}

/** `undefined`: the body is no stream, or one that is over. */
export function streamedBody(data: unknown, context: AsyncResource): StreamedBody | undefined {
  if (isNodeStream(data)) return data.destroyed ? undefined : new NodeBody(data, context);
  return data instanceof ReadableStream ? new WebBody(data) : undefined;
}

/** Also of streams that come from the package `readable-stream`, or from another realm. */
function isNodeStream(data: unknown): data is Readable {
  if (typeof data !== 'object' || data === null) return false;
  return 'pipe' in data && typeof data.pipe === 'function' && 'on' in data && typeof data.on === 'function';
}

class NodeBody implements StreamedBody {
  readonly data: Readable;

  constructor(data: Readable, context: AsyncResource) {
    this.data = data;
    const emit = data.emit.bind(data);
    Object.defineProperty(data, 'emit', {
      value: (event: string | symbol, ...args: unknown[]) => context.runInAsyncScope(() => emit(event, ...args)),
      configurable: true,
      writable: true,
    });
  }

  onEnd(listener: () => void): void {
    finished(this.data, { writable: false }, () => listener());
  }

  destroy(reason: Error): void {
    this.data.destroy(reason);
  }
}

/** What axios' `fetch` adapter gives. Only its reader sees its end: so it is read through another. */
class WebBody implements StreamedBody {
  readonly data: ReadableStream;
  readonly #reader: ReadableStreamDefaultReader;
  #controller: ReadableStreamDefaultController | undefined;
  #listener: (() => void) | undefined;
  #over = false;

  constructor(source: ReadableStream) {
    this.#reader = source.getReader();
    this.data = new ReadableStream(
      {
        start: (controller: ReadableStreamDefaultController) => void (this.#controller = controller),
        pull: () => this.#pull(),
        cancel: (reason: unknown) => this.#cancel(reason),
      },
      // Nothing is read before the caller reads.
      { highWaterMark: 0 },
    );
  }

  onEnd(listener: () => void): void {
    this.#listener = listener;
    if (this.#over) listener();
  }

  destroy(reason: Error): void {
    if (this.#over) return;
    this.#controller?.error(reason);
    this.#end();
    this.#reader.cancel(reason).catch(() => undefined);
  }

  async #pull(): Promise<void> {
    try {
      const chunk: { readonly done: boolean; readonly value?: unknown } = await this.#reader.read();
      if (this.#over) return;
      if (!chunk.done) return this.#controller?.enqueue(chunk.value);
      this.#controller?.close();
      this.#end();
    } catch (error) {
      if (this.#over) return;
      this.#controller?.error(error);
      this.#end();
    }
  }

  async #cancel(reason: unknown): Promise<void> {
    this.#end();
    await this.#reader.cancel(reason);
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#listener?.();
  }
}
