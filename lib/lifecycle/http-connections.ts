/**
 * Ends what an HTTP server is still serving after the drain deadline.
 *
 * Nest waits for its server to close before it lets anybody go on, and a server waits for its requests: one handler that never returns would
 * keep the process for as long as its client is patient.
 */

/** The part of Node's servers that is needed. HTTP/2 servers don't have it. */
interface ClosableServer {
  closeAllConnections(): void;
}

/** How long handlers whose leases were just cut have to answer with the error they got, in milliseconds. */
export const LAST_ANSWERS_MS = 250;

/** Cuts every connection of `server`. @returns whether it could. */
export function closeOpenConnections(server: unknown): boolean {
  if (!canClose(server)) return false;
  server.closeAllConnections();
  return true;
}

function canClose(server: unknown): server is ClosableServer {
  return (
    typeof server === 'object' &&
    server !== null &&
    'closeAllConnections' in server &&
    typeof server.closeAllConnections === 'function'
  );
}
