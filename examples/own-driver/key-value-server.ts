/**
 * The backend of the example: a store that speaks lines over TCP, with a session that remembers its namespace.
 *
 *   PING              PONG
 *   USE invoices      OK          from here on keys are those of the namespace
 *   SET key value     OK
 *   GET key           VALUE value, or NONE
 *   RESET             OK          as a new connection is
 *   anything else     ERROR …
 */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

export interface KeyValueServer {
  readonly port: number;
  /** Connections that are open. */
  readonly connections: number;
  /** Ends every connection, as a crash would. */
  dropConnections(): void;
  close(): Promise<void>;
}

/** Starts it on a free port of the loopback interface. */
export async function startKeyValueServer({ maxConnections = 100 } = {}): Promise<KeyValueServer> {
  const values = new Map<string, string>();
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    // First of all: a client that is turned away may reset its connection, too.
    socket.on('error', () => socket.destroy());
    if (sockets.size >= maxConnections) {
      socket.end('ERROR full\n');
      return;
    }
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.write('READY\n');
    let namespace = '';
    const lines = createInterface({ input: socket }).on('error', () => undefined);
    lines.on('line', (line) => {
      const [command = '', key = '', ...rest] = line.split(' ');
      if (key === '' && ['USE', 'SET', 'GET'].includes(command)) return socket.write('ERROR a name is needed\n');
      switch (command) {
        case 'PING':
          return socket.write('PONG\n');
        case 'USE':
          namespace = key;
          return socket.write('OK\n');
        case 'RESET':
          namespace = '';
          return socket.write('OK\n');
        case 'SET':
          values.set(`${namespace}:${key}`, rest.join(' '));
          return socket.write('OK\n');
        case 'GET': {
          const value = values.get(`${namespace}:${key}`);
          return socket.write(value === undefined ? 'NONE\n' : `VALUE ${value}\n`);
        }
        default:
          return socket.write(`ERROR unknown command ${command}\n`);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  const dropConnections = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: address.port,
    get connections() {
      return sockets.size;
    },
    dropConnections,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      dropConnections();
      await closed;
    },
  };
}
