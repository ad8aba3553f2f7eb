// Servers that answer what was not asked, or not what was asked: it costs their connection, and never the process.
import { describe, expect, it } from '@jest/globals';

import { ConnectionLostError } from '../../lib/errors.js';
import { eventually } from '../support/eventually.js';
import { redisPool } from './pools.js';
import { bulk, clusterOf, type OddServer, oddServer, ordinary } from './support/odd-server.js';

const SURPLUS: readonly [string, string][] = [
  ['a null', '$-1\r\n'],
  ['a null array', '*-1\r\n'],
  ['a null of RESP3', '_\r\n'],
  ['several nulls at once', '$-1\r\n$-1\r\n$-1\r\n'],
  ['an error', '-ERR out of the blue\r\n'],
  ['an error that reconnects', '-READONLY out of the blue\r\n'],
  ['an empty array', '*0\r\n'],
  ['an array of nulls', '*2\r\n$-1\r\n*-1\r\n'],
  ['a push without a name', '>1\r\n_\r\n'],
  ['a push that a subscription would get, without its channel', '>1\r\n$9\r\nsubscribe\r\n'],
];

/** Pushes are no replies: what is not known of them may be ignored. */
const isPush = (text: string): boolean => text.startsWith('>');

describe('a reply that was not asked for', () => {
  it.each(SURPLUS)('%s, to connections at rest', async (_, text) => {
    await using server = await oddServer();
    await using test = await redisPool({ url: server.url, minSize: 1, maxSize: 1, keepaliveMs: 0 });
    const { pool } = test;
    await pool.start();
    const duplicate = pool.client.duplicate();
    await duplicate.ping();
    const lease = await pool.acquire();
    const old = [...server.sockets];
    for (const socket of old) socket.write(text);
    await eventually(() => old.every((socket) => !server.sockets.has(socket)));
    await expect(lease.connection.get('a')).rejects.toThrow(ConnectionLostError);
    lease.release();
    await eventually(async () => (await pool.client.get('a')) === null && (await duplicate.get('a')) === null);
    expect(await pool.use((mine) => mine.get('a'))).toBeNull();
  });

  it.each(SURPLUS)('%s, behind an answer', async (_, text) => {
    await using server = await oddServer();
    await using test = await redisPool({ url: server.url, minSize: 1, maxSize: 1, keepaliveMs: 0 });
    const { pool } = test;
    await pool.start();
    server.answer = (name) => (name === 'get' ? `${bulk('mine')}${text}` : ordinary(name));
    expect(await pool.client.get('a')).toBe('mine');
    expect(await pool.use((mine) => mine.get('a'))).toBe('mine');
    server.answer = undefined;
    await eventually(async () => (await pool.client.get('a').catch(() => 'lost')) === null);
    expect(await pool.use((mine) => mine.get('a'))).toBeNull();
  });

  it('a null to a subscriber, and a message without a channel', async () => {
    for (const text of ['*-1\r\n', '*1\r\n$7\r\nmessage\r\n', '*1\r\n$-1\r\n', '*0\r\n']) {
      await using server = await oddServer();
      server.answer = subscribing;
      await using test = await redisPool({ url: server.url, client: { protocol: 2 } });
      const subscriber = test.pool.client.duplicate();
      subscriber.on('message', () => undefined);
      await subscriber.subscribe('news');
      const again = new Promise((ready) => subscriber.once('ready', ready));
      for (const socket of server.sockets) socket.write(text);
      await again;
      await eventually(() => server.commands.filter((name) => name === 'subscribe').length === 2);
      expect(subscriber.status).toBe('ready');
    }
  });

  it('before any command: no connection is made of it', async () => {
    for (const text of ['$-1\r\n', '+hello\r\n', '-ERR go away\r\n']) {
      await using server = await oddServer();
      server.greeting = text;
      await using test = await redisPool({ url: server.url, failFastAfterMs: 50, acquireTimeoutMs: 200 });
      const { pool } = test;
      await expect(pool.client.connect()).rejects.toMatchObject({ code: 'POOL_BACKEND_UNAVAILABLE' });
      await expect(pool.use((mine) => mine.get('a'))).rejects.toMatchObject({ poolId: 'cache' });
      server.greeting = '';
      await eventually(async () => (await pool.client.get('a').catch(() => 'none')) === null);
    }
  });
});

describe('an answer of the wrong kind', () => {
  it.each(['$-1\r\n', ':1\r\n', '*0\r\n', '*1\r\n$-1\r\n'])('to SUBSCRIBE (%j) rejects it', async (text) => {
    await using server = await oddServer();
    server.answer = (name) => (name === 'subscribe' ? text : ordinary(name));
    await using test = await redisPool({ url: server.url, maxSize: 1, client: { protocol: 2 } });
    const { pool } = test;
    await expect(pool.client.duplicate().subscribe('news')).rejects.toThrow();
    await expect(pool.use((mine) => mine.subscribe('news'))).rejects.toThrow(ConnectionLostError);
    server.answer = undefined;
    expect(await pool.use((mine) => mine.get('a'))).toBeNull();
  });
});

