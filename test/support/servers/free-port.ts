// Ports for servers that may be down for a while and must come back on the same port.
import { createServer } from 'node:net';

/** Everything that the test servers open, they open here. */
export const LOOPBACK = '127.0.0.1';

/**
 * Below the range from which Linux (32768 up) and macOS (49152 up) give ports to outgoing connections: a port from that
 * range can be taken by any connection of any process while its server is being restarted.
 */
const LOWEST = 15_000;
const HIGHEST = 32_000;

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host: LOOPBACK, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * A port of 127.0.0.1 on which nothing listens. With `alsoFree`, so is the port that many above it (a Redis cluster's
 * bus). Another process can still take it before it is used: whoever starts a server tries again with another one.
 */
export async function freePort(alsoFree?: number): Promise<number> {
  for (let tries = 0; tries < 200; tries++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if ((await listens(port)) && (alsoFree === undefined || (await listens(port + alsoFree)))) return port;
  }
  throw new Error(`No free port between ${LOWEST} and ${HIGHEST} on ${LOOPBACK}.`);
}
