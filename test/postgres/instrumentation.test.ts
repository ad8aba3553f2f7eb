/**
 * What instruments pg replaces `Client.prototype.query`. Whatever it does there, results stay what they are; it is told
 * of each statement of the caller's, once, and of its end, and of nothing that the pool sends for its own ends.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { finished } from 'node:stream/promises';

import { afterEach, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

import type { PostgresPool } from '../../lib/postgres/postgres-pool.js';
import type { TestDatabase } from '../support/databases.js';
import { type TestPools, withTestPools } from './pools.js';

let database: TestDatabase;
let pools: TestPools;

const original = Object.getOwnPropertyDescriptor(pg.Client.prototype, 'query')?.value as Query;
const request = new AsyncLocalStorage<string>();

// Before the pools close.
afterEach(() => replaceQuery(original));
withTestPools((made) => ({ database, pools } = made));

type Callback = (error: unknown, result?: unknown) => void;
type Query = (this: pg.Client, ...args: unknown[]) => unknown;

function replaceQuery(query: Query): void {
  Object.defineProperty(pg.Client.prototype, 'query', { value: query, writable: true, configurable: true });
}

/** What wrappers look at of pg's client. */
interface QueueOwner {
  readonly _queryQueue: { callback: Callback }[];
}

interface Span {
  readonly text: string;
  readonly parent: string | undefined;
  outcome: string;
}

/** Makes a span of each call, in the manner of the wrapper given. */
function instrument(wrap: (query: Query, start: (text: string) => Span) => Query): Span[] {
  const spans: Span[] = [];
  replaceQuery(
    wrap(original, (text) => {
      const span: Span = { text, parent: request.getStore(), outcome: 'open' };
      spans.push(span);
      return span;
    }),
  );
  return spans;
}

const textOf = (query: unknown): string => (typeof query === 'string' ? query : (query as { text: string }).text);
const end = (span: Span, error: unknown): void => {
  span.outcome = error instanceof Error ? error.message : 'ok';
};

/** What wrappers do to the arguments, and to what comes back. */
const WRAPPERS: readonly [name: string, wrap: Parameters<typeof instrument>[0]][] = [
  [
    'wraps the callback',
    (query, start) =>
      function wrapped(...args) {
        const span = start(textOf(args[0]));
        const callback = args.at(-1) as Callback;
        args[args.length - 1] = (error: unknown, result: unknown) => {
          end(span, error);
          callback(error, result);
        };
        return query.apply(this, args);
      },
  ],
  [
    'copies the config and puts a comment into its text',
    (query, start) =>
      function wrapped(...args) {
        const span = start(textOf(args[0]));
        const config = args[0] as { name?: string; text: string };
        if (config.name === undefined) args[0] = { ...config, text: `${config.text} /* traced */` };
        const callback = args.at(-1) as Callback;
        args[args.length - 1] = (error: unknown, result: unknown) => {
          end(span, error);
          callback(error, result);
        };
        return query.apply(this, args);
      },
  ],
  [
    'looks for its query at the end of the client’s queue',
    (query, start) =>
      function wrapped(...args) {
        const span = start(textOf(args[0]));
        const answer = query.apply(this, args);
        const queued = (this as pg.Client & QueueOwner)._queryQueue.at(-1);
        if (queued === undefined) throw new TypeError('there is no query in the queue');
        const { callback } = queued;
        queued.callback = (error, result) => {
          end(span, error);
          callback(error, result);
        };
        return answer;
      },
  ],
  [
    'has rewritten pg’s source, so that pg’s own code is inside the traced method',
    (query, start) =>
      function traced(...args) {
        const span = start(textOf(args[0]));
        const own = () => {
          const queue = Reflect.get(this, '_queryQueue') as unknown[];
          // Never so: it is there for the source, which is told from pg's by more than this line.
          if (args.length === 0) Object.assign(this, { _queryQueue: queue })._queryQueue.push(null);
          return query.apply(this, args);
        };
        const callback = args.at(-1) as Callback;
        args[args.length - 1] = (error: unknown, result: unknown) => {
          end(span, error);
          callback(error, result);
        };
        return own();
      },
  ],
  [
    'sends a statement of its own ahead',
    (query, start) =>
      function wrapped(...args) {
        const span = start(textOf(args[0]));
        void query.call(this, { text: `set application_name = 'traced'` });
        const callback = args.at(-1) as Callback;
        args[args.length - 1] = (error: unknown, result: unknown) => {
          end(span, error);
          callback(error, result);
        };
        return query.apply(this, args);
      },
  ],
  [
    'throws when it is told of the end',
    (query, start) =>
      function wrapped(...args) {
        const span = start(textOf(args[0]));
        args[args.length - 1] = (error: unknown) => {
          end(span, error);
          throw new Error('thrown by instrumentation');
        };
        return query.apply(this, args);
      },
  ],
  [
    'throws after it has passed the query on',
    (query, start) =>
      function wrapped(...args) {
        const span = start(textOf(args[0]));
        const callback = args.at(-1) as Callback;
        args[args.length - 1] = (error: unknown, result: unknown) => {
          end(span, error);
          callback(error, result);
        };
        query.apply(this, args);
        throw new TypeError('newQuery.then is not a function');
      },
  ],
];

