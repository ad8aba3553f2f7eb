// Commands of one turn of the event loop leave in one write. Each of them settles, also when the connection is replaced
// or closed in the same turn.
import { Socket } from 'node:net';

import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import type { Redis } from 'ioredis';

import { claimRedis, type TestRedis } from '../support/databases.js';
import { redisPool, type TestPool } from './pools.js';

let redis: TestRedis;
beforeAll(async () => {
  redis = await claimRedis();
});
afterAll(() => redis.release());

async function started(options = {}): Promise<TestPool> {
  const test = await redisPool({ url: redis.url, minSize: 0, ...options });
  await test.pool.start();
  await test.pool.client.set('key', 'value');
  return test;
}

/** How many writes to sockets are made until `run` is over. */
async function writesOf(run: () => Promise<unknown>): Promise<number> {
  let writes = 0;
  const methods = ['_write', '_writev'].map((name) => ({ name, own: Reflect.get(Socket.prototype, name) as unknown }));
  for (const { name, own } of methods) {
    Reflect.set(Socket.prototype, name, function (this: Socket, ...args: unknown[]): void {
      writes++;
      if (typeof own === 'function') Reflect.apply(own, this, args);
    });
  }
  try {
    await run();
  } finally {
    for (const { name, own } of methods) Reflect.set(Socket.prototype, name, own);
  }
  return writes;
}

const many = <T>(ask: (at: number) => Promise<T>): Promise<T>[] => Array.from({ length: 100 }, (_, at) => ask(at));

describe('commands of leases', () => {
  it('leave in one write each turn, in their order', async () => {
    await using test = await started({ maxSize: 1 });
    const replies: Promise<unknown>[] = [];
    await test.pool.use(async (client) => {
      await client.get('key');
      const writes = await writesOf(() => {
        replies.push(client.set('lease', 1), client.incr('lease'), client.multi().incr('lease').exec());
        replies.push(client.get('lease'));
        return Promise.all(replies);
      });
      expect(writes).toBe(1);
    });
    expect(await Promise.all(replies)).toEqual(['OK', 2, [[null, 3]], '3']);
  });

  it('are written once all replies that have arrived are read, each over a connection of its own', async () => {
    await using test = await started({ maxSize: 3 });
    const { pool } = test;
    await Promise.all([1, 2, 3].map(() => pool.use((client) => client.get('key'))));
    const asked: Promise<string | null>[] = [];
    let early = 0;
    const writes = await writesOf(async () => {
      early = await writesOf(async () => {
        asked.push(...[1, 2, 3].map(() => pool.use((client) => client.get('key'))));
        await new Promise(process.nextTick);
      });
      await Promise.all(asked);
    });
    expect([early, writes]).toEqual([0, 3]);
  });

  it('reach the server when the lease ends its connection in the same turn', async () => {
    await using test = await started({ maxSize: 1 });
    await test.pool
      .use(async (client) => {
        const set = client.set('farewell', 'said');
        client.disconnect();
        await set;
      })
      .catch(() => undefined);
    expect(await test.pool.client.get('farewell')).toBe('said');
  });

  /** Commands of every kind, asked for at once. */
  const asked = (client: Redis): Promise<unknown>[] => [
    client.get('key'),
    client
      .pipeline()
      .get('key')
      .exec()
      .then((replies) => replies?.[0]?.[1]),
    client
      .multi()
      .get('key')
      .exec()
      .then((replies) => replies?.[0]?.[1]),
    client.get('key'),
  ];
  const LOST = /^(ConnectionLostError|PoolClosedError|LeaseReleasedError)$/;
  // The replies of a pipeline hold its errors.
  const outcomesOf = async (replies: readonly Promise<unknown>[]): Promise<string[]> =>
    (await Promise.allSettled(replies)).map((result) => {
      if (result.status === 'fulfilled') return typeof result.value === 'string' ? result.value : 'lost';
      return LOST.test((result.reason as Error).name) ? 'lost' : String(result.reason);
    });

  it('are answered when the pool replaces its connections in the same turn', async () => {
    await using test = await started({ maxSize: 1 });
    const { pool } = test;
    let first = 0;
    const outcomes = await pool.use(async (client) => {
      first = await client.client('ID');
      const before = asked(client);
      pool.evict();
      return outcomesOf([...before, ...asked(client)]);
    });
    expect(outcomes).toEqual(Array.from({ length: 8 }, () => 'value'));
    await pool.use(async (client) => {
      expect(await client.client('ID')).not.toBe(first);
      expect(await client.get('key')).toBe('value');
    });
  });

  it('are answered or fail when the pool is closed at once in the same turn', async () => {
    await using test = await started({ maxSize: 1 });
    const { pool } = test;
    const { connection } = await pool.acquire();
    const before = asked(connection);
    const closing = pool.close({ deadlineMs: 0 });
    const outcomes = await outcomesOf([...before, ...asked(connection)]);
    await closing;
    expect(outcomes).toHaveLength(8);
    for (const outcome of outcomes) expect(outcome).toMatch(/^(value|lost)$/);
  });

  it('fail when their connection is lost before the turn ends, and the next lease has another one', async () => {
    await using test = await started({ maxSize: 1 });
    const { pool } = test;
    const lease = await pool.acquire();
    const first = await lease.connection.client('ID');
    let before: Promise<unknown>[] = [];
    const [socket] = corkedBy(() => (before = asked(lease.connection)));
    socket?.destroy();
    expect(await outcomesOf([...before, ...asked(lease.connection)])).toEqual(Array.from({ length: 8 }, () => 'lost'));
    lease.release();
    await pool.use(async (client) => {
      expect(await client.client('ID')).not.toBe(first);
      expect(await outcomesOf(asked(client))).toEqual(['value', 'value', 'value', 'value']);
    });
  });

  it('that nothing waits for leave no reply to the next lease when theirs ends in the same turn', async () => {
    await using test = await started({ maxSize: 1 });
    const { pool } = test;
    const first = await pool.acquire();
    const before = asked(first.connection);
    first.release();
    const second = await pool.acquire();
    const marked = [second.connection.set('mark', 'mine'), second.connection.get('mark')];
    expect(await Promise.all(marked)).toEqual(['OK', 'mine']);
    expect(await second.connection.echo('hello')).toBe('hello');
    second.release();
    for (const outcome of await outcomesOf(before)) expect(outcome).toMatch(/^(value|lost)$/);
    expect(pool.stats()).toMatchObject({ active: 0 });
  });

  it('have the whole of their time although the turn lasts for longer', async () => {
    await using test = await started({ maxSize: 1, commandTimeoutMs: 200 });
    await test.pool.use(async (client) => {
      await client.get('key');
      const reply = client.eval(SLOW, 0);
      block(300);
      expect(await reply).toBe('done');
    });
  });

  it('leave although the clock of a test stands still', async () => {
    await using test = await started({ maxSize: 1 });
    await test.pool.use((client) => client.get('key'));
    const faked = jest.useFakeTimers();
    try {
      expect(await test.pool.use((client) => Promise.all([client.get('key'), client.get('key')]))).toHaveLength(2);
    } finally {
      faked.useRealTimers();
    }
  });
});

