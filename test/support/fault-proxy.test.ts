import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { type FaultProxy, freePort, LOOPBACK, startFaultProxy } from './servers/index.js';

interface Upstream {
  readonly server: Server;
  readonly port: number;
  readonly sockets: Set<Socket>;
}

/** Answers what it hears with a name before it. */
async function startUpstream(name: string): Promise<Upstream> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    socket.on('data', (bytes) => socket.write(`${name}:${bytes.toString()}`));
  });
  server.listen({ host: LOOPBACK, port: 0 });
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port, sockets };
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ host: LOOPBACK, port });
  await once(socket, 'connect');
  return socket;
}

async function say(socket: Socket, text: string): Promise<string> {
  socket.write(text);
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  return bytes.toString();
}

/** The next bytes, at least so many. */
async function whole(socket: Socket, length: number): Promise<string> {
  let text = '';
  while (text.length < length) text += ((await once(socket, 'data')) as [Buffer])[0].toString();
  return text;
}

/** The upstream's ends of its connections; waits for the first. */
async function connected(upstream: Upstream): Promise<[Socket, ...Socket[]]> {
  for (;;) {
    const [first, ...others] = upstream.sockets;
    if (first) return [first, ...others];
    await once(upstream.server, 'connection');
  }
}

/** Everything that still arrives, and how it ended. */
async function untilEnd(socket: Socket): Promise<{ text: string; pieces: number; error: string | undefined }> {
  let text = '';
  let pieces = 0;
  socket.on('data', (bytes) => {
    text += bytes.toString();
    pieces++;
  });
  const error = new Promise<string | undefined>((resolve) => {
    socket.once('error', (failure: NodeJS.ErrnoException) => resolve(failure.code));
    socket.once('close', () => resolve(undefined));
  });
  return { error: await error, text, pieces };
}

describe('the fault proxy', () => {
  let upstream: Upstream;
  let proxy: FaultProxy;
  let client: Socket;

  beforeEach(async () => {
    upstream = await startUpstream('one');
    proxy = await startFaultProxy({ target: { host: LOOPBACK, port: upstream.port } });
    client = await open(proxy.port);
    await proxy.waitForOpen(1);
  });

  afterEach(async () => {
    client.destroy();
    await proxy.close();
    upstream.server.close();
    for (const socket of upstream.sockets) socket.destroy();
  });

  it('forwards both ways and counts connections, bytes and round trips', async () => {
    expect(await say(client, 'ab')).toBe('one:ab');
    expect(await say(client, 'c')).toBe('one:c');
    expect(proxy.counters).toMatchObject({ accepted: 1, open: 1, bytesToServer: 3, bytesToClient: 11, roundTrips: 2 });

    proxy.resetCounters();
    expect(proxy.counters).toMatchObject({ accepted: 0, open: 1, bytesToServer: 0, bytesToClient: 0, roundTrips: 0 });
  });

  it('counts what a client sends without waiting for an answer as one round trip', async () => {
    const both = whole(client, 'one:aone:b'.length);
    proxy.latency({ toClientMs: 30 });
    client.write('a');
    const [behind] = await connected(upstream);
    await once(behind, 'data');
    client.write('b');
    expect((await both).replaceAll('one:', '')).toBe('ab');
    expect(proxy.counters.roundTrips).toBe(1);
  });

  it('passes the end of a connection on', async () => {
    await say(client, 'x');
    const [behind] = await connected(upstream);
    const ended = once(behind, 'end');
    client.end();
    await Promise.all([ended, once(client, 'close')]);
    await proxy.waitForOpen(0);
    expect(behind.readableEnded).toBe(true);
  });

  it('passes a reset on', async () => {
    await say(client, 'x');
    const [behind] = await connected(upstream);
    const ended = once(client, 'error');
    behind.resetAndDestroy();
    expect(((await ended) as [NodeJS.ErrnoException])[0].code).toBe('ECONNRESET');
    await proxy.waitForOpen(0);
  });

  it('delays each way by the latency, in order', async () => {
    proxy.latency(40);
    const sent = performance.now();
    client.write('a');
    proxy.latency({ toServerMs: 0, toClientMs: 40 });
    client.write('b');
    const text = await whole(client, 'one:ab'.length);
    // A lower bound holds however slow the machine is. Both letters may reach the server at once.
    expect(performance.now() - sent).toBeGreaterThanOrEqual(39);
    expect(text.startsWith('one:a')).toBe(true);
  });

  it('resets open connections on both sides', async () => {
    await say(client, 'x');
    const [behind] = await connected(upstream);
    const [near, far] = [untilEnd(client), untilEnd(behind)];
    expect(proxy.reset()).toBe(1);
    expect((await near).error).toBe('ECONNRESET');
    expect((await far).error).toBe('ECONNRESET');
    expect(proxy.counters.open).toBe(0);
  });

  it('cuts a reply after so many bytes, on open and on new connections', async () => {
    await say(client, 'x');
    proxy.cutReplyAfter(6);
    const second = await open(proxy.port);
    for (const socket of [client, second]) {
      const seen = untilEnd(socket);
      socket.write('hello');
      expect(await seen).toMatchObject({ text: 'one:he', error: 'ECONNRESET' });
    }
  });

  it('forwards in slices', async () => {
    proxy.slice(2);
    const seen = untilEnd(client);
    client.write('hello');
    client.end();
    const { text, pieces } = await seen;
    expect(text.replaceAll('one:', '')).toBe('hello');
    expect(pieces).toBeGreaterThanOrEqual(Math.ceil(text.length / 2));
  });

  it('swallows everything in a black hole, and gives it back when restored', async () => {
    proxy.blackHole();
    const second = await open(proxy.port);
    await proxy.waitForOpen(2);
    client.write('old');
    second.write('new');
    client.end();
    // Another connection to the same server, past the proxy: whatever the proxy let through would have arrived before
    // this answer.
    const beside = await open(upstream.port);
    await say(beside, 'x');
    beside.destroy();
    expect(proxy.counters).toMatchObject({ open: 2, bytesToServer: 0, bytesToClient: 0 });

    const answers = [once(client, 'data'), once(second, 'data')];
    await proxy.restore();
    expect((await Promise.all(answers)).map(String)).toEqual(['one:old', 'one:new']);
    second.destroy();
  });

  it('refuses new connections while open ones go on, until restored', async () => {
    proxy.refuse();
    await expect(open(proxy.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(await say(client, 'still')).toBe('one:still');
    await proxy.restore();
    const again = await open(proxy.port);
    expect(await say(again, 'again')).toBe('one:again');
    again.destroy();
  });

  it('switches new connections to another server, until restored', async () => {
    const other = await startUpstream('two');
    proxy.switchTo({ host: LOOPBACK, port: other.port });
    const second = await open(proxy.port);
    expect(await say(second, 'x')).toBe('two:x');
    expect(await say(client, 'x')).toBe('one:x');
    await proxy.restore();
    const third = await open(proxy.port);
    expect(await say(third, 'x')).toBe('one:x');
    second.destroy();
    third.destroy();
    other.server.close();
  });

  it('resets the client when the server cannot be reached', async () => {
    proxy.switchTo({ host: LOOPBACK, port: await freePort() });
    const second = await open(proxy.port);
    expect((await untilEnd(second)).error).toBe('ECONNRESET');
  });

  it('leaves nothing open when it closes in the middle of everything', async () => {
    proxy.latency(60_000);
    client.write('x');
    const seen = untilEnd(client);
    await proxy.close();
    expect((await seen).error).toBe('ECONNRESET');
    await expect(open(proxy.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});
