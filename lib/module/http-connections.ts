/**
 * Closes the connections of an HTTP server during shutdown, so that the server's `close` does not wait for its clients.
 *
 * Nest waits for its server to close before it goes on, and a server waits for all its connections. Node closes those
 * that are idle when the closing begins, but one that is answered later stays open for as long as keep-alive allows (72
 * s on Fastify); and one handler that never returns keeps the process for as long as its client is patient.
 */

import { property } from '../tenancy/execution-arguments.js';

/** The part of Node's servers that is needed. HTTP/2 servers don't have it. */
interface ClosableServer {
  readonly listening: boolean;
  closeIdleConnections(): void;
  closeAllConnections(): void;
  once(event: 'close', listener: () => void): unknown;
}

/** How often connections are looked for that have become idle while a server closes, in milliseconds. */
export const IDLE_SWEEP_MS = 100;

/**
 * How long Nest is kept from closing its server while idle connections still get requests, whose answers say that they
 * close, in milliseconds: until none came for so long, which is many times the pause that a busy client makes …
 */
export const SILENCE_MS = 200;

/** … and no longer than this. */
export const LAST_REQUESTS_MS = 1_000;

/** How long a closing server waits for the first request of a connection, in milliseconds. */
export const UNUSED_MS = 1_000;

/** How long handlers whose leases were just cut have to answer with the error they got, in milliseconds. */
export const LAST_ANSWERS_MS = 250;

/** Whether `server` takes connections; while it does, closing those that are idle cuts requests that are arriving. */
export function isListening(server: unknown): boolean {
  return property(server, 'listening') === true;
}

/** Closes the connections of a closing `server` on which nothing is being served. */
export function closeIdleConnections(server: unknown): void {
  if (isClosable(server)) server.closeIdleConnections();
}

/** Cuts every connection of `server`. @returns whether it could. */
export function closeAllConnections(server: unknown): boolean {
  if (!isClosable(server)) return false;
  server.closeAllConnections();
  return true;
}

/** Resolves when `server` has closed; at once for one that doesn't listen, and for what is no server of Node's. */
export function onceClosed(server: unknown): Promise<void> {
  return new Promise((resolve) => {
    if (isClosable(server) && server.listening) server.once('close', resolve);
    else resolve();
  });
}

function isClosable(server: unknown): server is ClosableServer {
  return (
    typeof server === 'object' &&
    server !== null &&
    'closeIdleConnections' in server &&
    typeof server.closeIdleConnections === 'function' &&
    'closeAllConnections' in server &&
    typeof server.closeAllConnections === 'function'
  );
}
