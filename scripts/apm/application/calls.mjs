/**
 * The calls that the application makes: each runs in a span of its own, has a deadline, and says which spans it
 * expects.
 */
import { Journal } from './journal.mjs';

/** So long a call may take; a call that hangs is a finding, and the other calls of its part are then not tried. */
const CALL_WITHIN_MS = 8_000;

/**
 * A statement of the caller. `failed`: whether its span must say so; `redacted`: its text without its literals, as some
 * APMs record it.
 */
export const pg = (text, { failed = false, redacted } = {}) => ({ kind: 'pg', text, redacted, failed });
/** A command of the caller, by its name. */
export const redis = (name, { failed = false } = {}) => ({ kind: 'redis', text: name, failed });
/**
 * A request of the caller. Whether an answer of 400 and above, or an end by the caller, is a failed span is left to the
 * APM.
 */
export const http = (text, { failed } = {}) => ({ kind: 'http', text, failed });

export class Calls {
  #apm;
  #journal;
  #carried = [];

  constructor(apm, journal) {
    this.#apm = apm;
    this.#journal = journal;
  }

  /** Runs one part. */
  async part(name, run) {
    const part = new Part(name, this.#apm, this.#journal, this.#carried);
    await part.make('(the part)', [], () => run(part), { withinMs: 45_000 });
  }

  /** What was carried to servers, each with the span that it must name. */
  carried(spans) {
    return this.#carried.map(({ call, kind, ...what }) => {
      const own = spans.find((span) => span.kind === 'call' && span.text === call);
      return { call, kind, ...what, span: spans.find((span) => span.kind === kind && span.parent === own?.id) };
    });
  }
}

/** The calls of one kind of pool. */
class Part {
  #name;
  #apm;
  #journal;
  #carried;
  #hanging = false;

  constructor(name, apm, journal, carried) {
    this.#name = name;
    this.#apm = apm;
    this.#journal = journal;
    this.#carried = carried;
  }

  /**
   * Makes one call.
   *
   * @param name unique in its part
   * @param spans the spans that it must leave below its own
   * @param fn resolves with what is compared with the run without an APM
   */
  async make(name, spans, fn, { withinMs = CALL_WITHIN_MS, compared = true } = {}) {
    const call = `${this.#name}: ${name}`;
    if (this.#hanging) {
      this.#journal.write({ entry: 'untried', call });
      return undefined;
    }
    this.#journal.write({ entry: 'call', call, spans });
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => {
        this.#hanging = true;
        reject(new Error(`no answer within ${withinMs} ms`));
      }, withinMs);
    });
    try {
      const value = await Promise.race([this.#apm.span(call, fn), late]);
      this.#journal.write({ entry: 'result', call, compared, value: value === undefined ? null : value });
      return value;
    } catch (error) {
      this.#journal.write({ entry: 'result', call, compared, error: Journal.error(error) });
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Spans that may have no parent: of what a pool sends by itself, or by order of the application, when no call is made.
   */
  mayBeAlone(...spans) {
    for (const span of spans) this.#journal.write({ entry: 'alone', span });
  }

  /**
   * A call whose statement or request names its own span to the server: `fn` resolves with what arrived there.
   *
   * @param values of the statement, which some APMs record
   */
  async carry(name, spans, fn, values) {
    const text = await this.make(name, spans, fn, { compared: false });
    if (text === undefined) return;
    this.#carried.push({ call: `${this.#name}: ${name}`, kind: spans[0].kind, text: JSON.stringify(text), values });
  }
}

/** What of a result is compared. */
export const rowsOf = (result) =>
  Array.isArray(result)
    ? result.map(rowsOf)
    : {
        command: result.command,
        rowCount: result.rowCount,
        fields: result.fields?.map(({ name }) => name),
        rows: result.rows,
      };

/** The answer of a function with a Node callback. */
export const called = (fn) =>
  new Promise((resolve, reject) => fn((error, value) => (error ? reject(error) : resolve(value))));

/** The error that a call ends with, as a value: for calls that must fail. */
export const failureOf = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return { name: error.name, code: error.code, message: error.message };
  }
  throw new Error('succeeded, where it must fail');
};
