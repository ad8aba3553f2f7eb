/**
 * Somebody else's service: it numbers invoices, and takes a few milliseconds for it.
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const THINKING_MS = 5;

export interface BillingServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts it on a free port of the loopback interface. */
export async function startBilling(): Promise<BillingServer> {
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      if (request.method !== 'POST' || request.url !== '/invoices') {
        response.writeHead(404).end();
        return;
      }
      const answer = (): void => {
        response
          .writeHead(201, { 'content-type': 'application/json' })
          .end(JSON.stringify({ invoice: `INV-${randomUUID().slice(0, 8)}` }));
      };
      setTimeout(answer, THINKING_MS);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
