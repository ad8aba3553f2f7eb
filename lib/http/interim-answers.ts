/**
 * Takes the interim answers (100 Continue, 102, 103) out of what a socket reads, before undici sees them.
 *
 * undici (7 and 8) takes a 100 that it has not asked for as a broken answer and fails the request, though a client must
 * be able to parse one at any time and may ignore it (RFC 9110, 15.2). Node's client, and so axios, ignores them all.
 * Only the beginning of an answer is looked at, and only heads without a fault are taken out: bodies pass untouched,
 * and what the parser would refuse still reaches it.
 */
import type { Socket } from 'node:net';

/** An interim head longer than this is left to the parser, which refuses it. */
const LONGEST_HEAD = 16 * 1024;
/** How an interim answer begins; `#` stands for a digit. */
const BEGINNING = 'HTTP/1.# 1##';
/** A whole interim head. Not 101, which ends HTTP on the connection. No body follows, even if its fields say so. */
const INTERIM_HEAD =
  /^HTTP\/1\.[01] 1(?!01)\d\d(?: [\t\x20-\x7e\x80-\xff]*)?\r\n(?:[!#$%&'*+.^_`|~0-9a-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n$/i;
const END_OF_HEAD = Buffer.from('\r\n\r\n');

export class InterimAnswers {
  readonly #read: (size?: number) => unknown;
  /** The beginning of a head, until it can be told what it is. */
  #held: Buffer | undefined;
  #expectsHead = false;

  /** Puts itself between the socket and undici, which calls its `read` without a size; Node's own calls have one. */
  constructor(socket: Socket) {
    this.#read = socket.read.bind(socket);
    socket.read = (size?: number) => (size === undefined ? this.#next() : this.#read(size));
  }

  /** A request is about to be written: what comes next is the head of an answer. */
  expectHead(): void {
    this.#expectsHead = true;
  }

  #next(): unknown {
    for (;;) {
      const chunk = this.#read();
      if (!this.#expectsHead || !Buffer.isBuffer(chunk)) return chunk;
      const passed = this.#sift(chunk);
      if (passed !== undefined) return passed;
    }
  }

  /** What of the bytes is for the parser; `undefined`: nothing yet. */
  #sift(chunk: Buffer): Buffer | undefined {
    let rest = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = undefined;
    while (rest.length > 0 && mayBeInterim(rest)) {
      const end = rest.indexOf(END_OF_HEAD) + END_OF_HEAD.length;
      if (end < END_OF_HEAD.length) {
        if (rest.length > LONGEST_HEAD || hasBareLineFeed(rest)) break;
        this.#held = rest;
        return undefined;
      }
      if (!INTERIM_HEAD.test(rest.toString('latin1', 0, end))) break;
      rest = rest.subarray(end);
    }
    if (rest.length === 0) return undefined;
    this.#expectsHead = false;
    return rest;
  }
}

function mayBeInterim(bytes: Buffer): boolean {
  const start = bytes.toString('latin1', 0, BEGINNING.length);
  for (let at = 0; at < start.length; at++) {
    const expected = BEGINNING[at];
    const char = start[at] ?? '';
    if (expected === '#' ? char < '0' || char > '9' : char !== expected) return false;
  }
  return true;
}

/** The parser accepts none, and the end of such a head would be waited for in vain. */
function hasBareLineFeed(bytes: Buffer): boolean {
  return /(?:^|[^\r])\n/.test(bytes.toString('latin1'));
}
