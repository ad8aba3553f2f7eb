// Ends that come at an unusual moment: during the start, twice, from inside an event, beside another application.
import { describe, expect, it } from '@jest/globals';
import { type INestApplication, Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';

import { ManagerStoppedError, PoolClosedError, PoolNotFoundError } from '../../lib/errors.js';
import type { ExternalPool } from '../../lib/external/external-pool.js';
import { ConnectionPoolManager } from '../../lib/manager/connection-pool-manager.js';
import { PoolManagerModule } from '../../lib/module/pool-manager.module.js';
import { getPoolToken } from '../../lib/module/pool-manager.tokens.js';
import { eventually } from '../support/eventually.js';
import { settle } from '../support/fakes/fake-clock.js';
import { type FakeConnection, FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';

function rootOf(driver: FakeDriver): Type {
  @Module({
    imports: [
      PoolManagerModule.forRoot({
        pools: { work: { type: 'external', driver, maxSize: 2 } },
        shutdown: { drainTimeoutMs: 5_000 },
      }),
    ],
  })
  class Root {}
  return Root;
}

const applicationOf = (driver: FakeDriver): Promise<INestApplication> =>
  NestFactory.create(rootOf(driver), new ExpressAdapter(), { logger: new LogBook() });

const poolOf = (app: INestApplication): ExternalPool<FakeConnection> => app.get(getPoolToken('work'));

describe('An application', () => {
  it.each(['once', 'twice'])(
    'that is closed %s while its critical pool is still being opened ends at once',
    async (times) => {
      const driver = new FakeDriver();
      driver.openBehaviour = 'hang';
      const app = await applicationOf(driver);
      const started = app.init().catch((error: unknown) => error);
      await eventually(() => expect(driver.opens).toBe(1));
      await Promise.all([app.close(), times === 'twice' ? app.close() : undefined]);
      expect(await started).toBeInstanceOf(PoolClosedError);
      expect([driver.aborted, driver.live, driver.disposals]).toEqual([1, [], 1]);
      expect(poolOf(app).status).toBe('closed');
    },
  );

  it('is closed from inside an event of its pool', async () => {
    const driver = new FakeDriver();
    const app = await applicationOf(driver);
    await app.init();
    const pool = poolOf(app);
    const closed = new Promise<void>((resolve, reject) => {
      pool.on('status', () => void app.close().then(resolve, reject));
    });
    const ended = new Promise((resolve) => pool.once('close', (report) => resolve([report.cut, app.close()])));
    driver.pingBehaviour = new Error('gone');
    await pool.healthCheck();
    await Promise.all([closed, ended]);
    expect([driver.live, driver.disposals]).toEqual([[], 1]);
  });

  it('shares nothing with another one whose pools have the same names', async () => {
    const drivers = [new FakeDriver(), new FakeDriver()];
    const [first, second] = await Promise.all(drivers.map(applicationOf));
    if (first === undefined || second === undefined) throw new Error('There are two.');
    await Promise.all([first.init(), second.init()]);
    const lease = await poolOf(second).forTenant('acme').acquire();
    await first.close();
    expect(drivers.map(({ live }) => live.length)).toEqual([0, 1]);
    expect([poolOf(first).status, poolOf(second).status]).toEqual(['closed', 'healthy']);
    await expect(poolOf(first).acquire()).rejects.toThrow(PoolClosedError);
    lease.release();
    await poolOf(second).use(() => undefined);
    await second.close();
  });

  it('that was never started is closed, and opens nothing', async () => {
    const driver = new FakeDriver();
    const app = await applicationOf(driver);
    await app.close();
    expect([driver.opens, driver.live]).toEqual([0, []]);
    await expect(app.get(ConnectionPoolManager).start()).rejects.toThrow(ManagerStoppedError);
  });
});

describe('A pool that is created while its manager ends', () => {
  const endings = [
    ['before its creation', 0],
    ['while it is built', 1],
    ['while it is opened', 2],
  ] as const;

  it.each(endings)('is refused and left closed: %s', async (_when, step) => {
    const manager = new ConnectionPoolManager({ pools: {} }, { logger: new LogBook() });
    await manager.start();
    const driver = new FakeDriver();
    driver.openBehaviour = 'hang';
    const stopped = step === 0 ? manager.stop() : undefined;
    const created = manager.createPool('late', driver).catch((error: unknown) => error);
    if (step === 2) await settle();
    await (stopped ?? manager.stop());
    const error = await created;
    expect(error).toBeInstanceOf(step === 2 ? PoolClosedError : ManagerStoppedError);
    expect([driver.live, driver.opens]).toEqual([[], step === 2 ? 1 : 0]);
    if (step !== 2) expect(() => manager.getPool('late')).toThrow(PoolNotFoundError);
  });
});
