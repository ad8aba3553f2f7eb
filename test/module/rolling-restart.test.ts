// Clients that keep their connections alive, while the service behind them is restarted.
import { Agent, request } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';

import { describe, expect, it } from '@jest/globals';
import { Pool } from 'undici';

import { startChild } from '../support/children.js';

const LOADER = fileURLToPath(new URL('../support/typescript/register.mjs', import.meta.url));
const SERVICE = fileURLToPath(new URL('./programs/web-service.ts', import.meta.url));
/** Requests that each client has under way at once. */
const LOOPS = 25;
/** Answers that each loop has had before the service is told to end, and may have altogether. */
const WARM_UP = 20;
const MOST = 20_000;

/** Sends one request on a kept-alive connection. @returns whether the answer says that the connection closes. */
type Send = () => Promise<'close' | 'keep-alive'>;

function closes(connection: unknown): 'close' | 'keep-alive' {
  return connection === 'close' ? 'close' : 'keep-alive';
}

function throughAgent(url: string): { send: Send; end: () => void } {
  const agent = new Agent({ keepAlive: true, maxSockets: LOOPS });
  const send: Send = () =>
    new Promise((resolve, reject) => {
      request(url, { agent }, (response) => {
        buffer(response).then(() => resolve(closes(response.headers.connection)), reject);
      })
        .once('error', reject)
        .end();
    });
  return { send, end: () => agent.destroy() };
}

function throughUndici(url: string): { send: Send; end: () => void } {
  const pool = new Pool(url, { connections: LOOPS });
  const send: Send = async () => {
    const { headers, body } = await pool.request({ path: '/', method: 'GET' });
    await body.dump();
    return closes(headers.connection);
  };
  return { send, end: () => void pool.destroy() };
}

describe.each(['express', 'fastify'])('A restart of a service on %s', (platform) => {
  it.each([0, 300])(
    'resets no request of clients that keep their connections alive (%i ms of grace)',
    async (graceMs) => {
      const child = startChild(process.execPath, ['--import', LOADER, SERVICE], {
        env: { ...process.env, NODE_OPTIONS: '', PLATFORM: platform, GRACE_MS: String(graceMs) },
      });
      await using _ = { [Symbol.asyncDispose]: () => child.stop() };
      const [, url = ''] = await child.waitForLine(/listening on (\S+)/, { withinMs: 60_000 });
      const clients = [throughAgent(url), throughUndici(url)];

      let warm = 0;
      const loop = async (send: Send): Promise<string> => {
        for (let answers = 1; answers <= MOST; answers++) {
          try {
            if ((await send()) === 'close') return 'told';
          } catch (error) {
            return `failed after ${answers}: ${error instanceof Error && 'code' in error ? String(error.code) : String(error)}`;
          }
          if (answers === WARM_UP && ++warm === clients.length * LOOPS) child.signal('SIGTERM');
        }
        return 'never told';
      };
      const ends = await Promise.all(clients.flatMap(({ send }) => Array.from({ length: LOOPS }, () => loop(send))));
      expect(await child.exited).toEqual({ code: 0, signal: null });
      for (const client of clients) client.end();
      expect(ends.filter((end) => end !== 'told')).toEqual([]);
    },
    90_000,
  );
});