describe('a subscriber that subscribes again by itself', () => {
  it('is told of the answer when it is an error, and asks again after one that can not be understood', async () => {
    await using server = await oddServer();
    server.answer = subscribing;
    await using test = await redisPool({ url: server.url, client: { protocol: 2 } });
    const subscriber = test.pool.client.duplicate();
    const errors: unknown[] = [];
    subscriber.on('error', (error) => errors.push(error));
    await subscriber.subscribe('news');
    const subscribed = (): number => server.commands.filter((name) => name === 'subscribe').length;
    const odd = ['$-1\r\n', ':1\r\n', '-NOPERM not any more\r\n'];
    server.answer = (name, args) => (name === 'subscribe' ? odd.shift() : undefined) ?? subscribing(name, args);
    for (const socket of server.sockets) socket.destroy();
    await eventually(() => errors.some((error) => String(error).includes('NOPERM')));
    expect(subscribed()).toBe(4);
    for (const socket of server.sockets) socket.destroy();
    await eventually(() => subscribed() === 5);
  });
});

describe('subscriptions that could not be renewed', () => {
  const subscriber = async (server: OddServer) => {
    server.answer = subscribing;
    const test = await redisPool({ url: server.url, client: { protocol: 2 } });
    const client = test.pool.client.duplicate();
    const refused: string[] = [];
    client.on('error', (error) => void (String(error).includes('NOPERM') && refused.push(String(error))));
    const asked: string[] = [];
    const answerWith = (answer: typeof subscribing): void => {
      server.answer = (name, args) => {
        if (name.endsWith('subscribe')) asked.push(`${name} ${args.join()}`);
        return answer(name, args);
      };
    };
    const reconnected = async (): Promise<void> => {
      const again = new Promise((ready) => client.once('ready', ready));
      for (const socket of server.sockets) socket.destroy();
      await again;
    };
    return { test, client, refused, asked, answerWith, reconnected };
  };
  const refusing = (name: string, args: readonly string[]): string =>
    name === 'subscribe' ? '-NOPERM not now\r\n' : subscribing(name, args);

  it('are not renewed once their caller has unsubscribed them', async () => {
    await using server = await oddServer();
    const { test, client, refused, asked, answerWith, reconnected } = await subscriber(server);
    await using _ = test;
    await client.subscribe('secret');
    await client.subscribe('news');
    answerWith(refusing);
    await reconnected();
    await eventually(() => refused.length === 1);
    client.unsubscribe('secret').catch(() => undefined);
    answerWith(subscribing);
    await eventually(() => server.commands.includes('unsubscribe'));
    asked.length = 0;
    await reconnected();
    await eventually(() => asked.length > 0);
    await client.ping();
    expect(asked).toEqual(['subscribe news']);
  });

  it('are renewed by a later connection when the next one is lost too, and take one listener, however many they are', async () => {
    await using server = await oddServer();
    const { test, client, refused, asked, answerWith, reconnected } = await subscriber(server);
    await using _ = test;
    for (let channel = 0; channel < 20; channel++) await client.subscribe(`channel ${channel}`);
    const listeners = client.listenerCount('ready');
    answerWith(refusing);
    await reconnected();
    await eventually(() => refused.length === 1);
    expect(client.listenerCount('ready')).toBe(listeners);
    // Nothing comes in answer to the second attempt.
    answerWith((name) => (name === 'subscribe' ? '' : ordinary(name)));
    asked.length = 0;
    await reconnected();
    await eventually(() => asked.length > 0);
    answerWith(subscribing);
    asked.length = 0;
    await reconnected();
    await eventually(() => asked.length > 0);
    expect(asked[0]?.split(',')).toHaveLength(20);
  });
});

describe('half an answer', () => {
  it('and then the end: a typed error, and nothing of it reaches the next connection', async () => {
    await using server = await oddServer();
    await using test = await redisPool({ url: server.url, maxSize: 1 });
    const { pool } = test;
    await pool.start();
    server.answer = (name, _, socket) => {
      if (name !== 'get') return ordinary(name);
      socket.end('$100\r\nhalf');
      return undefined;
    };
    await expect(pool.client.get('a')).rejects.toThrow(ConnectionLostError);
    await expect(pool.use((mine) => mine.get('a'))).rejects.toThrow(ConnectionLostError);
    server.answer = undefined;
    expect(await pool.client.get('a')).toBeNull();
    expect(await pool.use((mine) => mine.get('a'))).toBeNull();
  });
});

describe('a node of a cluster', () => {
  it.each(SURPLUS.filter(([, text]) => !isPush(text)))('%s: its connection goes', async (_, text) => {
    await using server = await oddServer();
    server.answer = clusterOf(server);
    const nodes = [{ host: '127.0.0.1', port: Number(new URL(server.url).port) }];
    await using test = await redisPool({ cluster: { nodes }, maxSize: 1 });
    const { client } = test.pool;
    expect(await client.get('a')).toBeNull();
    const old = [...server.sockets];
    for (const socket of old) socket.write(text);
    await eventually(() => old.every((socket) => !server.sockets.has(socket)));
    await eventually(async () => (await client.get('a').catch(() => 'lost')) === null);
  });
});

/** Answers SUBSCRIBE under RESP2. */
function subscribing(name: string, args: readonly string[]): string {
  if (name !== 'subscribe') return ordinary(name);
  return `*3\r\n${bulk('subscribe')}${bulk(args[0] ?? '')}:1\r\n`;
}
