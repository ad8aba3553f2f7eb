// One set of expectations for everything that sends requests: what axios' own adapter gives is what a pool must give.
import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import zlib from 'node:zlib';

import { afterAll, beforeAll, expect, it } from '@jest/globals';
import axios, { AxiosHeaders, type AxiosRequestConfig, type AxiosResponse } from 'axios';
import FormDataPackage from 'form-data';

import { type HttpFixture, startHttpServer } from '../../support/servers/index.js';
import { httpPool, type MadePool } from './http-pools.js';

const TEXT = 'Grüße, 世界! '.repeat(500);

/** Routes of this suite, beside those of the fixture. */
const BODIES: Readonly<
  Record<
    string,
    { readonly headers: Record<string, string | string[]>; readonly body: Buffer; readonly status?: number }
  >
> = {
  '/text': { headers: { 'content-type': 'text/plain; charset=utf-8' }, body: Buffer.from(TEXT) },
  '/bom': { headers: { 'content-type': 'application/json' }, body: Buffer.from('\ufeff{"a":1}') },
  '/latin1': { headers: { 'content-type': 'text/plain' }, body: Buffer.from('Grüße', 'latin1') },
  '/bad-json': { headers: { 'content-type': 'application/json' }, body: Buffer.from('{"a":') },
  '/empty': { headers: {}, body: Buffer.alloc(0) },
  '/bytes': {
    headers: { 'content-type': 'application/octet-stream' },
    body: Buffer.from(Array.from({ length: 70_000 }, (_, i) => i & 255)),
  },
  '/gzip': {
    headers: { 'content-encoding': 'gzip', 'content-type': 'application/json' },
    body: zlib.gzipSync(JSON.stringify({ text: TEXT })),
  },
  '/x-gzip': { headers: { 'content-encoding': 'x-gzip' }, body: zlib.gzipSync(TEXT) },
  '/deflate': { headers: { 'content-encoding': 'deflate' }, body: zlib.deflateSync(TEXT) },
  '/raw-deflate': { headers: { 'content-encoding': 'deflate' }, body: zlib.deflateRawSync(TEXT) },
  '/br': { headers: { 'content-encoding': 'br' }, body: zlib.brotliCompressSync(TEXT) },
  '/unknown-coding': { headers: { 'content-encoding': 'rot13' }, body: Buffer.from('uryyb') },
  '/not-gzip': { headers: { 'content-encoding': 'gzip' }, body: Buffer.from('this is not gzip') },
  '/repeated': {
    headers: { 'set-cookie': ['a=1', 'b=2'], 'x-many': ['1', '2'], 'one-cookie': 'c', vary: ['accept', 'origin'] },
    body: Buffer.from('ok'),
  },
  '/cookie': { headers: { 'set-cookie': 'a=1' }, body: Buffer.from('ok') },
  '/gzip-500': { headers: { 'content-encoding': 'gzip' }, body: zlib.gzipSync('{"error":"broken"}'), status: 500 },
};

const GZIP = zlib.gzipSync('ok').toString('latin1');