describe.each(WRAPPERS)('instrumentation that %s', (_name, wrap) => {
  it.each([
    ['row security', { mode: 'rls' as const }],
    ['schemas', { mode: 'schema' as const, schema: (tenant: string) => tenant }],
    ['nothing', { mode: 'none' as const }],
  ])('sees the caller’s statements and changes no result: isolation by %s', async (_mode, isolation) => {
    const pool = await pools.create({ maxSize: 1, isolation });
    const spans = instrument(wrap);
    const expected: Omit<Span, 'outcome'>[] = [];
    const calls: Promise<unknown>[] = [];
    const call = (tenant: string, text: string, run: (tenants: PostgresPool) => Promise<unknown>): void => {
      expected.push({ text, parent: `${tenant}: ${text}` });
      calls.push(
        request.run(`${tenant}: ${text}`, async () => {
          expect(await run(pool.forTenant(tenant))).toEqual([{ v: text }]);
        }),
      );
    };
    const rows = async (answer: Promise<{ rows: unknown[] }>): Promise<unknown[]> => (await answer).rows;
    // All at once on one connection, so that most wait for somebody else's work to end.
    for (let round = 0; round < 4; round++) {
      for (const tenant of ['a', 'b']) {
        const value = `'${round}${tenant}`;
        const select = (kind: string): string => `select ${value}${kind}'::text as v`;
        const own = (kind: string, run: (tenants: PostgresPool, text: string) => Promise<unknown>): void => {
          const text = select(kind);
          call(tenant, text, async (tenants) => {
            expect(await run(tenants, text)).toEqual([{ v: `${round}${tenant}${kind}` }]);
            return [{ v: text }];
          });
        };
        own('one-shot', (tenants, text) => rows(tenants.query(text)));
        own('named', (tenants, text) => rows(tenants.query({ name: text, text })));
        own(
          'callback',
          (tenants, text) =>
            new Promise((resolve, reject) => {
              tenants.query(text, (error, result) => (error ? reject(error) : resolve(result.rows)));
            }),
        );
        own('lease', (tenants, text) => tenants.use((client) => rows(client.query(text))));
        own('transaction', (tenants, text) =>
          tenants.transaction((tx) => tx.transaction((inner) => rows(inner.query(text)))),
        );
        own('cursor', async (tenants, text) => {
          const cursor = tenants.query(new Cursor(text));
          const read: unknown[] = await cursor.read(10);
          await cursor.close();
          return read;
        });
        own('stream', async (tenants, text) => {
          const read: unknown[] = [];
          const stream = tenants.query(new QueryStream(text)).on('data', (row) => read.push(row));
          await finished(stream);
          return read;
        });
      }
    }
    await Promise.all(calls);
    const withoutOutcome = spans.map(({ text, parent }) => ({ text, parent }));
    const order = (a: { text: string }, b: { text: string }): number => a.text.localeCompare(b.text);
    expect(withoutOutcome.sort(order)).toEqual(expected.sort(order));
    expect(spans.filter(({ outcome }) => outcome !== 'ok')).toEqual([]);
    expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
  });

  it('is told of errors', async () => {
    const pool = await pools.create({ maxSize: 1 });
    const spans = instrument(wrap);
    await expect(pool.query('select 1/0')).rejects.toMatchObject({ code: '22012' });
    await expect(pool.use((client) => client.query('select 1/0'))).rejects.toMatchObject({ code: '22012' });
    await expect(pool.query(new Cursor('select 1/0')).read(1)).rejects.toMatchObject({ code: '22012' });
    expect(spans.map(({ outcome }) => outcome)).toEqual(Array(3).fill('division by zero'));
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
  });
});

describe('instrumentation that refuses a query', () => {
  it.each<[name: string, wrap: Parameters<typeof instrument>[0]]>([
    [
      'by its callback',
      (_query, start) =>
        (...args) => {
          end(start(textOf(args[0])), undefined);
          (args.at(-1) as Callback)(new Error('blocked'));
        },
    ],
    [
      'by throwing',
      (_query, start) =>
        (...args) => {
          end(start(textOf(args[0])), undefined);
          throw new Error('blocked');
        },
    ],
  ])('is obeyed: %s', async (_how, wrap) => {
    await database.query('create table if not exists ran (n int); grant all on ran to public');
    const pool = await pools.create({ maxSize: 1 });
    instrument(wrap);
    const insert = 'insert into ran values (1)';
    await expect(pool.query(insert)).rejects.toThrow('blocked');
    await expect(pool.use((client) => client.query(insert))).rejects.toThrow('blocked');
    await expect(pool.transaction((tx) => tx.query(insert))).rejects.toThrow('blocked');
    await expect(pool.query(new Cursor(insert)).read(1)).rejects.toThrow('blocked');
    replaceQuery(original);
    expect(await database.query('select * from ran')).toEqual([]);
    expect((await pool.query('select 1 as ok')).rows).toEqual([{ ok: 1 }]);
    expect(pool.stats().active).toBe(0);
  });
});
