import { describe, expect, it } from '@jest/globals';

import { BackendUnavailableError } from '../../lib/errors.js';
import { isDropped } from '../../lib/redis/server-answers.js';
import { eventually } from '../support/eventually.js';
import { startRedis } from '../support/servers/index.js';
import { observer, redisPool } from './pools.js';
import { bulk, oddServer, ordinary } from './support/odd-server.js';

const often = { intervalMs: 50, timeoutMs: 2_000, failureThreshold: 2 };

describe('a probe of a server that answers', () => {
  it('with NOPERM, to a user who may do everything but PING: the pool is well, and connections are kept', async () => {
    await using server = await startRedis();
    await using outside = observer(server.url);
    await outside.call('ACL', 'SETUSER', 'app', 'on', '>pw', '~*', '+@read', '+@write', '+client', '+info', '+hello');
    const url = server.url.replace('redis://', 'redis://app:pw@');
    await using test = await redisPool({
      url,
      maxSize: 1,
      validateAfterIdleMs: 0,
      keepaliveMs: 20,
      healthCheck: often,
    });
    const { pool } = test;
    await pool.start();
    await expect(pool.client.ping()).rejects.toThrow('NOPERM');
    for (let round = 0; round < 3; round++) {
      expect(await pool.use((mine) => mine.set('a', round))).toBe('OK');
      expect(await pool.healthCheck()).toMatchObject({ status: 'healthy' });
    }
    expect(pool.stats()).toMatchObject({ connects: 1, lastError: undefined });
    expect(pool.stats().destroyed.validation).toBe(0);
  });

  it.each([
    ['ERR unknown command', 'healthy'],
    ['NOPERM this user has no permissions', 'healthy'],
    ['BUSY Redis is busy running a script.', 'degraded'],
    ['LOADING Redis is loading the dataset in memory', 'degraded'],
    ['MASTERDOWN Link with MASTER is down', 'degraded'],
    ['NOAUTH Authentication required.', 'degraded'],
    ['MISCONF Redis is configured to save RDB snapshots', 'degraded'],
    ['ERR max number of clients reached', 'degraded'],
  ])('with %s: it is there, and %s', async (reply, status) => {
    await using server = await oddServer();
    await using test = await redisPool({ url: server.url, minSize: 0, healthCheck: { ...often, intervalMs: 0 } });
    const { pool } = test;
    await pool.start();
    server.answer = (name) => (name === 'ping' ? `-${reply}\r\n` : ordinary(name));
    for (let round = 0; round < 4; round++) await pool.healthCheck();
    const result = await pool.healthCheck();
    expect(result).toMatchObject({ status, available: true, consecutiveFailures: 0 });
    expect(result.outcome).toBe(status === 'healthy' ? 'alive' : 'refused');
    expect(pool.stats().lastError ?? '').toContain(status === 'healthy' ? '' : reply);
    server.answer = undefined;
    expect(await pool.healthCheck()).toMatchObject({ status: 'healthy', outcome: 'alive' });
  });

  it('while it loads its data: it is there, with that as the reason, and nothing is given up or said twice', async () => {
    await using server = await oddServer();
    server.answer = (name) => (name === 'info' ? bulk('loading:1\r\nloading_eta_seconds:1\r\n') : ordinary(name));
    await using test = await redisPool({
      url: server.url,
      minSize: 0,
      connectTimeoutMs: 1_000,
      healthCheck: { ...often, timeoutMs: 200 },
    });
    const { pool } = test;
    const started = pool.start();
    await eventually(async () => (await pool.healthCheck()).outcome === 'refused');
    expect(pool.status).toBe('degraded');
    expect(pool.stats().lastError).toContain('LOADING');
    server.answer = undefined;
    await started;
    expect(await pool.healthCheck()).toMatchObject({ status: 'healthy' });
  });

  it('runs a script that takes too long (BUSY), or has lost its primary (MASTERDOWN): leases keep their connections', async () => {
    await using server = await startRedis({
      config: { 'replica-serve-stale-data': 'no', 'busy-reply-threshold': '1' },
    });
    await using outside = observer(server.url);
    await using test = await redisPool({
      url: server.url,
      maxSize: 1,
      validateAfterIdleMs: 0,
      healthCheck: { ...often, intervalMs: 0 },
    });
    const { pool } = test;
    await pool.start();
    const id = await pool.use((mine) => mine.client('ID'));
    await outside.replicaof('127.0.0.1', 1);
    await eventually(async () => (await pool.healthCheck()).outcome === 'refused');
    expect(pool.stats().lastError).toContain('MASTERDOWN');
    await outside.replicaof('NO', 'ONE');
    expect(await pool.healthCheck()).toMatchObject({ status: 'healthy' });
    expect(await pool.use((mine) => mine.client('ID'))).toBe(id);

    const script = outside.eval('while true do end', 0).catch(() => undefined);
    await eventually(async () => String((await pool.healthCheck()).error).includes('BUSY'));
    expect(pool.status).toBe('degraded');
    await pool.client.call('SCRIPT', 'KILL');
    await script;
    expect(await pool.use((mine) => mine.client('ID'))).toBe(id);
  });
});

