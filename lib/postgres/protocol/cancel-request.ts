/**
 * Asks a server to cancel what a session is doing.
 *
 * A cancel request names a connection, not a query: coming late it cancels the query that runs there next (pgbouncer
 * #717). So the promise resolves only when the server has closed the request's socket, which it does after it has
 * passed the request on; until then the session must not be given anything else to do.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

import type { Client } from 'pg';

import { runOutside } from '../../engine/outside-context.js';
import { backendKeyOf } from './pg-module.js';

const CANCEL_REQUEST_CODE = 80877102;
const SSL_REQUEST_CODE = 80877103;
const SSL_ACCEPTED = 0x53;

/** How long a request may take to be delivered. A server that does not accept it by then will not. */
const DELIVERY_TIMEOUT_MS = 2_000;

/**
 * Uses one more socket to the server, beyond the pool's slots, until the request has been delivered. Rejects when it
 * can't be, as when the server has not told the key that it asks for (poolers in front of it may not).
 */
export function cancelRunning(client: Client): Promise<void> {
  const key = backendKeyOf(client);
  if (key === undefined) return Promise.reject(new Error('The server has not told what a cancel request must show'));
  const request = Buffer.alloc(16);
  const { processID, secretKey } = key;
  request.writeInt32BE(16, 0);
  request.writeInt32BE(CANCEL_REQUEST_CODE, 4);
  request.writeInt32BE(processID, 8);
  request.writeInt32BE(secretKey, 12);
  return runOutside(() => deliver(client, request));
}

function deliver(client: Client, request: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const { host, port } = client;
    const socket = host.startsWith('/') ? connectTcp(`${host}/.s.PGSQL.${port}`) : connectTcp(port, host);
    const send = (over: Socket): void => {
      over.once('error', reject);
      over.once('close', () => resolve());
      over.resume();
      over.write(request);
    };
    socket.once('error', reject);
    // After a blocked event loop what has arrived already is delivered first.
    socket.setTimeout(DELIVERY_TIMEOUT_MS, () => setImmediate(() => void socket.destroy(notDelivered())));
    socket.once('connect', () => {
      if (client.ssl) encrypt(socket, client, send);
      else send(socket);
    });
  });
}

function notDelivered(): Error {
  return new Error(`A cancel request was not delivered within ${DELIVERY_TIMEOUT_MS} ms`);
}

function encrypt(socket: Socket, client: Client, encrypted: (over: Socket) => void): void {
  const request = Buffer.alloc(8);
  request.writeInt32BE(8, 0);
  request.writeInt32BE(SSL_REQUEST_CODE, 4);
  const ssl: unknown = client.ssl;
  const secure = (): void => {
    const over = connectTls({
      ...(typeof ssl === 'object' && ssl !== null ? ssl : {}),
      socket,
      host: client.host,
      ...(isIP(client.host) === 0 ? { servername: client.host } : {}),
      ALPNProtocols: ['postgresql'],
    });
    over.once('secureConnect', () => encrypted(over));
    over.once('error', (error: Error) => socket.destroy(error));
  };
  if ('sslNegotiation' in client && client.sslNegotiation === 'direct') return secure();
  socket.once('data', (answer) => {
    if (answer[0] === SSL_ACCEPTED) secure();
    else socket.destroy(new Error('The server refused to encrypt a cancel request'));
  });
  socket.write(request);
}
