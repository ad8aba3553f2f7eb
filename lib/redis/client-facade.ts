/**
 * A client of ioredis as a caller sees it: the same object to use, with a gate in front.
 *
 * Promise: every command, alone, in a pipeline, in a MULTI block, by name, through `call()` or a defined script, passes
 * `send` first; listeners and callbacks run in the context of the code that handed them in, and what they throw is
 * logged; `duplicate()` makes a client that the pool knows. What a caller sets on the facade (a spy in place of a
 * method, a defined command) stays on the facade, where calls through it find it; the client behind never sees it. The
 * client's own handshake doesn't go through the facade and so is never gated. Nothing of the client can be enumerated.
 */
import { inspect } from 'node:util';

import type { Command, Pipeline, Redis } from 'ioredis';

import { BoundListeners, type Listener } from './bound-listeners.js';
import { guardingCallback, isFunction, type ReportThrown, told } from './caller-code.js';
import { CommandReceiver } from './command-receiver.js';
import { guardPipeline } from './guarded-pipeline.js';
import { gatePipeline, type PipelineGate } from './pipeline-gate.js';
import {
  commandMethods,
  type CommandSink,
  type IoredisModule,
  isSendable,
  markAsCallers,
  type RedisClient,
} from './redis-client.js';
import { isLike, shownOptions } from './shown-options.js';

/** What all facades of one pool have in common. */
export interface FacadeOptions {
  readonly poolId: string;
  readonly ioredis: IoredisModule;
  readonly report: ReportThrown;
  /** What every command fails with: the pool has no address. Undefined: it has one. */
  readonly noAddress?: Error | undefined;
}

export abstract class ClientFacade<C extends RedisClient> implements ProxyHandler<C>, NodeOwner {
  /** What callers get. */
  readonly proxy: C;
  protected readonly facade: FacadeOptions;
  /** What the client's options look like from here, where that differs. */
  readonly #shown: object;
  /** Holds what callers set on the facade. */
  readonly #own: C;
  readonly #methods = new Map<string | symbol, unknown>();
  /** What ioredis' methods that send a command are called on. */
  #receiver: object | undefined;
  #listeners: BoundListeners | undefined;
  #nodes: WeakMap<Redis, Redis> | undefined;

  /** @param shown isn't copied: a facade is made for each lease, and its options are hardly ever looked at. */
  constructor(first: C, facade: FacadeOptions, shown: object) {
    this.facade = facade;
    this.#shown = shown;
    this.#own = emptyClient(first, () => `${first.constructor.name} of pool "${facade.poolId}", ${this.client.status}`);
    this.proxy = new Proxy(this.#own, this);
  }

  /** The client behind. */
  protected abstract get client(): C;

  /** Lets a command through, holds it, or rejects it; returns the command's promise. */
  protected abstract send(command: Command, stream: unknown, node: unknown): unknown;

  /** Throws when the caller may not use this client any more. */
  abstract assertUsable(): void;

  /** Why a command can't be part of a pipeline; `bare`: a MULTI that nothing would close. */
  abstract rejectionInPipeline(command: Command, bare: boolean): Error | undefined;

  /** Why a pipeline of this many commands can't be sent now. */
  abstract rejectionOfPipeline(length: number): Error | undefined;

  /** A new client like this one, of the caller's own. */
  protected abstract duplicate(args: readonly unknown[]): C;

  /** The same as `send`, to one node of the cluster that the client is for. */
  abstract sendToNode(node: CommandSink, command: Command, stream: unknown): unknown;

  /** A new client of a node alone, of the caller's own. */
  abstract duplicateNode(node: Redis, args: readonly unknown[]): Redis;

  /** A caller has called quit() or disconnect() on a node. */
  abstract endNode(node: Redis, method: string): void;

  /** What a kind of facade does in place of the client's own property `key`; `undefined`: the client's own. */
  protected abstract replacement(key: string | symbol): unknown;

  get(own: C, key: string | symbol): unknown {
    if (Object.hasOwn(own, key)) return Reflect.get(own, key);
    const value = this.#replaced(key);
    if (value !== undefined) return value;
    const inherited: unknown = Reflect.get(this.client, key);
    if (!isFunction(inherited) || !this.#isCommand(key)) return inherited;
    const method = this.#commandMethod(inherited);
    this.#methods.set(key, method);
    return method;
  }

  /** What stands in place of the client's own property; undefined: its own. */
  #replaced(key: string | symbol): unknown {
    const known = this.#methods.get(key);
    if (known !== undefined) return known;
    const value = this.replacement(key) ?? this.#common(key);
    if (value !== undefined) this.#methods.set(key, value);
    return value;
  }

  /**
   * A method that sends a command. ioredis' own reads the client's options and its `sendCommand` for each command: from
   * the proxy that would cost as much as the rest of the command.
   */
  #commandMethod(method: (...args: never[]) => unknown): (...args: unknown[]) => unknown {
    const { proxy } = this;
    const receiver = (this.#receiver ??= this.#newReceiver());
    const guarding = this.guardingCallback(method);
    return function (this: unknown, ...args: unknown[]): unknown {
      return Reflect.apply(guarding, this === proxy ? receiver : this, args);
    };
  }

  /** With the auto-pipelining of a cluster's client the methods read much more. */
  #newReceiver(): object {
    const { client } = this;
    return 'nodes' in client && client.options.enableAutoPipelining === true ? this.proxy : new CommandReceiver(this);
  }

