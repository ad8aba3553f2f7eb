/**
 * A client of ioredis as a caller sees it: the same object to use, with a gate in front.
 *
 * Promise: every command, alone, in a pipeline, in a MULTI block, by name, through `call()` or a defined script, passes
 * `send` first; listeners run in the context of whoever added them; `duplicate()` makes a client that the pool knows.
 * The client's own handshake doesn't go through the facade and so is never gated.
 */
import type { Command, Pipeline } from 'ioredis';
import { BoundListeners, type Listener } from './bound-listeners.js';
import type { IoredisModule, RedisClient } from './redis-client.js';

export abstract class ClientFacade<C extends RedisClient> implements ProxyHandler<C> {
  /** What callers get. */
  readonly proxy: C;
  protected readonly ioredis: IoredisModule;
  readonly #methods = new Map<string | symbol, unknown>();
  #listeners: BoundListeners | undefined;

  constructor(first: C, ioredis: IoredisModule) {
    this.ioredis = ioredis;
    this.proxy = new Proxy(first, this);
  }

  /** The client behind. */
  protected abstract get client(): C;

  /** Lets a command through, holds it, or rejects it; returns the command's promise. */
  protected abstract send(command: Command, stream: unknown, node: unknown): unknown;

  /** Throws when the caller may not use this client any more. */
  protected abstract assertUsable(): void;

  /** Why a command can't be part of a pipeline of `length` commands; `bare`: a MULTI that nothing would close. */
  protected abstract refusalInPipeline(command: Command, bare: boolean): Error | undefined;

  /** Why a pipeline of this many commands can't be sent now. */
  protected abstract refusalOfPipeline(length: number): Error | undefined;

  /** A new client like this one, of the caller's own. */
  protected abstract duplicate(args: readonly unknown[]): C;

  /** What a kind of facade does in place of the client's own property `key`; `undefined`: the client's own. */
  protected abstract replacement(key: string | symbol): unknown;

  get(_first: C, key: string | symbol): unknown {
    const known = this.#methods.get(key);
    if (known !== undefined) return known;
    const method = this.replacement(key) ?? this.#common(key);
    if (method === undefined) return this.read(key);
    this.#methods.set(key, method);
    return method;
  }

  set(_first: C, key: string | symbol, value: unknown): boolean {
    this.write(key, value);
    return true;
  }

  protected read(key: string | symbol): unknown {
    return Reflect.get(this.client, key);
  }

  protected write(key: string | symbol, value: unknown): void {
    Reflect.set(this.client, key, value);
  }

  /** Listeners that were added through this facade. */
  protected get listeners(): BoundListeners {
    return (this.#listeners ??= new BoundListeners(this.client));
  }

  /** The same, without making any. */
  protected get listenersIfAny(): BoundListeners | undefined {
    return this.#listeners;
  }

  #common(key: string | symbol): unknown {
    switch (key) {
      case 'sendCommand':
        return (command: Command, stream: unknown, node: unknown) => this.send(command, stream, node);
      case 'pipeline':
        return (commands?: unknown) => this.#pipeline(this.client.pipeline.call(this.proxy), commands);
      case 'multi':
        return (first?: unknown, second?: unknown) => this.#multi(first, second);
      case 'duplicate':
        return (...args: readonly unknown[]) => {
          this.assertUsable();
          return this.duplicate(args);
        };
      case 'on':
      case 'addListener':
        return this.#adding({ once: false, first: false });
      case 'once':
        return this.#adding({ once: true, first: false });
      case 'prependListener':
        return this.#adding({ once: false, first: true });
      case 'prependOnceListener':
        return this.#adding({ once: true, first: true });
      case 'off':
      case 'removeListener':
        return (event: string | symbol, listener: Listener) => {
          this.#listeners?.remove(event, listener);
          return this.proxy;
        };
      case 'removeAllListeners':
        return (event?: string | symbol) => {
          this.#listeners?.removeAll(event);
          return this.proxy;
        };
      default:
        return undefined;
    }
  }

  #adding(options: { readonly once: boolean; readonly first: boolean }): unknown {
    return (event: string | symbol, listener: Listener) => {
      this.assertUsable();
      this.listeners.add(event, listener, options);
      return this.proxy;
    };
  }

  #multi(first: unknown, second: unknown): unknown {
    const [commands, options] = Array.isArray(first) ? [first, second] : [undefined, first ?? second];
    if (isPipelineOff(options)) return this.proxy.call('multi');
    return this.#pipeline(this.client.multi.call(this.proxy), commands);
  }

  /**
   * Gates a pipeline as a whole. ioredis writes a pipeline only when each of its commands has asked to be written, so
   * one that is refused on the way would leave the others waiting for ever: it is refused before anything is sent.
   */
  #pipeline(made: unknown, commands: unknown): unknown {
    if (!isPipeline(made, this.ioredis)) return made;
    const pipeline = made;
    const queue = pipeline.sendCommand.bind(pipeline);
    const begin: unknown = Reflect.get(pipeline, 'multi');
    const execute: unknown = Reflect.get(pipeline, 'exec');
    if (typeof begin !== 'function' || typeof execute !== 'function') return pipeline;
    let refusal: Error | undefined;
    let beginning = false;
    // Blocks begun by pipeline.multi(): the exec() that belongs to each only queues EXEC.
    let open = 0;

    pipeline.sendCommand = (command) => {
      refusal ??= this.refusalInPipeline(command, !beginning);
      return queue(command);
    };
    Object.defineProperty(pipeline, 'multi', {
      value: (...args: readonly unknown[]): unknown => {
        beginning = true;
        open++;
        try {
          return Reflect.apply(begin, pipeline, args);
        } finally {
          beginning = false;
        }
      },
    });
    Object.defineProperty(pipeline, 'exec', {
      writable: true,
      value: (...args: readonly unknown[]): unknown => {
        if (open > 0) {
          open--;
          return Reflect.apply(execute, pipeline, args);
        }
        const refused = refusal ?? this.refusalOfPipeline(pipeline.length);
        return refused === undefined ? Reflect.apply(execute, pipeline, args) : rejectedWith(refused, args[0]);
      },
    });
    if (Array.isArray(commands)) pipeline.addBatch(commands);
    return pipeline;
  }
}

/** A promise that is rejected; a callback in ioredis' style is told instead, if there is one. */
export function rejectedWith(error: Error, callback: unknown): Promise<never> {
  const promise: Promise<never> = Promise.reject(error);
  if (typeof callback === 'function')
    promise.catch((reason: unknown) => void Reflect.apply(callback, undefined, [reason]));
  return promise;
}

function isPipelineOff(options: unknown): boolean {
  return typeof options === 'object' && options !== null && 'pipeline' in options && options.pipeline === false;
}

function isPipeline(made: unknown, ioredis: IoredisModule): made is Pipeline {
  return made instanceof ioredis.Pipeline;
}
