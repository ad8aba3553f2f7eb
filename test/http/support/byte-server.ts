// A server that speaks bytes: what no HTTP server would answer.
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';

import { LOOPBACK } from '../../support/servers/index.js';

export interface ByteServer extends AsyncDisposable {
  readonly url: string;
  /** Those that are open. */
  readonly sockets: ReadonlySet<Socket>;
  /** How many there have been. */
  readonly accepted: number;
}

export interface ByteServerOptions extends net.ServerOpts {
  /** Default: any that is free. */
  readonly port?: number;
}

/** @param onSocket is given each new socket, and which one it is, from 1. */
export async function startByteServer(
  onSocket: (socket: Socket, number: number) => void,
  { port = 0, ...options }: ByteServerOptions = {},
): Promise<ByteServer> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = net.createServer(options, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    onSocket(socket, ++accepted);
  });
  server.listen(port, LOOPBACK);
  await once(server, 'listening');
  return {
    url: `http://${LOOPBACK}:${(server.address() as AddressInfo).port}`,
    sockets,
    get accepted() {
      return accepted;
    },
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