  /** The client's options as a caller has set them, or as they are behind the facade. */
  get presentOptions(): C['options'] {
    return Object.hasOwn(this.#own, 'options') || this.#methods.has('options')
      ? this.proxy.options
      : this.client.options;
  }

  sendFrom(receiver: object, command: Command, stream: unknown, node: unknown): unknown {
    return Object.hasOwn(this.#own, 'sendCommand')
      ? Reflect.apply(this.proxy.sendCommand, receiver, [command, stream, node])
      : this.#send(command, stream, node);
  }

  set(own: C, key: string | symbol, value: unknown): boolean {
    // An emitter's own state belongs to the emitter.
    if (key === '_maxListeners' || key === '_events' || key === '_eventsCount')
      return Reflect.set(this.client, key, value);
    return Reflect.set(own, key, value);
  }

  has(own: C, key: string | symbol): boolean {
    return Reflect.has(own, key) || Reflect.has(this.client, key);
  }

  /** Listeners that were added through this facade. */
  protected get listeners(): BoundListeners {
    return (this.#listeners ??= new BoundListeners(this.client, this.facade.report, (node) => this.#presented(node)));
  }

  /** The same, without making any. */
  protected get listenersIfAny(): BoundListeners | undefined {
    return this.#listeners;
  }

  /** Has a callback in ioredis' style told how `promise` ends, in the context of this call. */
  protected told<T>(promise: Promise<T>, callback: unknown): Promise<T> {
    return told(promise, callback, this.facade.report);
  }

  /** What callers get of a node of the cluster. */
  #presented(node: unknown): unknown {
    if (!isConnection(node, this.facade.ioredis)) return node;
    this.#nodes ??= new WeakMap();
    let presented = this.#nodes.get(node);
    if (presented === undefined) {
      presented = new NodeFacade(node, this.facade, this).proxy;
      this.#nodes.set(node, presented);
    }
    return presented;
  }

  #common(key: string | symbol): unknown {
    switch (key) {
      case 'nodes': {
        const { client } = this;
        return 'nodes' in client
          ? (role?: NodeRole): unknown => client.nodes(role).map((node) => this.#presented(node))
          : undefined;
      }
      case 'options':
        return shownOptions(() => this.client.options, this.#shown);
      case 'sendCommand':
        return (command: Command, stream: unknown, node: unknown) => this.#send(command, stream, node);
      case 'scriptsSet':
        // defineCommand() adds to it.
        return { ...this.client.scriptsSet };
      case 'addedBuiltinSet':
        return new Set(this.client.addedBuiltinSet);
      case '_autoPipelines':
        // Here and not in the client, which may be replaced before what is in them has been sent.
        return new Map();
      case '_runningAutoPipelines':
        return new Set();
      case 'defineCommand':
        return (name: string, definition: unknown): void => this.#defineCommand(name, definition);
      case 'pipeline':
        return (commands?: unknown) => this.#pipeline(this.client.pipeline.call(this.proxy), commands);
      case 'multi':
        return (first?: unknown, second?: unknown) => this.#multi(first, second);
      case 'monitor': {
        // A cluster's client has none.
        const monitor: unknown = Reflect.get(this.client, 'monitor');
        return isFunction(monitor) ? this.guardingCallback(monitor) : undefined;
      }
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

  #send(command: Command, stream: unknown, node: unknown): unknown {
    // An argument, or a transformer of arguments, has thrown: the promise is rejected, and there is nothing to send.
    if (!isSendable(command)) return command.promise;
    markAsCallers(command);
    return this.send(command, stream, node);
  }

  #adding(options: { readonly once: boolean; readonly first: boolean }): unknown {
    return (event: string | symbol, listener: Listener) => {
      this.assertUsable();
      this.listeners.add(event, listener, options);
      return this.proxy;
    };
  }

  #isCommand(key: string | symbol): boolean {
    return typeof key === 'string' && commandMethods(this.facade.ioredis).has(key);
  }

  /** `method`, a callback that it gets being guarded. */
  protected guardingCallback(method: (...args: never[]) => unknown): (...args: unknown[]) => unknown {
    const { report } = this.facade;
    // A pipeline takes the methods of defined commands over, so that `this` is not always this client.
    return guardingCallback(method, () => report);
  }

  #defineCommand(name: string, definition: unknown): void {
    Reflect.apply(this.client.defineCommand, this.proxy, [name, definition]);
    for (const method of [name, `${name}Buffer`]) {
      const defined: unknown = Reflect.get(this.#own, method);
      if (isFunction(defined)) Reflect.set(this.#own, method, this.guardingCallback(defined));
    }
  }

  #multi(first: unknown, second: unknown): unknown {
    const [commands, options] = Array.isArray(first) ? [first, second] : [undefined, first ?? second];
    if (isPipelineOff(options)) return this.proxy.call('multi');
    return this.#pipeline(this.client.multi.call(this.proxy), commands);
  }

  #pipeline(made: unknown, commands: unknown): unknown {
    const { ioredis, report } = this.facade;
    if (!isPipeline(made, ioredis)) return made;
    guardPipeline(made, ioredis, report);
    gatePipeline(made, this, report);
    if (Array.isArray(commands)) made.addBatch(commands);
    return made;
  }
}

type NodeRole = 'all' | 'master' | 'slave';

/** What the facade of a cluster's client does for those of its nodes. */
interface NodeOwner extends PipelineGate {
  sendToNode(node: CommandSink, command: Command, stream: unknown): unknown;
  assertUsable(): void;
  duplicateNode(node: Redis, args: readonly unknown[]): Redis;
  endNode(node: Redis, method: string): void;
}

/** A node of a cluster's client: what goes for the client goes for it. */
class NodeFacade extends ClientFacade<Redis> {
  readonly #node: Redis;
  readonly #owner: NodeOwner;

