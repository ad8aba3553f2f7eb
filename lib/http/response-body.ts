/**
 * From the bytes of an answer to `response.data`: decompression, length limits, text.
 *
 * Follows what axios' own adapter does in Node, bodies of servers that send raw deflate included.
 */
import { pipeline, type Readable, Transform, type TransformCallback } from 'node:stream';
import { type BrotliOptions, constants, createBrotliDecompress, createUnzip, type ZlibOptions } from 'node:zlib';

import type { AnswerHead } from './exchange.js';

/** What is missing at the end of a compressed body is forgiven, as browsers do. */
const LENIENT: ZlibOptions = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
const LENIENT_BROTLI: BrotliOptions = {
  flush: constants.BROTLI_OPERATION_FLUSH,
  finishFlush: constants.BROTLI_OPERATION_FLUSH,
};

/**
 * The coding that must be undone, if there is one that we can undo. Removes the header, which would no longer be true.
 */
export function contentCoding(head: AnswerHead, method: string): Coding | undefined {
  const field = head.headers['content-encoding'];
  if (typeof field !== 'string' || field === '') return undefined;
  const coding = field.toLowerCase();
  const empty = method === 'HEAD' || head.status === 204;
  if (empty || isCoding(coding)) delete head.headers['content-encoding'];
  return !empty && isCoding(coding) ? coding : undefined;
}

export type Coding = 'gzip' | 'x-gzip' | 'compress' | 'x-compress' | 'deflate' | 'br';

function isCoding(coding: string): coding is Coding {
  return ['gzip', 'x-gzip', 'compress', 'x-compress', 'deflate', 'br'].includes(coding);
}

/**
 * Errors of the source and of the decompression come out of the stream that is returned; destroying that one ends the
 * source.
 */
export function decompressed(source: Readable, coding: Coding): Readable {
  switch (coding) {
    case 'br':
      return piped(source, createBrotliDecompress(LENIENT_BROTLI));
    case 'deflate':
      return piped(piped(source, new ZlibHeader()), createUnzip(LENIENT));
    default:
      return piped(source, createUnzip(LENIENT));
  }
}

/** Ends with `tooLong()` when more than `maxBytes` come out of `source`. */
export function limited(source: Readable, maxBytes: number, tooLong: () => Error): Readable {
  let bytes = 0;
  return piped(
    source,
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        bytes += chunk.length;
        if (bytes > maxBytes) done(tooLong());
        else done(null, chunk);
      },
    }),
  );
}

/** All bytes of a stream. */
export async function whole(source: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of source) if (Buffer.isBuffer(chunk)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Text as axios reads it: UTF-8 unless told otherwise, without a byte order mark. */
export function text(body: Buffer, encoding: string | undefined): string {
  const decoded = body.toString(encoding !== undefined && Buffer.isEncoding(encoding) ? encoding : 'utf8');
  const isUtf8 = encoding === undefined || encoding === '' || encoding === 'utf8';
  return isUtf8 && decoded.startsWith('\ufeff') ? decoded.slice(1) : decoded;
}

function piped<T extends Transform>(source: Readable, target: T): T {
  // The error reaches the caller through `target`; the callback only keeps it from being thrown.
  pipeline(source, target, () => {});
  return target;
}

/** Puts a zlib header in front of raw deflate data, which some servers send by that name. */
class ZlibHeader extends Transform {
  #checked = false;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (!this.#checked && chunk.length > 0) {
      this.#checked = true;
      // RFC 1950: the low half of the first byte is the method, 8.
      if (((chunk[0] ?? 0) & 0x0f) !== 8) this.push(Buffer.from([0x78, 0x9c]));
    }
    done(null, chunk);
  }
}
