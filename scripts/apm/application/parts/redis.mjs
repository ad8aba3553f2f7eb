/** Redis: the shared client, exclusive connections, MULTI, duplicates. */
import { once } from 'node:events';
import { ConnectionPoolManager } from 'nestjs-pool-manager';
import { called, failureOf, redis } from '../calls.mjs';
import { quiet } from '../quiet.mjs';

export async function run(calls, { redisUrl }) {
  const manager = new ConnectionPoolManager(
    {
      pools: {
        cache: { type: 'redis', url: redisUrl, maxSize: 2, validateAfterIdleMs: 1, healthCheck: { intervalMs: 0 } },
      },
    },
    quiet,
  );
  // ioredis' handshake, and the pool's pings: through a client that APMs see everything of.
  calls.mayBeAlone(...['hello', 'auth', 'select', 'client', 'info', 'ping'].map((name) => redis(name)));
  await manager.start();
  const pool = manager.getPool('cache');
  const { client } = pool;

  await calls.make('set', [redis('set')], () => client.set('greeting', 'hello'));
  await calls.make('get', [redis('get')], () => client.get('greeting'));
  await calls.make('get, with a callback', [redis('get')], () => called((done) => client.get('greeting', done)));
  await calls.make('call', [redis('get')], () => client.call('get', 'greeting'));
  await calls.make('a command that fails', [redis('incr', { failed: true })], async () => {
    const { name, message } = await failureOf(client.incr('greeting'));
    return { name, message };
  });
  await calls.make('at once', [], () =>
    Promise.all(
      Array.from({ length: 10 }, (_, turn) =>
        calls.make(`at once, ${turn}`, [redis('incrby')], () => client.incrby('count', turn)),
      ),
    ),
  );
  await calls.make('a pipeline', [redis('set'), redis('get')], () =>
    client.pipeline().set('piped', 1).get('piped').exec(),
  );

  await calls.make('a lease', [], async () => {
    const lease = await pool.acquire();
    try {
      const { connection } = lease;
      await calls.make('a lease: set', [redis('set')], () => connection.set('own', 1));
      await calls.make('a lease: watch', [redis('watch')], () => connection.watch('own'));
      await calls.make('a lease: MULTI', [redis('multi'), redis('incr'), redis('get'), redis('exec')], () =>
        connection.multi().incr('own').get('own').exec(),
      );
      await calls.make('a lease: blpop', [redis('rpush'), redis('blpop')], async () => {
        await connection.rpush('list', 'item');
        return connection.blpop('list', 1);
      });
      await calls.make('a lease: a command that fails', [redis('lpush', { failed: true })], async () => {
        const { name, message } = await failureOf(connection.lpush('own', 1));
        return { name, message };
      });
    } finally {
      lease.release();
    }
  });
  await calls.make('leases at once', [], () =>
    Promise.all(
      Array.from({ length: 8 }, (_, turn) =>
        calls.make(`leases at once, ${turn}`, [redis('set'), redis('get')], () =>
          pool.use(async (connection) => [
            await connection.set(`lease:${turn}`, turn),
            await connection.get(`lease:${turn}`),
          ]),
        ),
      ),
    ),
  );
  await calls.make('a duplicate', [redis('get')], async () => {
    const duplicate = client.duplicate();
    // ioredis sends what was asked for before it is ready twice, and some APMs record both.
    await once(duplicate, 'ready');
    const answer = await duplicate.get('greeting');
    duplicate.disconnect();
    return answer;
  });
  await calls.make('the health check', [], async () => (await pool.healthCheck()).status);
  await calls.make('stop', [], async () => {
    await manager.stop();
  });
}
