// Answers of servers that behave in every way but the usual one, made from a seed: the same seed is always the same
// answer.
import type { Socket } from 'node:net';
import zlib from 'node:zlib';

import { type ByteServer, startByteServer } from './byte-server.js';

/** How one exchange goes: what is asked, and what comes back in which pieces. */
export interface FuzzedExchange {
  readonly method: 'get' | 'head' | 'post' | 'put';
  readonly responseType: 'arraybuffer' | 'text' | 'stream';
  /** Whether a streamed body is read with pauses. */
  readonly slowReader: boolean;
  readonly upload: number;
  /** Whether the server answers before it has read the upload. */
  readonly early: boolean;
  readonly pieces: readonly Buffer[];
  readonly end: 'nothing' | 'close' | 'reset';
  /** Whether the answer itself says where its body ends. */
  readonly delimited: boolean;
}

/** Evenly distributed in [0, 1): mulberry32. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What bodies are made of. */
const NOISE = ((): Buffer => {
  const random = randomFrom(0);
  return Buffer.from(Array.from({ length: 320_000 }, () => Math.floor(random() * 256)));
})();

const made = new Map<number, FuzzedExchange>();

/** The exchange of a seed. The newest few are kept: both clients and the server ask for each. */
export function fuzzedExchange(seed: number): FuzzedExchange {
  let exchange = made.get(seed);
  if (exchange === undefined) {
    exchange = exchangeFrom(seed);
    made.set(seed, exchange);
    for (const old of made.keys()) if (made.size > 100) made.delete(old);
  }
  return exchange;
}

function exchangeFrom(seed: number): FuzzedExchange {
  const random = randomFrom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const chance = (share: number): boolean => random() < share;
  const pick = <T>(...choices: readonly [T, ...T[]]): T => choices[below(choices.length)] ?? choices[0];

  const method = pick('get', 'get', 'get', 'head', 'post', 'put');
  const status = pick(200, 200, 200, 200, 204, 304, 206, 404, 500);
  const hasBody = method !== 'head' && status !== 204 && status !== 304;
  const framing = pick('length', 'length', 'chunked', 'chunked', 'close');
  const gzip = chance(0.3);
  const size = chance(0.05) ? 300_000 : pick(0, 1, 100, 5_000, 70_000);
  const from = below(NOISE.length - size);
  const plain = NOISE.subarray(from, from + size + below(50));
  const content = gzip ? zlib.gzipSync(plain, { level: 1 }) : plain;

  const headers = [
    `HTTP/1.${chance(0.05) ? 0 : 1} ${status} ${pick('OK', 'Fine', '')}`,
    ...(gzip ? ['Content-Encoding: gzip'] : []),
    ...(chance(0.3) || framing === 'close' ? ['Connection: close'] : []),
    ...(chance(0.2) ? ['Keep-Alive: timeout=60'] : []),
    ...(chance(0.02) ? ['a b: no header'] : []),
    ...(chance(0.02) ? ['Content-Length: x'] : []),
  ];
  const claimed = chance(0.1) ? Math.max(0, content.length + pick(-5, -1, 1, 5, 100)) : content.length;
  if (framing === 'length') headers.push(`Content-Length: ${claimed}`);
  if (framing === 'chunked') headers.push('Transfer-Encoding: chunked');
  const interim = chance(0.1)
    ? pick('HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n', 'HTTP/1.1 102 P\r\n\r\n')
    : '';
  const head = Buffer.from(`${interim.repeat(1 + below(2))}${headers.join('\r\n')}\r\n\r\n`, 'latin1');
  const body = !hasBody ? Buffer.alloc(0) : framing === 'chunked' ? chunked(content, below, chance) : content;
  let bytes = Buffer.concat([head, body]);

  const isShort = framing === 'length' && claimed > content.length && hasBody;
  let end: FuzzedExchange['end'] = framing === 'close' || isShort ? 'close' : pick('nothing', 'nothing', 'close');
  if (chance(0.2)) {
    bytes = bytes.subarray(0, below(bytes.length + 1));
    end = pick('close', 'reset');
  } else if (chance(0.05)) end = 'reset';
  return {
    method,
    responseType: pick('arraybuffer', 'text', 'stream', 'stream'),
    slowReader: chance(0.5),
    upload: method === 'post' || method === 'put' ? pick(0, 10, 100_000) : 0,
    early: chance(0.2),
    pieces: pieces(bytes, below),
    end,
    delimited: !hasBody || framing !== 'close',
  };
}

function chunked(content: Buffer, below: (limit: number) => number, chance: (share: number) => boolean): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < content.length;) {
    const size = 1 + below(Math.min(content.length - at, 40_000));
    parts.push(Buffer.from(`${size.toString(16)}${chance(0.05) ? ';ext=1' : ''}\r\n`));
    parts.push(content.subarray(at, at + size), Buffer.from(chance(0.01) ? 'XX' : '\r\n'));
    at += size;
  }
  parts.push(Buffer.from(chance(0.05) ? '0\r\nTrailer-Field: x\r\n\r\n' : '0\r\n\r\n'));
  return Buffer.concat(parts);
}

function pieces(bytes: Buffer, below: (limit: number) => number): Buffer[] {
  const cuts = Array.from({ length: below(4) }, () => below(bytes.length + 1)).sort((a, b) => a - b);
  return [...cuts, bytes.length].map((cut, index) => bytes.subarray(cuts[index - 1] ?? 0, cut));
}

/** Answers `/<seed>` as {@link fuzzedExchange} says; `/<seed>?calm` without a reset. */
export function startFuzzedServer(): Promise<ByteServer> {
  return startByteServer(serve, { noDelay: true });
}

function serve(socket: Socket): void {
  let read = Buffer.alloc(0);
  let exchange: FuzzedExchange | undefined;
  let toRead = 0;
  socket.on('data', (chunk) => {
    read = Buffer.concat([read, chunk]);
    for (;;) {
      if (exchange === undefined) {
        const end = read.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = read.toString('latin1', 0, end);
        const seeded = fuzzedExchange(Number(/ \/(\d+)/.exec(head)?.[1]));
        exchange = head.includes('?calm') ? { ...seeded, end: 'close' } : seeded;
        toRead = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
        read = read.subarray(end + 4);
        if (exchange.early) void answer(socket, exchange);
      }
      if (read.length < toRead) return;
      read = read.subarray(toRead);
      if (!exchange.early) void answer(socket, exchange);
      exchange = undefined;
    }
  });
}

async function answer(socket: Socket, { pieces: parts, end }: FuzzedExchange): Promise<void> {
  for (const part of parts) {
    socket.write(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (end === 'close') socket.end();
  if (end === 'reset') socket.resetAndDestroy();
}
