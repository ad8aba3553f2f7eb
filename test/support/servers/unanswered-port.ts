// A port whose connection attempts are neither accepted nor refused: what a firewall that drops packets looks like to a
// client.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

import { LOOPBACK } from './free-port.js';

export interface UnansweredPort extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Listens with the shortest queue and then does nothing but wait, synchronously, for the end of its standard input: it
 * never accepts. Once the kernel's queue is full, further SYNs are dropped. (Linux does that; other systems may refuse
 * instead.)
 */
const LISTENER = `
  const server = require('node:net').createServer();
  server.listen({ host: '${LOOPBACK}', port: 0, backlog: 1 }, () => {
    require('node:fs').writeSync(1, server.address().port + '\\n');
    try { require('node:fs').readSync(0, Buffer.alloc(1)); } catch {}
    process.exit();
  });
`;

/** How long a connection that will be made takes at most, on loopback. */
const CONNECTED_WITHIN_MS = 250;

/** Opens such a port. */
export async function startUnansweredPort(): Promise<UnansweredPort> {
  const listener = spawn(process.execPath, ['-e', LISTENER], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  const exited = once(listener, 'exit');
  const [line] = (await once(createInterface({ input: listener.stdout }), 'line')) as [string];
  const port = Number(line);

  const filling: Socket[] = [];
  const close = async () => {
    for (const socket of filling) socket.destroy();
    listener.stdin.end();
    await exited;
  };
  // Fills the queue until a connection is no longer made.
  for (let full = false; !full;) {
    const socket = connect({ host: LOOPBACK, port });
    socket.on('error', () => {});
    filling.push(socket);
    full = await new Promise<boolean>((resolve) => {
      const late = setTimeout(() => resolve(true), CONNECTED_WITHIN_MS);
      socket.once('connect', () => {
        clearTimeout(late);
        resolve(false);
      });
    });
    if (filling.length > 64) {
      await close();
      throw new Error('This system accepts connections that nobody accepts: there is no unanswered port to be had.');
    }
  }
  return { host: LOOPBACK, port, close, [Symbol.asyncDispose]: close };
}