/** Answers in bytes that Node's server would not send, for `/<name>` of a server of their own. */
const RAW: Readonly<Record<string, { readonly bytes: string; readonly end?: 'close' | 'reset' }>> = {
  '304-with-length': { bytes: 'HTTP/1.1 304 Not Modified\r\nETag: "v1"\r\nContent-Length: 1234\r\n\r\n' },
  '204-with-length': { bytes: 'HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n' },
  '304-compressed': { bytes: 'HTTP/1.1 304 N\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\n' },
  '100': { bytes: 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' },
  '103-100-100': {
    bytes:
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 C\r\n\r\nHTTP/1.1 100 C\r\n\r\n' +
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  },
  '100-and-nothing': { bytes: 'HTTP/1.1 100 Continue\r\n\r\n', end: 'close' },
  '100-with-a-length': {
    bytes: 'HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  },
  'half-a-100': { bytes: 'HTTP/1.1 100 Cont', end: 'close' },
  garbage: { bytes: 'garbage\r\n\r\n' },
  version: { bytes: 'HTTP/9.9 200 OK\r\n\r\n' },
  status: { bytes: 'HTTP/1.1 2x0 OK\r\n\r\n' },
  'header name': { bytes: 'HTTP/1.1 200 OK\r\na b: c\r\n\r\n' },
  'header value': { bytes: 'HTTP/1.1 200 OK\r\na: b\u0001c\r\n\r\n' },
  'line end': { bytes: 'HTTP/1.1 200 OK\r\na: b\n\r\n' },
  'large header': { bytes: `HTTP/1.1 200 OK\r\na: ${'x'.repeat(20_000)}\r\n\r\n` },
  length: { bytes: 'HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n' },
  'two lengths': { bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na' },
  'length and chunks': { bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na' },
  'stray bytes': { bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay' },
  'stray bytes before the close': {
    bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nokay',
    end: 'close',
  },
  'until the close': { bytes: 'HTTP/1.1 200 OK\r\n\r\nok', end: 'close' },
  'too short': { bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok', end: 'close' },
  'too short before the close': {
    bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nok',
    end: 'close',
  },
  'chunks cut': {
    bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n',
    end: 'close',
  },
  'reset in the body': { bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok', end: 'reset' },
  'reset in the chunks': { bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n', end: 'reset' },
  'reset instead of the close': { bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok', end: 'reset' },
  'a last coding that is not chunked': {
    bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nok',
    end: 'close',
  },
  'line breaks before the close': {
    bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok\r\n\r\n',
    end: 'close',
  },
  'stray bytes behind gzip': {
    bytes: `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${GZIP.length}\r\n\r\n${GZIP}ay`,
  },
  'folded header': { bytes: 'HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n' },
  'repeated cookie': { bytes: 'HTTP/1.1 200 OK\r\nCookie: a\r\nCookie: b\r\nContent-Length: 2\r\n\r\nok' },
  'empty coding': { bytes: 'HTTP/1.1 204 N\r\nContent-Encoding:\r\n\r\n' },
  'redirect whose body stalls': { bytes: 'HTTP/1.1 302 F\r\nLocation: /100\r\nContent-Length: 5\r\n\r\nok' },
  'redirect whose body is cut': {
    bytes: 'HTTP/1.1 302 F\r\nLocation: /100\r\nContent-Length: 5\r\n\r\nok',
    end: 'close',
  },
  'redirect with a bad chunk': {
    bytes: 'HTTP/1.1 302 F\r\nLocation: /100\r\nTransfer-Encoding: chunked\r\n\r\nxy\r\n',
  },
  'redirect with stray bytes': { bytes: 'HTTP/1.1 302 F\r\nLocation: /100\r\nContent-Length: 2\r\n\r\nokay' },
  'until a reset': { bytes: 'HTTP/1.1 200 OK\r\n\r\nok', end: 'reset' },
  'until a reset, said to close': { bytes: 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok', end: 'reset' },
  'until a reset, in HTTP/1.0': { bytes: 'HTTP/1.0 200 OK\r\n\r\nok', end: 'reset' },
  'too short before a reset': { bytes: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok', end: 'reset' },
  'chunks cut by a reset': { bytes: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n', end: 'reset' },
  'no body before a reset': { bytes: 'HTTP/1.1 200 OK\r\n\r\n', end: 'reset' },
};

/** axios' error has half an answer with it: not among those that must be the same. */
const SWITCHING: (typeof RAW)[string] = { bytes: 'HTTP/1.1 101 Switching Protocols\r\n\r\n' };

/** Options that the types refuse, as JavaScript passes them. */
function fromJavaScript(options: object): AxiosRequestConfig {
  return options;
}

/** A server of {@link RAW}; a request whose path has no answer there gets its own head back. */
async function startRawServer(): Promise<{ readonly url: string; close(): Promise<void> }> {
  const sockets = new Set<net.Socket>();
  const rawServer = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (head) => {
      const name = decodeURIComponent(/^\S+ \/(\S*)/.exec(head.toString('latin1'))?.[1] ?? '');
      const echo: (typeof RAW)[string] = {
        bytes: `HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head.toString('latin1')}`,
      };
      const { bytes, end } = name === '101' ? SWITCHING : (RAW[name] ?? echo);
      socket.write(bytes, 'latin1', () => {
        if (end === 'close') socket.end();
        // Once the client, which is in this process, has read the answer.
        if (end === 'reset') setImmediate(() => setImmediate(() => socket.resetAndDestroy()));
      });
    });
  });
  rawServer.listen(0, '127.0.0.1');
  await once(rawServer, 'listening');
  return {
    url: `http://127.0.0.1:${(rawServer.address() as AddressInfo).port}`,
    close: async () => {
      const closed = once(rawServer, 'close');
      rawServer.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

interface Outcome {
  readonly response?: Record<string, unknown>;
  readonly error?: Record<string, unknown>;
}

/** What of an outcome must be the same: everything but ports, dates, and what only Node's client has. */
async function outcome(run: () => Promise<AxiosResponse<unknown>>): Promise<Outcome> {
  try {
    return { response: await described(await run()) };
  } catch (error) {
    if (!axios.isAxiosError(error))
      return { error: { name: error instanceof Error ? error.name : typeof error, axios: false } };
    return {
      error: {
        axios: true,
        cancel: axios.isCancel(error),
        code: error.code,
        status: error.status,
        hasConfig: error.config?.url !== undefined,
        ...(error.response !== undefined && { message: error.message, response: await described(error.response) }),
      },
    };
  }
}

async function described(response: AxiosResponse<unknown>): Promise<Record<string, unknown>> {
  const { data, status, statusText, headers, config, request } = response;
  const { date: _date, ...fields } = headers instanceof AxiosHeaders ? headers.toJSON() : {};
  let body = data;
  if (data instanceof Readable) {
    body = await buffer(data).then(
      (bytes) => ({ stream: bytes }),
      () => ({ streamFailed: true }),
    );
  }
  const sent: unknown = config.headers.toJSON();
  const responseUrl = (request as { res?: { responseUrl?: string } } | undefined)?.res?.responseUrl;
  // axios puts the credentials into the URL.
  const address = responseUrl === undefined ? undefined : responseUrl.replace(/[^/]*@/, '');
  return { body, status, statusText, fields, sent, address };
}

/** Redirects: `/redirect/<status>?to=<url>`; `/loop` never ends. */
function redirect(url: URL): { status: number; location: string } | undefined {
  if (url.pathname === '/loop') return { status: 302, location: '/loop' };
  const status = /^\/redirect\/(\d{3})$/.exec(url.pathname)?.[1];
  return status === undefined ? undefined : { status: Number(status), location: url.searchParams.get('to') ?? '/echo' };
}

export function expectPoolToEqualAxios(): void {
  let server: HttpFixture;
  let other: HttpFixture;
  let raw: Awaited<ReturnType<typeof startRawServer>>;
  let made: MadePool;

  beforeAll(async () => {
    server = await startHttpServer({
      handler: (request, response) => {
        const url = new URL(request.url ?? '/', 'http://localhost');
        const target = redirect(url);
        if (target !== undefined) {
          request.resume();
          response.writeHead(target.status, { location: target.location }).end('moved');
          return true;
        }
        const body = BODIES[url.pathname];
        if (body === undefined) return false;
        response.writeHead(body.status ?? 200, body.headers).end(request.method === 'HEAD' ? undefined : body.body);
        return true;
      },
    });
    other = await startHttpServer();
    raw = await startRawServer();
    made = await httpPool({ baseURL: server.url, headers: { 'x-pool': 'yes' } });
  });

  afterAll(async () => {
    await made[Symbol.asyncDispose]();
    await server.close();
    await other.close();
    await raw.close();
  });

  /** `config` is made anew for each side, because bodies can be streams. */
  async function expectSame(config: () => AxiosRequestConfig): Promise<Outcome> {
    const plain = axios.create({ baseURL: server.url, headers: { 'x-pool': 'yes' }, adapter: 'http' });
    const expected = await outcome(() => plain.request(config()));
    const got = await outcome(() => made.pool.axiosRef.request(config()));
    expect(got).toEqual(expected);
    return got;
  }

  const formData = (): FormData => {
    const form = new FormData();
    form.set('a', '1');
    form.set('file', new Blob(['file content'], { type: 'text/plain' }), 'a.txt');
    return form;
  };
  const fixedBoundary = { 'Content-Type': 'multipart/form-data; boundary=boundary-of-the-test' };
  const packageForm = (): FormDataPackage => {
    const form = new FormDataPackage();
    form.setBoundary('boundary-of-the-test');
    form.append('a', '1');
    return form;
  };

  it.each<[string, () => AxiosRequestConfig]>([
    ['a GET', () => ({ url: '/echo' })],
    ['an absolute URL', () => ({ url: `${server.url}/echo` })],
    ['a query in the URL, with a fragment', () => ({ url: "/echo?q=it's&x=[1]#part" })],
    [
      'params',
      () => ({ url: '/echo', params: { a: [1, 2], b: { c: 'ä b+c:$,[]' }, d: new Date(0), e: null, f: "it's" } }),
    ],
    ['params after a query', () => ({ url: '/echo?x=1#part', params: { a: 1 } })],
    [
      'a serializer of params',
      () => ({ url: '/echo', params: { a: 1 }, paramsSerializer: { serialize: () => 'own=1' } }),
    ],
    [
      'headers',
      () => ({ url: '/echo', headers: { 'X-Mixed-Case': 'Yes', 'x-number': 7, 'x-list': ['a', 'b'], 'X-Pool': 'no' } }),
    ],
    ['a header that is taken away', () => ({ url: '/echo', headers: { 'User-Agent': false, Accept: null } })],
    ['a header with what headers cannot hold', () => ({ url: '/echo', headers: { 'x-name': 'Zoë 世界\u0007 ' } })],
    ['a Host of its own', () => ({ url: '/echo', headers: { Host: 'elsewhere.example' } })],
    [
      'basic credentials',
      () => ({ url: '/echo', auth: { username: 'zoë', password: 'p:ä' }, headers: { Authorization: 'Bearer x' } }),
    ],
    ['credentials in the URL', () => ({ url: `http://us%40er:pa%20ss@${server.host}:${server.port}/echo` })],
    ['a POST of JSON', () => ({ url: '/echo', method: 'post', data: { a: 'ü', b: [1] } })],
    [
      'a POST of text',
      () => ({ url: '/echo', method: 'post', data: 'grüße', headers: { 'content-type': 'text/plain' } }),
    ],
    ['a POST of bytes', () => ({ url: '/echo', method: 'post', data: Buffer.from('bytes') })],
    [
      'a POST of an ArrayBuffer',
      () => ({ url: '/echo', method: 'post', data: new TextEncoder().encode('bytes').buffer }),
    ],
    ['a POST of a typed array', () => ({ url: '/echo', method: 'post', data: new Uint8Array([104, 105]) })],
    [
      'a POST of URLSearchParams',
      () => ({ url: '/echo', method: 'post', data: new URLSearchParams({ a: 'ü 1', b: '2' }) }),
    ],
    [
      'a POST of a form object',
      () => ({
        url: '/echo',
        method: 'post',
        data: { a: { b: 1 } },
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      }),
    ],
    ['a POST of FormData', () => ({ url: '/echo', method: 'post', data: formData(), headers: fixedBoundary })],
    ['a POST of form-data the package', () => ({ url: '/echo', method: 'post', data: packageForm() })],
    ['a POST of a Blob', () => ({ url: '/echo', method: 'post', data: new Blob(['blob'], { type: 'text/x-blob' }) })],
    [
      'a POST of a stream',
      () => ({ url: '/echo', method: 'post', data: Readable.from([Buffer.from('a'), Buffer.from('b')]) }),
    ],
    ['a POST of nothing', () => ({ url: '/echo', method: 'post' })],
    ['a POST of an empty text', () => ({ url: '/echo', method: 'post', data: '' })],
    ['a POST of null', () => ({ url: '/echo', method: 'post', data: null })],
    ['a POST of false', () => ({ url: '/echo', method: 'post', data: false })],
    ['a PUT', () => ({ url: '/echo', method: 'put', data: { a: 1 } })],
    ['a PATCH', () => ({ url: '/echo', method: 'patch', data: { a: 1 } })],
    ['a DELETE', () => ({ url: '/echo', method: 'delete' })],
    ['a DELETE with a body', () => ({ url: '/echo', method: 'delete', data: { a: 1 } })],
    ['a GET with a body', () => ({ url: '/echo', method: 'get', data: { a: 1 } })],
    ['OPTIONS', () => ({ url: '/echo', method: 'options' })],
    ['HEAD', () => ({ url: '/text', method: 'head' })],
    ['HEAD of a compressed body', () => ({ url: '/gzip', method: 'head' })],
    [
      'data that nothing can be made of',
      () => ({ url: '/echo', method: 'post', data: { a: 1 }, transformRequest: [(data: unknown) => data] }),
    ],
    [
      'a wrong Content-Length',
      () => ({ url: '/echo', method: 'post', data: 'abc', headers: { 'content-length': '3' } }),
    ],
    ['a URL without a host', () => ({ url: 'echo', baseURL: '' })],
    ['an unknown protocol', () => ({ url: 'ftp://localhost/x' })],
    ['a data: URL', () => ({ url: 'data:text/plain,hello' })],
    ['maxBodyLength', () => ({ url: '/echo', method: 'post', data: 'abcdef', maxBodyLength: 5 })],
    [
      'a request transform',
      () => ({ url: '/echo', method: 'post', data: 'a', transformRequest: [(data: unknown) => `${String(data)}b`] }),
    ],
  ])('what the server sees: %s', async (_what, config) => {
    await expectSame(config);
  });

  it.each<[string, () => AxiosRequestConfig]>([
    ['text', () => ({ url: '/text' })],
    ['text as text', () => ({ url: '/text', responseType: 'text' })],
    ['text as JSON', () => ({ url: '/text', responseType: 'json' })],
    ['JSON with a byte order mark', () => ({ url: '/bom' })],
    ['JSON with a byte order mark, as bytes', () => ({ url: '/bom', responseType: 'arraybuffer' })],
    ['another encoding', () => ({ url: '/latin1', responseEncoding: 'latin1' })],
    ['bad JSON', () => ({ url: '/bad-json' })],
    [
      'bad JSON that must be JSON',
      () => ({ url: '/bad-json', responseType: 'json', transitional: { silentJSONParsing: false } }),
    ],
    ['nothing', () => ({ url: '/empty' })],
    ['nothing as a stream', () => ({ url: '/empty', responseType: 'stream' })],
    ['bytes', () => ({ url: '/bytes', responseType: 'arraybuffer' })],
    ['a stream', () => ({ url: '/bytes', responseType: 'stream' })],
    ['chunks', () => ({ url: '/stream?chunks=20&bytes=5000', responseType: 'arraybuffer' })],
    ['gzip', () => ({ url: '/gzip' })],
    ['gzip as a stream', () => ({ url: '/gzip', responseType: 'stream' })],
    ['gzip left as it is', () => ({ url: '/gzip', responseType: 'arraybuffer', decompress: false })],
    ['x-gzip', () => ({ url: '/x-gzip' })],
    ['deflate', () => ({ url: '/deflate' })],
    ['raw deflate', () => ({ url: '/raw-deflate' })],
    ['raw deflate as a stream', () => ({ url: '/raw-deflate', responseType: 'stream' })],
    ['brotli', () => ({ url: '/br' })],
    ['a coding nobody knows', () => ({ url: '/unknown-coding' })],
    ['what is not gzip', () => ({ url: '/not-gzip' })],
    ['what is not gzip, as a stream', () => ({ url: '/not-gzip', responseType: 'stream' })],
    ['repeated headers', () => ({ url: '/repeated' })],
    ['one cookie', () => ({ url: '/cookie' })],
    ['204', () => ({ url: '/status/204' })],
    ['304', () => ({ url: '/status/304' })],
    ['400', () => ({ url: '/status/400' })],
    ['404 as bytes', () => ({ url: '/status/404', responseType: 'arraybuffer' })],
    ['500 as a stream', () => ({ url: '/status/500', responseType: 'stream' })],
    ['500, compressed', () => ({ url: '/gzip-500' })],
    ['500 that counts as a success', () => ({ url: '/status/500', validateStatus: null })],
    ['200 that counts as a failure', () => ({ url: '/text', validateStatus: () => false })],
    ['a response transform', () => ({ url: '/text', transformResponse: [(data: unknown) => typeof data] })],
    ['maxContentLength', () => ({ url: '/bytes', maxContentLength: 69_999 })],
    ['maxContentLength, just enough', () => ({ url: '/bytes', maxContentLength: 70_000, responseType: 'arraybuffer' })],
    ['maxContentLength of a stream', () => ({ url: '/bytes', maxContentLength: 69_999, responseType: 'stream' })],
    ['maxContentLength of what is decompressed', () => ({ url: '/gzip', maxContentLength: 5_000 })],
    ['a connection that ends in the body', () => ({ url: '/truncated' })],
    ['a connection that ends in the body, as a stream', () => ({ url: '/truncated', responseType: 'stream' })],
    ['a connection that ends instead of an answer', () => ({ url: '/hang-up' })],
    ['the same for what cannot be repeated', () => ({ url: '/hang-up', method: 'post', data: 'x' })],
    ['a timeout', () => ({ url: '/never', timeout: 50 })],
    ['a timeout that says so', () => ({ url: '/never', timeout: 50, transitional: { clarifyTimeoutError: true } })],
    ['a timeout in words of its own', () => ({ url: '/never', timeout: 50, timeoutErrorMessage: 'too slow' })],
    ['a signal that has fired', () => ({ url: '/echo', signal: AbortSignal.abort() })],
  ])('what the caller gets: %s', async (_what, config) => {
    await expectSame(config);
  });

  it.each([301, 302, 303, 307, 308])('a GET follows a %i', async (status) => {
    const { response } = await expectSame(() => ({
      url: `/redirect/${status}?to=${encodeURIComponent('/echo?after=1')}`,
    }));
    expect(response).toMatchObject({ body: { url: '/echo?after=1' }, address: `${server.url}/echo?after=1` });
  });

  it.each([301, 302, 303, 307, 308])('a POST follows a %i', async (status) => {
    await expectSame(() => ({ url: `/redirect/${status}`, method: 'post', data: { a: 1 } }));
  });

  it.each([301, 303])('a PUT follows a %i', async (status) => {
    await expectSame(() => ({ url: `/redirect/${status}`, method: 'put', data: { a: 1 } }));
  });

  it('credentials stay with their origin', async () => {
    const headers = { Authorization: 'Bearer secret', Cookie: 'session=secret', 'x-other': 'kept' };
    const { response } = await expectSame(() => ({
      url: `/redirect/302?to=${encodeURIComponent(`${other.url}/echo`)}`,
      headers,
    }));
    expect(response).toMatchObject({ body: { headers: { 'x-other': 'kept' } } });
    expect(JSON.stringify(response?.body)).not.toContain('secret');
    await expectSame(() => ({ url: `/redirect/302?to=/echo`, headers }));
    await expectSame(() => ({ url: `/redirect/302?to=/echo`, auth: { username: 'a', password: 'b' } }));
    await expectSame(() => ({
      url: `/redirect/302?to=${encodeURIComponent(`${other.url}/echo`)}`,
      auth: { username: 'a', password: 'b' },
    }));
  });

  it.each<[string, () => AxiosRequestConfig]>([
    ['redirects that never end', () => ({ url: '/loop' })],
    [
      'more redirects than allowed',
      () => ({ url: `/redirect/302?to=${encodeURIComponent('/redirect/302')}`, maxRedirects: 1 }),
    ],
    [
      'as many redirects as allowed',
      () => ({ url: `/redirect/302?to=${encodeURIComponent('/redirect/302')}`, maxRedirects: 2 }),
    ],
    ['no redirects', () => ({ url: '/redirect/302', maxRedirects: 0, validateStatus: null })],
    ['a redirect to nowhere', () => ({ url: `/redirect/302?to=${encodeURIComponent('ftp://localhost/x')}` })],
    [
      'a redirect with a hook',
      () => ({
        url: '/redirect/302',
        beforeRedirect: (options: Record<string, unknown>) => void (options.path = '/echo?hooked'),
      }),
    ],
  ])('%s', async (_what, config) => {
    await expectSame(config);
  });

  it('a server that is not there', async () => {
    const unused = await startHttpServer();
    await unused.close();
    const { error } = await expectSame(() => ({ url: `${unused.url}/x` }));
    expect(error).toMatchObject({ axios: true, code: 'ECONNREFUSED' });
  });

  it('progress events', async () => {
    const seen: number[] = [];
    await expectSame(() => ({
      url: '/bytes',
      responseType: 'arraybuffer',
      onDownloadProgress: ({ loaded }) => void seen.push(loaded),
    }));
    expect(seen).toContain(70_000);
  });

  it.each(Object.keys(RAW).flatMap((name) => [['get', name] as const, ['post', name] as const]))(
    'answers that servers seldom give: %s %s',
    async (method, name) => {
      await expectSame(() => ({ url: `${raw.url}/${name}`, method, ...(method === 'post' && { data: 'upload' }) }));
    },
  );

  it('a change of protocols that was not asked for is a bad answer', async () => {
    await expect(made.pool.axiosRef.get(`${raw.url}/101`)).rejects.toMatchObject({ code: 'ERR_BAD_RESPONSE' });
  });
  it.each(Object.keys(RAW).filter((name) => RAW[name]?.end === 'reset'))(
    'a body that a reset has cut is no whole one: %s',
    async (name) => {
      const { error } = await expectSame(() => ({ url: `${raw.url}/${name}` }));
      expect(error).toMatchObject({ code: 'ECONNRESET' });
    },
  );

  it.each<[string, NonNullable<AxiosRequestConfig['headers']>]>([
    ['a list of cookies', { Cookie: ['sid=1', 'sid.sig=2'] }],
    ['one cookie in a list', { cookie: ['sid=1'] }],
    ['another list', { 'x-list': ['1', '2'] }],
  ])('the lines of %s', async (_what, headers) => {
    const lines = async (run: (config: AxiosRequestConfig) => Promise<AxiosResponse<string>>): Promise<string[]> => {
      const { data } = await run({ url: `${raw.url}/lines`, headers });
      return data.split('\r\n').filter((line) => /^(?:cookie|x-list)/i.test(line));
    };
    const plain = axios.create({ adapter: 'http' });
    expect(await lines((config) => made.pool.axiosRef.request(config))).toEqual(
      await lines((config) => plain.request(config)),
    );
  });

  it.each<[string, () => AxiosRequestConfig]>([
    ['a time-out that is no number', () => ({ url: '/echo', ...fromJavaScript({ timeout: 'abc' }) })],
    ['a time-out in a text', () => ({ url: '/never', ...fromJavaScript({ timeout: '50' }) })],
    ['a time-out without an end', () => ({ url: '/echo', timeout: Infinity })],
    ['a time-out that is none', () => ({ url: '/echo', timeout: NaN })],
    ['a redirect to a fragment', () => ({ url: `/redirect/302?to=${encodeURIComponent('/echo?a=1#part')}` })],
    ['a header that has no name', () => ({ url: '/echo', headers: { 'a b': 'c' } })],
    [
      'a serializer that throws',
      () => ({
        url: '/echo',
        params: { a: 1 },
        paramsSerializer: {
          serialize: () => {
            throw new TypeError('broken');
          },
        },
      }),
    ],
  ])('%s', async (_what, config) => {
    await expectSame(config);
  });

  it('leaves no slot taken', () => {
    expect(made.pool.stats()).toMatchObject({ active: 0, waiting: 0 });
  });
}
