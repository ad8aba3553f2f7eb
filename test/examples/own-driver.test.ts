// The driver that the documentation shows, on the server of its example.
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';

import { KeyValueDriver } from '../../examples/own-driver/key-value-driver.js';
import { type KeyValueServer, startKeyValueServer } from '../../examples/own-driver/key-value-server.js';
import { ConnectionPoolManager, type ExternalPoolOptions } from '../../lib/index.js';
import { eventually } from '../support/eventually.js';
import { LogBook } from '../support/log-book.js';

describe('the driver of the documentation', () => {
  let server: KeyValueServer;
  let manager: ConnectionPoolManager;

  beforeEach(async () => {
    server = await startKeyValueServer();
    manager = new ConnectionPoolManager(undefined, { logger: new LogBook() });
    await manager.start();
  });
  afterEach(async () => {
    await manager.stop({ deadlineMs: 0 });
    await server.close();
  });

  const create = (options: Omit<ExternalPoolOptions, 'driver'> = {}) =>
    manager.createPool('store', new KeyValueDriver(server.port), options);

  it('sets and gets, and lends the same connection again', async () => {
    const pool = await create({ maxSize: 1 });
    await pool.use((store) => store.set('greeting', 'hello world'));
    expect(await pool.use((store) => store.get('greeting'))).toBe('hello world');
    expect(await pool.use((store) => store.get('nothing'))).toBeUndefined();
    expect(pool.stats()).toMatchObject({ connects: 1, resets: 0 });
  });

  it('hands no tenant the namespace of another', async () => {
    const pool = await create({ maxSize: 1 });
    await pool.forTenant('acme').use(async (store) => {
      await store.use('acme');
      await store.set('secret', 'of acme');
    });
    expect(await pool.forTenant('globex').use((store) => store.get('secret'))).toBeUndefined();
    expect(pool.stats().connects).toBe(1);
  });

  it('refuses what is used after its release', async () => {
    const pool = await create();
    const lease = await pool.acquire();
    const store = lease.connection;
    lease.release();
    await expect(store.get('greeting')).rejects.toThrow('after its lease');
  });

  it('keeps a connection whose command the server refused', async () => {
    const pool = await create({ maxSize: 1 });
    await expect(pool.use((store) => store.get(''))).rejects.toThrow('a name is needed');
    await expect(pool.use((store) => store.set('a', 'b\nGET a'))).rejects.toThrow('one line');
    await pool.use((store) => store.get('a'));
    expect(pool.stats()).toMatchObject({ connects: 1, destroyed: { fatal: 0, broken: 0 } });
  });

  it('replaces connections that the server drops, also one that is lent', async () => {
    const pool = await create({ maxSize: 2, healthCheck: { failureThreshold: 10 } });
    const held = await pool.acquire();
    server.dropConnections();
    await expect(held.connection.get('a')).rejects.toThrow();
    held.release();
    expect(pool.stats().destroyed.broken).toBe(1);
    await pool.use((store) => store.set('a', '1'));
    expect(server.connections).toBeGreaterThan(0);
  });

  it('is degraded, and not dead, while the server is full', async () => {
    await server.close();
    server = await startKeyValueServer({ maxConnections: 1 });
    const pool = await create({ maxSize: 2, minSize: 1 });
    await using held = await pool.acquire();
    await held.connection.set('a', '1');
    await expect(pool.acquire({ timeoutMs: 100 })).rejects.toMatchObject({ kind: 'backend' });
    expect(pool.status).toBe('degraded');
  });

  it('ends when it is closed with a lease out, and says who held it', async () => {
    const pool = await create();
    await pool.forTenant('acme').acquire();
    expect(await pool.close({ deadlineMs: 0 })).toMatchObject({ cut: 1, holders: [{ tenantId: 'acme' }] });
    await eventually(() => server.connections === 0);
  });
});
