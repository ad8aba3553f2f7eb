/**
 * One client of the benchmark `http`, or its upstream, in a process of its own: `http-process.js SUBJECT SIZE`.
 */
import http from 'node:http';
import https from 'node:https';
import { register } from 'node:module';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';

import { HttpService } from '@nestjs/axios';
import axios from 'axios';
import got from 'got';
import ky from 'ky';
import { ConnectionPoolManager, type HttpPool } from 'nestjs-pool-manager';
import { firstValueFrom } from 'rxjs';

import { CERTIFICATE, KEY } from '../../test/support/self-signed.js';
import { type CallerLoad, measureCalls } from '../harness/callers.js';
import { answer, type Figures } from '../harness/own-process.js';
import { quietLogger } from '../harness/quiet-logger.js';

/** What each caller does in a loop is to get what is at `path` of `origin`. */
export interface HttpLoad extends CallerLoad {
  readonly origin: string;
  readonly path: string;
}

/**
 * Requests per second, milliseconds, microseconds of processor time a request, and bytes of the heap, after a
 * collection where a number of requests was asked for.
 */
export type HttpFigure = 'throughput' | 'p99' | 'CPU' | 'heap';

/** Where the upstream listens. */
export type HttpPorts = 'http' | 'https';

/** Where the upstream has JSON of 100 bytes, and of 100 kB. */
const SMALL = '/small';
const LARGE = '/large';

/** Gets and parses what is at a path. */
type Get = (path: string) => Promise<unknown>;

const [subject = '', size = ''] = process.argv.slice(2);
if (subject === 'upstream') answer<object, HttpPorts>(startUpstream);
else answerAsClient(subjects(Number(size))[subject]);

function subjects(maxSize: number): Readonly<Record<string, (origin: string) => Get | Promise<Get>>> {
  const agents = {
    httpAgent: new http.Agent({ keepAlive: true, maxSockets: maxSize }),
    httpsAgent: new https.Agent({ keepAlive: true, maxSockets: maxSize }),
  };
  return {
    axiosRef: (baseURL) =>
      ours(
        baseURL,
        maxSize,
        ({ axiosRef }) =>
          (path) =>
            axiosRef.get(path),
      ),
    get: (baseURL) => ours(baseURL, maxSize, (pool) => (path) => firstValueFrom(pool.get(path))),
    request: (baseURL) => ours(baseURL, maxSize, (pool) => async (path) => (await pool.request(path)).body.json()),
    'axiosRef without undici': (baseURL) => {
      withoutUndici();
      return ours(
        baseURL,
        maxSize,
        ({ axiosRef }) =>
          (path) =>
            axiosRef.get(path),
      );
    },
    axios: (baseURL) => {
      const client = axios.create({ baseURL, ...agents });
      return (path) => client.get(path);
    },
    HttpService: (baseURL) => {
      const service = new HttpService(axios.create({ baseURL, ...agents }));
      return (path) => firstValueFrom(service.get(path));
    },
    fetch: (origin) => async (path) => (await fetch(origin + path)).json(),
    undici: async (origin) => {
      const { Pool } = await import('undici');
      const pool = new Pool(origin, { connections: maxSize });
      return async (path) => (await pool.request({ path, method: 'GET' })).body.json();
    },
    got: (origin) => {
      const client = got.extend({ agent: { http: agents.httpAgent, https: agents.httpsAgent }, responseType: 'json' });
      return async (path) => (await client(origin + path)).body;
    },
    ky: (origin) => (path) => ky(origin + path).json(),
  };
}

async function ours(baseURL: string, maxSize: number, way: (pool: HttpPool) => Get): Promise<Get> {
  const manager = new ConnectionPoolManager(undefined, { logger: quietLogger });
  const pool = await manager.createHttpPool('upstream', {
    baseURL,
    maxSize,
    // As the others do between their turns, which are further apart than the requests of a service.
    keepAliveTimeoutMs: 60_000,
    healthCheck: { intervalMs: 1_000 },
    tenants: { max: maxSize },
  });
  await manager.start();
  return way(pool.forTenant('tenant-1'));
}

/** Makes undici look like a package that isn't installed. */
function withoutUndici(): void {
  const hooks = `export async function resolve(specifier, context, next) {
    if (specifier === 'undici') throw Object.assign(new Error('not installed'), { code: 'ERR_MODULE_NOT_FOUND' });
    return next(specifier, context);
  }`;
  register(`data:text/javascript,${encodeURIComponent(hooks)}`);
}

function answerAsClient(make: ((origin: string) => Get | Promise<Get>) | undefined): void {
  if (make === undefined) throw new Error(`There is no subject "${subject}"`);
  const clients = new Map<string, Get>();
  answer<HttpLoad, HttpFigure>(async (load) => {
    const get = clients.get(load.origin) ?? (await make(load.origin));
    clients.set(load.origin, get);
    const figures = await measureCalls(load, () => get(load.path));
    // Not after each turn: a full collection drops compiled code, which the next turn would have to do without.
    if (load.calls !== undefined) globalThis.gc?.();
    return { ...figures, heap: process.memoryUsage().heapUsed };
  });
}

/** Answers in bytes that are ready: as little as possible of what is measured is the upstream's. */
async function startUpstream(): Promise<Figures<HttpPorts>> {
  const items = Array.from({ length: 1_000 }, (_, id) => ({ id, name: `item ${id}`, tags: ['a', 'b'], price: id / 4 }));
  const bodies = { [SMALL]: items.slice(0, 2), [LARGE]: pad(items) };
  const answers = new Map(Object.entries(bodies).map(([path, body]) => [path, bytesOf(JSON.stringify(body))]));
  const serve = (socket: net.Socket): void => {
    let head = '';
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      head += chunk.toString('latin1');
      for (let end = head.indexOf('\r\n\r\n'); end >= 0; end = head.indexOf('\r\n\r\n')) {
        const path = head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP/'));
        head = head.slice(end + 4);
        const bytes = answers.get(path);
        if (bytes === undefined) socket.destroy();
        else socket.write(bytes);
      }
    });
  };
  return {
    http: await listening(net.createServer(serve)),
    https: await listening(tls.createServer({ cert: CERTIFICATE, key: KEY }, serve)),
  };
}

/** Something of 100 kB. */
function pad(items: readonly object[]): object {
  return { items, note: 'x'.repeat(100_000 - JSON.stringify(items).length) };
}

function bytesOf(body: string): Buffer {
  const fields = ['Content-Type: application/json; charset=utf-8', `Content-Length: ${body.length}`];
  const more = ['Date: Fri, 27 Nov 2026 00:00:00 GMT', 'Connection: keep-alive', 'Keep-Alive: timeout=60'];
  return Buffer.from(['HTTP/1.1 200 OK', ...fields, ...more, '', body].join('\r\n'));
}

async function listening(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}
