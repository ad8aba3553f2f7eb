import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { startRedisSentinel, type RedisSentinel } from '../support/servers/index.js';
import { redisPool } from './pools.js';

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
