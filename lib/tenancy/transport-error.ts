/**
 * Says an answer in the words of the transport: an HttpException with a `Retry-After` header, an RpcException, a
 * WsException.
 *
 * Nest's filters for messages and sockets pass on what is an instance of their own exception class, and hide everything
 * else. Those classes come from packages that an application without microservices or sockets doesn't have, so they are
 * loaded when the first such error is on its way.
 */
import { type ArgumentsHost, HttpException } from '@nestjs/common';

import { property, responseOf } from './execution-arguments.js';
import { type Answer, REASONS } from './pool-error-answer.js';

/** The error that makes Nest give this answer; a promise of it where its class has yet to be loaded. */
export function transportError(answer: Answer, host: ArgumentsHost, cause?: unknown): Error | Promise<Error> {
  switch (host.getType<string>()) {
    case 'rpc':
      return rpcException(answer, cause);
    case 'ws':
      return wsException(answer, cause);
    default:
      return httpException(answer, host, cause);
  }
}

/** The same for HTTP and GraphQL, where nothing has to be loaded. */
export function httpException(answer: Answer, host: ArgumentsHost, cause?: unknown): HttpException {
  if (answer.retryAfterSeconds !== undefined)
    setHeader(responseOf(host), 'Retry-After', String(answer.retryAfterSeconds));
  const body = { statusCode: answer.status, error: REASONS[answer.status], message: answer.message };
  return new HttpException(body, answer.status, { cause });
}

async function rpcException(answer: Answer, cause: unknown): Promise<Error> {
  // Without try, webpack and its like can't bundle an application that doesn't have the package.
  try {
    const { RpcException } = await import('@nestjs/microservices');
    return withCause(new RpcException(messageBody(answer)), cause);
  } catch {
    return new Error(answer.message, { cause });
  }
}

async function wsException(answer: Answer, cause: unknown): Promise<Error> {
  try {
    const { WsException } = await import('@nestjs/websockets');
    return withCause(new WsException(messageBody(answer)), cause);
  } catch {
    return new Error(answer.message, { cause });
  }
}

/** What a caller gets who can't be sent a header: the same, and the seconds beside it. */
function messageBody(answer: Answer): object {
  return {
    status: 'error',
    statusCode: answer.status,
    error: REASONS[answer.status],
    message: answer.message,
    ...(answer.retryAfterSeconds === undefined ? {} : { retryAfter: answer.retryAfterSeconds }),
  };
}

/** Not enumerable, so that no serializer finds it: what a driver said stays inside. */
function withCause(error: Error, cause: unknown): Error {
  if (cause !== undefined) Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true });
  return error;
}

/** Express, node:http and HTTP/2 responses have `setHeader`; Fastify's reply has `header`. */
function setHeader(response: unknown, name: string, value: string): void {
  if (property(response, 'headersSent') === true || property(property(response, 'raw'), 'headersSent') === true) return;
  const set = property(response, 'setHeader') ?? property(response, 'header');
  if (typeof set === 'function') Reflect.apply(set, response, [name, value]);
}