describe('a server that has as many clients as it takes', () => {
  it('is full and not dead: the pool that has connections to it stays ready, and the reason is told', async () => {
    await using server = await startRedis({ config: { maxclients: '3' } });
    await using outside = observer(server.url);
    await outside.ping();
    await using test = await redisPool({ url: server.url, minSize: 1, maxSize: 3, acquireTimeoutMs: 300 });
    const { pool } = test;
    await pool.start();
    const lease = await pool.acquire();
    const reasons: string[] = [];
    pool.on('connectError', (error) => reasons.push(error.message));
    await expect(pool.acquire()).rejects.toThrow('ERR max number of clients reached');
    expect(new Set(reasons)).toEqual(new Set(['ERR max number of clients reached']));
    const health = await pool.healthCheck();
    expect({ status: health.status, available: health.available }).toEqual({ status: 'degraded', available: true });
    expect(await lease.connection.ping()).toBe('PONG');
    lease.release();
    expect(await pool.use((mine) => mine.ping())).toBe('PONG');
  });
});

describe('whether a server is full', () => {
  const fullServer = async (connected: number, replicas: number) => {
    const server = await oddServer();
    let clients = 0;
    const served = new Set<unknown>();
    server.answer = (name, args, socket) => {
      if (clients === 0) served.add(socket);
      if (!served.has(socket)) return void socket.destroy();
      if (name !== 'info') return ordinary(name);
      const replication = `connected_slaves:${replicas}\r\n`;
      return bulk(`loading:0\r\nconnected_clients:${connected}\r\nmaxclients:3\r\n${replication}`);
    };
    return { server, fill: () => clients++ };
  };

  it.each([
    [3, 0, true],
    [2, 1, true],
    [2, 0, false],
  ])('%d clients and %d replicas of 3: %s', async (connected, replicas, full) => {
    const { server, fill } = await fullServer(connected, replicas);
    await using _ = server;
    await using test = await redisPool({ url: server.url, minSize: 1, maxSize: 2, acquireTimeoutMs: 200 });
    await test.pool.start();
    await using lease = await test.pool.acquire();
    fill();
    const outcome = await test.pool.acquire().catch((error: unknown) => error);
    expect(String(outcome).includes('ERR max number of clients reached')).toBe(full);
    expect(await lease.connection.ping()).toBe('PONG');
  });

  it('is not asked after a connect that was not accepted', () => {
    const withCode = (code: string): Error => Object.assign(new Error(code), { code });
    for (const code of ['ECONNRESET', 'EPIPE']) expect(isDropped(withCode(code))).toBe(true);
    expect(isDropped(new Error('Connection is closed.'))).toBe(true);
    for (const code of ['ECONNREFUSED', 'ENOTFOUND', 'ETIMEDOUT', 'EHOSTUNREACH'])
      expect(isDropped(withCode(code))).toBe(false);
  });
});

describe('the log', () => {
  it('says an outage once, however often it is seen', async () => {
    await using server = await startRedis();
    await using test = await redisPool({ url: server.url, minSize: 2, healthCheck: often, failFastAfterMs: 100 });
    const { pool } = test;
    await pool.start();
    await server.halt();
    await eventually(() => pool.status === 'unhealthy', { withinMs: 10_000 });
    await expect(pool.client.get('a')).rejects.toThrow(BackendUnavailableError);
    await eventually(() => pool.stats().connectFailures > 3, { withinMs: 10_000 });
    expect(test.warnings).toHaveLength(1);
    await server.start();
    await eventually(() => pool.status === 'healthy', { withinMs: 10_000 });
    expect(test.warnings).toHaveLength(1);
  });

  it('says a connection that comes and goes once', async () => {
    await using server = await oddServer();
    await using test = await redisPool({ url: server.url, minSize: 0, healthCheck: { ...often, intervalMs: 0 } });
    await test.pool.start();
    for (let round = 0; round < 4; round++) {
      const before = server.accepted;
      for (const socket of server.sockets) socket.destroy();
      await eventually(() => server.accepted > before);
      await eventually(async () => (await test.pool.client.ping().catch(() => '')) === 'PONG');
    }
    expect(test.warnings).toHaveLength(1);
  });
});
