/**
 * Encodes messages of PostgreSQL's frontend protocol, several of them into one buffer.
 *
 * pg writes each message by itself; what belongs together in one round trip is one write here. A writer is reused: it
 * grows to the largest batch it has seen, and hands out copies, because the socket keeps what it is given until it is
 * sent. Formats: https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
import type { WireValue } from './pg-module.js';

const INITIAL_BYTES = 1024;
/** A writer that had to grow past this for one batch doesn't keep the memory. */
const KEPT_BYTES = 64 * 1024;
/** UTF-8 needs at most three bytes for each UTF-16 unit. */
const MAX_BYTES_PER_UNIT = 3;

const BIND = 0x42;
const CLOSE = 0x43;
const COPY_FAIL = 0x66;
const DESCRIBE = 0x44;
const EXECUTE = 0x45;
const PARSE = 0x50;
const QUERY = 0x51;
const SYNC = 0x53;
const STATEMENT = 0x53;
const PORTAL = 0x50;

export class MessageWriter {
  #buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #length = 0;
  #messageAt = 0;

  /** Parses `text` as statement `name` (`''`: the unnamed one). */
  parse(name: string, text: string): void {
    this.#begin(PARSE);
    this.#cString(name);
    this.#cString(text);
    this.#int16(0);
    this.#end();
  }

  /** Binds `values` to statement `name`, in the unnamed portal. */
  bind(name: string, values: readonly WireValue[], binaryResults: boolean): void {
    this.#begin(BIND);
    this.#cString('');
    this.#cString(name);
    const count = values.length;
    this.#int16(count);
    for (let index = 0; index < count; index++) this.#int16(Buffer.isBuffer(values[index]) ? 1 : 0);
    this.#int16(count);
    for (let index = 0; index < count; index++) this.#value(values[index]);
    this.#int16(1);
    this.#int16(binaryResults ? 1 : 0);
    this.#end();
  }

  describePortal(): void {
    this.#begin(DESCRIBE);
    this.#byte(PORTAL);
    this.#cString('');
    this.#end();
  }

  /** Fails, and everything behind it up to Sync with it, unless statement `name` has been prepared; drops it. */
  guard(name: string): void {
    this.bind(name, [], false);
    this.closeStatement(name);
  }

  /** Drops statement `name`, if there is one. */
  closeStatement(name: string): void {
    this.#begin(CLOSE);
    this.#byte(STATEMENT);
    this.#cString(name);
    this.#end();
  }

  /** Runs the unnamed portal to its end. */
  execute(): void {
    this.#begin(EXECUTE);
    this.#cString('');
    this.#int32(0);
    this.#end();
  }

  /** A whole statement, its result undescribed. */
  command(text: string, values: readonly WireValue[]): void {
    this.parse('', text);
    this.bind('', values, false);
    this.execute();
  }

  /** The simple protocol: `text` may hold several statements. */
  query(text: string): void {
    this.#begin(QUERY);
    this.#cString(text);
    this.#end();
  }

  /** Ends what is one implicit transaction; the server answers with ReadyForQuery. */
  sync(): void {
    this.#begin(SYNC);
    this.#end();
  }

  /** Refuses to send the rows that a COPY … FROM STDIN asks for. */
  copyFail(reason: string): void {
    this.#begin(COPY_FAIL);
    this.#cString(reason);
    this.#end();
  }

  /** How much has been written; {@link rewind} takes back what comes behind it. */
  get length(): number {
    return this.#length;
  }

  /** Takes back everything behind `length`: a message that could not be written to its end must not be sent. */
  rewind(length: number): void {
    this.#length = length;
  }

  /** Everything written since the last call. */
  take(): Buffer {
    const batch = Buffer.allocUnsafe(this.#length);
    this.#buffer.copy(batch, 0, 0, this.#length);
    this.#length = 0;
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    return batch;
  }

  #begin(type: number): void {
    this.#reserve(5);
    this.#buffer[this.#length] = type;
    this.#messageAt = this.#length + 1;
    this.#length += 5;
  }

  /** The length counts itself, but not the type. */
  #end(): void {
    this.#buffer.writeInt32BE(this.#length - this.#messageAt, this.#messageAt);
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  #int16(value: number): void {
    this.#reserve(2);
    this.#buffer[this.#length++] = value >>> 8;
    this.#buffer[this.#length++] = value;
  }

  #int32(value: number): void {
    this.#reserve(4);
    this.#length = this.#buffer.writeInt32BE(value, this.#length);
  }

  #cString(value: string): void {
    this.#reserve(value.length * MAX_BYTES_PER_UNIT + 1);
    if (value.length > 0) this.#length += this.#buffer.write(value, this.#length, 'utf8');
    this.#buffer[this.#length++] = 0;
  }

  #value(value: WireValue): void {
    if (value === null || value === undefined) {
      this.#int32(-1);
    } else if (typeof value === 'string') {
      this.#reserve(4 + value.length * MAX_BYTES_PER_UNIT);
      const bytes = this.#buffer.write(value, this.#length + 4, 'utf8');
      this.#buffer.writeInt32BE(bytes, this.#length);
      this.#length += 4 + bytes;
    } else {
      this.#int32(value.length);
      this.#reserve(value.length);
      this.#length += value.copy(this.#buffer, this.#length);
    }
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
