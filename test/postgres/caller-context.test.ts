/**
 * The code of its caller's that a PostgreSQL pool calls (values, type parsers, callbacks, events of streams and
 * clients) runs in the async context of the call that handed it in, also when that had to wait for a slot that another
 * tenant has freed.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { EventEmitter } from 'node:events';

import { describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';

import type { LeasedClient, PostgresPool } from '../../lib/postgres/postgres-pool.js';
import { NUMBERS_TABLE, type TestPools, withTestPools } from './pools.js';

const who = new AsyncLocalStorage<string>();
let pools: TestPools;
withTestPools(
  (made) => ({ pools } = made),
  () => [NUMBERS_TABLE],
);

type Queries = Pick<PostgresPool | LeasedClient, 'query'>;
/** Writes down in which context something was called. */
type Saw = (callback: string) => void;

const parser =
  (saw: Saw) =>
  (text: string): string => {
    saw('parser');
    return text;
  };
const types = (saw: Saw): { getTypeParser: () => (text: string) => string } => ({
  getTypeParser: () => {
    saw('getTypeParser');
    return parser(saw);
  },
});
const value = (saw: Saw): object => ({
  toPostgres: () => {
    saw('toPostgres');
    return '1';
  },
});
const json = (saw: Saw): object => ({
  toJSON: () => {
    saw('toJSON');
    return { n: 1 };
  },
});

/** Ends with the event `last`; listens for all of them. */
function events(emitter: EventEmitter, saw: Saw, last: string, ...others: string[]): Promise<void> {
  for (const event of others) emitter.on(event, () => saw(event));
  return new Promise((resolve) =>
    emitter.once(last, () => {
      saw(last);
      resolve();
    }),
  );
}

const called = (saw: Saw, name: string, begin: (callback: () => void) => void): Promise<void> =>
  new Promise((resolve) =>
    begin(() => {
      saw(name);
      resolve();
    }),
  );

/** What is called, and what calls it. */
const CALLBACKS: readonly [
  name: string,
  expected: readonly string[],
  run: (on: Queries, saw: Saw) => Promise<unknown>,
][] = [
  ['toPostgres of a value', ['toPostgres'], (on, saw) => on.query('select $1::int', [value(saw)])],
  ['toPostgres of a value in an array', ['toPostgres'], (on, saw) => on.query('select $1::int[]', [[value(saw)]])],
  [
    'toPostgres of a named statement',
    ['toPostgres'],
    (on, saw) => on.query({ name: 'named', text: 'select $1::int', values: [value(saw)] }),
  ],
  ['toJSON of a value', ['toJSON'], (on, saw) => on.query('select $1::json', [json(saw)])],
  ['types of a query', ['getTypeParser', 'parser'], (on, saw) => on.query({ text: 'select 1', types: types(saw) })],
  [
    'types of a query with values',
    ['getTypeParser', 'parser', 'toPostgres'],
    (on, saw) => on.query({ text: 'select $1::int', values: [value(saw)], types: types(saw) }),
  ],
  ['a query’s callback', ['callback'], (on, saw) => called(saw, 'callback', (done) => on.query('select 1', done))],
  [
    'a failing query’s callback',
    ['callback'],
    (on, saw) => called(saw, 'callback', (done) => on.query('select 1 / 0', done)),
  ],
  [
    'events of a query of pg’s own',
    ['end', 'row', 'toPostgres'],
    (on, saw) => events(on.query(new pg.Query('select $1::int', [value(saw)])), saw, 'end', 'row'),
  ],
  [
    'the error of a query of pg’s own',
    ['error'],
    (on, saw) => events(on.query(new pg.Query('select 1 / 0')), saw, 'error'),
  ],
  [
    'types of a query of pg’s own',
    ['end', 'getTypeParser', 'parser'],
    (on, saw) => events(on.query(new pg.Query({ text: 'select 1', types: types(saw) })), saw, 'end'),
  ],
  [
    'the callback of a query of pg’s own',
    ['callback'],
    (on, saw) => called(saw, 'callback', (done) => on.query(new pg.Query('select 1', done))),
  ],
  [
    'a cursor',
    ['close', 'end', 'read', 'row'],
    async (on, saw) => {
      const cursor = on.query(new Cursor('select 1'));
      const ended = events(cursor, saw, 'end', 'row');
      await called(saw, 'read', (done) => cursor.read(10, done));
      await ended;
      await called(saw, 'close', (done) => cursor.close(done));
    },
  ],
  [
    'a cursor that is closed in its middle',
    ['close', 'read'],
    async (on, saw) => {
      const cursor = on.query(new Cursor('select generate_series(1, 100)'));
      await called(saw, 'read', (done) => cursor.read(1, done));
      await called(saw, 'close', (done) => cursor.close(done));
    },
  ],
  [
    'types of a cursor',
    ['getTypeParser', 'parser', 'read'],
    async (on, saw) => {
      const cursor = on.query(new Cursor('select 1', [], { types: types(saw) }));
      await called(saw, 'read', (done) => cursor.read(10, done));
    },
  ],
  [
    'a query stream',
    ['close', 'data', 'end'],
    (on, saw) => events(on.query(new QueryStream('select generate_series(1, 300)')), saw, 'close', 'data', 'end'),
  ],
  [
    'a query stream that fails',
    ['close', 'error'],
    (on, saw) => events(on.query(new QueryStream('select 1 / 0')).resume(), saw, 'close', 'error'),
  ],
  [
    'COPY from the server',
    ['data', 'end'],
    (on, saw) => events(on.query(copyTo('copy (select generate_series(1, 50000)) to stdout')), saw, 'end', 'data'),
  ],
  [
    'COPY to the server',
    ['drain', 'ended', 'finish', 'written'],
    async (on, saw) => {
      const stream = on.query(copyFrom('copy numbers from stdin'));
      const finished = events(stream, saw, 'finish', 'drain');
      for (let part = 0; part < 20; part++)
        await called(saw, 'written', (done) => stream.write('1\n'.repeat(200_000), done));
      stream.end(() => saw('ended'));
      await finished;
    },
  ],
  [
    'COPY to the server that fails',
    ['error'],
    (on, saw) => {
      const stream = on.query(copyFrom('copy numbers from stdin'));
      const failed = events(stream, saw, 'error');
      stream.end('no number\n');
      return failed;
    },
  ],
];

