// An HTTP upstream that behaves or misbehaves by route, and counts what reaches it: requests at once, per tenant, and
// open sockets.
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

import { LOOPBACK } from './free-port.js';

export interface HttpServerOptions {
  /** The header that names the tenant. Default: x-tenant-id. */
  readonly tenantHeader?: string;
  /** After this idle time the server closes a kept-alive socket. Default 5,000. */
  readonly keepAliveTimeoutMs?: number;
  /** Asked before the routes below; true: it has answered or will. */
  readonly handler?: (request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;
}

/**
 * Requests of one tenant, or of all. A request is in flight from its arrival until its response has finished or its
 * socket closed.
 */
export interface RequestCounters {
  readonly requests: number;
  readonly inFlight: number;
  readonly maxInFlight: number;
}

export interface HttpFixture extends AsyncDisposable {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Live. */
  readonly counters: RequestCounters & {
    readonly openSockets: number;
    readonly socketsAccepted: number;
    /** Requests whose client went away before the response had finished. */
    readonly aborted: number;
  };
  /** The same for the requests that name this tenant; live. */
  tenant(id: string): RequestCounters;
  /** Requests that wait at /held. */
  readonly held: number;
  /** Resolves once so many requests wait at /held. */
  waitForHeld(count: number): Promise<void>;
  /** Answers the oldest `count` requests at /held, by default all. Returns how many. */
  releaseHeld(count?: number): number;
  /** Resolves once the predicate holds; looked at whenever a request or a socket comes or goes. */
  waitUntil(predicate: (fixture: HttpFixture) => boolean): Promise<void>;
  /** Closes the sockets on which no request is running. */
  closeIdleSockets(): void;
  close(): Promise<void>;
}

class Count implements RequestCounters {
  requests = 0;
  inFlight = 0;
  maxInFlight = 0;

  began(): void {
    this.requests++;
    this.inFlight++;
    this.maxInFlight = Math.max(this.maxInFlight, this.inFlight);
  }

  ended(): void {
    this.inFlight--;
  }
}

/** A request as the routes see it. */
interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  /** What the pattern of the route has captured. */
  readonly captured: string | undefined;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  readonly held: Set<() => void>;
}

type Route = (exchange: Exchange) => void | Promise<void>;

/**
 * - `/echo`        JSON of the method, URL, headers and body
 * - `/status/:n`   that status, with a JSON body
 * - `/slow?ms=`    200 after so long
 * - `/held`        200 when `releaseHeld` says so
 * - `/stream?chunks=&bytes=&everyMs=`  chunks of bytes, one every so often
 * - `/silent?everyMs=`  headers, then one byte a second (or as often as said), for ever
 * - `/never`       nothing, not even a status
 * - `/hang-up`     the socket is reset instead of an answer
 * - `/truncated`   promises 100 bytes, sends 10, resets
 * - `/last` 200 with keep-alive; the next request on this socket is met by a reset: a keep-alive race, without the race
 */
const ROUTES: readonly (readonly [RegExp, Route])[] = [
  [/^\/echo/, echo],
  [/^\/status\/(\d{3})$/, ({ response, captured }) => json(response, Number(captured), { status: Number(captured) })],
  [/^\/slow$/, slow],
  [/^\/held$/, hold],
  [/^\/stream$/, stream],
  [/^\/silent$/, silent],
  [/^\/never$/, () => {}],
  [/^\/hang-up$/, ({ request }) => void request.socket.resetAndDestroy()],
  [/^\/truncated$/, truncated],
  [/^\/last$/, last],
];

async function echo({ request, response }: Exchange): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const { method, url, headers } = request;
  json(response, 200, { method, url, headers, body: Buffer.concat(chunks).toString() });
}

async function slow({ response, query, signal }: Exchange): Promise<void> {
  await delay(number(query, 'ms', 100), undefined, { signal });
  json(response, 200, { slow: true });
}

function hold({ response, signal, held }: Exchange): void {
  const release = () => {
    held.delete(release);
    json(response, 200, { held: true });
  };
  signal.addEventListener('abort', () => held.delete(release));
  held.add(release);
}

async function stream({ response, query, signal }: Exchange): Promise<void> {
  const chunk = Buffer.alloc(number(query, 'bytes', 10), 'x');
  const everyMs = number(query, 'everyMs', 0);
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  for (let rest = number(query, 'chunks', 5); rest > 0; rest--) {
    if (!response.write(chunk)) await once(response, 'drain', { signal });
    if (everyMs > 0 && rest > 1) await delay(everyMs, undefined, { signal });
  }
  response.end();
}

