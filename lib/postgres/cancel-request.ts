/**
 * Asks a server to cancel what a session is doing.
 *
 * A cancel request names a connection, not a query: coming late it kills whatever runs there next (pgbouncer #717). So
 * the promise resolves only when the server has closed the request's socket, which it does after it has passed the
 * request on; until then the session must not be given anything else to do.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Client } from 'pg';

import { backendKeyOf } from './pg-module.js';

const CANCEL_REQUEST_CODE = 80877102;
const SSL_REQUEST_CODE = 80877103;
const SSL_ACCEPTED = 0x53;

/** Uses one more socket to the server, beyond the pool's slots, for as long as it takes. Rejects when it can't be delivered. */
export function cancelRunning(client: Client): Promise<void> {
  const { processID, secretKey } = backendKeyOf(client);
  const request = Buffer.alloc(16);
  request.writeInt32BE(16, 0);
  request.writeInt32BE(CANCEL_REQUEST_CODE, 4);
  request.writeInt32BE(processID, 8);
  request.writeInt32BE(secretKey, 12);
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
    socket.once('connect', () => {
      if (client.ssl) encrypt(socket, client, send);
      else send(socket);
    });
  });
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
