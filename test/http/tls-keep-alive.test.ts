// HTTPS connections are kept, also from a server that answers before the client knows that its request has left: one
// with a thread of its own, as servers have.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import type { connect, ConnectionOptions } from 'node:tls';
import { Worker } from 'node:worker_threads';

import { afterAll, beforeAll, expect, it } from '@jest/globals';

import type { HttpPool } from '../../lib/index.js';
import { CERTIFICATE, KEY } from '../support/self-signed.js';
import { httpPool } from './support/http-pools.js';

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

it.each<[string, (pool: HttpPool) => Promise<unknown>]>([
  ['axiosRef', (pool) => pool.axiosRef.get('/')],
  ['axiosRef with a body', (pool) => pool.axiosRef.post('/', { a: 1 })],
  ['request', async (pool) => (await pool.request('/')).body.text()],
])('%s keeps its connection', async (_way, ask) => {
  await using made = await httpPool({ baseURL, maxSize: 1 });
  const before = await opened();
  for (let turn = 0; turn < 50; turn++) await ask(made.pool);
  expect((await opened()) - before).toBe(1);
});