  constructor(node: Redis, facade: FacadeOptions, owner: NodeOwner) {
    super(node, facade, {});
    this.#node = node;
    this.#owner = owner;
  }

  protected override get client(): Redis {
    return this.#node;
  }

  protected override send(command: Command, stream: unknown): unknown {
    return this.#owner.sendToNode(this.#node, command, stream);
  }

  override assertUsable(): void {
    this.#owner.assertUsable();
  }

  override rejectionInPipeline(command: Command, bare: boolean): Error | undefined {
    return this.#owner.rejectionInPipeline(command, bare);
  }

  override rejectionOfPipeline(length: number): Error | undefined {
    return this.#owner.rejectionOfPipeline(length);
  }

  protected override duplicate(args: readonly unknown[]): Redis {
    return this.#owner.duplicateNode(this.#node, args);
  }

  protected override replacement(key: string | symbol): unknown {
    switch (key) {
      case 'connect':
        // Its handshake would otherwise go through the facade.
        return (callback?: unknown): unknown => {
          this.assertUsable();
          return this.told(this.#node.connect(), callback);
        };
      case 'quit':
        return (callback?: unknown): unknown => {
          this.#owner.endNode(this.#node, key);
          return this.told(Promise.resolve('OK'), callback);
        };
      case 'disconnect':
      case 'end':
        return (): void => this.#owner.endNode(this.#node, key);
      default:
        return undefined;
    }
  }

  // A node of a cluster has no nodes.

  override sendToNode(_node: CommandSink, command: Command, stream: unknown): unknown {
    return this.send(command, stream);
  }

  override duplicateNode(_node: Redis, args: readonly unknown[]): Redis {
    return this.duplicate(args);
  }

  override endNode(_node: Redis, method: string): void {
    this.#owner.endNode(this.#node, method);
  }
}

/** An object that passes for a client of the same class, and has nothing of it. */
function emptyClient<C extends RedisClient>(first: C, describe: () => string): C {
  const empty: unknown = Object.create(Reflect.getPrototypeOf(first), {
    [inspect.custom]: { value: describe, enumerable: false, configurable: true },
  });
  if (!isLike(empty, first)) throw new TypeError('An object can be created with any prototype.');
  return empty;
}

function isPipelineOff(options: unknown): boolean {
  return isObject(options) && 'pipeline' in options && options.pipeline === false;
}

function isPipeline(made: unknown, ioredis: IoredisModule): made is Pipeline {
  return made instanceof ioredis.Pipeline;
}

function isConnection(value: unknown, ioredis: IoredisModule): value is Redis {
  return value instanceof ioredis.Redis;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
