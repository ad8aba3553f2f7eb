// A server that has no room for as many connections as the pool may have.
import { describe, expect, it } from '@jest/globals';

import { ConnectionPoolManager } from '../../lib/manager/connection-pool-manager.js';
import { isServerFull } from '../../lib/postgres/protocol/pg-errors.js';
import type { TestDatabase } from '../support/databases.js';
import { eventually } from '../support/eventually.js';
import { LogBook } from '../support/log-book.js';
import { withDatabase } from '../support/with-database.js';

let database: TestDatabase;
withDatabase((made) => (database = made));

describe('A server that is full', () => {
  it.each([
    ['53300', 'sorry, too many clients already'],
    ['53300', 'zu viele Verbindungen für Rolle »app«'],
    ['08P01', 'no more connections allowed (max_client_conn)'],
    ['08P01', 'client connections exceeded (max_db_client_connections)'],
    ['08P01', 'client connections exceeded (max_user_client_connections)'],
    ['08P01', 'server login failed: FATAL sorry, too many clients already'],
    ['08P01', 'too many connections for role "app"'],
    ['XX000', '(EMAXCONN) max client connections reached, limit: 200'],
    ['XX000', 'Max client connections reached'],
    ['XX000', 'MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size'],
    ['XX000', 'remaining connection slots are reserved for rds_superuser'],
  ])('is told from one that is down by %s "%s"', (code, message) => {
    expect(isServerFull(Object.assign(new Error(message), { code, severity: 'FATAL' }))).toBe(true);
  });

  it.each([
    ['08P01', 'server login has been failing, try again later (server_login_retry)'],
    ['08P01', 'no such database: orders'],
    ['08P01', 'query_wait_timeout'],
    ['57P03', 'the database system is starting up'],
    ['ECONNREFUSED', 'no more connections allowed'],
  ])('is not what says %s "%s"', (code, message) => {
    const severity = code.startsWith('E') ? {} : { severity: 'FATAL' };
    expect(isServerFull(Object.assign(new Error(message), { code, ...severity }))).toBe(false);
  });

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
