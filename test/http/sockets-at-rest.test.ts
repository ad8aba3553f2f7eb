// When a socket serves the next request: only at rest in both directions, and never after keepAliveTimeoutMs.
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';

import { describe, expect, it } from '@jest/globals';
import axios from 'axios';

import { eventually } from '../support/eventually.js';
import { type ByteServer, startByteServer } from './support/byte-server.js';
import { httpPool } from './support/http-pools.js';

/** Calls `onData` with what a socket brings, and with the number of that socket. */
function serve(onData: (socket: Socket, text: string, number: number) => void): Promise<ByteServer> {
  return startByteServer((socket, number) =>
    socket.on('data', (chunk) => onData(socket, chunk.toString('latin1'), number)),
  );
}

const answer = (body: string, head = ''): string =>
  `HTTP/1.1 200 OK\r\n${head}Content-Length: ${body.length}\r\n\r\n${body}`;

describe.each(['undici', "Node's client"])('over %s', (client) => {
  const start = async (server: ByteServer, options = {}) => {
    const made = await httpPool({ baseURL: server.url, maxSize: 1, timeoutMs: 5_000, ...options });
    if (client !== 'undici') made.pool.axiosRef.defaults.family = 4;
    return made;
  };

  it.each([
    ['a large one', 'both', () => Buffer.alloc(30_000_000)],
    // Over Node's client that is as in axios: what the kernel took of an upload can't be told from what was read.
    ['one that the kernel takes in whole', 'undici', () => Buffer.alloc(200_000)],
    ['a stream', 'both', () => Readable.from(Array.from({ length: 300 }, () => Buffer.alloc(100_000)))],
  ])(
    'an upload that is refused before it was read does not delay the next request: %s',
    async (_what, over, upload) => {
      if (over !== 'both' && over !== client) return;
      await using server = await serve((socket, text, number) => {
        if (text.startsWith('GET')) socket.write(answer(`socket ${number}`));
        else {
          socket.pause();
          socket.write('HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno');
        }
      });
      await using made = await start(server);
      const refused = await made.pool.forTenant('a').axiosRef.post('/', upload(), { validateStatus: null });
      expect(refused.status).toBe(401);
      expect((await made.pool.forTenant('b').axiosRef.get('/')).data).toBe('socket 2');
      await eventually(() => server.accepted === 2);
    },
  );

  it('bytes that come before the next request are no answer to it', async () => {
    await using server = await serve((socket, text, number) => {
      if (!text.includes('/first')) return void socket.write(answer(`own of ${number}`));
      socket.write(answer('first'));
      setImmediate(() => socket.write(answer('for somebody else')));
    });
    await using made = await start(server);
    expect((await made.pool.axiosRef.get('/first')).data).toBe('first');
    await eventually(() => server.sockets.size === 0);
    expect((await made.pool.axiosRef.get('/second')).data).toBe('own of 2');
  });

  it.each([
    ['while the socket is idle', 'idle'],
    ['while the event loop is busy', 'busy'],
  ])('bytes that come %s are no answer to the next request', async (_what, when) => {
    await using server = await serve((socket, text, number) => {
      socket.write(answer(text.includes('/first') ? 'first' : `own of ${number}`));
    });
    await using made = await start(server, { keepAliveTimeoutMs: 60_000 });
    for (let round = 1; round <= 3; round++) {
      expect((await made.pool.axiosRef.get('/first')).data).toBe('first');
      const [socket] = server.sockets;
      if (when === 'idle') await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      socket?.write(answer('for somebody else'));
      if (when === 'idle') await eventually(() => server.sockets.size === 0);
      expect((await made.pool.axiosRef.get('/second')).data).toBe(`own of ${2 * round}`);
      made.pool.evict();
      await eventually(() => server.sockets.size === 0);
    }
  });

  it('a request that is cancelled while the idle socket is looked at is never sent', async () => {
    const methods: (string | undefined)[] = [];
    await using server = await serve((socket, text) => {
      methods.push(text.split(' ', 1)[0]);
      socket.write(answer('done'));
    });
    await using made = await start(server);
    const { axiosRef } = made.pool;
    const { CanceledError, CancelToken } = axios;
    for (const how of ['signal', 'token'] as const) {
      await axiosRef.get('/');
      const cancelled = new AbortController();
      const token = CancelToken.source();
      const charge = axiosRef.post('/charge', { amount: 1 }, { signal: cancelled.signal, cancelToken: token.token });
      const outcome = expect(charge).rejects.toBeInstanceOf(CanceledError);
      await new Promise((resolve) => setImmediate(resolve));
      if (how === 'signal') cancelled.abort();
      else token.cancel('enough');
      await outcome;
    }
    // Its answer is the last thing on the socket: a request before it would have been read first.
    expect((await axiosRef.get('/')).data).toBe('done');
    expect(methods).toEqual(['GET', 'GET', 'GET']);
  });

  it.each(['', 'Keep-Alive: timeout=600\r\n'])(
    'an idle socket goes after keepAliveTimeoutMs, whatever the server says (%j)',
    async (hint) => {
      await using server = await serve((socket, _text, number) => void socket.write(answer(`${number}`, hint)));
      await using made = await start(server, { keepAliveTimeoutMs: 50 });
      expect((await made.pool.axiosRef.get<number>('/')).data).toBe(1);
      await eventually(() => server.sockets.size === 0);
      expect((await made.pool.axiosRef.get<number>('/')).data).toBe(2);
    },
  );
});
