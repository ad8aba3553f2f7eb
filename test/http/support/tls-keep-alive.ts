// HTTPS connections are kept, also from a server that answers before the client knows that its request has left: one
// with a thread of its own, as servers have.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import type { Readable } from 'node:stream';
import { text as readText } from 'node:stream/consumers';
import type { connect, ConnectionOptions } from 'node:tls';
import { Worker } from 'node:worker_threads';

import { afterAll, beforeAll, expect, it } from '@jest/globals';

import type { HttpPool } from '../../../lib/index.js';
import { CERTIFICATE, KEY } from '../../support/self-signed.js';
import { httpPool } from './http-pools.js';

const SERVER = `
  const { createServer } = require('node:tls');
  const { parentPort, workerData } = require('node:worker_threads');
  let opened = 0;
  const server = createServer(workerData, (socket) => {
    opened++;
    socket.on('error', () => {});
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok'));
  });
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
  parentPort.on('message', () => parentPort.postMessage(opened));
`;

/** One connection a slot, however its requests are made. */
export function expectConnectionsKept(): void {
  let server: Worker;
  let baseURL: string;
  const tls = createRequire(import.meta.url)('node:tls') as { connect: typeof connect };
  const connectAsItIs = tls.connect;

  beforeAll(async () => {
    // The certificate has no authority, and Node reads additional ones before Jest begins.
    tls.connect = ((options: ConnectionOptions) => connectAsItIs({ ...options, ca: CERTIFICATE })) as typeof connect;
    server = new Worker(SERVER, { eval: true, workerData: { cert: CERTIFICATE, key: KEY } });
    const [port] = (await once(server, 'message')) as [number];
    baseURL = `https://127.0.0.1:${port}`;
  });

  afterAll(async () => {
    tls.connect = connectAsItIs;
    await server.terminate();
  });

  async function opened(): Promise<number> {
    server.postMessage('opened');
    const [count] = (await once(server, 'message')) as [number];
    return count;
  }

  const ways: [string, (pool: HttpPool) => Promise<unknown>][] = [
    ['axiosRef', (pool) => pool.axiosRef.get('/')],
    ['axiosRef with a body', (pool) => pool.axiosRef.post('/', { a: 1 })],
    [
      'axiosRef with a stream as its answer',
      async ({ axiosRef }) => readText((await axiosRef.get<Readable>('/', { responseType: 'stream' })).data),
    ],
    ['request', async (pool) => (await pool.request('/')).body.text()],
    ['request with a body', async (pool) => (await pool.request('/', { method: 'POST', body: 'a' })).body.text()],
  ];

  it.each(ways)('%s keeps its connection', async (_way, ask) => {
    await using made = await httpPool({ baseURL, maxSize: 1 });
    const before = await opened();
    for (let turn = 0; turn < 200; turn++) await ask(made.pool);
    expect((await opened()) - before).toBe(1);
  });

  it.each(ways)('%s opens no more connections than the pool has slots', async (_way, ask) => {
    await using made = await httpPool({ baseURL, maxSize: 10 });
    const before = await opened();
    await Promise.all(Array.from({ length: 200 }, () => ask(made.pool)));
    expect((await opened()) - before).toBeLessThanOrEqual(10);
  });
}