/** Of a client, or what belongs to a lease. */
const OF_A_CLIENT: readonly [
  name: string,
  expected: readonly string[],
  run: (on: LeasedClient, saw: Saw) => Promise<unknown>,
][] = [
  [
    'setTypeParser',
    ['parser'],
    (client, saw) => {
      client.setTypeParser(23, parser(saw));
      return client.query('select 1');
    },
  ],
  [
    'setTypeParser, by a cursor',
    ['parser'],
    (client, saw) => {
      client.setTypeParser(23, parser(saw));
      return client.query(new Cursor('select 1')).read(1);
    },
  ],
  [
    'a notice',
    ['notice'],
    (client, saw) => {
      client.on('notice', () => saw('notice'));
      return client.query(`do $$ begin raise notice 'hear'; end $$`);
    },
  ],
  [
    'a notification',
    ['notification'],
    async (client, saw) => {
      const heard = called(saw, 'notification', (done) => client.once('notification', done));
      await client.query('listen news');
      await client.query('notify news');
      await heard;
    },
  ],
];

/** Each is asked for as `caller`, and waits for the slot that `holder` gives back. */
const WAYS: readonly [
  name: string,
  run: (pool: PostgresPool, work: (on: Queries) => Promise<unknown>) => Promise<unknown>,
][] = [
  ['a pool', (pool, work) => work(pool)],
  ['a lease', (pool, work) => pool.use((client) => work(client))],
  [
    'a lease, behind another statement',
    (pool, work) =>
      pool.use(async (client) => {
        const before = client.query('select pg_sleep(0.02)');
        await work(client);
        await before;
      }),
  ],
  ['a transaction', (pool, work) => pool.transaction((tx) => work(tx))],
];

async function seenBehindAnother(
  run: (pool: PostgresPool, saw: Saw) => Promise<unknown>,
): Promise<Map<string, Set<unknown>>> {
  const pool = await pools.create({ maxSize: 1 });
  const holder = await who.run('holder', () => pool.forTenant('holder').connect());
  const seen = new Map<string, Set<unknown>>();
  const saw: Saw = (callback) => {
    seen.set(callback, (seen.get(callback) ?? new Set()).add(who.getStore()));
  };
  const work = who.run('caller', () => run(pool.forTenant('caller'), saw).catch(() => {}));
  await who.run('holder', () => holder.query('select 1'));
  who.run('holder', () => holder.release());
  await work;
  return seen;
}

const allAs = (context: string, names: readonly string[]): Map<string, Set<unknown>> =>
  new Map(names.map((name) => [name, new Set([context])]));
const sorted = (seen: Map<string, Set<unknown>>): Map<string, Set<unknown>> =>
  new Map([...seen].sort(([a], [b]) => (a < b ? -1 : 1)));

describe.each(WAYS)('asked for by %s', (_way, by) => {
  it.each(CALLBACKS)('%s: in the context of its caller', async (_name, expected, run) => {
    const seen = await seenBehindAnother((pool, saw) => by(pool, (on) => run(on, saw)));
    expect(sorted(seen)).toEqual(allAs('caller', expected));
  });
});

describe('of a client', () => {
  it.each(OF_A_CLIENT)('%s: in the context of its caller', async (_name, expected, run) => {
    const seen = await seenBehindAnother((pool, saw) => pool.use((client) => run(client, saw)));
    expect(sorted(seen)).toEqual(allAs('caller', expected));
  });

  it.each<[string, readonly string[], (pool: PostgresPool, saw: Saw) => Promise<unknown>]>([
    [
      'connect(callback)',
      ['callback'],
      (pool, saw) => called(saw, 'callback', (done) => pool.connect((_error, _client, release) => (release(), done()))),
    ],
    ['end(callback) of a pool', ['callback'], (pool, saw) => called(saw, 'callback', (done) => pool.end(done))],
    [
      'end(callback) of a client',
      ['callback'],
      (pool, saw) => pool.use((client) => called(saw, 'callback', (done) => client.end(done))),
    ],
  ])('%s: in the context of its caller', async (_name, expected, run) => {
    expect(sorted(await seenBehindAnother(run))).toEqual(allAs('caller', expected));
  });
});

describe('of a connection', () => {
  it('onConnect runs in no context, and its type parsers in that of each query', async () => {
    const seen = new Map<string, Set<unknown>>();
    const saw: Saw = (callback) => {
      seen.set(callback, (seen.get(callback) ?? new Set()).add(who.getStore()));
    };
    const pool = await pools.create({
      maxSize: 1,
      onConnect: (client) => {
        saw('onConnect');
        client.setTypeParser(23, parser(saw));
      },
    });
    // The first waits for the connection, and no connection has been set up yet.
    await Promise.all(['a', 'b'].map((tenant) => who.run(tenant, () => pool.query('select 1'))));
    await who.run('c', () => pool.use((client) => client.query('select 1')));
    expect(seen).toEqual(
      new Map<string, Set<unknown>>([
        ['onConnect', new Set([undefined])],
        ['parser', new Set(['a', 'b', 'c'])],
      ]),
    );
  });
});