/** Takes the server 20 ms: longer than the event loop needs for its next turn. */
const SLOW = `
  local function now() local time = redis.call('TIME') return time[1] * 1000000 + time[2] end
  local began = now()
  while now() - began < 20000 do end
  return 'done'`;

/** Keeps the event loop from turning. */
function block(ms: number): void {
  const endsAt = performance.now() + ms;
  while (performance.now() < endsAt);
}

/** The sockets that `run` holds back. */
function corkedBy(run: () => void): Socket[] {
  const own: unknown = Reflect.get(Socket.prototype, 'cork');
  const sockets: Socket[] = [];
  Reflect.set(Socket.prototype, 'cork', function (this: Socket): void {
    sockets.push(this);
    if (typeof own === 'function') Reflect.apply(own, this, []);
  });
  try {
    run();
  } finally {
    Reflect.deleteProperty(Socket.prototype, 'cork');
  }
  return sockets;
}

describe('commands of one turn', () => {
  it('leave in one write behind the first, which leaves at once', async () => {
    await using test = await started();
    const { client } = test.pool;
    const replies: Promise<string | null>[] = [];
    const writes = await writesOf(() => {
      replies.push(...many(() => client.get('key')));
      return Promise.all(replies);
    });
    expect(writes).toBe(2);
    expect(await Promise.all(replies)).toEqual(Array.from({ length: 100 }, () => 'value'));
  });

  it('are gathered again in the turn in which their replies arrive', async () => {
    await using test = await started();
    const { client } = test.pool;
    const writes = await writesOf(() =>
      Promise.all(
        many(async () => {
          await client.get('key');
          await client.get('key');
        }),
      ),
    );
    // The replies may come in several reads.
    expect(writes).toBeLessThan(20);
  });

  it('keep their order, also with pipelines among them', async () => {
    await using test = await started();
    const { client } = test.pool;
    await client.del('list');
    const pipeline = client.pipeline().rpush('list', 'c').rpush('list', 'd');
    await Promise.all([
      client.rpush('list', 'a'),
      client.rpush('list', 'b'),
      pipeline.exec(),
      client.rpush('list', 'e'),
      client.call('rpush', 'list', 'f'),
    ]);
    expect(await client.lrange('list', 0, -1)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  it('have the whole of their time although the turn lasts for longer', async () => {
    await using test = await started({ commandTimeoutMs: 200 });
    const { client } = test.pool;
    await client.get('key');
    const replies = [client.get('key'), client.eval(SLOW, 0)];
    block(300);
    expect(await Promise.all(replies)).toEqual(['value', 'done']);
  });

  it('leave although the clock of a test stands still', async () => {
    await using test = await started();
    const { client } = test.pool;
    const faked = jest.useFakeTimers({ doNotFake: ['setImmediate'] });
    try {
      expect(await Promise.all([client.get('key'), client.get('key'), client.get('key')])).toHaveLength(3);
    } finally {
      faked.useRealTimers();
    }
  });

  const ends: [string, (test: TestPool) => unknown][] = [
    ['is replaced', ({ pool }) => pool.evict()],
    ['is closed', ({ pool }) => pool.close({ deadlineMs: 1_000 })],
    ['is closed at once', ({ pool }) => pool.close({ deadlineMs: 0 })],
  ];
  it.each(ends)('are answered or fail when the connection %s in the same turn', async (_name, end) => {
    await using test = await started();
    const { client } = test.pool;
    const before = many(() => client.get('key'));
    const ending = end(test);
    const after = many(() => client.get('key'));
    const results = await Promise.allSettled([...before, ...after]);
    await ending;
    for (const result of results) {
      if (result.status === 'fulfilled') expect(result.value).toBe('value');
      else expect((result.reason as Error).name).toMatch(/^(ConnectionLostError|PoolClosedError|CommandRefusedError)$/);
    }
  });
});