async function silent({ response, query, signal }: Exchange): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/octet-stream' });
  response.flushHeaders();
  const everyMs = number(query, 'everyMs', 1_000);
  while (!signal.aborted) {
    await delay(everyMs, undefined, { signal });
    response.write('.');
  }
}

function truncated({ response, request }: Exchange): void {
  response.writeHead(200, { 'content-length': 100 });
  response.write('0123456789', () => setImmediate(() => request.socket.resetAndDestroy()));
}

function last({ request, response }: Exchange): void {
  json(response, 200, { last: true });
  response.once('finish', () => {
    // The next request is never seen: the server has closed, and the client does not know yet.
    request.socket.removeAllListeners('data');
    request.socket.once('data', () => request.socket.resetAndDestroy());
  });
}

function json(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  // 204 and 304 have no body.
  if (status === 204 || status === 304) response.writeHead(status).end();
  else
    response
      .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
      .end(text);
}

function number(query: URLSearchParams, name: string, otherwise: number): number {
  const text = query.get(name);
  return text === null ? otherwise : Number(text);
}

/** Starts the upstream on a free port of 127.0.0.1. */
export async function startHttpServer(options: HttpServerOptions = {}): Promise<HttpFixture> {
  const tenantHeader = options.tenantHeader ?? 'x-tenant-id';
  const all = new Count();
  const tenants = new Map<string, Count>();
  const sockets = new Set<Socket>();
  const busy = new Map<Socket, number>();
  const held = new Set<() => void>();
  const changes = new EventEmitter().setMaxListeners(0);
  let socketsAccepted = 0;
  let aborted = 0;

  const tenantCount = (id: string): Count => {
    let count = tenants.get(id);
    if (!count) tenants.set(id, (count = new Count()));
    return count;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { socket } = request;
    const tenantId = request.headers[tenantHeader];
    const counts = typeof tenantId === 'string' ? [all, tenantCount(tenantId)] : [all];
    for (const count of counts) count.began();
    busy.set(socket, (busy.get(socket) ?? 0) + 1);
    const over = new AbortController();
    response.once('close', () => {
      for (const count of counts) count.ended();
      busy.set(socket, (busy.get(socket) ?? 1) - 1);
      if (!response.writableFinished) aborted++;
      over.abort();
      changes.emit('change');
    });
    try {
      if (await options.handler?.(request, response)) return;
      const url = new URL(request.url ?? '/', `http://${LOOPBACK}`);
      for (const [pattern, route] of ROUTES) {
        const match = pattern.exec(url.pathname);
        if (!match) continue;
        await route({ request, response, query: url.searchParams, captured: match[1], signal: over.signal, held });
        return;
      }
      json(response, 404, { path: url.pathname });
    } catch (error) {
      // A client that has gone is what some routes are for.
      if (!over.signal.aborted) response.destroy(error instanceof Error ? error : undefined);
    } finally {
      changes.emit('change');
    }
  };

  const server = createServer({ keepAliveTimeout: options.keepAliveTimeoutMs ?? 5_000 }, (request, response) => {
    void handle(request, response);
  });
  server.on('connection', (socket) => {
    socketsAccepted++;
    sockets.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      busy.delete(socket);
      changes.emit('change');
    });
    changes.emit('change');
  });
  server.listen({ host: LOOPBACK, port: 0 });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  const waitUntil = async (predicate: (fixture: HttpFixture) => boolean) => {
    while (!predicate(fixture)) await once(changes, 'change');
  };
  const fixture: HttpFixture = {
    url: `http://${LOOPBACK}:${port}`,
    host: LOOPBACK,
    port,
    counters: {
      get requests() {
        return all.requests;
      },
      get inFlight() {
        return all.inFlight;
      },
      get maxInFlight() {
        return all.maxInFlight;
      },
      get openSockets() {
        return sockets.size;
      },
      get socketsAccepted() {
        return socketsAccepted;
      },
      get aborted() {
        return aborted;
      },
    },
    tenant: tenantCount,
    get held() {
      return held.size;
    },
    waitForHeld: (count) => waitUntil(() => held.size === count),
    releaseHeld: (count = Infinity) => {
      const released = [...held].slice(0, count);
      for (const release of released) release();
      return released.length;
    },
    waitUntil,
    closeIdleSockets: () => {
      for (const socket of sockets) if (!busy.get(socket)) socket.end();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
  return fixture;
}
