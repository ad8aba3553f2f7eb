// A proxy in front of PostgreSQL that lets a test change what the server says, message by message.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

import { LOOPBACK } from './free-port.js';

/** What the server's next message becomes: itself, others, or nothing. `type` is its first byte, as a letter. */
export type MessageEdit = (type: string, message: Buffer) => readonly Buffer[];

export interface MessageProxy extends AsyncDisposable {
  readonly port: number;
  /** How what the server says is changed from now on; as it is at first. */
  edit: MessageEdit;
  /** Ends every open connection. */
  cut(): void;
  close(): Promise<void>;
}

/** A message of the server's with these contents. */
export function serverMessage(type: string, body: string | Buffer = ''): Buffer {
  const bytes = Buffer.from(body);
  const head = Buffer.alloc(5);
  head.write(type, 0, 'latin1');
  head.writeInt32BE(bytes.length + 4, 1);
  return Buffer.concat([head, bytes]);
}

/** Starts one in front of the server at `target`, a connection string. Plain connections only. */
export async function startMessageProxy(target: string): Promise<MessageProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    let rest = Buffer.alloc(0);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      // Messages go out one by one: waiting for acknowledgements would cost 40 ms each.
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 5) {
        const length = rest.readInt32BE(1) + 1;
        if (rest.length < length) return;
        const message = rest.subarray(0, length);
        rest = rest.subarray(length);
        for (const edited of proxy.edit(message.toString('latin1', 0, 1), message)) client.write(edited);
      }
    });
  });
  server.listen(0, LOOPBACK);
  await once(server, 'listening');
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const close = async (): Promise<void> => {
    cut();
    if (!server.listening) return;
    server.close();
    await once(server, 'close');
  };
  const proxy: MessageProxy = {
    port: (server.address() as AddressInfo).port,
    edit: (_type, message) => [message],
    cut,
    close,
    [Symbol.asyncDispose]: close,
  };
  return proxy;
}
