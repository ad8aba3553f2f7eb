/**
 * Tells what instruments pg (OpenTelemetry, Sentry, Datadog and their like) of the caller's statements.
 *
 * Each of them replaces `Client.prototype.query`. It expects pg's ordinary arguments, and pg's ordinary `Query` at the
 * end of the client's queue; it ends a span when the callback is called, may put a comment into the text, and may queue
 * statements of its own ahead. The pool's statements are objects of another shape, sent together with resets and
 * bindings: passing them through left spans open, lost answers and ended processes.
 *
 * So the replaced method is called with a plain config and a callback, on a stand-in: an object that inherits
 * everything from the client but its queue. What pg's own method, at the bottom of it, puts into that queue tells what
 * text to send, which statements to run ahead, and which callback ends the span. None of it decides over results.
 */
import type { Client } from 'pg';

import { toError } from '../../engine/to-error.js';
import type { QueryCallback } from '../protocol/pg-module.js';

/** A statement as instrumentation is told of it. */
export interface StatementText {
  readonly text: string | undefined;
  readonly values: readonly unknown[] | undefined;
  readonly name: string | undefined;
}

/** A statement that instrumentation has seen, and wants to see the end of. */
export interface ObservedCall {
  /** With the comment that it has put in. */
  readonly text: string | undefined;
  /** What it sends ahead of it. */
  readonly ahead: readonly string[];
  /** Why it must not be sent: instrumentation has blocked it. */
  readonly blocked: Error | undefined;
  finish(error: Error | undefined, result: unknown): void;
}

/** pg's method as it is, or as something has replaced it. */
type QueryMethod = (this: object, config: object, callback: QueryCallback) => unknown;

export class Instrumentation {
  readonly #prototype: { readonly query?: unknown };
  #lastSeen: unknown = undefined;
  #isReplaced = false;

  /** @param Client pg's class. */
  constructor(Client: { readonly prototype: object }) {
    this.#prototype = Client.prototype;
  }

  /** Whether pg's `query` has been replaced by now. Instrumentation may come and go while the process runs. */
  isPresent(): boolean {
    const { query } = this.#prototype;
    if (query !== this.#lastSeen) {
      this.#lastSeen = query;
      this.#isReplaced = typeof query === 'function' && !isPgsOwn(query);
    }
    return this.#isReplaced;
  }

  /** Tells of a statement that is about to run on `client`, in the async context of its caller. */
  observe(client: Client, statement: StatementText): ObservedCall | undefined {
    const { query } = this.#prototype;
    if (typeof statement.text !== 'string' || !isQueryMethod(query)) return undefined;
    let blocked: Error | undefined;
    let isOver = false;
    const done: QueryCallback = (error) => {
      // Before the end only a rejection can come: nothing has been sent.
      if (!isOver) blocked ??= toError(error ?? new Error('The query was answered by what instruments pg'));
    };
    const { text, values, name } = statement;
    const config = { text, ...(values === undefined ? {} : { values }), ...(name === undefined ? {} : { name }) };
    const queue: unknown[] = [];
    try {
      query.call(standIn(client, queue), config, done);
    } catch (error) {
      // Thrown ahead of pg's own method: as with pg, the call has failed. Behind it nothing is lost but the span.
      if (queue.length === 0) blocked ??= toError(error);
    }
    const captured = queue.filter(isCaptured);
    const own = captured.at(-1);
    return {
      text: own?.text ?? text,
      ahead: captured.slice(0, -1).map((query) => query.text),
      blocked,
      finish: (error, result) => {
        isOver = true;
        try {
          own?.callback(error ?? null, result);
        } catch {
          // The span is lost. The caller's answer is not.
        }
      },
    };
  }
}

/** What pg's own method does its work on here. Its queue is ours, and nothing of it is ever sent. */
function standIn(client: Client, queue: unknown[]): object {
  return Object.create(client, {
    _queryQueue: { value: queue },
    // Datadog asks whether the object itself has it.
    _activeQuery: { value: null, writable: true },
    _queryable: { value: true },
    _ending: { value: false },
    _pulseQueryQueue: { value: () => {} },
    // Time limits are ours: pg's would start a timer here that is never cleared.
    connectionParameters: { value: Object.create(parametersOf(client), { query_timeout: { value: 0 } }) as object },
  }) as object;
}

function parametersOf(client: object): object | null {
  if (!('connectionParameters' in client)) return null;
  const { connectionParameters } = client;
  return typeof connectionParameters === 'object' ? connectionParameters : null;
}

function isQueryMethod(method: unknown): method is QueryMethod {
  return typeof method === 'function';
}

/**
 * A wrapper's source doesn't do pg's own work. Where pg's source has been rewritten while it was loaded (Sentry, from
 * 11 on), pg's own code is inside the traced method, whose parameters have other names. What can't be told, as in a
 * minified bundle, is taken for a wrapper, which costs a little time.
 */
function isPgsOwn(method: object): boolean {
  const source = Function.prototype.toString.call(method);
  return source.startsWith('query(config, values, callback) {') && source.includes('_queryQueue.push(');
}

function isCaptured(query: unknown): query is { text: string; callback: QueryCallback } {
  return (
    typeof query === 'object' &&
    query !== null &&
    'text' in query &&
    typeof query.text === 'string' &&
    'callback' in query &&
    typeof query.callback === 'function'
  );
}
