// A server that has no room for as many connections as the pool may have.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

import { ConnectionPoolManager } from '../../lib/connection-pool-manager.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { LogBook } from '../support/log-book.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

describe('A server that is full', () => {
  it('is degraded and ready, while the connections that there are serve', async () => {
    const role = `${database.name}_limited`;
    await database.query(`create role "${role}" login password 'limited' connection limit 2`);
    const logger = new LogBook();
    const url = new URL(database.url);
    url.username = role;
    url.password = 'limited';
    const healthCheck = { intervalMs: 200, timeoutMs: 100, failureThreshold: 1 };
    const manager = new ConnectionPoolManager(
      { pools: { orders: { type: 'database', connectionString: url.href, maxSize: 10, healthCheck } } },
      { logger },
    );
    await manager.start();
    try {
      const pool = manager.getPool('orders');
      let refusals = 0;
      pool.on('connectError', () => refusals++);
      const held = [await pool.acquire(), await pool.acquire()];
      const waiting = pool.acquire({ timeoutMs: 60_000 });
      const readiness: (boolean | string)[] = [];
      await eventually(async () => {
        const { ready, status } = await manager.healthCheck();
        readiness.push(ready, status);
        return refusals >= 4;
      });
      expect(new Set(readiness.slice(-4))).toEqual(new Set([true, 'degraded']));
      expect(readiness).not.toContain(false);
      expect(logger.lines.filter((line) => line.startsWith('warn'))).toEqual([
        expect.stringMatching(/^warn: Pool "orders" is degraded: .*too many connections for role/),
      ]);
      for (const lease of held) lease.release();
      (await waiting).release();
      await eventually(() => pool.status === 'healthy');
    } finally {
      await manager.stop({ deadlineMs: 0 });
      await database.query(`drop role "${role}"`);
    }
  });
});
