/**
 * Replies that ioredis can't handle.
 *
 * Its handler of replies throws on some that no healthy server sends: a null that was not asked for, a subscription's
 * reply or message without its channel. ioredis 6 throws it again in a tick of its own, ioredis 5 from the socket's
 * event: the process ends either way. ioredis has no hook there, so its handler is replaced, once for all of its
 * clients.
 *
 * Promise: on a connection that was opened under `guardReplies` such a reply ends the connection as one that can't be
 * parsed does, and rejects the commands that wait for a reply on it. Other clients of the process behave as before.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

import { isFunction } from './caller-code.js';

/** What a socket is opened under, its events run under: also a sentinel's, and those of a cluster's subscribers. */
const guarded = new AsyncLocalStorage<true>();
const replaced = new WeakSet<object>();

/** Calls `open`; what arrives over the connections that it opens is guarded. */
export function guardReplies<T>(open: () => T): T {
  return guarded.run(true, open);
}

/** Replaces the handler in this process' ioredis. Without effect where a version of ioredis has it in another place. */
export async function replaceReplyHandler(): Promise<void> {
  let loaded: unknown;
  try {
    loaded = await import('ioredis/built/DataHandler.js');
  } catch {
    return;
  }
  const prototype = handlerPrototype(loaded);
  if (prototype === undefined || replaced.has(prototype)) return;
  replaced.add(prototype);
  const giveUp: unknown = Reflect.get(prototype, 'returnFatalError');
  if (!isFunction(giveUp)) return;
  for (const name of ['returnReply', 'returnError', 'returnPush']) {
    const handle: unknown = Reflect.get(prototype, name);
    if (isFunction(handle)) Reflect.set(prototype, name, guardedHandler(handle, giveUp));
  }
}

type Handler = (...args: never[]) => unknown;

function guardedHandler(handle: Handler, giveUp: Handler): (this: object, reply: unknown) => void {
  return function (this: object, reply: unknown): void {
    const head = oldestCommand(this);
    try {
      Reflect.apply(handle, this, [reply]);
    } catch (thrown) {
      if (guarded.getStore() === undefined) throw thrown;
      const error = new Error('The server sent what is no reply to what it was asked', { cause: thrown });
      Reflect.apply(giveUp, this, [error]);
      // The reply was for this one, and ioredis had taken it from the queue. Once it has settled, nothing comes of it.
      head?.reject(error);
    }
  };
}

/** The command that the next reply belongs to. */
function oldestCommand(handler: object): { readonly reject: (error: Error) => void } | undefined {
  const client: unknown = Reflect.get(handler, 'redis');
  if (!isObject(client) || !('commandQueue' in client) || !hasFront(client.commandQueue)) return undefined;
  return client.commandQueue.peekFront()?.command;
}

interface HasFront {
  peekFront(): { readonly command: { readonly reject: (error: Error) => void } } | undefined;
}

function hasFront(queue: unknown): queue is HasFront {
  return isObject(queue) && 'peekFront' in queue && isFunction(queue.peekFront);
}

/** The class is the default of a CommonJS module, which Node gives as the default of a module once more. */
function handlerPrototype(loaded: unknown): object | undefined {
  let exported = loaded;
  while (isObject(exported) && 'default' in exported) exported = exported.default;
  if (!isFunction(exported)) return undefined;
  const prototype: unknown = Reflect.get(exported, 'prototype');
  return isObject(prototype) ? prototype : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
