import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { eventually } from '../support/eventually.js';
import { type RedisSentinel, startRedisSentinel } from '../support/servers/index.js';
import { observer, redisPool } from './pools.js';

describe('a Redis pool behind sentinels', () => {
  let group: RedisSentinel;

  beforeAll(async () => {
    group = await startRedisSentinel();
  }, 60_000);
  afterAll(() => group.stop());

  it('finds the primary for the shared client, for leases and for duplicates', async () => {
    const nodes = group.sentinels.map(({ host, port }) => ({ host, port }));
    await using test = await redisPool({ sentinel: { name: group.name, nodes } });
    const { pool } = test;
    await pool.start();
    const roles = await Promise.all([
      pool.client.role(),
      pool.use((mine) => mine.role()),
      pool.client.duplicate().role(),
    ]);
    expect(roles.map(([role]) => role)).toEqual(['master', 'master', 'master']);
  });

  it('reads from a replica where that is asked for', async () => {
    const nodes = group.sentinels.map(({ host, port }) => ({ host, port }));
    await using test = await redisPool({ sentinel: { name: group.name, nodes, role: 'slave' } });
    const [role] = await test.pool.use((mine) => mine.role());
    expect(role).toBe('slave');
  });
});

describe('a failover by sentinels', () => {
  let group: RedisSentinel;

  beforeAll(async () => {
    group = await startRedisSentinel();
  }, 60_000);
  afterAll(() => group.stop());

  const options = () => ({
    sentinel: { name: group.name, nodes: group.sentinels.map(({ host, port }) => ({ host, port })) },
    // Neither a wait nor an outage ends because it has lasted for long.
    acquireTimeoutMs: 120_000,
    failFastAfterMs: 120_000,
    maxSize: 2,
  });

  /** The port of the server that takes writes now, and whose replica is in step with it. */
  const primaryNow = (): Promise<number> =>
    eventually(
      async () => {
        await using sentinel = observer(group.sentinels[0]?.url ?? '');
        const address = await sentinel.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', group.name);
        const [host, port] = Array.isArray(address) ? address.map(String) : [];
        await using primary = observer(`redis://${host}:${port}`);
        const replication = await primary.info('replication');
        return replication.includes('role:master') && replication.includes('state=online') && Number(port);
      },
      { withinMs: 40_000, everyMs: 100 },
    );

  const failOver = async (): Promise<void> => {
    const before = await primaryNow();
    await using sentinel = observer(group.sentinels[0]?.url ?? '');
    // It refuses until the replica is in step, and may give up on what it has begun: then it is asked again.
    await eventually(
      async () => {
        if ((await primaryNow()) !== before) return true;
        await sentinel.call('SENTINEL', 'FAILOVER', group.name).catch(() => undefined);
        return eventually(async () => (await primaryNow()) !== before, { withinMs: 10_000 });
      },
      { withinMs: 80_000 },
    );
  };

  it.each(['to the replica', 'back to the old primary'])(
    'is followed by shared client, leases and duplicates: %s',
    async () => {
      await using test = await redisPool(options());
      const { pool } = test;
      await pool.start();
      const duplicate = pool.client.duplicate();
      await duplicate.ping();
      const before = await pool.use((mine) => mine.config('GET', 'port'));
      await failOver();
      // The answers of those that were connected to the old one: READONLY, or the end of the connection.
      await eventually(async () => (await pool.client.set('a', '1')) === 'OK', { withinMs: 20_000 });
      // A lease may have found its connection refused to write once; then it is replaced.
      await eventually(async () => (await pool.use((mine) => mine.set('a', '2'))) === 'OK', { withinMs: 20_000 });
      await eventually(async () => (await duplicate.set('a', '3')) === 'OK', { withinMs: 20_000 });
      const roles = await Promise.all([pool.client.role(), pool.use((mine) => mine.role()), duplicate.role()]);
      expect(roles.map(([role]) => role)).toEqual(['master', 'master', 'master']);
      expect(await pool.use((mine) => mine.config('GET', 'port'))).not.toEqual(before);
      expect(pool.stats().active).toBe(0);
    },
    120_000,
  );

  it('because the primary is gone is followed by leases as soon as by the shared client', async () => {
    const port = await primaryNow();
    const primary = [group.primary, group.replica].find((server) => server.port === port);
    await using test = await redisPool(options());
    const { pool } = test;
    await pool.start();
    await primary?.halt();
    try {
      await eventually(() => pool.stats().idle === 0);
      // Asked for while there is no primary: both wait for the next one.
      const waiting = pool.use((mine) => mine.role());
      await eventually(async () => (await pool.client.set('a', '4')) === 'OK', { withinMs: 60_000 });
      expect((await waiting)[0]).toBe('master');
      expect(await pool.use((mine) => mine.set('a', '5'))).toBe('OK');
    } finally {
      await primary?.start();
    }
    // The old primary comes back as a replica, and nothing goes to it.
    await primaryNow();
    expect(await pool.use((mine) => mine.set('a', '6'))).toBe('OK');
    expect(await pool.client.get('a')).toBe('6');
  }, 180_000);
});
