import { setImmediate as turn } from 'node:timers/promises';

import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Redis, type RedisOptions } from 'ioredis';

import { eventually } from '../support/eventually.js';
import { type RedisServer, startRedis } from '../support/servers/index.js';
import { redisPool } from './pools.js';

class Thrown extends Error {}
const fail = (): never => {
  throw new Thrown('thrown by a caller');
};

describe('code of a caller that throws costs no slot, no connection and no process', () => {
  let server: RedisServer;

  beforeAll(async () => {
    server = await startRedis();
  });
  // Jest fails what is running when an exception is uncaught or a rejection unhandled: here, at the latest.
  afterEach(() => turn());
  afterAll(() => server.stop());

  const callbacks: Readonly<Record<string, (client: Redis) => unknown>> = {
    'a command’s callback': (client) => client.get('a', fail),
    'call() with a callback': (client) => client.call('GET', 'a', fail),
    'a callback that is told an error': (client) => client.call('NONSENSE', fail).catch(() => undefined),
    'exec() of a pipeline': (client) => client.pipeline().get('a').exec(fail),
    'a command’s callback in a pipeline': (client) => client.pipeline().get('a', fail).exec(),
    'exec() of a transaction': (client) => client.multi().get('a').exec(fail),
    'a defined command’s callback': (client) => {
      client.defineCommand('failing', { numberOfKeys: 0, lua: 'return 1' });
      const defined: unknown = Reflect.get(client, 'failing');
      const reply: unknown = typeof defined === 'function' ? Reflect.apply(defined, client, [fail]) : undefined;
      return reply;
    },
    'connect() with a callback': (client) => client.connect(fail).catch(() => undefined),
  };

  it.each(Object.entries(callbacks))('%s', async (_, use) => {
    for (const enableAutoPipelining of [false, true]) {
      await using test = await redisPool({ url: server.url, maxSize: 1, client: { enableAutoPipelining } });
      const { pool } = test;
      await pool.start();
      const duplicate = pool.client.duplicate();
      await pool.use((mine) => use(mine));
      await use(pool.client);
      await use(duplicate);
      await eventually(() => test.log.filter((line) => line.includes('thrown by a caller')).length === 3);
      expect(await Promise.all([pool.client.ping(), duplicate.ping(), pool.use((mine) => mine.ping())])).toEqual([
        'PONG',
        'PONG',
        'PONG',
      ]);
      expect(pool.stats()).toMatchObject({ active: 0, connects: 1 });
    }
  });

  it('a listener', async () => {
    await using test = await redisPool({ url: server.url });
    const { client } = test.pool;
    client.on('ready', fail);
    await test.pool.start();
    const subscriber = client.duplicate();
    const heard: unknown[] = [];
    subscriber.on('message', fail);
    subscriber.on('message', (_, text) => heard.push(text));
    await subscriber.subscribe('news');
    await client.publish('news', 'one');
    await client.publish('news', 'two');
    await eventually(() => heard.length === 2);
    expect(test.log.filter((line) => line.includes('a listener of the event "message"'))).toHaveLength(2);
  });

  it('a transformer of replies or of arguments, and an argument that is no text', async () => {
    await using test = await redisPool({ url: server.url, maxSize: 1, commandTimeoutMs: 2_000 });
    const { pool } = test;
    await pool.start();
    const id = await pool.use((mine) => mine.client('ID'));
    const argument: never[] = [];
    Object.defineProperty(argument, 0, { value: { toString: fail } });
    Redis.Command.setReplyTransformer('strlen', fail);
    Redis.Command.setArgumentTransformer('append', fail);
    try {
      for (const run of [
        (client: Redis) => client.strlen('a'),
        (client: Redis) => client.append('a', 'b'),
        (client: Redis) => client.call('SET', ['a', ...argument]),
      ]) {
        for (const client of [pool.client, pool.client.duplicate()]) await expect(run(client)).rejects.toThrow(Thrown);
        await expect(pool.use(run)).rejects.toThrow(Thrown);
      }
      await expect(pool.client.pipeline().get('a').append('a', 'b').get('a').exec()).rejects.toThrow('APPEND');
    } finally {
      Redis.Command.setReplyTransformer('strlen', (reply: unknown) => reply);
      Redis.Command.setArgumentTransformer('append', (args: unknown[]) => args);
    }
    expect(await pool.client.ping()).toBe('PONG');
    expect(await pool.use((mine) => mine.client('ID'))).toBe(id);
  });

  it.each<[string, RedisOptions]>([
    ['retryStrategy', { retryStrategy: fail }],
    ['reconnectOnError', { reconnectOnError: fail }],
  ])('%s', async (name, client) => {
    await using own = await startRedis();
    await using test = await redisPool({ url: own.url, client });
    const { pool } = test;
    await pool.start();
    const duplicate = pool.client.duplicate();
    await duplicate.ping();
    for (const each of [pool.client, duplicate]) await expect(each.call('NONSENSE')).rejects.toThrow('unknown command');
    await pool.use((mine) => expect(mine.call('NONSENSE')).rejects.toThrow('unknown command'));
    await own.restart();
    await eventually(async () => (await duplicate.ping()) === 'PONG' && (await pool.client.ping()) === 'PONG');
    expect(await pool.use((mine) => mine.ping())).toBe('PONG');
    expect(test.log.some((line) => line.includes(`${name} threw`))).toBe(true);
  });

  it('a connector: what its connect() throws is a failed connect, and is tried again', async () => {
    let left = 3;
    const { Connector: Standalone } = await connectorOf(server);
    class Failing extends Standalone {
      override connect(...args: Parameters<InstanceType<typeof Standalone>['connect']>) {
        if (left-- > 0) fail();
        return super.connect(...args);
      }
      override check(): boolean {
        return fail();
      }
    }
    void Failing;
    await using test = await redisPool({
      url: server.url,
      failFastAfterMs: 60_000,
      client: { Connector: Failing, enableReadyCheck: false },
    });
    expect(await test.pool.client.ping()).toBe('PONG');
    expect(await test.pool.use((mine) => mine.ping())).toBe('PONG');
    expect(left).toBeLessThan(0);
  });
});

/** The class by which ioredis connects to a server. */
async function connectorOf(server: RedisServer) {
  const { AbstractConnector } = await import('ioredis');
  const { createConnection } = await import('node:net');
  class Connector extends AbstractConnector {
    constructor() {
      super(500);
    }
    override async connect() {
      this.connecting = true;
      this.stream = createConnection({ host: server.host, port: server.port });
      return this.stream;
    }
  }
  return { Connector };
}
