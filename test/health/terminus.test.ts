// Terminus is optional: without it there is everything but the health routes. Its version 11 has no word for degraded.
import { afterEach, expect, it, jest } from '@jest/globals';

import type { PoolManagerOptions } from '../../lib/index.js';
import { FakeDriver } from '../support/fakes/fake-driver.js';
import { LogBook } from '../support/log-book.js';

const healthCheck = { failureThreshold: 1 };

afterEach(() => {
  jest.unstable_unmockModule('@nestjs/terminus');
});

/** The package, and Nest, as they are imported where `@nestjs/terminus` is what `terminus` returns. */
async function withTerminus(
  terminus: () => object,
  use: (packages: typeof import('../../lib/index.js') & typeof import('@nestjs/testing')) => Promise<void>,
): Promise<void> {
  await jest.isolateModulesAsync(async () => {
    jest.unstable_mockModule('@nestjs/terminus', terminus);
    await use({ ...(await import('../../lib/index.js')), ...(await import('@nestjs/testing')) });
  });
}

const notInstalled = () => {
  throw Object.assign(new Error("Cannot find package '@nestjs/terminus'"), { code: 'ERR_MODULE_NOT_FOUND' });
};

it('without Terminus an application starts and has its pools, as long as it has no health routes', async () => {
  await withTerminus(notInstalled, async ({ ConnectionPoolManager, PoolManagerModule, Test }) => {
    const pools: PoolManagerOptions['pools'] = { mail: { type: 'external', driver: new FakeDriver() } };
    const imports = [PoolManagerModule.forRoot({ pools })];
    const module = await Test.createTestingModule({ imports }).setLogger(new LogBook()).compile();
    const application = module.createNestApplication();
    await application.init();
    try {
      const manager = application.get(ConnectionPoolManager);
      await expect(manager.healthCheck()).resolves.toMatchObject({ ready: true });
    } finally {
      await application.close();
    }
  });
});

it('without Terminus the health routes are refused at the start, by the name of the package to install', async () => {
  await withTerminus(notInstalled, async ({ PoolConfigError, PoolHealthModule, PoolManagerModule, Test }) => {
    for (const health of [PoolHealthModule, PoolHealthModule.register({ path: 'status' })]) {
      const imports = [PoolManagerModule.forRoot({ pools: {} }), health];
      const error: unknown = await Test.createTestingModule({ imports })
        .setLogger(new LogBook())
        .compile()
        .catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(PoolConfigError);
      expect(error).toMatchObject({
        problems: [{ key: 'PoolHealthModule', rule: expect.stringContaining('npm install @nestjs/terminus') }],
        cause: { code: 'ERR_MODULE_NOT_FOUND' },
      });
    }
  });
});

it('with Terminus 11, which has no word for it, a degraded pool is up and its data says so', async () => {
  // What HealthIndicatorService of Terminus 11 offers.
  class HealthIndicatorService {
    check(key: string) {
      return {
        up: (details: object) => ({ [key]: { ...details, status: 'up' } }),
        down: (details: object) => ({ [key]: { ...details, status: 'down' } }),
      };
    }
  }
  await withTerminus(
    () => ({ HealthIndicatorService }),
    async ({ ConnectionPoolManager, PoolHealthIndicator }) => {
      const mail = new FakeDriver();
      const pools: PoolManagerOptions['pools'] = {
        mail: { type: 'external', driver: mail, healthCheck, critical: false },
      };
      const manager = new ConnectionPoolManager({ pools }, { logger: new LogBook() });
      await manager.start();
      try {
        mail.pingBehaviour = new Error('gone');
        mail.openBehaviour = new Error('gone');
        await expect(new PoolHealthIndicator(manager).check('mail')).resolves.toEqual({
          mail: { status: 'up', state: 'unhealthy', type: 'external', critical: false, degraded: true },
        });
      } finally {
        await manager.stop();
      }
    },
  );
});
