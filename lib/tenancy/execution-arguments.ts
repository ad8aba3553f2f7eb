/**
 * Where each transport of Nest keeps what a tenant can be read from: request, response, headers, payload, user.
 *
 * Nest hands all of it over untyped, and the packages of most transports aren't installed in most applications. So
 * nothing is imported from them and nothing is assumed: every property is looked up, and what isn't there is undefined.
 */
import type { ArgumentsHost } from '@nestjs/common';

/** A property of anything; undefined where there is no such property, or nothing that could have one. */
export function property(of: unknown, name: PropertyKey): unknown {
  return (typeof of === 'object' && of !== null) || typeof of === 'function' ? Reflect.get(of, name) : undefined;
}

/** Calls a method that may not exist. */
function call(of: unknown, method: string, ...args: readonly unknown[]): unknown {
  const fn = property(of, method);
  return typeof fn === 'function' ? Reflect.apply(fn, of, args) : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

/** What a request came in as, before a framework wrapped it: the same object in middleware, guards and interceptors. */
export function unwrapped(wrapped: unknown): object | undefined {
  const raw = property(wrapped, 'raw');
  if (isObject(raw)) return raw;
  return isObject(wrapped) ? wrapped : undefined;
}

/**
 * The HTTP request behind a call: that of an HTTP route, of a GraphQL operation (`req` of its context, or mercurius'
 * `reply.request`), or the handshake of a socket. Undefined for messages.
 */
export function requestOf(host: ArgumentsHost): unknown {
  switch (host.getType<string>()) {
    case 'http':
      return host.getArgByIndex<unknown>(0);
    case 'graphql': {
      const context = host.getArgByIndex<unknown>(2);
      const request =
        property(context, 'req') ?? property(context, 'request') ?? property(property(context, 'reply'), 'request');
      // A subscription over a socket has the request of its handshake one step further in.
      return property(property(request ?? context, 'extra'), 'request') ?? request;
    }
    case 'ws': {
      const client = host.getArgByIndex<unknown>(0);
      return property(client, 'handshake') ?? property(client, 'request') ?? property(client, 'upgradeReq');
    }
    default:
      return undefined;
  }
}

/** The HTTP response that a call will be answered with, where there is one. */
export function responseOf(host: ArgumentsHost): unknown {
  switch (host.getType<string>()) {
    case 'http':
      return host.getArgByIndex<unknown>(1);
    case 'graphql': {
      const context = host.getArgByIndex<unknown>(2);
      return (
        property(context, 'res') ??
        property(context, 'response') ??
        property(context, 'reply') ??
        // Apollo's context has the request only, unless the application adds to it; Express links the two.
        property(property(context, 'req'), 'res')
      );
    }
    default:
      return undefined;
  }
}

/** What the caller sent: a message's data, or the arguments of a GraphQL field. Undefined for HTTP routes. */
export function payloadOf(host: ArgumentsHost): unknown {
  switch (host.getType<string>()) {
    case 'rpc':
      return host.getArgByIndex<unknown>(0);
    case 'ws':
    case 'graphql':
      return host.getArgByIndex<unknown>(1);
    default:
      return undefined;
  }
}

/** The user that a guard found. Never taken from a payload: there a sender can claim to be any user. */
export function userOf(host: ArgumentsHost): unknown {
  switch (host.getType<string>()) {
    case 'rpc':
      return property(host.getArgByIndex<unknown>(1), 'user');
    case 'ws': {
      const client = host.getArgByIndex<unknown>(0);
      return (
        property(client, 'user') ?? property(property(client, 'data'), 'user') ?? property(requestOf(host), 'user')
      );
    }
    default:
      return property(requestOf(host), 'user');
  }
}

/**
 * Every value that a header has: of the HTTP request, or of the message, where its transport has headers (TCP and Redis
 * metadata, NATS, Kafka, RabbitMQ, MQTT 5 user properties, gRPC metadata). Values that a transport keeps apart come
 * apart.
 *
 * @param name in lower case.
 */
export function headerValues(host: ArgumentsHost, name: string): readonly unknown[] {
  if (host.getType<string>() === 'rpc') return messageHeaderValues(host.getArgByIndex<unknown>(1), name);
  // Node has the names of HTTP headers in lower case already.
  const headers = property(requestOf(host), 'headers');
  return isObject(headers) && Object.hasOwn(headers, name) ? listOf(property(headers, name)) : [];
}

function messageHeaderValues(context: unknown, name: string): readonly unknown[] {
  const natsHeaders = call(context, 'getHeaders');
  if (isIterable(natsHeaders)) return valuesNamed(natsHeaders, name);
  // What a gRPC handler gets as its context is the call's metadata itself.
  const grpcValues = call(context, 'get', name);
  if (Array.isArray(grpcValues)) return grpcValues;
  const message = call(context, 'getMessage');
  const headers =
    call(context, 'getMetadata') ??
    property(message, 'headers') ??
    property(property(message, 'properties'), 'headers') ??
    property(property(call(context, 'getPacket'), 'properties'), 'userProperties');
  return isObject(headers) ? valuesNamed(Object.entries(headers), name) : [];
}

/** Messages carry header names as they were sent: two that differ in case only are the same header twice. */
function valuesNamed(entries: Iterable<unknown>, name: string): readonly unknown[] {
  const values: unknown[] = [];
  for (const entry of entries) {
    const key = property(entry, 0);
    if (typeof key === 'string' && key.toLowerCase() === name) values.push(...listOf(property(entry, 1)));
  }
  return values;
}

function listOf(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof property(value, Symbol.iterator) === 'function';
}
