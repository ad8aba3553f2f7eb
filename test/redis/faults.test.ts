import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import {
  BackendUnavailableError,
  ConnectionLostError,
  OperationTimeoutError,
  PoolClosedError,
  QueueFullError,
} from '../../lib/errors.js';
import { eventually } from '../support/eventually.js';
import { type FaultProxy, freePort, type RedisServer, startFaultProxy, startRedis } from '../support/servers/index.js';
import { clientsOf, observer, redisPool } from './pools.js';

describe('when the way to Redis fails', () => {
  let server: RedisServer;

  beforeAll(async () => {
    server = await startRedis({ password: 's3cret', databases: 4 });
  });
  afterAll(() => server.stop());

  const through = (proxy: FaultProxy): string => `redis://:s3cret@${proxy.host}:${proxy.port}`;

  it('a killed connection under a lease gives one typed error and is replaced', async () => {
    await using test = await redisPool({ url: server.url, maxSize: 1 });
    await using outside = observer(server.url);
    const { pool } = test;
    let id = 0;
    const work = pool.use(async (mine) => {
      id = await mine.client('ID');
      return mine.blpop('nothing', 0);
    });
    await eventually(async () => (await outside.info('clients')).includes('blocked_clients:1'));
    await outside.client('KILL', 'ID', id);
    const error: unknown = await work.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConnectionLostError);
    expect(error).toMatchObject({ code: 'POOL_CONNECTION_LOST', poolId: 'cache', sent: true });
    expect(await pool.use((mine) => mine.client('ID'))).not.toBe(id);
  });

  it('a killed idle connection costs no query anything', async () => {
    await using test = await redisPool({ url: server.url, minSize: 1, maxSize: 1 });
    await using outside = observer(server.url);
    const { pool } = test;
    const id = await pool.use((mine) => mine.client('ID'));
    await outside.client('KILL', 'ID', id);
    await eventually(async () => {
      const clients = await clientsOf(outside);
      return clients.length > 0 && !clients.includes(String(id));
    });
    expect(await pool.use((mine) => mine.ping())).toBe('PONG');
  });

  it('the killed shared connection fails what was under way with a typed error, and comes back by itself', async () => {
    await using test = await redisPool({ url: server.url, minSize: 0 }, 'killed');
    await using outside = observer(server.url);
    const { client } = test.pool;
    await client.ping();
    const [id = ''] = await clientsOf(outside, 'test:killed');
    await server.pause();
    const lost = client.incr('paused');
    const lostByPipeline = client.pipeline().incr('paused').incr('paused').exec();
    const rejection = expect(lost).rejects.toThrow(ConnectionLostError);
    client.stream.destroy();
    await server.resume();
    await rejection;
    const results = (await lostByPipeline) ?? [];
    expect(results.map(([error]) => error)).toEqual([expect.any(ConnectionLostError), expect.any(ConnectionLostError)]);
    expect(await client.ping()).toBe('PONG');
    expect(await clientsOf(outside, 'test:killed')).not.toContain(id);
  });

  it('an INCR whose reply was lost is never executed twice', async () => {
    await using proxy = await startFaultProxy({ target: server });
    await using test = await redisPool({ url: through(proxy), minSize: 0 });
    await using outside = observer(server.url);
    const { client } = test.pool;
    await client.ping();
    // The command gets to the server, its reply doesn't come back.
    proxy.cutReplyAfter(0);
    await expect(client.incr('once')).rejects.toThrow(ConnectionLostError);
    expect(await outside.get('once')).toBe('1');
    await proxy.restore();
    await client.ping();
    expect(await outside.get('once')).toBe('1');
    await outside.del('once');
  });

  it('it is sent again only where that was asked for', async () => {
    await using proxy = await startFaultProxy({ target: server });
    await using test = await redisPool({
      url: through(proxy),
      minSize: 0,
      client: { autoResendUnfulfilledCommands: true },
    });
    await using outside = observer(server.url);
    const { client } = test.pool;
    await client.ping();
    proxy.cutReplyAfter(0);
    const reply = client.incr('twice');
    await eventually(async () => (await outside.get('twice')) === '1');
    await proxy.restore();
    expect(await reply).toBe(2);
    await outside.del('twice');
  });

  it('a black hole: commands, leases and acquires end at their deadlines, and all is well when it is gone', async () => {
    await using proxy = await startFaultProxy({ target: server });
    await using test = await redisPool({
      url: through(proxy),
      maxSize: 2,
      commandTimeoutMs: 200,
      connectTimeoutMs: 300,
      acquireTimeoutMs: 400,
      validateAfterIdleMs: 60_000,
    });
    const { pool } = test;
    await pool.start();
    await using lease = await pool.acquire();
    proxy.blackHole();
    const outcomes = await Promise.allSettled([
      pool.client.get('a'),
      pool.client.pipeline().get('a').get('b').exec(),
      lease.connection.get('a'),
      lease.connection.blpop('nothing', 0.05),
      pool.use((mine) => mine.get('a')),
    ]);
    expect(outcomes[0]).toMatchObject({ reason: expect.any(OperationTimeoutError) });
    expect(outcomes[2]).toMatchObject({ reason: expect.any(OperationTimeoutError) });
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected', 'rejected', 'rejected']);
    lease.release();
    await proxy.restore();
    await eventually(async () => (await pool.client.get('a')) === null, { withinMs: 10_000 });
    expect(await pool.use((mine) => mine.get('a'))).toBeNull();
  });

  it('a stalled server: the connection that owes a reply is given up, and nothing is answered twice', async () => {
    await using test = await redisPool({ url: server.url, minSize: 0, commandTimeoutMs: 150 });
    const { client } = test.pool;
    await client.set('stalled', 0);
    await server.pause();
    await expect(client.incr('stalled')).rejects.toThrow(OperationTimeoutError);
    await server.resume();
    expect(Number(await client.get('stalled'))).toBeLessThanOrEqual(1);
  });

  describe('while there is no server', () => {
    it('commands wait for it, in order, and are sent once it is there', async () => {
      await using proxy = await startFaultProxy({ target: server });
      await using test = await redisPool({ url: through(proxy), minSize: 0 });
      await using outside = observer(server.url);
      const { client } = test.pool;
      proxy.refuse();
      const replies = Promise.all([
        client.rpush('order', 'a'),
        client.pipeline().rpush('order', 'b').rpush('order', 'c').exec(),
        client.rpush('order', 'd'),
      ]);
      await eventually(() => client.status === 'reconnecting');
      await proxy.restore();
      await replies;
      expect(await outside.lrange('order', 0, -1)).toEqual(['a', 'b', 'c', 'd']);
    });

    it('they fail at their deadline, and are not carried out later', async () => {
      await using proxy = await startFaultProxy({ target: server });
      await using test = await redisPool({ url: through(proxy), minSize: 0, commandTimeoutMs: 100 });
      const { client } = test.pool;
      proxy.refuse();
      const outcomes = await Promise.allSettled([
        client.set('late', 1),
        client.pipeline().set('late', 2).set('late', 3).exec(),
      ]);
      expect(outcomes[0]).toMatchObject({ reason: expect.any(OperationTimeoutError) });
      expect(outcomes[1]).toMatchObject({
        value: [[expect.any(OperationTimeoutError)], [expect.any(OperationTimeoutError)]],
      });
      await proxy.restore();
      await eventually(async () => (await client.get('late')) === null);
    });

    it('they fail with the reason once it has been away for failFastAfterMs, at once from then on', async () => {
      await using test = await redisPool({
        url: `redis://:s3cret@127.0.0.1:${await freePort()}`,
        minSize: 0,
        failFastAfterMs: 100,
      });
      const { client } = test.pool;
      const error: unknown = await client.get('a').catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(BackendUnavailableError);
      expect(String(error)).toContain('ECONNREFUSED');
      const again = client.get('a');
      await expect(again).rejects.toThrow(BackendUnavailableError);
      await expect(client.pipeline().get('a').exec()).rejects.toThrow(BackendUnavailableError);
    });

    it('no more of them wait than maxQueue says', async () => {
      await using proxy = await startFaultProxy({ target: server });
      await using test = await redisPool({ url: through(proxy), minSize: 0, maxQueue: 3 });
      const { client } = test.pool;
      proxy.refuse();
      const waiting = [client.get('a'), client.get('a')];
      await expect(client.pipeline().get('a').get('a').exec()).rejects.toThrow(QueueFullError);
      waiting.push(client.get('a'));
      await expect(client.get('a')).rejects.toThrow(QueueFullError);
      await proxy.restore();
      expect(await Promise.all(waiting)).toEqual([null, null, null]);
    });
  });

  it('a wrong password is said, without the password', async () => {
    await using test = await redisPool({
      url: `redis://:wr0ng-one@${server.host}:${server.port}`,
      minSize: 0,
      failFastAfterMs: 100,
      acquireTimeoutMs: 500,
    });
    const { pool } = test;
    const errors = await Promise.all(
      [pool.client.get('a'), pool.acquire()].map((work: Promise<unknown>) => work.catch((reason: unknown) => reason)),
    );
    for (const error of errors) {
      expect(error).toBeInstanceOf(BackendUnavailableError);
      expect(String(error)).toContain('WRONGPASS');
    }
    expect(JSON.stringify([errors, test.log, pool.config, pool])).not.toContain('wr0ng');
  });

  it('a database that is not there is an error, not database 0', async () => {
    await using test = await redisPool({
      url: server.url,
      db: 99,
      minSize: 0,
      failFastAfterMs: 100,
      acquireTimeoutMs: 500,
    });
    const errors = await Promise.all(
      [test.pool.client.get('a'), test.pool.acquire()].map((work: Promise<unknown>) =>
        work.catch((reason: unknown) => String(reason)),
      ),
    );
    expect(errors).toEqual([expect.stringContaining('out of range'), expect.stringContaining('out of range')]);
  });

  it('asks for the password before every connect, so that it can change', async () => {
    let password = 's3cret';
    await using test = await redisPool({
      url: `redis://${server.host}:${server.port}`,
      password: () => Promise.resolve(password),
      minSize: 0,
    });
    await using outside = observer(server.url);
    const { pool } = test;
    expect(await pool.client.ping()).toBe('PONG');
    expect(await pool.use((mine) => mine.ping())).toBe('PONG');
    password = 'r0tated';
    await outside.config('SET', 'requirepass', password);
    try {
      pool.evict();
      expect(await pool.client.ping()).toBe('PONG');
      expect(await pool.use((mine) => mine.ping())).toBe('PONG');
      expect(await pool.client.duplicate().ping()).toBe('PONG');
    } finally {
      await outside.config('SET', 'requirepass', 's3cret');
    }
  });

  it('a password that can not be had at first is asked for again', async () => {
    let asked = 0;
    const password = (): string => {
      if (asked++ === 0) throw new Error('the vault is closed');
      return 's3cret';
    };
    await using test = await redisPool({ url: `redis://${server.host}:${server.port}`, password, minSize: 0 });
    expect(await test.pool.client.ping()).toBe('PONG');
    expect(asked).toBe(2);
  });

  it('a start that waits for the server ends when the pool is closed', async () => {
    const { pool } = await redisPool({ url: `redis://127.0.0.1:${await freePort()}` });
    const start = pool.start();
    const rejection = expect(start).rejects.toThrow(PoolClosedError);
    await pool.close({ deadlineMs: 0 });
    await rejection;
    await expect(pool.client.connect()).rejects.toThrow(PoolClosedError);
  });

  it('health: the shared client counts', async () => {
    await using proxy = await startFaultProxy({ target: server });
    await using test = await redisPool({
      url: through(proxy),
      minSize: 0,
      healthCheck: { timeoutMs: 300, failureThreshold: 1 },
    });
    const { pool } = test;
    await pool.start();
    expect(await pool.healthCheck()).toMatchObject({ status: 'healthy' });
    proxy.blackHole();
    expect(await pool.healthCheck()).toMatchObject({ status: 'unhealthy', available: false });
    await proxy.restore();
    await eventually(async () => (await pool.healthCheck()).status === 'healthy', { withinMs: 10_000 });
  });

  it('a server that restarts: both kinds of connection are back', async () => {
    await using restarting = await startRedis();
    await using test = await redisPool({ url: restarting.url, minSize: 1 });
    const { pool } = test;
    await pool.start();
    await restarting.restart();
    await eventually(async () => (await pool.client.ping()) === 'PONG');
    expect(await pool.use((mine) => mine.ping())).toBe('PONG');
  });

  it('a server that refuses to write because it is a replica now: its connections are replaced', async () => {
    await using demoted = await startRedis();
    await using test = await redisPool({ url: demoted.url, maxSize: 1, commandTimeoutMs: 2_000 });
    await using outside = observer(demoted.url);
    const { pool } = test;
    const id = await pool.use((mine) => mine.client('ID'));
    await outside.replicaof('127.0.0.1', server.port);
    await pool.use(async (mine) => {
      await expect(mine.set('a', 1)).rejects.toThrow('READONLY');
    });
    await outside.replicaof('NO', 'ONE');
    const next = await pool.use(async (mine) => [await mine.client('ID'), await mine.set('a', 1)]);
    expect(next).toEqual([expect.any(Number), 'OK']);
    expect(next[0]).not.toBe(id);
  });
});
